//! Databases, programs and archives, made as their own tools make them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// A header as RPM keeps it: an index of tags, and the values.
pub(super) fn rpm_header(name: &str, version: &str, release: &str, epoch: Option<u32>) -> Vec<u8> {
    let mut index = Vec::new();
    let mut values = Vec::new();
    let mut put = |tag: u32, kind: u32, value: &[u8]| {
        for word in [tag, kind, u32::try_from(values.len()).unwrap(), 1] {
            index.extend(word.to_be_bytes());
        }
        values.extend(value);
    };
    if let Some(epoch) = epoch {
        put(1003, 4, &epoch.to_be_bytes());
    }
    for (tag, text) in [
        (1000, name),
        (1001, version),
        (1002, release),
        (1014, "GPLv3+"),
        (1022, "x86_64"),
        (1044, "src.rpm"),
        (1011, "Fedora Project"),
    ] {
        put(tag, 6, format!("{text}\0").as_bytes());
    }
    let entries = u32::try_from(index.len() / 16).unwrap();
    let size = u32::try_from(values.len()).unwrap();
    [
        &entries.to_be_bytes()[..],
        &size.to_be_bytes(),
        &index,
        &values,
    ]
    .concat()
}

/// A database of 512-byte pages: page 1 is the schema, page 2 the inner page of a table whose rows
/// have a page each, and what doesn't fit there is on overflow pages.
pub(super) fn rpmdb(rows: &[Vec<u8>]) -> Vec<u8> {
    const PAGE: usize = 512;
    let leaf = |head: usize, payload: &[u8], length: usize, overflow: Option<u32>| {
        let mut page = vec![0; PAGE];
        let mut cell = vec![
            0x80 | u8::try_from(length >> 7).unwrap(),
            u8::try_from(length & 127).unwrap(),
            1,
        ];
        cell.extend(payload);
        cell.extend(overflow.into_iter().flat_map(u32::to_be_bytes));
        let at = PAGE - cell.len();
        page[at..].copy_from_slice(&cell);
        page[head] = 0x0d;
        page[head + 4] = 1;
        page[head + 8..head + 10].copy_from_slice(&u16::try_from(at).unwrap().to_be_bytes());
        page
    };
    let schema = [
        &[6, 23, 29, 29, 1, 13][..],
        b"table",
        b"Packages",
        b"Packages",
        &[2],
    ]
    .concat();
    let mut first = leaf(100, &schema, schema.len(), None);
    first[..16].copy_from_slice(b"SQLite format 3\0");
    first[16..18].copy_from_slice(&512_u16.to_be_bytes());
    let mut pages = vec![first, vec![0; PAGE]];
    let mut leaves = Vec::new();
    for row in rows {
        let kind = row.len() * 2 + 12;
        let mut record = vec![
            4,
            0,
            0x80 | u8::try_from(kind >> 7).unwrap(),
            u8::try_from(kind & 127).unwrap(),
        ];
        record.extend(row);
        // SQLite's rule for what stays on the page.
        let (most, least) = (PAGE - 35, (PAGE - 12) * 32 / 255 - 23);
        let local = if record.len() <= most {
            record.len()
        } else {
            let fitting = least + (record.len() - least) % (PAGE - 4);
            if fitting <= most { fitting } else { least }
        };
        let number = u32::try_from(pages.len() + 1).unwrap();
        leaves.push(number);
        let overflow = (local < record.len()).then_some(number + 1);
        pages.push(leaf(0, &record[..local], record.len(), overflow));
        if local < record.len() {
            let mut page = vec![0; PAGE];
            page[4..4 + record.len() - local].copy_from_slice(&record[local..]);
            pages.push(page);
        }
    }
    let (last, inner) = leaves.split_last().unwrap();
    let page = &mut pages[1];
    page[0] = 0x05;
    page[4] = u8::try_from(inner.len()).unwrap();
    page[8..12].copy_from_slice(&last.to_be_bytes());
    for (index, number) in inner.iter().enumerate() {
        let at = PAGE - 8 * (index + 1);
        page[at..at + 4].copy_from_slice(&number.to_be_bytes());
        page[12 + 2 * index..14 + 2 * index]
            .copy_from_slice(&u16::try_from(at).unwrap().to_be_bytes());
    }
    pages.concat()
}

/// A program with one section beside the names of sections.
pub(super) fn elf(name: &str, content: &[u8]) -> Vec<u8> {
    let names = format!("\0{name}\0.names\0");
    let mut file = vec![0; 4096];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let content_at = file.len();
    file.extend(content);
    let names_at = file.len();
    file.extend(names.as_bytes());
    let table = file.len();
    file[40..48].copy_from_slice(&(table as u64).to_le_bytes());
    for (at, number) in [(58, 64_u16), (60, 3), (62, 2)] {
        file[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    let rows = [
        (0_u32, 0, 0),
        (1, content_at, content.len()),
        (
            2 + u32::try_from(name.len()).unwrap(),
            names_at,
            names.len(),
        ),
    ];
    for (name, offset, size) in rows {
        let mut row = vec![0; 64];
        row[..4].copy_from_slice(&name.to_le_bytes());
        row[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
        row[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        file.extend(row);
    }
    file
}

/// An archive of these files.
pub(super) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        // Not packed: the archives' digests stand in what is expected.
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::none());
        packed.write_all(content).unwrap();
        let packed = packed.finish().unwrap();
        let size = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        let name_size = u16::try_from(name.len()).unwrap().to_le_bytes();
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend([size(packed.len()), size(content.len())].concat());
        common.extend([name_size[0], name_size[1], 0, 0]);
        directory.extend(
            [
                b"PK\x01\x02\0\0",
                &common[..],
                &[0; 10],
                &size(out.len()),
                name.as_bytes(),
            ]
            .concat(),
        );
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &packed].concat());
    }
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    let size = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let end = [
        b"PK\x05\x06\0\0\0\0",
        &count[..],
        &count,
        &size(directory.len()),
        &size(out.len()),
        &[0, 0],
    ]
    .concat();
    [out, directory, end].concat()
}
