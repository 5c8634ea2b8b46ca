//! ext4: what `e2fsck` thinks of disks, and what the kernel finds on them.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod errors;
mod growth;
mod large;
mod random;
mod reader;

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_disk::ext4::{self, Growth, Options};
use kiln_disk::{Attributes, Inode, Node, Tree};
use testkit::{Absent, DiskFiles, Fidelity, Mounted, Program, differences, find_program};

/// A disk in a folder of its own, which goes with the value.
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
    let found = match found {
        Ok(()) if mounts => Mounted::possible("ext4"),
        found => found,
    };
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
