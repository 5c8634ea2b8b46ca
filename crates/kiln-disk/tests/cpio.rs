//! Archives that the cpio writer makes, as `cpio` unpacks them.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;

use expect_test::expect;
use kiln_base::CancelToken;
use kiln_disk::{Attributes, Content, Contents, Inode, Node, Tree, cpio};
use kiln_sys::fs::FileTime;
use testkit::{
    Absent, DiskFiles, Fidelity, Program, Shape, differences, find_program, is_root, random_tree,
    skip,
};

fn write(tree: &Tree, contents: &dyn Contents, threads: usize, path: &Path) -> cpio::Plan {
    let plan = cpio::plan(tree).unwrap();
    let out = File::create(path).unwrap();
    let threads = NonZeroUsize::new(threads).unwrap();
    let written = plan
        .write(tree, contents, &out, threads, &CancelToken::new())
        .unwrap();
    assert_eq!(written.size, plan.size());
    assert_eq!(out.metadata().unwrap().len(), plan.size());
    plan
}

/// A random tree of what the format can hold, and the kernel's links of symbolic links.
fn tree(seed: u64, names: usize, files: &mut DiskFiles) -> Tree {
    let shape = Shape {
        times: 0..=i64::from(u32::MAX),
        nanoseconds: false,
        xattr_bytes: 0,
        depth: 12,
        file_bytes: 3_000_000,
        ..Shape::all(names)
    };
    let mut tree = random_tree(seed, &shape, files);
    let links = tree.link_counts();
    let mut found = Vec::new();
    tree.walk(|path, id| found.push((path.len(), id)));
    for (path, id) in found {
        let is_unfit = match &tree.inode(id).node {
            Node::File(file) => file.size > 20_000_000,
            // cpio's own times of symbolic links are those of unpacking.
            Node::Symlink(_) => links[id.as_usize()] > 1 || path > 0,
            _ => false,
        };
        if is_unfit {
            tree.inode_mut(id).node = Node::File(kiln_disk::File::of_bytes(*b"small"));
        }
    }
    tree
}

#[test]
fn random_trees_unpack_as_they_are() {
    let name = "random_trees_unpack_as_they_are";
    let cpio = match find_program("cpio") {
        Ok(_) if !is_root() => {
            return skip(name, &Absent("only root can unpack owners".to_owned()));
        }
        Ok(cpio) => cpio,
        Err(absent) => return skip(name, &absent),
    };
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    for seed in 0_usize..8 {
        let mut files = DiskFiles::new();
        let tree = tree(seed as u64, [4, 60, 300][seed % 3], &mut files);
        write(&tree, &files, 2, &archive);
        let target = folder.path().join(seed.to_string());
        std::fs::create_dir(&target).unwrap();
        let unpack = Program::new(&cpio).args(["-idmu", "--quiet"]).cwd(&target);
        let _ = unpack.input(std::fs::read(&archive).unwrap()).run().ok();
        let mut found = differences(&tree, &files, &target, &Fidelity::default());
        // cpio leaves a directory that is there alone, so the root's attributes are not taken, and
        // changes the times of directories by unpacking what is in them.
        let mut excused = vec!["/: ".to_owned()];
        tree.walk(|path, id| {
            if matches!(tree.inode(id).node, Node::Directory(_)) {
                excused.push(format!("/{}: the time is", path.escape_ascii()));
            }
        });
        found.retain(|line| !excused.iter().any(|excuse| line.starts_with(excuse)));
        assert!(found.is_empty(), "{seed}: {found:#?}");
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = DiskFiles::new();
    let tree = tree(5, 100, &mut files);
    let bytes = |threads| {
        let path = folder.path().join("archive");
        write(&tree, &files, threads, &path);
        std::fs::read(path).unwrap()
    };
    assert!(bytes(1) == bytes(5));
}

fn inode(node: Node) -> Inode {
    let attributes = Attributes {
        mode: 0o644,
        mtime: FileTime::from_seconds(-5),
        ..Attributes::default()
    };
    Inode { attributes, node }
}

#[test]
fn an_archive_is_what_the_kernel_documents() {
    let mut tree = Tree::new(Attributes::default());
    let file = Node::File(kiln_disk::File::of_bytes(*b"hello"));
    let a = tree.add(Tree::ROOT, b"a", inode(file)).unwrap();
    tree.link(Tree::ROOT, b"b", a).unwrap();
    tree.inode_mut(a).attributes.xattrs = vec![("user.x".into(), vec![1])];
    tree.add(Tree::ROOT, b"link", inode(Node::Symlink((*b"a").into())))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let plan = write(&tree, &DiskFiles::new(), 1, &path);
    assert_eq!(plan.without_xattrs(), 1);
    let text = std::fs::read(path).unwrap().escape_ascii().to_string();
    let text = text.replace("\\x00", "~").replace("070701", "\n070701 ");
    expect![[r"

        070701 00000001000040000000000000000000000000020000000000000000000000000000000000000000000000000000000200000000.~
        070701 00000002000081A40000000000000000000000020000000000000000000000000000000000000000000000000000000200000000a~
        070701 00000002000081A40000000000000000000000020000000000000005000000000000000000000000000000000000000200000000b~hello~~~
        070701 000000030000A1A40000000000000000000000010000000000000001000000000000000000000000000000000000000500000000link~~a~~~
        070701 00000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000B00000000TRAILER!!!"]]
    .assert_eq(text.trim_end_matches('~'));
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let mut tree = Tree::new(Attributes::default());
    let file = Node::File(kiln_disk::File {
        size: 1 << 32,
        content: Content::Stored(0),
    });
    tree.add(Tree::ROOT, b"f", inode(file)).unwrap();
    assert_eq!(
        cpio::plan(&tree).unwrap_err().to_string(),
        "`f` has 4294967296 bytes, and a file in a cpio archive can't be larger than 4294967295"
    );
    let mut tree = Tree::new(Attributes::default());
    tree.add(Tree::ROOT, b"TRAILER!!!", inode(Node::Fifo))
        .unwrap();
    assert!(matches!(cpio::plan(&tree), Err(cpio::PlanError::End)));
    let mut tree = Tree::new(Attributes::default());
    let mut dir = Tree::ROOT;
    for _ in 0..16 {
        dir = tree
            .add(dir, &[b'x'; 255], inode(Node::Directory(Vec::new())))
            .unwrap();
    }
    assert!(cpio::plan(&tree).is_ok());
    tree.add(dir, b"x", inode(Node::Fifo)).unwrap();
    assert!(matches!(
        cpio::plan(&tree),
        Err(cpio::PlanError::PathTooLong(_))
    ));
}
