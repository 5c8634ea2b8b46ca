//! What must hold in any tree, whoever filled it.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};

use super::*;

struct Scratch {
    path: PathBuf,
    dir: Dir,
    _guard: tempfile::TempDir,
}

/// A directory with `name/` directories, `name -> target` links and `name` files, one a line.
fn scratch(tree: &str) -> Scratch {
    let guard = tempfile::tempdir().unwrap();
    let path = guard.path().to_path_buf();
    for line in tree.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some((name, target)) = line.split_once(" -> ") {
            std::os::unix::fs::symlink(target, path.join(name)).unwrap();
        } else if let Some(name) = line.strip_suffix('/') {
            std::fs::create_dir(path.join(name)).unwrap();
        } else {
            std::fs::write(path.join(line), line).unwrap();
        }
    }
    let dir = Dir::open(&path).unwrap();
    Scratch {
        path,
        dir,
        _guard: guard,
    }
}

#[test]
fn only_single_names_are_taken() {
    let scratch = scratch("d/\nd/f");
    for name in ["", "..", "d/f", "/d", "d/"] {
        let error = scratch.dir.metadata(name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
    let zero = OsStr::from_bytes(b"d\0");
    let error = scratch.dir.open_file(zero).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(scratch.dir.metadata(Dir::ITSELF).unwrap().is_dir());
    assert!(scratch.dir.unlink(Dir::ITSELF).is_err());
    assert_eq!(
        scratch
            .dir
            .open_dir("nowhere")
            .unwrap_err()
            .within("a/b")
            .to_string(),
        "could not open the directory `a/b/nowhere`"
    );
}

#[test]
fn no_operation_follows_a_link() {
    let scratch = scratch("d/\nd/f\nto_dir -> d\nto_file -> d/f");
    let dir = &scratch.dir;
    let before = dir.open_dir("d").unwrap().metadata("f").unwrap();
    assert!(dir.open_dir("to_dir").unwrap_err().is_symlink_or_not_dir());
    assert!(
        dir.open_file("to_file")
            .unwrap_err()
            .is_symlink_or_not_dir()
    );
    assert!(dir.create_file("to_file", 0o644).is_err());
    assert!(dir.metadata("to_file").unwrap().is_symlink());
    assert!(dir.set_mode("to_file", 0o777).is_err());
    let time = FileTime {
        seconds: 5,
        nanoseconds: 7,
    };
    dir.set_times("to_file", time).unwrap();
    assert_eq!(dir.metadata("to_file").unwrap().mtime, time);
    assert!(
        dir.open_dir_beneath("to_dir")
            .unwrap_err()
            .is_symlink_or_not_dir()
    );
    assert!(
        dir.open_file_beneath("to_dir/f")
            .unwrap_err()
            .is_symlink_or_not_dir()
    );
    dir.remove_tree("to_dir").unwrap();
    let after = dir.open_dir("d").unwrap().metadata("f").unwrap();
    assert_eq!(after, before);
}

#[test]
fn paths_do_not_lead_out() {
    let scratch = scratch("d/\nout -> ..\nabsolute -> /etc\nd/up -> ../..");
    for path in ["..", "d/../..", "/etc", "out"] {
        assert!(scratch.dir.open_dir_beneath(path).is_err(), "{path}");
    }
    let root = scratch.dir.metadata(Dir::ITSELF).unwrap().ino;
    for path in ["..", "/../..", "out", "d/up", "/"] {
        let there = scratch.dir.open_dir_in_root(path).unwrap();
        assert_eq!(there.metadata(Dir::ITSELF).unwrap().ino, root, "{path}");
    }
    assert!(
        scratch
            .dir
            .open_dir_in_root("absolute")
            .unwrap_err()
            .is_not_found()
    );
}

#[test]
fn special_files_are_not_opened() {
    let scratch = scratch("d/");
    scratch.dir.mknod("pipe", NodeKind::Fifo, 0o600).unwrap();
    for name in ["pipe", "d"] {
        let error = scratch.dir.open_file(name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn entries_are_sorted_by_bytes() {
    let scratch = scratch("b\na/\nB\nc -> x");
    let entries = scratch.dir.entries().unwrap();
    let names: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.to_str().unwrap(), entry.file_type))
        .collect();
    assert_eq!(
        names,
        [
            ("B", FileType::File),
            ("a", FileType::Dir),
            ("b", FileType::File),
            ("c", FileType::Symlink)
        ]
    );
}

#[track_caller]
fn check_resolve(path: &str, last: LastLink, expected: &str) {
    let scratch = scratch(
        "usr/
         usr/lib/
         usr/lib/x
         lib -> usr/lib
         abs -> /usr/lib
         up -> ../../usr
         dangling -> usr/new
         deep -> lib/../lib/x
         loop -> loop
         usr/back -> ../lib/..",
    );
    let text = match scratch.dir.resolve_in_root(path, last) {
        Ok(location) => {
            let kind = location.metadata.map(|metadata| metadata.file_type);
            format!("{} {kind:?}", location.path.display())
        }
        Err(error) => format!("{error}: {}", error.cause()),
    };
    assert_eq!(text, expected);
}

#[test]
fn paths_are_resolved_as_chroot_would() {
    use LastLink::{Follow, Keep};
    check_resolve("/", Follow, " Some(Dir)");
    check_resolve("../../usr", Follow, "usr Some(Dir)");
    check_resolve("lib/x", Follow, "usr/lib/x Some(File)");
    check_resolve("abs/x", Follow, "usr/lib/x Some(File)");
    check_resolve("up/lib/x", Follow, "usr/lib/x Some(File)");
    check_resolve("deep", Follow, "usr/lib/x Some(File)");
    check_resolve("deep", Keep, "deep Some(Symlink)");
    check_resolve("usr/back", Follow, "usr Some(Dir)");
    check_resolve("lib/..", Follow, "usr Some(Dir)");
    check_resolve("dangling", Follow, "usr/new None");
    check_resolve("lib/new", Follow, "usr/lib/new None");
    let missing = "could not find `a/b`: No such file or directory (os error 2)";
    check_resolve("a/b", Follow, missing);
    let looped = "could not find `loop`: Too many levels of symbolic links (os error 40)";
    check_resolve("loop", Follow, looped);
    let file = "could not open the directory `usr/lib/x`: Not a directory (os error 20)";
    check_resolve("lib/x/y", Follow, file);
}

#[test]
fn missing_directories_are_made_where_links_lead() {
    let scratch = scratch("usr/\nlib -> usr/lib\nout -> ../../new");
    let new = NewDirs {
        mode: 0o751,
        owner: scratch.dir.metadata(Dir::ITSELF).unwrap().owner(),
        mtime: Some(FileTime::from_seconds(9)),
    };
    scratch.dir.make_dirs_in_root("/lib/a/b", &new).unwrap();
    scratch.dir.make_dirs_in_root("out/c", &new).unwrap();
    scratch.dir.make_dirs_in_root("/", &new).unwrap();
    for path in ["usr/lib/a/b", "new/c"] {
        let made = scratch.dir.open_dir_beneath(path).unwrap();
        let metadata = made.metadata(Dir::ITSELF).unwrap();
        assert_eq!((metadata.mode, metadata.mtime.seconds), (0o751, 9));
    }
    let location = scratch
        .dir
        .resolve_or_make_in_root("x/y/file", LastLink::Follow, &new)
        .unwrap();
    assert_eq!(location.path, Path::new("x/y/file"));
    assert!(location.metadata.is_none());
}

#[test]
fn trees_of_any_depth_are_removed() {
    let scratch = scratch("deep/\nbeside");
    let mut dir = scratch.dir.open_dir("deep").unwrap();
    for _ in 0..3000 {
        dir.create_file("f", 0o644).unwrap();
        dir.mkdir("d", 0o755).unwrap();
        dir = dir.open_dir("d").unwrap();
    }
    scratch.dir.remove_tree("deep").unwrap();
    scratch.dir.remove_tree("deep").unwrap();
    assert_eq!(scratch.dir.entries().unwrap().len(), 1);
}

#[test]
fn locked_trees_are_removed() {
    let scratch = scratch("a/\na/b/\na/b/c/\na/b/f");
    scratch
        .dir
        .open_dir_beneath("a")
        .unwrap()
        .set_mode("b", 0)
        .unwrap();
    scratch.dir.set_mode("a", 0o500).unwrap();
    scratch.dir.remove_tree("a").unwrap();
    assert!(scratch.dir.entries().unwrap().is_empty());
}

#[test]
fn owners_are_recorded_on_files_and_directories() {
    let scratch = scratch("d/\nf\nl -> f");
    let dir = scratch
        .dir
        .try_clone()
        .unwrap()
        .with_ownership(Ownership::Recorded);
    let owner = Owner {
        uid: 1000,
        gid: 100_000,
    };
    if let Err(error) = dir.set_owner("f", owner) {
        eprintln!("skipped: recorded owners: {error}: {}", error.cause());
        return;
    }
    dir.set_owner("d", owner).unwrap();
    assert_eq!(dir.metadata("f").unwrap().owner(), owner);
    assert_eq!(
        dir.open_dir("d")
            .unwrap()
            .metadata(Dir::ITSELF)
            .unwrap()
            .owner(),
        owner
    );
    assert_eq!(
        file_metadata(&dir.open_file("f").unwrap(), Ownership::Recorded)
            .unwrap()
            .owner(),
        owner
    );
    assert_ne!(scratch.dir.metadata("f").unwrap().owner(), owner);
    let value = dir.xattr("f", OWNER_XATTR).unwrap();
    assert_eq!(value.as_deref(), Some(&b"1000:100000"[..]));
    assert_eq!(
        dir.set_owner("l", owner).unwrap_err().kind(),
        io::ErrorKind::Unsupported
    );
    dir.set_owner("l", Owner::ROOT).unwrap();
    dir.set_owner("f", Owner::ROOT).unwrap();
    assert_eq!(dir.xattr("f", OWNER_XATTR).unwrap(), None);
}

#[test]
fn nobody_owns_by_the_number_that_means_unchanged() {
    let scratch = scratch("f");
    let owner = Owner {
        uid: u32::MAX,
        gid: 0,
    };
    let error = scratch.dir.set_owner("f", owner).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn extended_attributes_are_read_whatever_their_size() {
    let scratch = scratch("f\nl -> f");
    let large = vec![b'x'; 3000];
    if let Err(error) = scratch.dir.set_xattr("f", "user.b", &large) {
        eprintln!("skipped: extended attributes: {}", error.cause());
        return;
    }
    scratch.dir.set_xattr("f", "user.a", b"").unwrap();
    let xattrs = scratch.dir.xattrs("f").unwrap();
    let ours: Vec<_> = xattrs
        .into_iter()
        .filter(|(name, _)| name.as_bytes().starts_with(b"user."))
        .collect();
    assert_eq!(
        ours,
        [("user.a".into(), Vec::new()), ("user.b".into(), large)]
    );
    assert_eq!(scratch.dir.xattr("l", "user.b").unwrap(), None);
    scratch.dir.remove_xattr("f", "user.a").unwrap();
    scratch.dir.remove_xattr("f", "user.a").unwrap();
    assert_eq!(scratch.dir.xattr("f", "user.a").unwrap(), None);
}

#[test]
fn contents_are_copied_whole() {
    let scratch = scratch("");
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    scratch
        .dir
        .create_file("a", 0o644)
        .unwrap()
        .write_all(&content)
        .unwrap();
    let from = scratch.dir.open_file("a").unwrap();
    let to = scratch.dir.create_file("b", 0o644).unwrap();
    assert_eq!(
        copy_file_contents(&from, &to).unwrap(),
        content.len() as u64
    );
    let mut copied = Vec::new();
    scratch
        .dir
        .open_file("b")
        .unwrap()
        .read_to_end(&mut copied)
        .unwrap();
    assert_eq!(copied, content);
    // The kernel makes this one up as it is read, and says that it has no bytes.
    let status = std::fs::File::open("/proc/self/status").unwrap();
    let to = scratch.dir.create_file("c", 0o644).unwrap();
    assert!(copy_file_contents(&status, &to).unwrap() > 0);
}

#[track_caller]
fn check_owner(text: &str, expected: &Expect) {
    expected.assert_eq(&format!("{:?}", text.parse::<Owner>()));
}

#[test]
fn owners_are_parsed() {
    check_owner("1:2", &expect!["Ok(Owner { uid: 1, gid: 2 })"]);
    check_owner("1", &expect!["Err(ParseOwnerError)"]);
    check_owner("-1:0", &expect!["Err(ParseOwnerError)"]);
    check_owner("4294967296:0", &expect!["Err(ParseOwnerError)"]);
}

#[test]
fn replaced_files_are_whole() {
    let scratch = scratch("");
    let (path, temporary) = (scratch.path.join("f"), scratch.path.join("t"));
    for content in [b"one", b"two"] {
        crate::files::replace(&path, &temporary, content).unwrap();
        assert_eq!(crate::files::read(&path).unwrap(), content);
    }
    assert_eq!(
        crate::files::names(&scratch.path).unwrap(),
        [PathBuf::from("f")]
    );
    let error = crate::files::read_limited(&path, 2).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(crate::files::read_limited(&path, 3).unwrap(), b"two");
    assert_eq!(crate::files::try_read(&temporary).unwrap(), None);
}

#[test]
fn what_was_asked_for_on_opening_is_told() {
    let scratch = scratch("d/\nd/f\nl -> d/f");
    let (mut file, known) = scratch.dir.open_known_file_beneath("d/f").unwrap();
    assert_eq!(known, file_metadata(&file, Ownership::Native).unwrap());
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "d/f");
    let below = scratch.dir.open_dir("d").unwrap();
    assert_eq!(below.open_known_file("f").unwrap().1, known);
    assert!(scratch.dir.open_known_file("l").is_err());
    assert!(scratch.dir.open_known_file("d").is_err());
}

#[test]
fn a_new_file_gets_the_mode_that_it_has_not() {
    let scratch = scratch("");
    let mine = scratch.dir.metadata(Dir::ITSELF).unwrap().owner();
    for (name, first, mode) in [
        ("same", 0o640, 0o640),
        ("other", 0o600, 0o755),
        ("set-id", 0o600, 0o6711),
        ("locked", 0o600, 0o000),
    ] {
        let file = scratch.dir.create_file(name, first).unwrap();
        set_file_owner_and_mode(&file, Ownership::Native, mine, mode).unwrap();
        let found = scratch.dir.metadata(name).unwrap();
        assert_eq!((found.owner(), found.mode), (mine, mode), "{name}");
    }
}

#[test]
fn a_recorded_owner_is_set_where_it_is_not_root() {
    let scratch = scratch("");
    let dir = scratch.dir.with_ownership(Ownership::Recorded);
    for owner in [Owner::ROOT, Owner { uid: 7, gid: 8 }] {
        let name = owner.to_string();
        let file = dir.create_file(&name, 0o600).unwrap();
        set_file_owner_and_mode(&file, Ownership::Recorded, owner, 0o644).unwrap();
        let recorded = dir.xattr(&name, OWNER_XATTR).unwrap();
        let expected = (owner != Owner::ROOT).then(|| owner.to_string().into_bytes());
        assert_eq!(recorded, expected);
    }
}
