//! File trees as text, one inode a line:
//!
//! ```text
//! bin dir 0755 0:0 @1
//! bin/sh file 0755 0:0 @1.5 hello user.note=x
//! bin/bash hardlink bin/sh
//! lib symlink 0777 0:0 @1 usr/lib
//! run/pipe fifo 0644 0:0 @1
//! dev/null char 0666 0:0 @1 1,3
//! gone whiteout
//! new opaque
//! ```
//!
//! `opaque` marks a directory that an earlier line made. A name `~` is an empty content.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use kiln_sys::fs::{Device, Dir, FileTime, FileType, NodeKind};

/// Later times than this are shown as `now`.
const LONG_AGO: i64 = 1_000_000_000;

/// A directory for one test, which is removed with it.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        let prefix = "kiln-layer-";
        Self(
            tempfile::Builder::new()
                .prefix(prefix)
                .tempdir()
                .expect("a temporary directory"),
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes and opens an empty directory.
    pub(crate) fn dir(&self, name: &str) -> Dir {
        std::fs::create_dir(self.path(name)).expect("a new directory");
        Dir::open(self.path(name)).expect("the new directory")
    }

    /// Makes a directory and fills it.
    pub(crate) fn tree(&self, name: &str, text: &str) -> Dir {
        let dir = self.dir(name);
        plant(&dir, text);
        dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Unlike the library's, this manages directories that forbid access.
        if let Ok(dir) = Dir::open(self.0.path()) {
            let _ = dir.remove_contents();
        }
    }
}

/// Whether the process is root. If not, says on stderr that the test is skipped.
pub(crate) fn is_root(test: &str) -> bool {
    let scratch = Scratch::new();
    let dir = scratch.dir("probe");
    let device = NodeKind::CharDevice(Device { major: 1, minor: 3 });
    let is_root = dir.mknod("null", device, 0o600).is_ok();
    if !is_root {
        eprintln!("skipped: {test}: root");
    }
    is_root
}

fn split(path: &str) -> (&Path, &OsStr) {
    let path = Path::new(path);
    (
        path.parent().expect("a parent"),
        path.file_name().expect("a name"),
    )
}

/// Makes what the lines say.
pub(crate) fn plant(root: &Dir, text: &str) {
    let mut dirs = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let (parent, name) = split(words[0]);
        let dir = root.open_dir_beneath(parent).expect(line);
        match words[1..] {
            ["whiteout"] => dir.whiteout(name).expect(line),
            ["opaque"] => dir
                .set_xattr(name, "user.overlay.opaque", b"y")
                .expect(line),
            ["hardlink", target] => {
                let (parent, target) = split(target);
                let from = root.open_dir_beneath(parent).expect(line);
                from.link_to(target, &dir, name).expect(line);
            }
            [kind, mode, owner, time, ref rest @ ..] => {
                let rest = plant_node(&dir, name, kind, rest);
                dir.set_owner(name, owner.parse().expect(line)).expect(line);
                if kind != "symlink" {
                    let mode = u32::from_str_radix(mode, 8).expect(line);
                    dir.set_mode(name, mode).expect(line);
                }
                for xattr in rest {
                    let (key, value) = xattr.split_once('=').expect(line);
                    dir.set_xattr(name, key, value.as_bytes()).expect(line);
                }
                dir.set_times(name, parse_time(time)).expect(line);
                if kind == "dir" {
                    dirs.push((words[0].to_owned(), parse_time(time)));
                }
            }
            _ => panic!("bad line: {line}"),
        }
    }
    for (path, time) in dirs.iter().rev() {
        let (parent, name) = split(path);
        let dir = root.open_dir_beneath(parent).expect(path);
        dir.set_times(name, *time).expect(path);
    }
}

fn plant_node<'a>(dir: &Dir, name: &OsStr, kind: &str, rest: &'a [&str]) -> &'a [&'a str] {
    match (kind, rest) {
        ("dir", rest) => {
            dir.mkdir(name, 0o755).expect("a directory");
            rest
        }
        ("fifo", rest) => {
            dir.mknod(name, NodeKind::Fifo, 0o644).expect("a pipe");
            rest
        }
        ("file", [content, rest @ ..]) => {
            let mut file = dir.create_file(name, 0o644).expect("a file");
            let content = if *content == "~" { "" } else { content };
            file.write_all(content.as_bytes()).expect("the content");
            rest
        }
        ("symlink", [target, rest @ ..]) => {
            dir.symlink(target, name).expect("a link");
            rest
        }
        ("char", [device, rest @ ..]) => {
            let (major, minor) = device.split_once(',').expect("major,minor");
            let (major, minor) = (major.parse().expect("major"), minor.parse().expect("minor"));
            let kind = NodeKind::CharDevice(Device { major, minor });
            dir.mknod(name, kind, 0o644).expect("a node");
            rest
        }
        _ => panic!("bad kind: {kind} {rest:?}"),
    }
}

fn parse_time(text: &str) -> FileTime {
    let (seconds, fraction) = text[1..].split_once('.').unwrap_or((&text[1..], "0"));
    FileTime {
        seconds: seconds.parse().expect(text),
        nanoseconds: format!("{fraction:0<9}").parse().expect(text),
    }
}

/// What there is, in the form that [`plant`] reads, in the order of a lexical walk.
pub(crate) fn list(root: &Dir) -> String {
    let mut text = String::new();
    list_into(root, Path::new(""), &mut HashMap::new(), &mut text);
    text
}

fn list_into(dir: &Dir, path: &Path, seen: &mut HashMap<u64, String>, text: &mut String) {
    for entry in dir.entries().expect("entries") {
        let name = &entry.name;
        let path = path.join(name);
        let shown = path.display().to_string();
        // overlayfs lists a whiteout with nothing below it, but has nothing by that name.
        let Some(metadata) = dir.try_metadata(name).expect("metadata") else {
            continue;
        };
        if metadata.is_whiteout() {
            let _ = writeln!(text, "{shown} whiteout");
            continue;
        }
        if metadata.nlink > 1 && !metadata.is_dir() {
            if let Some(first) = seen.get(&metadata.ino) {
                let _ = writeln!(text, "{shown} hardlink {first}");
                continue;
            }
            seen.insert(metadata.ino, shown.clone());
        }
        let (kind, detail) = match metadata.file_type {
            FileType::Dir => ("dir", String::new()),
            FileType::File => ("file", content(dir, name)),
            FileType::Symlink => {
                let target = dir.read_link(name).expect("target");
                ("symlink", format!(" {}", target.display()))
            }
            FileType::Fifo => ("fifo", String::new()),
            FileType::Socket => ("socket", String::new()),
            FileType::CharDevice | FileType::BlockDevice => {
                let Device { major, minor } = metadata.rdev;
                ("char", format!(" {major},{minor}"))
            }
        };
        let time = metadata.mtime.seconds;
        let time = if time > LONG_AGO {
            "now".to_owned()
        } else {
            time.to_string()
        };
        let fraction = match metadata.mtime.nanoseconds {
            0 => String::new(),
            _ if time == "now" => String::new(),
            nanoseconds => format!(".{nanoseconds:09}"),
        };
        let _ = write!(
            text,
            "{shown} {kind} {:04o} {} @{time}{fraction}{detail}",
            metadata.mode,
            metadata.owner(),
        );
        let mut is_opaque = false;
        for (key, value) in dir.xattrs(name).expect("xattrs") {
            if key == "user.overlay.opaque" {
                is_opaque = true;
            } else if key != "security.selinux" && !key.to_string_lossy().contains("overlay") {
                let _ = write!(
                    text,
                    " {}={}",
                    key.display(),
                    String::from_utf8_lossy(&value)
                );
            }
        }
        text.push('\n');
        if is_opaque {
            let _ = writeln!(text, "{shown} opaque");
        }
        if metadata.is_dir() {
            list_into(&dir.open_dir(name).expect("directory"), &path, seen, text);
        }
    }
}

fn content(dir: &Dir, name: &OsStr) -> String {
    let mut bytes = Vec::new();
    let mut file = dir.open_file(name).expect("file");
    file.read_to_end(&mut bytes).expect("content");
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => " ~".to_owned(),
        Ok(text) if text.len() < 64 && !text.contains([' ', '\n', '\0']) => format!(" {text}"),
        Ok(text) => format!(" [{}]", kiln_oci::Digest::sha256(text.as_bytes()).hex()),
        Err(error) => format!(" [{}]", kiln_oci::Digest::sha256(error.as_bytes()).hex()),
    }
}
