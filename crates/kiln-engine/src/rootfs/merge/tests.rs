//! Stacks of layers as trees, told apart from what the kernel shows of them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Seek, SeekFrom, Write as _};

use kiln_disk::Contents;
use kiln_sys::fs::{Device, NodeKind, Owner};
use kiln_sys::mount::Overlay;

use super::*;

const OPTIONS: MergeOptions = MergeOptions {
    xattrs: OverlayXattrs::Trusted,
    clamp_mtime: None,
    threads: NonZeroUsize::MIN,
};

/// Layers made by a generator of numbers, in a folder of their own; lowest first.
struct Layers {
    temp: tempfile::TempDir,
    count: usize,
    state: u64,
}

impl Layers {
    fn new() -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
            count: 0,
            state: 1,
        }
    }

    fn random(seed: u64, count: usize) -> Self {
        let mut layers = Self::new();
        layers.state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for _ in 0..count {
            let dir = layers.add();
            layers.fill(&dir, 0, &mut Vec::new());
        }
        layers
    }

    fn add(&mut self) -> Dir {
        let path = self.path(self.count);
        kiln_sys::files::create_dir_all(&path, 0o755).unwrap();
        self.count += 1;
        Dir::open(path).unwrap()
    }

    fn path(&self, number: usize) -> std::path::PathBuf {
        self.temp.path().join(number.to_string())
    }

    /// Top first.
    fn dirs(&self) -> Vec<Dir> {
        let numbers = (0..self.count).rev();
        numbers
            .map(|number| Dir::open(self.path(number)).unwrap())
            .collect()
    }

    fn number(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % below
    }

    fn fill(&mut self, dir: &Dir, depth: usize, files: &mut Vec<(Dir, String)>) {
        for name in ["a", "b", "c", "d", "e f", "g\n"] {
            let kind = self.number(16);
            match kind {
                0..=4 if depth < 4 => {
                    dir.mkdir(name, 0o755).unwrap();
                    let below = dir.open_dir(name).unwrap();
                    self.fill(&below, depth + 1, files);
                    if self.number(4) == 0 {
                        let key = OverlayXattrs::Trusted.opaque();
                        dir.set_xattr(name, key, OPAQUE).unwrap();
                    }
                }
                5 | 6 => {
                    let length = usize::try_from(self.number(5000)).unwrap();
                    let mut file = dir.create_file(name, 0o600).unwrap();
                    let byte = b'a' + u8::try_from(self.number(26)).unwrap();
                    file.write_all(&vec![byte; length]).unwrap();
                    files.push((dir.try_clone().unwrap(), name.to_owned()));
                }
                7 => {
                    let mut file = dir.create_file(name, 0o600).unwrap();
                    let hole = self.number(3) << 20;
                    file.seek(SeekFrom::Start(hole)).unwrap();
                    file.write_all(b"data").unwrap();
                    file.set_len(hole + (self.number(3) << 20) + 5).unwrap();
                    dir.set_xattr(name, "user.note", b"sparse").unwrap();
                }
                8 => dir.symlink("../target", name).unwrap(),
                9 => dir.mknod(name, NodeKind::Fifo, 0o600).unwrap(),
                10 => {
                    let device = NodeKind::CharDevice(Device { major: 1, minor: 3 });
                    dir.mknod(name, device, 0o600).unwrap();
                }
                11 | 12 => {
                    dir.whiteout(name).unwrap();
                    continue;
                }
                13 if !files.is_empty() => {
                    let which = usize::try_from(self.number(files.len() as u64)).unwrap();
                    let (from, first) = &files[which];
                    from.link_to(first, dir, name).unwrap();
                    continue;
                }
                _ => continue,
            }
            self.decorate(dir, name);
        }
    }

    fn decorate(&mut self, dir: &Dir, name: &str) {
        let owner = |number: u64| u32::try_from(number * 1000).unwrap();
        let (uid, gid) = (owner(self.number(3)), owner(self.number(3)));
        dir.set_owner(name, Owner { uid, gid }).unwrap();
        let metadata = dir.metadata(name).unwrap();
        if !metadata.is_symlink() {
            let mode = u32::try_from(self.number(0o10000)).unwrap();
            dir.set_mode(name, mode).unwrap();
        }
        let seconds = i64::try_from(self.number(2_000_000_000)).unwrap();
        dir.set_times(name, FileTime::from_seconds(seconds))
            .unwrap();
    }
}

/// Numbers the files with several names by their first one.
#[derive(Default)]
struct Groups(HashMap<(u64, u64), usize>);

impl Groups {
    fn of(&mut self, key: (u64, u64)) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert(next)
    }
}

fn xattr_text(xattrs: &[Xattr]) -> String {
    let mut text = String::new();
    for (key, value) in xattrs.iter().filter(|(key, _)| belongs_into_layer(key)) {
        _ = write!(text, " {}={}", key.display(), value.escape_ascii());
    }
    text
}

/// Each name with all that shows of it, from a mount.
fn read_mount(dir: &Dir, path: &str, groups: &mut Groups, lines: &mut Vec<String>) {
    for entry in dir.entries().unwrap() {
        let name = entry.name.to_str().unwrap();
        // The kernel lists whiteouts in directories that one layer alone has, but finds nothing there.
        let Some(found) = dir.try_metadata(name).unwrap() else {
            continue;
        };
        let path = format!("{path}/{}", name.escape_debug());
        let node = match found.file_type {
            FileType::Dir => "dir".to_owned(),
            FileType::File => {
                let mut content = Vec::new();
                let mut file = dir.open_file(name).unwrap();
                file.read_to_end(&mut content).unwrap();
                let digest = blake3::hash(&content).to_hex();
                format!("file {} {digest}", found.size)
            }
            FileType::Symlink => format!("link {}", dir.read_link(name).unwrap().display()),
            other => format!("{other:?} {:?}", found.rdev),
        };
        let is_linked = found.nlink > 1 && !found.is_dir();
        let group = is_linked.then(|| groups.of((u64::from(found.dev.minor), found.ino)));
        let xattrs = match found.file_type {
            FileType::Dir | FileType::File => xattr_text(&dir.xattrs(name).unwrap()),
            _ => String::new(),
        };
        lines.push(format!(
            "{path} {node} {:o} {}:{} {:?} {group:?}{xattrs}",
            found.mode, found.uid, found.gid, found.mtime
        ));
        if found.is_dir() {
            read_mount(&dir.open_dir(name).unwrap(), &path, groups, lines);
        }
    }
}

/// The same from a tree. `is_linked` says which files have several names where they come from.
fn read_tree(
    (tree, files): (&Tree, &LayerFiles),
    (id, path): (NodeId, &str),
    linked: &HashMap<NodeId, u32>,
    groups: &mut Groups,
    lines: &mut Vec<String>,
) {
    for entry in tree.entries(id) {
        let inode = tree.inode(entry.id);
        let name = std::str::from_utf8(&entry.name).unwrap();
        let path = format!("{path}/{}", name.escape_debug());
        let node = match &inode.node {
            Node::Directory(_) => "dir".to_owned(),
            Node::File(file) => format!("file {} {}", file.size, content_digest(file, files)),
            Node::Symlink(target) => format!("link {}", target.escape_ascii()),
            Node::CharDevice(device) => format!("CharDevice {device:?}"),
            Node::BlockDevice(device) => format!("BlockDevice {device:?}"),
            Node::Fifo => format!("Fifo {:?}", Device::default()),
            Node::Socket => format!("Socket {:?}", Device::default()),
        };
        let is_linked = linked.contains_key(&entry.id);
        let group = is_linked.then(|| groups.of((0, entry.id.as_usize() as u64)));
        let attributes = &inode.attributes;
        lines.push(format!(
            "{path} {node} {:o} {}:{} {:?} {group:?}{}",
            attributes.mode,
            attributes.uid,
            attributes.gid,
            attributes.mtime,
            xattr_text(&attributes.xattrs)
        ));
        if matches!(inode.node, Node::Directory(_)) {
            read_tree((tree, files), (entry.id, &path), linked, groups, lines);
        }
    }
}

fn content_digest(file: &kiln_disk::File, files: &LayerFiles) -> String {
    let mut content = vec![0; usize::try_from(file.size).unwrap()];
    let (Content::Stored(key) | Content::Sparse(key, _)) = &file.content else {
        panic!("a file of a layer is in memory");
    };
    let mut stored = files.open(*key).unwrap();
    for segment in file.segments() {
        let from = usize::try_from(segment.offset).unwrap();
        let length = usize::try_from(segment.length).unwrap();
        stored.seek(SeekFrom::Start(segment.offset)).unwrap();
        stored
            .read_exact(&mut content[from..from + length])
            .unwrap();
    }
    blake3::hash(&content).to_hex().to_string()
}

/// Which inodes had several names in their layers, whether they show or not.
fn linked(layers: &Layers, tree: &Tree, files: &LayerFiles) -> HashMap<NodeId, u32> {
    let mut found = HashMap::new();
    let dirs = layers.dirs();
    tree.walk(|path, id| {
        if matches!(tree.inode(id).node, Node::Directory(_)) {
            return;
        }
        let key = match &tree.inode(id).node {
            Node::File(file) => match &file.content {
                Content::Stored(key) | Content::Sparse(key, _) => Some(*key),
                Content::Bytes(_) => None,
            },
            _ => None,
        };
        let path = match key.and_then(|key| files.file_path(key)) {
            Some(path) => path,
            None => OsStr::from_bytes(path).into(),
        };
        let names = dirs.iter().find_map(|dir| {
            let parent = dir.open_dir_beneath(path.parent().unwrap()).ok()?;
            parent.try_metadata(path.file_name().unwrap()).ok()?
        });
        if let Some(names) = names.filter(|found| found.nlink > 1) {
            found.insert(id, names.nlink);
        }
    });
    found
}

/// Checks that a merge shows what the kernel shows. False where nothing can be mounted.
fn check_against_kernel(layers: &Layers, threads: usize) -> bool {
    let paths = (0..layers.count).rev().map(|number| layers.path(number));
    let overlay = Overlay {
        lowers: paths.collect(),
        upper: None,
        userxattr: false,
    };
    let Ok(mount) = overlay.mount_detached() else {
        return false;
    };
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    read_mount(
        &Dir::from_fd(mount),
        "",
        &mut Groups::default(),
        &mut expected,
    );
    let options = MergeOptions {
        threads: NonZeroUsize::new(threads).unwrap(),
        ..OPTIONS
    };
    let (tree, files) = merge(layers.dirs(), &options, &CancelToken::new()).unwrap();
    let linked = linked(layers, &tree, &files);
    read_tree(
        (&tree, &files),
        (Tree::ROOT, ""),
        &linked,
        &mut Groups::default(),
        &mut found,
    );
    assert!(!found.is_empty());
    assert_eq!(found, expected);
    true
}

#[test]
fn what_the_kernel_shows_is_merged() {
    for seed in 1..=30 {
        let layers = Layers::random(seed, 2 + usize::try_from(seed % 5).unwrap());
        if !check_against_kernel(&layers, 1 + usize::try_from(seed % 3).unwrap()) {
            eprintln!("skipped: what_the_kernel_shows_is_merged: no overlay mounts");
            return;
        }
    }
}

#[test]
fn threads_make_no_difference() {
    if kiln_sys::host::effective_uid() != 0 {
        eprintln!("skipped: threads_make_no_difference: not root");
        return;
    }
    let layers = Layers::random(7, 5);
    let merged = |threads| {
        let options = MergeOptions {
            threads: NonZeroUsize::new(threads).unwrap(),
            ..OPTIONS
        };
        let (tree, _) = merge(layers.dirs(), &options, &CancelToken::new()).unwrap();
        format!("{tree:?}")
    };
    assert_eq!(merged(1), merged(4));
}

#[test]
fn no_layers_are_an_empty_directory() {
    let (tree, _) = merge(Vec::new(), &OPTIONS, &CancelToken::new()).unwrap();
    assert_eq!(tree.len(), 1);
    assert_eq!(tree.inode(Tree::ROOT).attributes.mode, 0o755);
}

#[test]
fn later_times_are_clamped_and_marks_stay_below() {
    let mut layers = Layers::new();
    let dir = layers.add();
    for (name, seconds) in [("old", 5), ("new", 5000)] {
        drop(dir.create_file(name, 0o644).unwrap());
        dir.set_times(name, FileTime::from_seconds(seconds))
            .unwrap();
    }
    dir.set_xattr("old", "user.overlay.origin", b"x").unwrap();
    dir.set_xattr("old", "user.kept", b"x").unwrap();
    let options = MergeOptions {
        xattrs: OverlayXattrs::User,
        clamp_mtime: Some(Timestamp::from_seconds(1000)),
        ..OPTIONS
    };
    let (tree, _) = merge(layers.dirs(), &options, &CancelToken::new()).unwrap();
    let of = |name: &[u8]| {
        let id = tree.child(Tree::ROOT, name).unwrap();
        &tree.inode(id).attributes
    };
    assert_eq!(of(b"old").mtime.seconds, 5);
    assert_eq!(of(b"new").mtime.seconds, 1000);
    assert_eq!(of(b"old").xattrs, [("user.kept".into(), b"x".to_vec())]);
}

#[test]
fn a_cancelled_merge_ends() {
    let mut layers = Layers::new();
    drop(layers.add());
    let cancel = CancelToken::new();
    cancel.cancel();
    let merged = merge(layers.dirs(), &OPTIONS, &cancel);
    assert!(matches!(merged, Err(MergeError::Cancelled(_))));
}
