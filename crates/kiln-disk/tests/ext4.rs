//! ext4: what `e2fsck` thinks of disks, and what the kernel finds on them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use expect_test::expect;
use kiln_base::CancelToken;
use kiln_disk::ext4::{self, Checksums, Growth, Options, Reader};
use kiln_disk::{Attributes, Content, Contents as _, Inode, Node, NodeId, Segment, Tree};
use kiln_sys::fs::Device;
use testkit::{
    Absent, DiskFiles, Fidelity, Mounted, Program, Random, Shape, differences, find_program,
    random_tree,
};

/// Writes a tree in a folder of its own, which goes with the value.
struct Disk {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Disk {
    #[track_caller]
    fn new(tree: &Tree, files: &DiskFiles, options: &Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        write(tree, files, options, &path, 2);
        Self {
            _folder: folder,
            path,
        }
    }

    /// `e2fsck -fn` finds nothing to say.
    #[track_caller]
    fn check(&self) {
        check(&self.path);
    }
}

#[track_caller]
fn write(tree: &Tree, files: &DiskFiles, options: &Options, path: &Path, threads: usize) {
    let plan = ext4::plan(tree, options).unwrap();
    let out = File::create(path).unwrap();
    let threads = NonZeroUsize::new(threads).unwrap();
    let written = plan
        .write(tree, files, &out, threads, &CancelToken::new())
        .unwrap();
    assert_eq!(written.size, plan.size());
    assert_eq!(out.metadata().unwrap().len(), plan.size());
}

#[track_caller]
fn check(path: &Path) {
    let checked = Program::new("e2fsck").arg("-fn").arg(path).run().ok();
    let text = checked.text();
    let is_quiet = text.lines().all(|line| {
        line.starts_with("Pass ") || line.contains("files (") || line.trim().is_empty()
    });
    assert!(is_quiet, "{text}");
}

fn fidelity() -> Fidelity {
    Fidelity {
        nanoseconds: true,
        added: vec![b"lost+found"],
        most_directory_links: Some(65_000),
    }
}

#[track_caller]
fn assert_mounted_equals(tree: &Tree, files: &DiskFiles, disk: &Path, of: &str) {
    let mounted = Mounted::new(disk, "ext4", "ro");
    let found = differences(tree, files, mounted.path(), &fidelity());
    assert!(found.is_empty(), "{of}:\n{}", found.join("\n"));
}

/// What a test needs: `e2fsck`, and perhaps a kernel that mounts.
fn tools(test: &str, mounts: bool) -> bool {
    let found = find_program("e2fsck").map(|_| ());
    let found = found.and_then(|()| match mounts {
        true => Mounted::possible("ext4"),
        false => Ok(()),
    });
    let skipped = |absent: Absent| testkit::skip(test, &absent);
    found.map_err(skipped).is_ok()
}

fn directory() -> Inode {
    Inode {
        attributes: Attributes {
            mode: 0o755,
            ..Attributes::default()
        },
        node: Node::Directory(Vec::new()),
    }
}

#[test]
fn an_empty_tree_is_a_small_disk() {
    if !tools("an_empty_tree_is_a_small_disk", false) {
        return;
    }
    let tree = Tree::new(directory().attributes);
    let disk = Disk::new(&tree, &DiskFiles::new(), &Options::default());
    disk.check();
    let size = disk.path.metadata().unwrap().len();
    assert_eq!(size, 10 * 4096);
}

/// Options that matter to the layout, by number.
fn options(seed: u64) -> Options {
    let mut options = Options {
        label: b"random".to_vec(),
        epoch: 1_600_000_000,
        ..Options::default()
    };
    match seed % 8 {
        0 => options.journal = true,
        1 => options.free_bytes = 300 << 20,
        2 => options.free_inodes = 40_000,
        3 => options.growth = Growth::Unprepared,
        4 => options.growth = Growth::Bytes(1 << 44),
        5 => options.min_bytes = (128 << 20) + 4096 * (seed % 64),
        _ => {}
    }
    options
}

#[test]
fn random_trees_are_mounted_as_they_are() {
    if !tools("random_trees_are_mounted_as_they_are", true) {
        return;
    }
    // Two threads: most of the time goes into starting programs.
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                for seed in (half..500).step_by(2) {
                    let mut files = DiskFiles::new();
                    let shape = Shape::all(usize::try_from(seed % 90).unwrap());
                    let tree = random_tree(seed, &shape, &mut files);
                    let disk = Disk::new(&tree, &files, &options(seed));
                    disk.check();
                    assert_mounted_equals(&tree, &files, &disk.path, &format!("seed {seed}"));
                }
            });
        }
    });
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for seed in [3, 5, 8] {
        let mut files = DiskFiles::new();
        let tree = random_tree(seed, &Shape::all(2000), &mut files);
        let folder = tempfile::tempdir().unwrap();
        let bytes = |threads| {
            let path = folder.path().join(format!("{threads}"));
            write(&tree, &files, &Options::default(), &path, threads);
            std::fs::read(path).unwrap()
        };
        let one = bytes(1);
        assert!(one == bytes(2) && one == bytes(7) && one == bytes(1));
    }
}

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
    let blocks = std::os::unix::fs::MetadataExt::blocks(&disk.path.metadata().unwrap());
    assert!(blocks * 512 < 32 << 20, "{blocks}");
    assert_mounted_equals(&tree, &files, &disk.path, "large");
}

/// The kernel lets those make a mounted disk larger who have `CAP_SYS_RESOURCE`.
fn can_grow_mounted(test: &str) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.unwrap().trim(), 16).unwrap();
    let can = effective >> 24 & 1 == 1;
    if !can {
        let what = "making a mounted disk larger needs CAP_SYS_RESOURCE";
        testkit::skip(test, &Absent(what.to_owned()));
    }
    can
}

#[test]
fn a_disk_with_a_journal_is_used_and_grows() {
    if !tools("a_disk_with_a_journal_is_used_and_grows", true) {
        return;
    }
    let mut files = DiskFiles::new();
    let tree = random_tree(1, &Shape::all(300), &mut files);
    let options = Options {
        journal: true,
        free_bytes: 8 << 20,
        free_inodes: 500,
        ..Options::default()
    };
    let online = can_grow_mounted("a_disk_with_a_journal_is_used_and_grows");
    for is_mounted in [true, false] {
        let disk = Disk::new(&tree, &files, &options);
        {
            let mounted = Mounted::new(&disk.path, "ext4", "rw");
            for number in 0..300 {
                let path = mounted.path().join(format!("new file {number}"));
                std::fs::write(path, vec![1; number * 40]).unwrap();
            }
            std::fs::write(mounted.path().join("large"), vec![7; 5 << 20]).unwrap();
        }
        disk.check();
        let file = File::options().write(true).open(&disk.path).unwrap();
        file.set_len(3 << 30).unwrap();
        if is_mounted && online {
            let mounted = Mounted::new(&disk.path, "ext4", "rw");
            let source = Program::new("findmnt").args(["-no", "SOURCE"]);
            let source = source.arg(mounted.path()).run().ok().text();
            let _ = Program::new("resize2fs").arg(source.trim()).run().ok();
            std::fs::write(mounted.path().join("more"), vec![7; 500 << 20]).unwrap();
        } else {
            // A disk that was mounted has to be checked first.
            let _ = Program::new("e2fsck").arg("-fp").arg(&disk.path).run().ok();
            let _ = Program::new("resize2fs").arg(&disk.path).run().ok();
        }
        disk.check();
        let facts = Program::new("dumpe2fs").arg("-h").arg(&disk.path).run();
        assert!(
            facts
                .ok()
                .text()
                .contains("Block count:              786432")
        );
    }
}

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

#[test]
fn free_space_and_sizes_are_as_asked() {
    let tree = Tree::new(directory().attributes);
    let sizes = |options: Options| {
        let plan = ext4::plan(&tree, &options).unwrap();
        (plan.size(), plan.free_bytes(), plan.inodes())
    };
    let exact = Options::default();
    assert_eq!(sizes(exact.clone()), (40_960, 0, 16));
    let free = Options {
        free_bytes: 1 << 30,
        free_inodes: 1000,
        ..exact.clone()
    };
    let (size, free, inodes) = sizes(free);
    assert!(size > 1 << 30 && size < (1 << 30) + (4 << 20), "{size}");
    assert_eq!((free, inodes), (1 << 30, 1152));
    let large = Options {
        min_bytes: 1 << 30,
        ..exact
    };
    let (size, free, _) = sizes(large);
    assert!(size == 1 << 30 && free < size, "{free}");
}

#[test]
fn what_can_not_be_on_a_disk_is_said_by_path() {
    let check = |inode: Inode, expected: expect_test::Expect| {
        let mut tree = Tree::new(directory().attributes);
        tree.add(Tree::ROOT, b"a\xff", inode).unwrap();
        let error = ext4::plan(&tree, &Options::default()).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    let with = |name: &str, value: &[u8]| Inode {
        attributes: Attributes {
            xattrs: vec![(name.into(), value.to_vec())],
            ..Attributes::default()
        },
        node: Node::Fifo,
    };
    let of = |node| Inode {
        attributes: Attributes::default(),
        node,
    };
    let file = |size, content| of(Node::File(kiln_disk::File { size, content }));
    check(
        with("user.x", &[0; 4041]),
        expect![[
            r"the extended attributes of `a\xff` take 4064 bytes, ext4 has room for 4,060: remove some"
        ]],
    );
    check(
        with("com.example", b""),
        expect![[r"`a\xff` has the extended attribute `com.example`, which ext4 can't name"]],
    );
    check(
        with("system.posix_acl_access", b"\x01\0\0\0"),
        expect![[r"`system.posix_acl_access` of `a\xff` is no access control list"]],
    );
    check(
        of(Node::CharDevice(Device {
            major: 4096,
            minor: 1,
        })),
        expect![[r"the device `a\xff` is 4096:1, Linux counts to 4095:1048575"]],
    );
    check(
        of(Node::Symlink(vec![b'x'; 4096].into())),
        expect![[r"the target of `a\xff` has 4096 bytes, not 1 to 4095"]],
    );
    check(
        file(u64::MAX, Content::Stored(0)),
        expect![[r"`a\xff` has 18446744073709551615 bytes, files of ext4 are smaller than 16 TiB"]],
    );
    check(
        file((1 << 44) - 4096, Content::Stored(0)),
        expect!["the disk would have 16 TiB or more, or more than 4,000,000,000 inodes"],
    );
    check(
        file(7, Content::Bytes((*b"six").into())),
        expect![[r"the content of `a\xff` is not as large as it says, or has overlapping parts"]],
    );
}

#[test]
fn a_file_that_became_shorter_is_named() {
    let mut files = DiskFiles::new();
    let key = files.store(b"short");
    let mut tree = Tree::new(directory().attributes);
    let node = Node::File(kiln_disk::File {
        size: 6,
        content: Content::Stored(key),
    });
    let attributes = Attributes::default();
    tree.add(Tree::ROOT, b"file", Inode { attributes, node })
        .unwrap();
    let plan = ext4::plan(&tree, &Options::default()).unwrap();
    let out = tempfile::tempfile().unwrap();
    let token = CancelToken::new();
    let error = plan.write(&tree, &files, &out, NonZeroUsize::MIN, &token);
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "could not read the content of `file`");
    token.cancel();
    let error = plan.write(&tree, &files, &out, NonZeroUsize::MIN, &token);
    assert_eq!(error.unwrap_err().to_string(), "cancelled");
}
