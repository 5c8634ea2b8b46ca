//! Reading: what was written, what others wrote, and what is damaged.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use kiln_disk::ext4::{Checksums, Options, Reader};
use kiln_disk::{Content, Contents as _, Node, Tree};
use testkit::{Absent, DiskFiles, Program, Random, Shape, find_program, random_tree};

use super::{Disk, options};

/// What a reader makes of a disk, with contents.
#[track_caller]
fn assert_read_equals(tree: &Tree, files: &DiskFiles, disk: &Path) {
    let reader = Reader::open(File::open(disk).unwrap(), Checksums::Verified).unwrap();
    let mut read = reader.tree().unwrap();
    if tree.child(Tree::ROOT, b"lost+found").is_none() {
        read.unlink(Tree::ROOT, b"lost+found").unwrap();
    }
    let (mut names, mut read_names) = (Vec::new(), Vec::new());
    tree.walk(|path, id| names.push((path.to_vec(), id)));
    read.walk(|path, id| read_names.push((path.to_vec(), id)));
    assert_eq!(names.len(), read_names.len());
    let mut nodes = HashMap::new();
    for ((path, id), (read_path, read_id)) in names.into_iter().zip(read_names) {
        let shown = path.escape_ascii();
        assert_eq!(shown.to_string(), read_path.escape_ascii().to_string());
        if let Some(known) = nodes.insert(id, read_id) {
            assert_eq!(known, read_id, "{shown}");
            continue;
        }
        let (inode, read) = (tree.inode(id), read.inode(read_id));
        assert_eq!(inode.attributes, read.attributes, "{shown}");
        match (&inode.node, &read.node) {
            (Node::Directory(_), Node::Directory(_)) => {}
            (Node::File(file), Node::File(read)) => {
                assert_eq!(file.size, read.size, "{shown}");
                let (Content::Stored(key) | Content::Sparse(key, _)) = &read.content else {
                    panic!("{shown}");
                };
                if file.size < 4 << 20 {
                    let mut bytes = Vec::new();
                    reader
                        .content(*key)
                        .unwrap()
                        .read_to_end(&mut bytes)
                        .unwrap();
                    assert!(bytes == content(file, files), "{shown}");
                }
            }
            (node, read) => assert_eq!(node, read, "{shown}"),
        }
    }
}

fn content(file: &kiln_disk::File, files: &DiskFiles) -> Vec<u8> {
    let key = match &file.content {
        Content::Bytes(bytes) => return bytes.to_vec(),
        Content::Stored(key) | Content::Sparse(key, _) => *key,
    };
    let mut bytes = Vec::new();
    files.open(key).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_was_written_is_read() {
    for seed in 1000..1060 {
        let mut files = DiskFiles::new();
        let shape = Shape::all(usize::try_from(seed % 70 * 8).unwrap());
        let tree = random_tree(seed, &shape, &mut files);
        let disk = Disk::new(&tree, &files, &options(seed));
        assert_read_equals(&tree, &files, &disk.path);
    }
}

#[test]
fn other_disks_are_read() {
    if find_program("mke2fs").is_err() {
        return testkit::skip("other_disks_are_read", &Absent("no mke2fs".to_owned()));
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    testkit::make_tree(&source, "a/b 0644 content\na/link -> b\na/hard = a/b");
    for options in [&["-b", "1024"][..], &["-O", "^64bit,^metadata_csum"], &[]] {
        let path = folder.path().join("disk");
        let made = Program::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4"])
            .args(options);
        let _ = made.arg("-d").arg(&source).arg(&path).arg("16M").run().ok();
        let reader = Reader::open(File::open(&path).unwrap(), Checksums::Verified).unwrap();
        assert_eq!(
            reader.facts().blocks * u64::from(reader.facts().block_size),
            16 << 20
        );
        let tree = reader.tree().unwrap();
        let mut names = Vec::new();
        tree.walk(|path, _| names.push(String::from_utf8(path.to_vec()).unwrap()));
        assert_eq!(names, ["", "a", "a/b", "a/hard", "a/link", "lost+found"]);
    }
}

#[test]
fn a_damaged_disk_is_an_error_and_nothing_worse() {
    let mut files = DiskFiles::new();
    let tree = random_tree(4, &Shape::all(300), &mut files);
    let disk = Disk::new(&tree, &files, &Options::default());
    let whole = std::fs::read(&disk.path).unwrap();
    let mut random = Random::new(1);
    let mut found = 0;
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..8 {
            // Most of what has a meaning is in front.
            let end = random.pick(&[4096, 64 << 10, bytes.len()]);
            let at = random.index(end);
            bytes[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff]);
        }
        bytes.truncate(bytes.len() - random.index(3) * 4096);
        for checksums in [Checksums::Verified, Checksums::Ignored] {
            let Ok(reader) = Reader::open(&bytes[..], checksums) else {
                found += 1;
                continue;
            };
            let Ok(tree) = reader.tree() else {
                found += 1;
                continue;
            };
            tree.walk(|_, id| {
                if let Node::File(file) = &tree.inode(id).node
                    && let Content::Stored(key) = file.content
                    && file.size < 1 << 20
                {
                    let _ = reader.content(key).unwrap().read_to_end(&mut Vec::new());
                }
            });
        }
    }
    assert!(found > 300, "{found}");
}
