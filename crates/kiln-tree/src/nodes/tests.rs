//! What is packed comes back.

use kiln_sys::fs::{Device, FileTime, FileType};
use proptest::prelude::*;

use super::body::TYPES;
use super::*;

fn file_time() -> impl Strategy<Value = FileTime> {
    let seconds = prop_oneof![Just(1_700_000_000), any::<i64>()];
    let nanoseconds = prop_oneof![Just(0), 0..1_000_000_000_u32];
    (seconds, nanoseconds).prop_map(|(seconds, nanoseconds)| FileTime {
        seconds,
        nanoseconds,
    })
}

fn device() -> impl Strategy<Value = Device> {
    let number = || prop_oneof![Just(0), any::<u32>()];
    (number(), number()).prop_map(|(major, minor)| Device { major, minor })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let attributes = (
        prop::sample::select(&TYPES),
        prop_oneof![Just(0o644), 0..0o10_000_u32],
        prop_oneof![Just((0, 0)), any::<(u32, u32)>()],
        any::<(u64, u64)>(),
        (file_time(), file_time(), any::<bool>()),
        (device(), device()),
        prop_oneof![Just(1), any::<u32>()],
        any::<u64>(),
    );
    attributes.prop_map(
        |(file_type, mode, (uid, gid), (size, blocks), times, (rdev, dev), nlink, ino)| Metadata {
            file_type,
            mode,
            uid,
            gid,
            size,
            blocks,
            mtime: times.0,
            ctime: if times.2 { times.0 } else { times.1 },
            rdev,
            nlink,
            ino,
            dev,
        },
    )
}

fn os(bytes: &[u8]) -> Box<OsStr> {
    OsStr::from_bytes(bytes).into()
}

/// Nodes with different names. Directories have no numbers yet.
fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let name = prop_oneof!["[ab]{1,3}", "file-[0-9]{1,3}", "[a-z]{1,60}"];
    let xattr = (
        "user\\.[a-z]{1,4}",
        prop::collection::vec(any::<u8>(), 0..9),
    );
    let node = (
        metadata(),
        prop::collection::vec(xattr, 0..3),
        any::<bool>(),
        prop::collection::vec(1..=255_u8, 1..200),
    );
    prop::collection::btree_map(name, node, 0..100).prop_map(|nodes| {
        let node = |(name, (metadata, xattrs, implied, target)): (String, _)| {
            let (metadata, xattrs, implied): (Metadata, Vec<_>, bool) = (metadata, xattrs, implied);
            let target: Vec<u8> = target;
            let kind = match metadata.file_type {
                FileType::File => NodeKind::File,
                FileType::Dir => NodeKind::Dir(DirNumber(0)),
                FileType::Symlink => NodeKind::Symlink(os(&target)),
                FileType::Fifo => NodeKind::Fifo,
                FileType::CharDevice | FileType::BlockDevice => NodeKind::Device,
                FileType::Socket => NodeKind::Socket,
            };
            let xattrs = xattrs.into_iter().filter(|_| metadata.is_dir());
            let xattrs = xattrs.map(|(name, value): (String, Vec<u8>)| (name.into(), value));
            Node {
                name: OsStr::new(&name).into(),
                metadata,
                xattrs: xattrs.collect(),
                implied,
                kind,
            }
        };
        nodes.into_iter().map(node).collect()
    })
}

/// A tree whose first directory has the nodes, in runs of this length with an empty one around each;
/// what those among them that are directories have is nothing, and those at odd places go for that.
fn tree(nodes: &mut [Node], run: usize) -> Tree {
    let mut parts = Vec::new();
    let mut dirs = 1;
    let empty = |index| Part {
        dir: 0,
        index,
        run: Packer::default().finish(1),
        only_with_content: Vec::new(),
    };
    for (index, nodes) in nodes.chunks_mut(run).enumerate() {
        let index = 2 * index + 1;
        parts.push(empty(index - 1));
        let mut packer = Packer::default();
        let first = dirs;
        let mut only_with_content = Vec::new();
        for node in nodes {
            packer.push(node);
            if let NodeKind::Dir(number) = &mut node.kind {
                *number = DirNumber(dirs);
                only_with_content.push(dirs % 2 == 1);
                dirs += 1;
            }
        }
        parts.push(Part {
            dir: 0,
            index,
            run: packer.finish(first),
            only_with_content,
        });
    }
    parts.push(empty(usize::MAX));
    // They may come in any order.
    parts.reverse();
    Tree::new(dirs, parts)
}

proptest! {
    #[test]
    fn what_is_packed_comes_back(mut nodes in nodes(), run in 1..50_usize, batch in 1..70_usize) {
        let tree = tree(&mut nodes, run);
        let is_gone =
            |node: &Node| matches!(node.kind, NodeKind::Dir(DirNumber(number)) if number % 2 == 1);
        let kept: Vec<Node> = nodes.iter().filter(|node| !is_gone(node)).cloned().collect();
        prop_assert_eq!(tree.count(), kept.len());
        prop_assert_eq!(tree.is_empty(), kept.is_empty());
        let seen: Vec<Node> = tree.nodes(DirNumber(0)).collect();
        prop_assert_eq!(&seen, &kept);
        let batches = tree.batches(DirNumber(0), batch);
        let seen: Vec<Node> = batches.flat_map(|batch| tree.batch(batch)).collect();
        prop_assert_eq!(&seen, &kept);
        for node in &nodes {
            let found = tree.find(Path::new(&node.name));
            prop_assert_eq!(found.as_ref(), (!is_gone(node)).then_some(node));
        }
    }

    #[test]
    fn what_is_not_there_is_not_found(mut nodes in nodes(), run in 1..50_usize, name in "[a-z]{1,3}") {
        let tree = tree(&mut nodes, run);
        let there = nodes.iter().any(|node| node.name == name.as_str());
        prop_assert!(there || tree.find(Path::new(&name)).is_none());
        let deeper = Path::new(&name).join("x");
        prop_assert!(tree.find(&deeper).is_none());
    }
}

#[test]
fn an_empty_tree_has_nothing() {
    let tree = Tree::default();
    assert!(tree.is_empty());
    assert_eq!(tree.count(), 0);
    assert!(tree.find(Path::new("name")).is_none());
    assert!(tree.nodes(DirNumber(0)).next().is_none());
}

#[test]
fn a_directory_is_found_below_another() {
    let dir = |name: &str| Node {
        name: OsStr::new(name).into(),
        metadata: Metadata {
            file_type: FileType::Dir,
            ..NOTHING
        },
        xattrs: Box::default(),
        implied: false,
        kind: NodeKind::Dir(DirNumber(0)),
    };
    let part = |dir_number, name: &str, first| {
        let mut packer = Packer::default();
        packer.push(&dir(name));
        Part {
            dir: dir_number,
            index: 0,
            run: packer.finish(first),
            only_with_content: vec![true],
        }
    };
    let file = |name: &str| Node {
        metadata: NOTHING,
        kind: NodeKind::File,
        ..dir(name)
    };
    let mut files = Packer::default();
    files.push(&file("file"));
    let files = Part {
        dir: 2,
        index: 0,
        run: files.finish(3),
        only_with_content: Vec::new(),
    };
    let tree = Tree::new(3, vec![files, part(1, "in", 2), part(0, "out", 1)]);
    assert_eq!(tree.count(), 3);
    assert!(tree.find(Path::new("out/in/file")).is_some());
    assert!(tree.find(Path::new("out/file")).is_none());
    // Without the file, each goes with what is in it.
    let tree = Tree::new(3, vec![part(1, "in", 2), part(0, "out", 1)]);
    assert_eq!(tree.count(), 0);
    assert!(tree.is_empty());
    assert!(tree.find(Path::new("out")).is_none());
}

#[test]
fn a_usual_node_takes_few_bytes() {
    let mut packer = Packer::default();
    for number in 0..512_u32 {
        let time = FileTime {
            seconds: 1_700_000_000 + i64::from(number / 50),
            nanoseconds: number.wrapping_mul(1_234_567) % 1_000_000_000,
        };
        packer.push(&Node {
            name: OsStr::new(&format!("file-{number:04}.txt")).into(),
            metadata: Metadata {
                mode: 0o644,
                size: 300,
                blocks: 8,
                mtime: time,
                ctime: time,
                ino: 7_000_000 + u64::from(number) * 3,
                dev: Device {
                    major: 259,
                    minor: 3,
                },
                ..NOTHING
            },
            xattrs: Box::default(),
            implied: false,
            kind: NodeKind::File,
        });
    }
    let run = packer.finish(0);
    let bytes = run.bytes.len() + run.starts.len() * size_of::<usize>();
    assert!(bytes < 512 * 25, "{bytes}");
}
