//! Disks that the erofs writer makes, as `fsck.erofs` and the kernel see them.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;

use kiln_base::CancelToken;
use kiln_disk::erofs::{self, Cluster, Compression, Options, WriteError};
use kiln_disk::{Attributes, Content, Contents, Inode, Node, Tree};
use kiln_sys::fs::{Device, FileTime};
use testkit::{
    DiskFiles, Fidelity, Mounted, Program, Random, Shape, differences, find_program, random_tree,
    skip,
};

const COMPRESSIONS: [Compression; 4] = [
    Compression::None,
    Compression::Lz4(Cluster::Small),
    Compression::Lz4(Cluster::Medium),
    Compression::Lz4(Cluster::Large),
];

fn options(compression: Compression) -> Options {
    Options {
        uuid: *b"0123456789abcdef",
        label: *b"kiln\0\0\0\0\0\0\0\0\0\0\0\0",
        epoch: 1_700_000_000,
        compression,
    }
}

/// Writes a tree; without compression the plan's size is exact.
fn write(
    tree: &Tree,
    contents: &dyn Contents,
    options: &Options,
    threads: usize,
    path: &Path,
) -> Result<(), WriteError> {
    let plan = erofs::plan(tree, options).unwrap();
    let out = File::create(path).unwrap();
    let threads = NonZeroUsize::new(threads).unwrap();
    let written = plan.write(tree, contents, &out, threads, &CancelToken::new())?;
    assert_eq!(out.metadata().unwrap().len(), written.size);
    if options.compression == Compression::None {
        assert_eq!(written.size, plan.size());
    }
    Ok(())
}

/// A random tree; some of its files become large or compressible.
fn tree(seed: u64, names: usize, files: &mut DiskFiles) -> Tree {
    let shape = Shape {
        xattr_bytes: 9000,
        ..Shape::all(names)
    };
    let mut tree = random_tree(seed, &shape, files);
    let mut random = Random::new(seed ^ 1);
    let mut found = Vec::new();
    tree.walk(|_, id| found.push(id));
    for id in found {
        let inode = tree.inode_mut(id);
        if random.below(4) == 0 {
            inode.attributes.mtime = FileTime::from_seconds(1_700_000_000);
        }
        let is_whole =
            matches!(&inode.node, Node::File(file) if !matches!(file.content, Content::Sparse(..)));
        if is_whole && random.below(2) == 0 {
            let bytes = compressible(&mut random);
            let size = bytes.len() as u64;
            let content = Content::Stored(files.store(&bytes));
            inode.node = Node::File(kiln_disk::File { size, content });
        }
    }
    tree
}

/// Stretches of text, of random bytes and of zeros.
fn compressible(random: &mut Random) -> Vec<u8> {
    let size = random.pick(&[5000, 9000, 40_000, 140_000, 300_000, 1_100_000, 3_000_000]);
    let size = size + random.index(5000);
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let length = 1 + random.index(100_000);
        match random.below(4) {
            0 => bytes.extend_from_slice(&random.bytes(length)),
            1 => bytes.resize(bytes.len() + length, 0),
            _ => {
                let words: Vec<_> = (0..50).map(|_| random.bytes(6)).collect();
                for _ in 0..length / 6 {
                    bytes.extend_from_slice(&words[random.index(50)]);
                }
            }
        }
    }
    bytes.truncate(size);
    bytes
}

fn fsck(disk: &Path) {
    let _ = Program::new("fsck.erofs")
        .arg("--extract")
        .arg(disk)
        .run()
        .ok();
}

#[track_caller]
fn check_mounted(tree: &Tree, files: &DiskFiles, disk: &Path) {
    let mounted = Mounted::new(disk, "erofs", "ro");
    let fidelity = Fidelity {
        nanoseconds: true,
        ..Fidelity::default()
    };
    let found = differences(tree, files, mounted.path(), &fidelity);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn random_trees_are_clean_and_mount_as_they_are() {
    let name = "random_trees_are_clean_and_mount_as_they_are";
    let can_check = find_program("fsck.erofs")
        .map_err(|absent| skip(name, &absent))
        .is_ok();
    let can_mount = Mounted::possible("erofs")
        .map_err(|absent| skip(name, &absent))
        .is_ok();
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let count = std::env::var("KILN_RANDOM_TREES").map_or(12, |count| count.parse().unwrap());
    for seed in 0_usize..count {
        let mut files = DiskFiles::new();
        let names = [3, 40, 200, 700][seed % 4];
        let tree = tree(seed as u64, names, &mut files);
        let compression = COMPRESSIONS[(seed / 4 + seed) % 4];
        write(&tree, &files, &options(compression), 2, &disk).unwrap();
        if can_check {
            fsck(&disk);
        }
        if can_mount {
            check_mounted(&tree, &files, &disk);
        }
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = DiskFiles::new();
    let tree = tree(77, 300, &mut files);
    for compression in COMPRESSIONS {
        let mut digests = Vec::new();
        for threads in [1, 2, 7] {
            let disk = folder.path().join(threads.to_string());
            write(&tree, &files, &options(compression), threads, &disk).unwrap();
            digests.push(std::fs::read(&disk).unwrap());
        }
        assert!(digests[0] == digests[1] && digests[0] == digests[2]);
    }
}

fn file(bytes: &[u8]) -> Inode {
    Inode {
        attributes: Attributes::default(),
        node: Node::File(kiln_disk::File::of_bytes(bytes)),
    }
}

#[test]
fn a_wide_directory_is_found_by_every_name() {
    let name = "a_wide_directory_is_found_by_every_name";
    if let Err(absent) = Mounted::possible("erofs") {
        return skip(name, &absent);
    }
    let mut tree = Tree::new(Attributes::default());
    for number in 0..20_000 {
        tree.add(Tree::ROOT, format!("{number:07}").as_bytes(), file(b"x"))
            .unwrap();
    }
    for odd in [&b" before dots"[..], b".!", b".-between", b"...", b"..a"] {
        tree.add(Tree::ROOT, odd, file(b"y")).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let files = DiskFiles::new();
    write(&tree, &files, &options(Compression::None), 2, &disk).unwrap();
    check_mounted(&tree, &files, &disk);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let refused = |change: &dyn Fn(&mut Inode)| {
        let mut tree = Tree::new(Attributes::default());
        let id = tree.add(Tree::ROOT, b"f", file(b"x")).unwrap();
        change(tree.inode_mut(id));
        erofs::plan(&tree, &options(Compression::None))
            .unwrap_err()
            .to_string()
    };
    let xattr = |name: &'static str, size: usize| {
        move |inode: &mut Inode| inode.attributes.xattrs = vec![(name.into(), vec![1; size])]
    };
    assert_eq!(
        refused(&xattr("other.x", 1)),
        "erofs can't hold the extended attribute `other.x` of `f`"
    );
    assert_eq!(
        refused(&xattr("user.", 1)),
        "erofs can't hold the extended attribute `user.` of `f`"
    );
    assert_eq!(
        refused(&xattr("user.x", 65_536)),
        "erofs can't hold the extended attribute `user.x` of `f`"
    );
    let many = |inode: &mut Inode| {
        let xattr = |number| (format!("user.{number}").into(), vec![1; 60_000]);
        inode.attributes.xattrs = (1..6).map(xattr).collect();
    };
    assert_eq!(
        refused(&many),
        "the extended attributes of `f` take more than the 256 KiB that erofs can hold"
    );
    let device = |inode: &mut Inode| {
        inode.node = Node::CharDevice(Device {
            major: 4096,
            minor: 0,
        });
    };
    assert_eq!(
        refused(&device),
        "erofs can't hold the device number of `f`"
    );
    let large = |inode: &mut Inode| {
        inode.node = Node::File(kiln_disk::File {
            size: u64::MAX,
            content: Content::Stored(0),
        });
    };
    assert_eq!(
        refused(&large),
        "the file system would be larger than the 16 TiB that erofs can address"
    );
}

#[test]
fn short_files_and_cancelled_work_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    for compression in COMPRESSIONS {
        for size in [10_u64, 10_000, 5_000_000] {
            let mut files = DiskFiles::new();
            let key = files.store(b"short");
            let mut tree = Tree::new(Attributes::default());
            let content = Content::Stored(key);
            let node = Node::File(kiln_disk::File { size, content });
            let attributes = Attributes::default();
            tree.add(Tree::ROOT, b"f", Inode { attributes, node })
                .unwrap();
            let error = write(&tree, &files, &options(compression), 2, &disk).unwrap_err();
            assert_eq!(error.to_string(), "failed to read `f`");
        }
        let plan = erofs::plan(&Tree::new(Attributes::default()), &options(compression)).unwrap();
        let cancel = CancelToken::new();
        cancel.cancel();
        let out = File::create(&disk).unwrap();
        let tree = Tree::new(Attributes::default());
        let error = plan.write(&tree, &DiskFiles::new(), &out, NonZeroUsize::MIN, &cancel);
        assert!(matches!(error, Err(WriteError::Cancelled(_))));
    }
}

#[test]
fn an_empty_tree_is_a_disk() {
    let name = "an_empty_tree_is_a_disk";
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let tree = Tree::new(Attributes::default());
    write(
        &tree,
        &DiskFiles::new(),
        &options(Compression::None),
        1,
        &disk,
    )
    .unwrap();
    assert_eq!(std::fs::metadata(&disk).unwrap().len(), 8192);
    match Mounted::possible("erofs") {
        Ok(()) => check_mounted(&tree, &DiskFiles::new(), &disk),
        Err(absent) => skip(name, &absent),
    }
}
