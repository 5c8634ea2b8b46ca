//! What is large: directories with an index, files with trees of extents.

use std::os::unix::fs::MetadataExt as _;

use kiln_disk::ext4::Options;
use kiln_disk::{Attributes, Content, Inode, Node, NodeId, Segment, Tree};
use testkit::{DiskFiles, Program};

use super::{Disk, assert_mounted_equals, directory, tools};

/// A file of this name with its name as content.
fn named(tree: &mut Tree, parent: NodeId, name: &[u8]) -> NodeId {
    let inode = Inode {
        attributes: Attributes::default(),
        node: Node::File(kiln_disk::File::of_bytes(&name[..name.len().min(9)])),
    };
    tree.add(parent, name, inode).unwrap()
}

#[test]
fn a_directory_of_a_hundred_thousand_long_names() {
    if !tools("a_directory_of_a_hundred_thousand_long_names", true) {
        return;
    }
    let mut tree = Tree::new(directory().attributes);
    let wide = tree.add(Tree::ROOT, b"wide", directory()).unwrap();
    let file = named(&mut tree, Tree::ROOT, b"file");
    for number in 0..100_000 {
        // Half of them are short, and all but some are hard links.
        let mut name = format!("{number:06}").into_bytes();
        if number % 2 == 0 {
            name.resize(255, b'\xfe');
        }
        if number % 64_000 == 0 {
            named(&mut tree, wide, &name);
        } else if number < 64_000 {
            tree.link(wide, &name, file).unwrap();
        } else {
            let empty = Node::File(kiln_disk::File::of_bytes([]));
            let attributes = Attributes::default();
            let inode = Inode {
                attributes,
                node: empty,
            };
            tree.add(wide, &name, inode).unwrap();
        }
    }
    let files = DiskFiles::new();
    let disk = Disk::new(&tree, &files, &Options::default());
    disk.check();
    assert_mounted_equals(&tree, &files, &disk.path, "wide");
}

#[test]
fn a_directory_of_more_directories_than_links_are_counted() {
    if !tools(
        "a_directory_of_more_directories_than_links_are_counted",
        true,
    ) {
        return;
    }
    let mut tree = Tree::new(directory().attributes);
    let wide = tree.add(Tree::ROOT, b"wide", directory()).unwrap();
    for number in 0..65_100 {
        let name = format!("{number:06}");
        tree.add(wide, name.as_bytes(), directory()).unwrap();
    }
    let disk = Disk::new(&tree, &DiskFiles::new(), &Options::default());
    disk.check();
    let stat = Program::new("debugfs").args(["-R", "stat wide"]);
    let stat = stat.arg(&disk.path).run().ok().text();
    assert!(stat.contains("Links: 1 "), "{stat}");
}

#[test]
fn large_files_have_trees_of_extents() {
    if !tools("large_files_have_trees_of_extents", true) {
        return;
    }
    let mut files = DiskFiles::new();
    let mut tree = Tree::new(directory().attributes);
    let mut add = |name: &[u8], size, content| {
        let node = Node::File(kiln_disk::File { size, content });
        let attributes = Attributes::default();
        let inode = Inode { attributes, node };
        tree.add(Tree::ROOT, name, inode).unwrap();
    };
    // Every other block of a file of more than 4 GiB, and more extents than one level has.
    let segments: Vec<Segment> = (0..2000_u64)
        .map(|at| Segment {
            offset: at * 8192 + if at > 1990 { 5 << 30 } else { 0 },
            length: 4000,
        })
        .collect();
    let parts: Vec<_> = segments.iter().map(|at| (*at, &b"data"[..])).collect();
    let size = (5 << 30) + 2000 * 8192;
    let key = files.store_sparse(size, &parts);
    add(b"holes", size, Content::Sparse(key, segments.into()));
    // Cut by copies of the superblock more often than an inode has extents.
    let size = 600 << 20;
    let last = Segment {
        offset: size - 7,
        length: 7,
    };
    let key = files.store_sparse(size, &[(last, b"the end")]);
    add(b"long", size, Content::Stored(key));
    let options = Options {
        journal: true,
        ..Options::default()
    };
    let disk = Disk::new(&tree, &files, &options);
    disk.check();
    // Zeros take no space.
    let blocks = disk.path.metadata().unwrap().blocks();
    assert!(blocks * 512 < 32 << 20, "{blocks}");
    assert_mounted_equals(&tree, &files, &disk.path, "large");
}
