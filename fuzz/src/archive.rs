//! Tar archives as text.
//!
//! Each line is one entry, begins with a letter and a blank, and has its fields between `|`. The
//! bytes of a field can be written as `\n`, `\0`, `\\`, `\p` (for `|`) and `\xHH`.
//!
//! | line | what it makes |
//! |---|---|
//! | `f name\|content` | a file |
//! | `d name`, `p name`, `c name`, `b name` | a directory, a named pipe, a device |
//! | `l name\|target`, `h name\|target` | a symbolic link, a hard link |
//! | `t name\|content\|type` | an entry of any type flag |
//! | `x key=value` | a PAX record for the entry that follows |
//! | `X content`, `g content`, `L name`, `K name` | an extension header as it is |
//! | `m ustar`, `m gnu`, `m star`, `m v7` | the format from here on |
//! | `@ offset\|bytes` | bytes of the header that follows, before its checksum is made |
//! | `r bytes` | bytes between entries |
//! | `z` | a block of zeros |
//!
//! In a file's name and content `{2}` is the SHA-256 of the content of the entry 2 (from 0), `{#2}`
//! its length, and `{}` the SHA-256 of the entry's own content. A first line of `%gzip` or `%zstd`
//! compresses all; a first byte `!` says that what follows is the archive itself.

use std::io::Write as _;

use kiln_oci::Digest;

const BLOCK: usize = 512;

/// The archive that a text describes. Lines that make no sense are left out.
pub fn assemble(text: &[u8]) -> Vec<u8> {
    if let Some(raw) = text.strip_prefix(b"!") {
        return raw.to_vec();
    }
    let mut writer = Writer::default();
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    let wrapping = lines.next_if(|line| line.starts_with(b"%"));
    for line in lines {
        writer.line(line);
    }
    match wrapping {
        Some(b"%gzip") => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder
                .write_all(&writer.archive)
                .expect("memory takes all");
            encoder.finish().expect("memory takes all")
        }
        Some(b"%zstd") => zstd::encode_all(&writer.archive[..], 1).expect("memory takes all"),
        _ => writer.archive,
    }
}

#[derive(Default)]
struct Writer {
    archive: Vec<u8>,
    records: Vec<u8>,
    patches: Vec<(usize, Vec<u8>)>,
    contents: Vec<Vec<u8>>,
    magic: Magic,
}

#[derive(Default, Clone, Copy)]
enum Magic {
    #[default]
    Ustar,
    Gnu,
    Star,
    V7,
}

impl Writer {
    fn line(&mut self, line: &[u8]) -> Option<()> {
        let (letter, rest) = line.split_first()?;
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let mut fields = rest.split(|byte| *byte == b'|').map(unescape);
        let first = fields.next()?;
        let second = fields.next().unwrap_or_default();
        match letter {
            b'f' => self.file(b'0', &first, &second),
            b't' => self.file(*fields.next()?.first()?, &first, &second),
            b'd' => self.entry(b'5', &first, b"", b""),
            b'p' => self.entry(b'6', &first, b"", b""),
            b'c' => self.entry(b'3', &first, b"", b""),
            b'b' => self.entry(b'4', &first, b"", b""),
            b'l' => self.entry(b'2', &first, b"", &second),
            b'h' => self.entry(b'1', &first, b"", &second),
            b'x' => put_record(&mut self.records, &first),
            b'X' => self.header_and_content(b'x', b"pax", &first, b""),
            b'g' | b'L' | b'K' => self.header_and_content(*letter, b"ext", &first, b""),
            b'm' => {
                self.magic = match first.as_slice() {
                    b"gnu" => Magic::Gnu,
                    b"star" => Magic::Star,
                    b"v7" => Magic::V7,
                    _ => Magic::Ustar,
                };
            }
            b'@' => {
                let offset = std::str::from_utf8(&first).ok()?.parse().ok()?;
                self.patches.push((offset, second));
            }
            b'r' => self.archive.extend_from_slice(&first),
            b'z' => self.archive.extend_from_slice(&[0; BLOCK]),
            _ => {}
        }
        Some(())
    }

    fn file(&mut self, kind: u8, name: &[u8], content: &[u8]) {
        let content = self.expand(content, b"");
        let name = self.expand(name, &content);
        self.entry(kind, &name, &content, b"");
        self.contents.push(content);
    }

    fn entry(&mut self, kind: u8, name: &[u8], content: &[u8], link: &[u8]) {
        let records = std::mem::take(&mut self.records);
        if !records.is_empty() {
            let patches = std::mem::take(&mut self.patches);
            self.header_and_content(b'x', b"pax", &records, b"");
            self.patches = patches;
        }
        self.header_and_content(kind, name, content, link);
    }

    fn header_and_content(&mut self, kind: u8, name: &[u8], content: &[u8], link: &[u8]) {
        let mut block = [0; BLOCK];
        let size = format!("{:011o}\0", content.len());
        let mut put = |at: usize, bytes: &[u8]| {
            let field = &mut block[at.min(BLOCK)..];
            let length = bytes.len().min(field.len());
            field[..length].copy_from_slice(&bytes[..length]);
        };
        put(0, &name[..name.len().min(100)]);
        put(100, b"0000644\x000000000\x000000000\0");
        put(124, size.as_bytes());
        put(136, b"00000000007\0");
        put(156, &[kind]);
        put(157, &link[..link.len().min(100)]);
        match self.magic {
            Magic::Ustar => put(257, b"ustar\x0000"),
            Magic::Gnu => put(257, b"ustar  \0"),
            Magic::Star => {
                put(257, b"ustar\x0000");
                put(508, b"tar\0");
            }
            Magic::V7 => {}
        }
        for (at, bytes) in std::mem::take(&mut self.patches) {
            put(at, &bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.archive.extend_from_slice(&block);
        self.archive.extend_from_slice(content);
        let end = self.archive.len() + (BLOCK - content.len() % BLOCK) % BLOCK;
        self.archive.resize(end, 0);
    }

    /// Puts in what `{…}` stands for.
    fn expand(&self, text: &[u8], own: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| *byte == b'{') {
            out.extend_from_slice(&rest[..at]);
            let inside = &rest[at + 1..];
            let end = inside.iter().take(4).position(|byte| *byte == b'}');
            let value = end.and_then(|end| self.value(&inside[..end], own));
            match (end, value) {
                (Some(end), Some(value)) => {
                    out.extend_from_slice(value.as_bytes());
                    rest = &inside[end + 1..];
                }
                _ => {
                    out.push(b'{');
                    rest = inside;
                }
            }
        }
        out.extend_from_slice(rest);
        out
    }

    fn value(&self, name: &[u8], own: &[u8]) -> Option<String> {
        if name.is_empty() {
            return Some(Digest::sha256(own).hex().to_owned());
        }
        let name = std::str::from_utf8(name).ok()?;
        let (number, is_length) = match name.strip_prefix('#') {
            Some(number) => (number, true),
            None => (name, false),
        };
        let content = self.contents.get(number.parse::<usize>().ok()?)?;
        Some(if is_length {
            content.len().to_string()
        } else {
            Digest::sha256(content).hex().to_owned()
        })
    }
}

/// `length key=value\n`, where the length counts itself.
fn put_record(records: &mut Vec<u8>, record: &[u8]) {
    let rest = record.len() + 2;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(record);
    records.push(b'\n');
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'0') => out.push(0),
            Some(b'p') => out.push(b'|'),
            Some(b'x') => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let value = digit().zip(digit());
                out.extend(value.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}
