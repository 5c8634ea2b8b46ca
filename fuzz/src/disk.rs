//! Disks that a text changes: each line is a place and the bytes that are there, in hexadecimal.
//! Sums are ignored, since a stranger would have made them right.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use kiln_disk::ext4::Checksums;
use kiln_disk::image::Image;
use kiln_disk::{Attributes, Content, Contents, Inode, Node, Segment, Tree};

/// The disk with the changes of a text, looked at as far as that goes.
pub fn read_changed(disk: &[u8], text: &[u8]) {
    let mut disk = disk.to_vec();
    for line in text.split(|byte| *byte == b'\n') {
        change(&mut disk, line);
    }
    let Ok(image) = Image::open(&disk[..], Checksums::Ignored) else {
        return;
    };
    let Ok(tree) = image.tree() else {
        return;
    };
    let mut buffer = vec![0; 1 << 16];
    tree.walk(|_, id| {
        let Node::File(file) = &tree.inode(id).node else {
            return;
        };
        let Ok(mut open) = image.open_file(file) else {
            return;
        };
        for offset in [0, 1 << 16, file.size / 2, file.size.saturating_sub(1)] {
            let _ = image.read_at(&mut open, &mut buffer, offset);
        }
    });
}

/// A file that was written, as bytes.
///
/// # Panics
///
/// If it can't be read.
pub fn bytes_of(mut file: File) -> Vec<u8> {
    let mut disk = Vec::new();
    file.rewind().expect("it is a file");
    file.read_to_end(&mut disk).expect("it is a file");
    disk
}

/// Puts the bytes of a line where it says.
fn change(disk: &mut [u8], line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace();
    let Some(Ok(at)) = words.next().map(|word| usize::from_str_radix(word, 16)) else {
        return;
    };
    let bytes = words.map_while(|word| u8::from_str_radix(word, 16).ok());
    for (at, byte) in (at..).zip(bytes) {
        if let Some(place) = disk.get_mut(at) {
            *place = byte;
        }
    }
}

/// Contents of zeros.
#[derive(Debug)]
pub struct Zeros;

impl Contents for Zeros {
    fn open(&self, _: u64) -> io::Result<File> {
        let file = tempfile::tempfile()?;
        file.set_len(1 << 20)?;
        Ok(file)
    }
}

/// A tree with something of everything.
///
/// # Panics
///
/// Never.
pub fn tree() -> Tree {
    let mut tree = Tree::new(Attributes::default());
    let mut add = |parent, name: &str, node| {
        let xattrs = vec![
            (
                "system.posix_acl_access".into(),
                b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff".to_vec(),
            ),
            ("user.large".into(), vec![7; 300]),
        ];
        let attributes = Attributes {
            xattrs,
            ..Attributes::default()
        };
        let inode = Inode { attributes, node };
        tree.add(parent, name.as_bytes(), inode)
            .expect("a new name")
    };
    let directory = add(Tree::ROOT, "dir", Node::Directory(Vec::new()));
    for number in 0..40 {
        add(directory, &format!("{number:0200}"), Node::Fifo);
    }
    add(directory, "link", Node::Symlink([b'x'; 70].into()));
    let segments = (0..6).map(|at| Segment {
        offset: at * 9000,
        length: 100,
    });
    let content = Content::Sparse(0, segments.collect());
    add(
        Tree::ROOT,
        "holes",
        Node::File(kiln_disk::File {
            size: 60_000,
            content,
        }),
    );
    add(
        Tree::ROOT,
        "file",
        Node::File(kiln_disk::File::of_bytes(*b"content")),
    );
    tree
}
