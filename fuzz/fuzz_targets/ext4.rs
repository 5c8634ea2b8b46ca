//! Disks from a stranger: reading an ext4 ends, whatever it says, and takes no more memory than the
//! disk could fill.
//!
//! The text changes a good disk: each line is a place and the bytes that are there, in hexadecimal.
//! Sums are ignored, since a stranger would have made them right.
#![no_main]

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use kiln_base::CancelToken;
use kiln_disk::ext4::{self, Checksums, Options, Reader};
use kiln_disk::{Attributes, Content, Contents, Inode, Node, Segment, Tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut disk = good_disk().to_vec();
    for line in text.split(|byte| *byte == b'\n') {
        change(&mut disk, line);
    }
    let Ok(reader) = Reader::open(&disk[..], Checksums::Ignored) else {
        return;
    };
    let Ok(tree) = reader.tree() else {
        return;
    };
    tree.walk(|_, id| {
        if let Node::File(file) = &tree.inode(id).node
            && let Content::Stored(key) | Content::Sparse(key, _) = &file.content
            && let Ok(content) = reader.content(*key)
        {
            let _ = io::copy(&mut content.take(1 << 20), &mut io::sink());
        }
    });
});

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

/// A disk with something of everything.
fn good_disk() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| {
        let tree = tree();
        let plan = ext4::plan(&tree, &Options::default()).expect("it fits");
        let mut out = tempfile::tempfile().expect("a temporary file");
        plan.write(&tree, &Zeros, &out, NonZeroUsize::MIN, &CancelToken::new())
            .expect("it is written");
        let mut disk = Vec::new();
        out.rewind().expect("it is a file");
        out.read_to_end(&mut disk).expect("it is a file");
        disk
    })
}

struct Zeros;

impl Contents for Zeros {
    fn open(&self, _: u64) -> io::Result<File> {
        let file = tempfile::tempfile()?;
        file.set_len(1 << 20)?;
        Ok(file)
    }
}

fn tree() -> Tree {
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
