//! Disks read back: what was written, what other programs wrote, and what is damaged.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::Path;

use kiln_base::CancelToken;
use kiln_disk::ext4::Checksums;
use kiln_disk::image::{Format, Image};
use kiln_disk::{
    Content, Contents as _, DiskSource, Node, ReadError, Tree, cpio, erofs, ext4, squashfs, verity,
};
use testkit::{Absent, DiskFiles, Program, Random, Shape, find_program, random_tree, skip};

/// A way to write a tree.
#[derive(Debug, Clone, Copy)]
enum Written {
    Ext4,
    Erofs(erofs::Compression),
    Squashfs(squashfs::Compression, squashfs::Block),
    Cpio,
}

const ALL: [Written; 8] = [
    Written::Ext4,
    Written::Erofs(erofs::Compression::None),
    Written::Erofs(erofs::Compression::Lz4(erofs::Cluster::Small)),
    Written::Erofs(erofs::Compression::Lz4(erofs::Cluster::Large)),
    Written::Squashfs(squashfs::Compression::Gzip(6), squashfs::Block::Medium),
    Written::Squashfs(squashfs::Compression::Zstd(3), squashfs::Block::Medium),
    Written::Squashfs(squashfs::Compression::Zstd(1), squashfs::Block::Large),
    Written::Cpio,
];

impl Written {
    /// What the format can hold.
    fn shape(self, names: usize) -> Shape {
        let all = Shape {
            xattr_bytes: 3000,
            ..Shape::all(names)
        };
        let whole = Shape {
            times: 0..=i64::from(u32::MAX),
            nanoseconds: false,
            acls: false,
            ..all.clone()
        };
        match self {
            Self::Ext4 | Self::Erofs(_) => all,
            Self::Squashfs(..) => whole,
            Self::Cpio => Shape {
                xattr_bytes: 0,
                ..whole
            },
        }
    }

    fn write(self, tree: &Tree, files: &DiskFiles, path: &Path) {
        let out = File::create(path).unwrap();
        let (threads, cancel) = (NonZeroUsize::new(2).unwrap(), CancelToken::new());
        match self {
            Self::Ext4 => {
                let plan = ext4::plan(tree, &ext4::Options::default()).unwrap();
                plan.write(tree, files, &out, threads, &cancel).unwrap();
            }
            Self::Erofs(compression) => {
                let options = erofs::Options {
                    uuid: *b"0123456789abcdef",
                    label: *b"kiln\0\0\0\0\0\0\0\0\0\0\0\0",
                    epoch: 1_700_000_000,
                    compression,
                };
                let plan = erofs::plan(tree, &options).unwrap();
                plan.write(tree, files, &out, threads, &cancel).unwrap();
            }
            Self::Squashfs(compression, block) => {
                let options = squashfs::Options {
                    epoch: 1_700_000_000,
                    compression,
                    block,
                };
                let plan = squashfs::plan(tree, &options).unwrap();
                plan.write(tree, files, &out, threads, &cancel).unwrap();
            }
            Self::Cpio => {
                let plan = cpio::plan(tree).unwrap();
                plan.write(tree, files, &out, threads, &cancel).unwrap();
            }
        }
    }
}

/// A random tree; some of its files become large or compressible.
fn tree(written: Written, seed: u64, names: usize, files: &mut DiskFiles) -> Tree {
    let mut tree = random_tree(seed, &written.shape(names), files);
    let mut random = Random::new(seed ^ 1);
    let mut found = Vec::new();
    tree.walk(|_, id| found.push(id));
    for id in found {
        let inode = tree.inode_mut(id);
        let is_whole =
            matches!(&inode.node, Node::File(file) if !matches!(file.content, Content::Sparse(..)));
        let is_sparse = matches!(&inode.node, Node::File(_)) && !is_whole;
        // An archive has no holes, and random ones are large.
        let is_too_large = is_sparse && matches!(written, Written::Cpio);
        if is_too_large || (is_whole && random.below(2) == 0) {
            let size = random.pick(&[100, 5000, 131_072, 262_144, 300_000, 1_048_576, 3_000_000]);
            let word = random.bytes(600);
            let mut bytes: Vec<u8> = word.iter().copied().cycle().take(size).collect();
            if random.below(2) == 0 {
                let end = size.min(200_000);
                bytes[..end].fill(0);
            }
            if random.below(3) == 0 {
                bytes[size / 2..].copy_from_slice(&random.bytes(size - size / 2));
            }
            let content = Content::Stored(files.store(&bytes));
            let size = bytes.len() as u64;
            inode.node = Node::File(kiln_disk::File { size, content });
        }
    }
    tree
}

fn names(tree: &Tree) -> Vec<(String, kiln_disk::NodeId)> {
    let mut names = Vec::new();
    tree.walk(|path, id| names.push((path.escape_ascii().to_string(), id)));
    names
}

/// What a reader makes of a disk, with contents.
#[track_caller]
fn assert_read_equals<D: DiskSource>(tree: &Tree, files: &DiskFiles, image: &Image<D>) {
    let mut read = image.tree().unwrap();
    if image.facts().format == Format::Ext4 && tree.child(Tree::ROOT, b"lost+found").is_none() {
        read.unlink(Tree::ROOT, b"lost+found").unwrap();
    }
    let (expected, found) = (names(tree), names(&read));
    assert_eq!(expected.len(), found.len());
    let mut nodes = HashMap::new();
    for ((path, id), (read_path, read_id)) in expected.into_iter().zip(found) {
        assert_eq!(path, read_path);
        if let Some(known) = nodes.insert(id, read_id) {
            // The kernel makes several symbolic links of hard links of one.
            let is_link = matches!(tree.inode(id).node, Node::Symlink(_));
            assert!(known == read_id || is_link, "{path}");
            continue;
        }
        let (inode, read) = (tree.inode(id), read.inode(read_id));
        assert_eq!(inode.attributes, read.attributes, "{path}");
        match (&inode.node, &read.node) {
            (Node::Directory(_), Node::Directory(_)) => {}
            (Node::File(file), Node::File(read)) => {
                assert_eq!(file.size, read.size, "{path}");
                if file.size < 4 << 20 {
                    assert!(
                        content(file, files) == content_on(image, read, file.size),
                        "{path}"
                    );
                }
            }
            (node, read) => assert_eq!(node, read, "{path}"),
        }
    }
}

/// A file's content as the tree has it.
fn content(file: &kiln_disk::File, files: &DiskFiles) -> Vec<u8> {
    let key = match &file.content {
        Content::Bytes(bytes) => return bytes.to_vec(),
        Content::Stored(key) | Content::Sparse(key, _) => *key,
    };
    let mut bytes = Vec::new();
    files.open(key).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A file's content as the disk has it; what the tree has for holes is zeros.
fn content_on<D: DiskSource>(image: &Image<D>, file: &kiln_disk::File, size: u64) -> Vec<u8> {
    let mut open = image.open_file(file).unwrap();
    let mut bytes = vec![1; usize::try_from(size).unwrap()];
    // In pieces, from the end, and across blocks.
    let mut end = bytes.len();
    while end > 0 {
        let start = end.saturating_sub(400_001);
        let read = image.read_at(&mut open, &mut bytes[start..end], start as u64);
        assert_eq!(read.unwrap(), end - start);
        end = start;
    }
    let mut data = 0;
    for segment in file.segments() {
        let start = usize::try_from(segment.offset).unwrap();
        assert!(
            bytes[usize::try_from(data).unwrap()..start]
                .iter()
                .all(|byte| *byte == 0)
        );
        data = segment.offset + segment.length;
    }
    bytes
}

fn open(path: &Path) -> Image<File> {
    Image::open(File::open(path).unwrap(), Checksums::Verified).unwrap()
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let count = std::env::var("KILN_RANDOM_TREES").map_or(2, |count| count.parse().unwrap());
    for written in ALL {
        for seed in 0_u64..count {
            let mut files = DiskFiles::new();
            let names = [60, 300][usize::try_from(seed % 2).unwrap()];
            let tree = tree(written, seed + 500, names, &mut files);
            written.write(&tree, &files, &disk);
            assert_read_equals(&tree, &files, &open(&disk));
        }
    }
}

#[test]
fn what_a_disk_says_of_itself_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let mut files = DiskFiles::new();
    let tree = tree(Written::Cpio, 3, 30, &mut files);
    for (written, format) in [
        (ALL[0], Format::Ext4),
        (ALL[2], Format::Erofs),
        (ALL[5], Format::Squashfs),
        (ALL[7], Format::Cpio),
    ] {
        written.write(&tree, &files, &disk);
        let image = open(&disk);
        let facts = image.facts();
        let size = std::fs::metadata(&disk).unwrap().len();
        assert_eq!(facts.format, format);
        assert!(facts.size <= size && size - facts.size < 4096);
        assert_eq!(facts.rest, 0);
        match format {
            Format::Erofs => {
                assert_eq!(facts.label.as_deref(), Some(&b"kiln"[..]));
                assert_eq!(facts.compression, ["lz4"]);
            }
            Format::Squashfs => assert_eq!(facts.compression, ["zstd"]),
            Format::Ext4 => assert_eq!(facts.has_journal, Some(false)),
            Format::Cpio => {}
        }
    }
}

#[test]
fn a_verity_tree_behind_a_disk_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    for names in [3, 300] {
        let mut files = DiskFiles::new();
        let tree = tree(ALL[4], names, 30, &mut files);
        ALL[4].write(&tree, &files, &disk);
        let options = verity::Options {
            uuid: [7; 16],
            salt: b"salt".to_vec(),
        };
        let file = File::options().read(true).write(true).open(&disk).unwrap();
        let size = file.metadata().unwrap().len();
        let plan = verity::plan(size, &options).unwrap();
        let cancel = CancelToken::new();
        let written = plan.write(&file, &file, size, NonZeroUsize::MIN, &cancel);
        let image = open(&disk);
        let found = image.facts().verity.as_ref().unwrap();
        assert_eq!(found.root, written.unwrap().root);
        assert_eq!((found.offset, found.data_size), (size, size));
        assert_eq!((found.uuid, &found.salt), (options.uuid, &options.salt));
        assert_eq!(image.facts().rest, 0);
    }
}

/// A folder with something of everything that any user can make, and what is in it.
const FOLDER: &str = "a/b 0644 content\na/link -> b\na/hard = a/b\nempty 0600\nsub/deep/er 0755 x";

/// Makes a disk of a folder by these words, with the folder and the disk appended by `words`.
fn foreign(program: &str, words: impl Fn(&str, &str) -> Vec<String>) -> Result<(), Absent> {
    let program = find_program(program)?;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    testkit::make_tree(&source, FOLDER);
    let mut random = Random::new(9);
    let word = random.bytes(900);
    let texts: Vec<u8> = word.iter().copied().cycle().take(900_000).collect();
    let mut holes = vec![0; 1 << 20];
    holes[500_000..500_100].copy_from_slice(&random.bytes(100));
    let contents = [
        ("text", texts),
        ("random", random.bytes(700_001)),
        ("holes", holes),
    ];
    for (name, bytes) in &contents {
        std::fs::write(source.join(name), bytes).unwrap();
    }
    for number in 0..500 {
        let name = source.join("sub").join(format!("file-{number:0100}"));
        std::fs::write(name, vec![b'y'; number * 7]).unwrap();
    }
    let disk = folder.path().join("disk");
    let words = words(source.to_str().unwrap(), disk.to_str().unwrap());
    let _ = Program::new(&program).args(&words).run().ok();
    let image = open(&disk);
    let tree = image.tree().unwrap();
    let find = |path: &str| {
        let names = path.split('/').map(str::as_bytes);
        names.fold(Tree::ROOT, |id, name| tree.child(id, name).unwrap())
    };
    let bytes_of = |path: &str| match &tree.inode(find(path)).node {
        Node::File(file) => content_on(&image, file, file.size),
        node => panic!("{path}: {node:?}"),
    };
    for (name, bytes) in &contents {
        assert!(bytes_of(name) == *bytes, "{name} {words:?}");
    }
    assert_eq!(bytes_of("a/b"), std::fs::read(source.join("a/b")).unwrap());
    assert_eq!(find("a/b"), find("a/hard"));
    assert_eq!(
        tree.inode(find("a/link")).node,
        Node::Symlink((*b"b").into())
    );
    assert_eq!(tree.inode(find("sub/deep/er")).attributes.mode, 0o755);
    for number in 0..500 {
        let path = format!("sub/file-{number:0100}");
        assert_eq!(bytes_of(&path).len(), number * 7, "{path}");
    }
    Ok(())
}

fn words(words: &[&str], ends: &[&str]) -> Vec<String> {
    let all = words.iter().chain(ends);
    all.map(|word| (*word).to_owned()).collect()
}

#[test]
fn what_mkfs_erofs_wrote_is_read() {
    for options in [
        &[][..],
        &["-zlz4"],
        &["-zlz4hc"],
        &["-zlz4hc,12", "-C65536"],
        &["-zlz4", "-Elegacy-compress"],
        &["--chunksize=4096"],
        &["--chunksize=65536", "-Eforce-chunk-indexes"],
        &["-Eforce-inode-extended", "-x1"],
    ] {
        let made = foreign("mkfs.erofs", |source, disk| words(options, &[disk, source]));
        if let Err(absent) = made {
            return skip("what_mkfs_erofs_wrote_is_read", &absent);
        }
    }
}

#[test]
fn what_mksquashfs_wrote_is_read() {
    for options in [
        &["-comp", "gzip"][..],
        &["-comp", "zstd", "-b", "1M"],
        &["-comp", "lz4"],
        &["-comp", "zstd", "-noI", "-noD", "-noF"],
        &["-comp", "gzip", "-no-fragments", "-no-duplicates"],
        &["-comp", "gzip", "-always-use-fragments", "-b", "4096"],
    ] {
        let made = foreign("mksquashfs", |source, disk| {
            let mut all = words(&[source, disk, "-quiet", "-no-progress"], &[]);
            all.extend(words(options, &[]));
            all
        });
        if let Err(absent) = made {
            return skip("what_mksquashfs_wrote_is_read", &absent);
        }
    }
}

#[test]
fn what_mke2fs_wrote_is_read() {
    for options in [
        &[][..],
        &["-b", "1024"],
        &["-O", "^64bit,^metadata_csum,^has_journal"],
    ] {
        let made = foreign("mke2fs", |source, disk| {
            let mut all = words(&["-q", "-F", "-t", "ext4", "-d", source], options);
            all.extend(words(&[disk, "32M"], &[]));
            all
        });
        if let Err(absent) = made {
            return skip("what_mke2fs_wrote_is_read", &absent);
        }
    }
}

#[test]
fn what_cpio_wrote_is_read() {
    let made = foreign("sh", |source, disk| {
        let script = format!(
            "cd {source} && (find . -depth | cpio --quiet -o -H newc; \
             head -c 600 /dev/zero; echo ./empty | cpio --quiet -o -H newc) > {disk}"
        );
        words(&["-c", &script], &[])
    });
    if let Err(absent) = find_program("cpio").and(made) {
        skip("what_cpio_wrote_is_read", &absent);
    }
}

#[test]
fn other_files_are_named() {
    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let error = Image::open(bytes, Checksums::Verified).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let none = |what: &str| format!("this is {what}, and no ext4, erofs, squashfs or cpio");
    check(b"", &none("nothing but zeros at the beginning"));
    check(b"\x1f\x8b\x08", &none("a compressed file"));
    check(b"\x7fELF", &none("a program"));
    check(&[1; 4096], &none("something unknown"));
    let mut squashfs = b"hsqs".to_vec();
    squashfs.resize(96, 0);
    check(
        &squashfs,
        "the file system has version 0.0, which kiln can't read",
    );
    (squashfs[28], squashfs[20]) = (4, 4);
    check(
        &squashfs,
        "the file system has contents compressed by xz, which kiln can't read",
    );
}

/// Looks at everything that can be reached.
fn look<D: DiskSource>(disk: D) -> Result<(), ReadError> {
    let image = Image::open(disk, Checksums::Ignored)?;
    let tree = image.tree()?;
    let mut buffer = vec![0; 1 << 16];
    let mut problem = Ok(());
    tree.walk(|_, id| {
        let Node::File(file) = &tree.inode(id).node else {
            return;
        };
        let read = image.open_file(file).and_then(|mut open| {
            let end = file.size.saturating_sub(1);
            for offset in [0, 1 << 16, file.size / 2, end] {
                image.read_at(&mut open, &mut buffer, offset)?;
            }
            Ok(())
        });
        if read.is_err() {
            problem = read;
        }
    });
    problem
}

#[test]
fn a_damaged_disk_is_an_error_and_nothing_worse() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let rounds = std::env::var("KILN_DAMAGED_DISKS").map_or(700, |count| count.parse().unwrap());
    for written in ALL {
        let mut files = DiskFiles::new();
        let shape = Shape {
            file_bytes: 20_000,
            ..written.shape(60)
        };
        let tree = random_tree(4, &shape, &mut files);
        written.write(&tree, &files, &disk);
        let whole = std::fs::read(&disk).unwrap();
        if whole.len() > 16 << 20 {
            continue;
        }
        look(&whole[..]).unwrap();
        let mut random = Random::new(1);
        let mut found = 0;
        let mut bytes = whole.clone();
        for _ in 0..rounds {
            bytes.clone_from(&whole);
            for _ in 0..6 {
                // What has a meaning is in front, at the end, or anywhere.
                let length = bytes.len();
                let at = match random.below(3) {
                    0 => random.index(length.min(4096)),
                    1 => length - 1 - random.index(length.min(16 << 10)),
                    _ => random.index(length),
                };
                bytes[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff, 0x20, 0x03]);
            }
            let length = bytes.len() - random.index(3) * random.index(bytes.len() / 2);
            found += usize::from(look(&bytes[..length]).is_err());
        }
        assert!(found > rounds / 4, "{written:?}: {found}");
    }
}
