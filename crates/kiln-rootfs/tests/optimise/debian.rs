//! A real Debian tree, made by mmdebstrap: without packages for development and stripped, dpkg and
//! apt find nothing to complain of in it, and its programs run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_disk::{Attributes, Content, Contents, File, Inode, Node, NodeId, Tree};
use kiln_oci::Platform;
use kiln_rootfs::harden::{HardenOptions, harden};
use kiln_rootfs::optimise::{Level, Options, Report, Rule, optimise};
use kiln_rootfs::paths::{self, Reader};
use kiln_rootfs::reach::{Command, compare, trace};
use testkit::{Absent, Finished, Program, find_program, is_root, skip};

/// The files of a folder, by numbers.
struct Stored(Vec<PathBuf>);

impl Contents for Stored {
    fn open(&self, key: u64) -> io::Result<fs::File> {
        fs::File::open(&self.0[usize::try_from(key).unwrap()])
    }
}

/// What is below a folder, without what is not a file, directory or link.
fn load(folder: &Path) -> (Tree, Stored) {
    let mut tree = Tree::new(Attributes {
        mode: 0o755,
        ..Attributes::default()
    });
    let mut stored = Vec::new();
    let mut links: BTreeMap<u64, NodeId> = BTreeMap::new();
    let mut pending = vec![(Tree::ROOT, folder.to_path_buf())];
    while let Some((parent, folder)) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            let metadata = path.symlink_metadata().unwrap();
            if let Some(id) = links.get(&metadata.ino()) {
                tree.link(parent, name.as_bytes(), *id).unwrap();
                continue;
            }
            let node = if metadata.is_dir() {
                Node::Directory(Vec::new())
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                Node::Symlink(target.as_os_str().as_bytes().into())
            } else if metadata.is_file() {
                stored.push(path.clone());
                Node::File(File {
                    size: metadata.len(),
                    content: Content::Stored(stored.len() as u64 - 1),
                })
            } else {
                continue;
            };
            let attributes = Attributes {
                mode: metadata.mode() & 0o7777,
                ..Attributes::default()
            };
            let id = tree.add(parent, name.as_bytes(), Inode { attributes, node });
            let id = id.unwrap();
            if metadata.is_dir() {
                pending.push((id, path));
            } else if metadata.nlink() > 1 {
                links.insert(metadata.ino(), id);
            }
        }
    }
    (tree, Stored(stored))
}

/// Writes a tree below a folder that is empty.
fn store(tree: &Tree, contents: &Stored, folder: &Path) {
    tree.walk(|path, id| {
        let path = folder.join(std::ffi::OsStr::from_bytes(path));
        let inode = tree.inode(id);
        match &inode.node {
            Node::Directory(_) if id == Tree::ROOT => return,
            Node::Directory(_) => fs::create_dir(&path).unwrap(),
            Node::Symlink(target) => {
                let target = std::ffi::OsStr::from_bytes(target);
                return std::os::unix::fs::symlink(target, &path).unwrap();
            }
            Node::File(_) => {
                let reader = Reader::open(tree, contents, id).unwrap();
                fs::write(&path, reader.read(1 << 30).unwrap()).unwrap();
            }
            _ => return,
        }
        let mode = fs::Permissions::from_mode(inode.attributes.mode);
        fs::set_permissions(&path, mode).unwrap();
    });
}

fn debian(folder: &Path) -> Result<(), Absent> {
    if !is_root() {
        return Err(Absent("root".to_owned()));
    }
    let mmdebstrap = find_program("mmdebstrap")?;
    let packages = "--include=gcc,make,libssl-dev,python3,libpython3-dev,ca-certificates";
    let made = Program::new(mmdebstrap)
        .args([
            "--quiet",
            "--variant=apt",
            "--mode=root",
            packages,
            "bookworm",
        ])
        .arg(folder)
        .run();
    if made.success() {
        Ok(())
    } else {
        Err(Absent("a Debian mirror".to_owned()))
    }
}

fn chroot(folder: &Path, arguments: &[&str]) -> Finished {
    Program::new("chroot")
        .arg(folder)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .run()
}

fn command(words: &str) -> Command {
    Command {
        arguments: words
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect(),
        environment: Vec::new(),
        directory: b"/".to_vec(),
        platform: Platform::host(),
    }
}

fn packages(report: &Report) -> Vec<&str> {
    report
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect()
}

/// A Debian tree with a program that has symbols, as people build it, and that no package has.
fn given(folder: &Path) -> Result<(), Absent> {
    debian(folder)?;
    let source = "#include <stdio.h>\nint main(void) { puts(\"runs\"); }";
    fs::write(folder.join("app.c"), source).unwrap();
    let gcc = ["gcc", "-g", "-o", "/usr/local/bin/app", "/app.c"];
    let built = chroot(folder, &gcc);
    assert!(built.success(), "{built:?}");
    Ok(())
}

/// Optimises the tree, and expects that its programs reach what they did.
fn optimised(tree: &mut Tree, contents: &Stored) -> Report {
    let commands = ["python3 -c print()", "app", "apt-get check", "sh -c ls"].map(command);
    let before = commands
        .each_ref()
        .map(|command| trace(tree, contents, command).unwrap());
    let options = Options::at(Level::Smallest);
    let report = optimise(tree, contents, &options, &CancelToken::new()).unwrap();
    for (command, before) in commands.iter().zip(&before) {
        let after = trace(tree, contents, command).unwrap();
        assert_eq!(compare(before, &after, &report), Ok(Vec::new()));
    }
    let again = optimise(&mut tree.clone(), contents, &options, &CancelToken::new()).unwrap();
    assert_eq!((again.gone, again.changed), (Vec::new(), Vec::new()));
    report
}

fn check_packages(tree: &Tree, report: &Report) {
    let gone = packages(report);
    for name in [
        "gcc",
        "libssl-dev",
        "libc6-dev",
        "libpython3-dev",
        "make",
        "cpp-12",
    ] {
        assert!(gone.contains(&name), "{name}: {gone:?}");
    }
    for name in [
        "libc6",
        "python3",
        "libssl3",
        "libgcc-s1",
        "libpython3.11-minimal",
    ] {
        assert!(!gone.contains(&name), "{name}: {gone:?}");
    }
    assert!(paths::lookup(tree, b"usr/bin/cc").is_none());
    let mut changed = report.changed.iter();
    let stripped = changed.find(|changed| changed.path == b"usr/local/bin/app");
    assert_eq!(
        stripped.map(|changed| changed.rule),
        Some(Rule::DebugSymbols)
    );
    let sizes = (report.before, report.after);
    assert!(report.after.bytes < report.before.bytes / 2, "{sizes:?}");
}

/// What Debian's own tools say of the tree.
fn check_consistent(folder: &Path) {
    for arguments in [
        &["dpkg", "--audit"][..],
        &["dpkg", "-C"],
        &["apt-get", "check"],
        &["python3", "-c", "import ssl, json, sqlite3"],
        &["update-alternatives", "--query", "awk"],
    ] {
        let checked = chroot(folder, arguments);
        assert!(checked.success(), "{arguments:?}: {checked:?}");
        let is_quiet = arguments[0] != "dpkg" || checked.text().is_empty();
        assert!(is_quiet, "{arguments:?}: {checked:?}");
    }
    let app = chroot(folder, &["/usr/local/bin/app"]).ok();
    assert_eq!(app.text().trim(), "runs");
    let listed = chroot(folder, &["dpkg", "-l", "libssl3"]).ok();
    assert!(listed.text().contains("ii  libssl3"));
}

#[test]
fn a_smallest_debian_is_consistent_and_runs() {
    let test = "a_smallest_debian_is_consistent_and_runs";
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("given");
    if let Err(absent) = given(&folder) {
        return skip(test, &absent);
    }
    let (mut tree, contents) = load(&folder);
    let report = optimised(&mut tree, &contents);
    check_packages(&tree, &report);
    let options = HardenOptions::all();
    harden(&mut tree, &contents, &options, &CancelToken::new()).unwrap();
    let result = scratch.path().join("result");
    fs::create_dir(&result).unwrap();
    store(&tree, &contents, &result);
    check_consistent(&result);
}
