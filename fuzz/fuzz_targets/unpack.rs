//! Archives from a stranger on their way to the disk: nothing is written outside of the target,
//! neither for a layer nor for `ADD`, where the target has symbolic links that lead out.
#![no_main]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kiln_fuzz::{archive, watchdog};
use kiln_layer::{BlobFormat, MergeOptions, OverlayXattrs, UnpackOptions, unpack, untar_merge};
use kiln_sys::fs::{Dir, Owner};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

fuzz_target!(|text: &[u8]| {
    let blob = archive::assemble(text);
    let outside = folder();
    let options = UnpackOptions {
        format: BlobFormat::Detect,
        xattrs: OverlayXattrs::User,
        expected: None,
        diff_id: None,
    };
    let layer = inside(outside.path(), "layer");
    let _ = watchdog::with_limit(|cancel| unpack(&blob[..], &layer, &options, cancel));
    let root = inside(outside.path(), "root");
    let links = outside.path().join("root");
    for (name, target) in [
        ("up", "../.."),
        ("abs", "/kept"),
        ("etc", "../kept"),
        ("loop", "loop"),
    ] {
        symlink(target, links.join(name)).expect("a link");
    }
    let options = MergeOptions {
        owner: Some(Owner { uid: 0, gid: 0 }),
        clamp_mtime: None,
    };
    let _ = watchdog::with_limit(|cancel| {
        untar_merge(&blob[..], &root, Path::new(""), &options, cancel)
    });
    check(outside.path());
});

/// A folder in memory, where there is one, with a file that must stay as it is.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        TempDir::new_in(memory)
    } else {
        TempDir::new()
    };
    let folder = folder.expect("a folder");
    fs::create_dir(folder.path().join("kept")).expect("a folder");
    fs::write(folder.path().join("kept/file"), "kept").expect("a file");
    folder
}

fn inside(outside: &Path, name: &str) -> Dir {
    let path = outside.join(name);
    fs::create_dir(&path).expect("a folder");
    Dir::open(&path).expect("it is there")
}

fn check(outside: &Path) {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("it is there");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(outside), ["kept", "layer", "root"]);
    assert_eq!(names(&outside.join("kept")), ["file"]);
    assert_eq!(
        fs::read(outside.join("kept/file")).expect("it is there"),
        b"kept"
    );
}
