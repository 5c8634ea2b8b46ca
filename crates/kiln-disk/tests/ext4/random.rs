//! Random trees: the kernel finds what was written, and the bytes are always the same.

use kiln_disk::ext4::Options;
use testkit::{DiskFiles, Shape, random_tree};

use super::{Disk, assert_mounted_equals, options, tools, write};

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
