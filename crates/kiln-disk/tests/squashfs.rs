//! Disks that the squashfs writer makes, as `unsquashfs` and the kernel see them.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;

use kiln_base::CancelToken;
use kiln_disk::squashfs::{self, Block, Compression, Options, WriteError};
use kiln_disk::{Attributes, Content, Contents, Inode, Node, Tree};
use kiln_sys::fs::{Device, FileTime};
use testkit::{
    DiskFiles, Fidelity, Mounted, Program, Random, Shape, differences, find_program, random_tree,
    skip,
};

const OPTIONS: [Options; 3] = [
    options(Compression::Gzip(6), Block::Medium),
    options(Compression::Zstd(3), Block::Medium),
    options(Compression::Zstd(1), Block::Large),
];

const fn options(compression: Compression, block: Block) -> Options {
    Options {
        epoch: 1_700_000_000,
        compression,
        block,
    }
}

fn write(
    tree: &Tree,
    contents: &dyn Contents,
    options: Options,
    threads: usize,
    path: &Path,
) -> Result<(), WriteError> {
    let plan = squashfs::plan(tree, &options).unwrap();
    let out = File::create(path).unwrap();
    let threads = NonZeroUsize::new(threads).unwrap();
    let written = plan.write(tree, contents, &out, threads, &CancelToken::new())?;
    assert_eq!(out.metadata().unwrap().len(), written.size);
    assert!(
        written.size <= plan.size(),
        "{} > {}",
        written.size,
        plan.size()
    );
    Ok(())
}

/// A random tree of what the format can hold; some of its files become large or compressible.
fn tree(seed: u64, names: usize, files: &mut DiskFiles) -> Tree {
    let shape = Shape {
        times: 0..=i64::from(u32::MAX),
        nanoseconds: false,
        xattr_bytes: 9000,
        acls: false,
        ..Shape::all(names)
    };
    let mut tree = random_tree(seed, &shape, files);
    let mut random = Random::new(seed ^ 1);
    let mut found = Vec::new();
    tree.walk(|_, id| found.push(id));
    for id in found {
        let inode = tree.inode_mut(id);
        let is_whole =
            matches!(&inode.node, Node::File(file) if !matches!(file.content, Content::Sparse(..)));
        if is_whole && random.below(2) == 0 {
            let size = random.pick(&[100, 5000, 131_072, 262_144, 300_000, 1_048_576, 3_000_000]);
            let word = random.bytes(600);
            let mut bytes: Vec<u8> = word.iter().copied().cycle().take(size).collect();
            if random.below(2) == 0 {
                let end = size.min(200_000);
                bytes[..end].fill(0);
            }
            let content = Content::Stored(files.store(&bytes));
            let size = bytes.len() as u64;
            inode.node = Node::File(kiln_disk::File { size, content });
        }
    }
    tree
}

#[track_caller]
fn check_mounted(tree: &Tree, files: &DiskFiles, disk: &Path) {
    let mounted = Mounted::new(disk, "squashfs", "ro");
    let found = differences(tree, files, mounted.path(), &Fidelity::default());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn random_trees_are_listed_and_mount_as_they_are() {
    let name = "random_trees_are_listed_and_mount_as_they_are";
    let unsquashfs = find_program("unsquashfs").map_err(|absent| skip(name, &absent));
    let can_mount = Mounted::possible("squashfs")
        .map_err(|absent| skip(name, &absent))
        .is_ok();
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let count = std::env::var("KILN_RANDOM_TREES").map_or(12, |count| count.parse().unwrap());
    for seed in 0_usize..count {
        let mut files = DiskFiles::new();
        let tree = tree(seed as u64, [3, 40, 200, 700][seed % 4], &mut files);
        write(&tree, &files, OPTIONS[seed % 3], 2, &disk).unwrap();
        if let Ok(unsquashfs) = &unsquashfs {
            let listing = Program::new(unsquashfs).arg("-ll").arg(&disk).run().ok();
            let mut names = 0;
            tree.walk(|_, _| names += 1);
            let lines = listing.stdout.split(|&byte| byte == b'\n');
            let found = lines.filter(|line| line.windows(13).any(|part| part == b"squashfs-root"));
            // Names can have line ends, but hardly with this word after them.
            assert!(found.count() >= names, "{seed}");
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
    for options in OPTIONS {
        let bytes = |threads: usize| {
            let disk = folder.path().join("disk");
            write(&tree, &files, options, threads, &disk).unwrap();
            std::fs::read(&disk).unwrap()
        };
        let expected = bytes(1);
        assert!(expected == bytes(2) && expected == bytes(7));
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
    if let Err(absent) = Mounted::possible("squashfs") {
        return skip(name, &absent);
    }
    let mut tree = Tree::new(Attributes::default());
    for number in 0..6_000 {
        tree.add(Tree::ROOT, format!("{number:07}").as_bytes(), file(b"x"))
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    write(&tree, &DiskFiles::new(), OPTIONS[1], 2, &disk).unwrap();
    check_mounted(&tree, &DiskFiles::new(), &disk);
}

#[test]
fn an_empty_tree_is_a_disk() {
    let name = "an_empty_tree_is_a_disk";
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let tree = Tree::new(Attributes::default());
    write(&tree, &DiskFiles::new(), OPTIONS[0], 1, &disk).unwrap();
    assert_eq!(std::fs::metadata(&disk).unwrap().len(), 4096);
    match Mounted::possible("squashfs") {
        Ok(()) => check_mounted(&tree, &DiskFiles::new(), &disk),
        Err(absent) => skip(name, &absent),
    }
}

#[test]
fn what_the_format_cannot_hold_is_told() {
    let mut tree = Tree::new(Attributes::default());
    let id = tree.add(Tree::ROOT, b"f", file(b"x")).unwrap();
    tree.inode_mut(id).attributes.mtime = FileTime::from_seconds(-1);
    tree.inode_mut(id).attributes.xattrs = vec![
        ("system.posix_acl_access".into(), vec![1]),
        ("user.x".into(), vec![1]),
    ];
    assert_eq!(squashfs::plan(&tree, &OPTIONS[0]).unwrap().left_out(), 1);
    let error = |tree: &Tree, options| squashfs::plan(tree, &options).unwrap_err().to_string();
    assert_eq!(
        error(&tree, options(Compression::Zstd(23), Block::Medium)),
        "zstd has no level 23, only 1 to 22"
    );
    tree.inode_mut(id).node = Node::BlockDevice(Device {
        major: 1,
        minor: 1 << 20,
    });
    assert_eq!(
        error(&tree, OPTIONS[0]),
        "squashfs can't hold the device number of `f`"
    );
    for uid in 0..65_536 {
        let mut inode = file(b"");
        inode.attributes.uid = uid;
        tree.add(Tree::ROOT, format!("{uid:06}").as_bytes(), inode)
            .unwrap();
    }
    tree.inode_mut(id).node = Node::Fifo;
    assert_eq!(
        error(&tree, OPTIONS[0]),
        "squashfs can't hold more than 65535 owners and groups"
    );
}

#[test]
fn short_files_and_cancelled_work_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    for size in [10_u64, 5_000_000] {
        let mut files = DiskFiles::new();
        let content = Content::Stored(files.store(b"short"));
        let mut tree = Tree::new(Attributes::default());
        let mut inode = file(b"");
        inode.node = Node::File(kiln_disk::File { size, content });
        tree.add(Tree::ROOT, b"f", inode).unwrap();
        let error = write(&tree, &files, OPTIONS[1], 2, &disk).unwrap_err();
        assert_eq!(error.to_string(), "failed to read `f`");
        let plan = squashfs::plan(&tree, &OPTIONS[1]).unwrap();
        let cancel = CancelToken::new();
        cancel.cancel();
        let out = File::create(&disk).unwrap();
        let error = plan.write(&tree, &files, &out, NonZeroUsize::MIN, &cancel);
        assert!(matches!(error, Err(WriteError::Cancelled(_))));
    }
}
