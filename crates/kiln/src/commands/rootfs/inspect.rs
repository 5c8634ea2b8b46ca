//! `kiln rootfs inspect`: what a disk is, and what is on it.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use kiln_base::{CancelToken, Timestamp};
use kiln_disk::image::Facts;
use kiln_disk::{Inode, Node, NodeId, Tree};
use kiln_engine::{DiskImage, Place};
use kiln_oci::Digester;
use kiln_rootfs::request::uuid_text;
use kiln_sys::files;
use serde_json::{Map, Value, json};

use super::super::Invocation;
use super::super::diff::shown;
use super::{beside, open_disk};
use crate::args::{ByteSize, DiskInspectArgs};
use crate::error::{Blame, CliError, Exit};
use crate::interrupt;
use crate::terminal::{print, tell};

/// A manifest is not larger than this.
const MANIFEST: u64 = 64 << 20;

pub(super) fn inspect(
    args: &DiskInspectArgs,
    invocation: &Invocation,
) -> Result<ExitCode, CliError> {
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), tell);
    let disk = open_disk(&args.disk, invocation, &cancel)?;
    if let Some(path) = &args.path {
        let place = disk.find(path)?;
        drop(watch);
        print(&if args.json {
            format!("{:#}\n", listing_json(&disk, &place))
        } else {
            listing(&disk, &place)
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = invocation.environment.resolve(&args.disk);
    let manifest = manifest(&beside(&path, "json"));
    if args.check {
        check(&path, manifest.as_ref(), &cancel)?;
    }
    drop(watch);
    let contents = Contents::of(disk.tree());
    print(&if args.json {
        let mut document = facts_json(disk.facts(), &contents);
        document["checked"] = args.check.into();
        document["manifest"] = manifest.unwrap_or(Value::Null);
        format!("{document:#}\n")
    } else {
        let mut text = facts(disk.facts(), &contents);
        text.push_str(&of_manifest(manifest.as_ref(), args.check));
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// How much is on a disk.
#[derive(Default)]
struct Contents {
    files: u64,
    directories: u64,
    others: u64,
    bytes: u64,
}

impl Contents {
    fn of(tree: &Tree) -> Self {
        let mut contents = Self::default();
        let mut seen = vec![false; tree.len()];
        tree.walk(|_, id| {
            if std::mem::replace(&mut seen[id.as_usize()], true) {
                return;
            }
            match &tree.inode(id).node {
                Node::Directory(_) => contents.directories += 1,
                Node::File(file) => {
                    contents.files += 1;
                    contents.bytes = contents.bytes.saturating_add(file.size);
                }
                _ => contents.others += 1,
            }
        });
        contents
    }
}

/// The manifest beside a disk, if there is one that can be understood.
fn manifest(path: &Path) -> Option<Value> {
    let bytes = files::read_limited(path, MANIFEST).ok()?;
    let document: Value = serde_json::from_slice(&bytes).ok()?;
    document.get("disk")?;
    Some(document)
}

/// Fails unless the file is what the manifest says.
fn check(path: &Path, manifest: Option<&Value>, cancel: &CancelToken) -> Result<(), CliError> {
    let expected = manifest.and_then(|manifest| manifest["disk"]["file_digest"].as_str());
    let Some(expected) = expected else {
        let beside = beside(path, "json");
        return Err(CliError::usage(format!(
            "there is no manifest `{}` to compare the disk with",
            beside.display()
        )));
    };
    let mut file = files::open(path)?;
    let mut digester = Digester::sha256();
    let mut buffer = vec![0; 1 << 20];
    loop {
        cancel.check().map_err(kiln_engine::DiskError::from)?;
        match file.read(&mut buffer).map_err(CliError::usage)? {
            0 => break,
            length => digester.update(&buffer[..length]),
        }
    }
    let found = digester.finish().to_string();
    if found == expected {
        return Ok(());
    }
    Err(CliError::new(
        Blame::Environment,
        Exit::General,
        format!(
            "`{}` is not what its manifest says: its digest is {found}, not {expected}",
            path.display()
        ),
    ))
}

fn time(seconds: i64) -> String {
    Timestamp::from_seconds(seconds).to_string()
}

fn text_of(bytes: &[u8]) -> String {
    shown(&String::from_utf8_lossy(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn facts(facts: &Facts, contents: &Contents) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            _ = writeln!(text, "{:<12} {value}", format!("{name}:"));
        }
    };
    line("Format", facts.format.name().to_owned());
    line(
        "Size",
        format!("{} ({} bytes)", ByteSize(facts.size), facts.size),
    );
    if let Some(size) = facts.block_size {
        line("Blocks", format!("{size} bytes"));
    }
    line("Compression", facts.compression.join(", "));
    line(
        "Label",
        facts.label.as_deref().map_or_else(String::new, text_of),
    );
    line(
        "UUID",
        facts.uuid.as_ref().map_or_else(String::new, uuid_text),
    );
    line("Created", facts.created.map_or_else(String::new, time));
    line("Written", facts.written.map_or_else(String::new, time));
    if let Some(free) = facts.free {
        let inodes = facts.inodes.unwrap_or(0);
        line(
            "Free",
            format!(
                "{}, {} of {inodes} inodes",
                ByteSize(free.bytes),
                free.inodes
            ),
        );
    }
    if let Some(has_journal) = facts.has_journal {
        line("Journal", if has_journal { "yes" } else { "no" }.to_owned());
    }
    if facts.is_clean == Some(false) {
        line("State", "not unmounted cleanly".to_owned());
    }
    line("Features", facts.features.join(" "));
    line(
        "Contents",
        format!(
            "{} files of {}, {} directories, {} others",
            contents.files,
            ByteSize(contents.bytes),
            contents.directories,
            contents.others
        ),
    );
    if let Some(verity) = &facts.verity {
        line(
            "Verity",
            format!("root hash {}, at {}", hex(&verity.root), verity.offset),
        );
        line("  salt", hex(&verity.salt));
    }
    if facts.rest > 0 {
        line(
            "Behind it",
            format!("{} bytes of something else", facts.rest),
        );
    }
    text
}

/// What the manifest says that the disk does not.
fn of_manifest(manifest: Option<&Value>, is_checked: bool) -> String {
    let Some(manifest) = manifest else {
        return String::new();
    };
    let mut text = String::from("Manifest:\n");
    let mut line = |name: &str, value: &Value| {
        if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
            _ = writeln!(text, "  {:<14} {}", format!("{name}:"), shown(value));
        }
    };
    let (source, kernel) = (&manifest["source"], &manifest["kernel"]);
    line("Image", &source["image"]);
    line("Image digest", &source["digest"]);
    line("Platform", &source["platform"]);
    line("Init", &kernel["init"]);
    line("Command line", &kernel["command_line"]);
    line("Digest", &manifest["disk"]["digest"]);
    text.push_str(if is_checked {
        "  The file is what the manifest says.\n"
    } else {
        "  Not compared with the file; `--check` does that.\n"
    });
    text
}

fn facts_json(facts: &Facts, contents: &Contents) -> Value {
    json!({
        "format": facts.format.name(),
        "size": facts.size,
        "block_size": facts.block_size,
        "compression": facts.compression,
        "label": facts.label.as_deref().map(String::from_utf8_lossy),
        "uuid": facts.uuid.as_ref().map(uuid_text),
        "created": facts.created.map(time),
        "written": facts.written.map(time),
        "inodes": facts.inodes,
        "free": facts.free.map(|free| json!({"bytes": free.bytes, "inodes": free.inodes})),
        "journal": facts.has_journal,
        "clean": facts.is_clean,
        "features": facts.features,
        "contents": {
            "files": contents.files,
            "directories": contents.directories,
            "others": contents.others,
            "bytes": contents.bytes,
        },
        "verity": facts.verity.as_ref().map(|verity| json!({
            "root_hash": hex(&verity.root),
            "salt": hex(&verity.salt),
            "offset": verity.offset,
            "data_size": verity.data_size,
        })),
        "rest": facts.rest,
    })
}

/// Names with what they name: a directory's, or the file alone.
fn rows<'a>(disk: &'a DiskImage, place: &'a Place) -> Vec<(&'a [u8], NodeId)> {
    let tree = disk.tree();
    if let Node::Directory(entries) = &tree.inode(place.id).node {
        let named = entries.iter().map(|entry| (&*entry.name, entry.id));
        return named.collect();
    }
    vec![(&place.path, place.id)]
}

fn listing(disk: &DiskImage, place: &Place) -> String {
    let tree = disk.tree();
    let links = tree.link_counts();
    let rows: Vec<[String; 7]> = rows(disk, place)
        .into_iter()
        .map(|(name, id)| row(name, tree.inode(id), links[id.as_usize()]))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for [mode, links, uid, gid, size, time, name] in &rows {
        _ = writeln!(
            text,
            "{mode:<0$} {links:>1$} {uid:>2$} {gid:>3$} {size:>4$} {time} {name}",
            widths[0], widths[1], widths[2], widths[3], widths[4]
        );
    }
    if !matches!(tree.inode(place.id).node, Node::Directory(_)) {
        for (name, value) in &tree.inode(place.id).attributes.xattrs {
            let name = shown(&name.to_string_lossy());
            let is_text = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
            let value = if is_text {
                format!("\"{}\"", text_of(value))
            } else {
                format!("0x{}", hex(value))
            };
            _ = writeln!(text, "  {name}={value}");
        }
    }
    text
}

fn row(name: &[u8], inode: &Inode, links: u32) -> [String; 7] {
    let attributes = &inode.attributes;
    let size = match &inode.node {
        Node::File(file) => file.size.to_string(),
        Node::Symlink(target) => target.len().to_string(),
        Node::CharDevice(device) | Node::BlockDevice(device) => {
            format!("{},{}", device.major, device.minor)
        }
        _ => "0".to_owned(),
    };
    let mut name = text_of(name);
    if let Node::Symlink(target) = &inode.node {
        name = format!("{name} -> {}", text_of(target));
    }
    [
        mode(inode),
        links.to_string(),
        attributes.uid.to_string(),
        attributes.gid.to_string(),
        size,
        time(attributes.mtime.seconds),
        name,
    ]
}

/// Type and mode as `ls -l` writes them, with a `+` where there are extended attributes.
fn mode(inode: &Inode) -> String {
    let mode = inode.attributes.mode;
    let kind = match inode.node {
        Node::Directory(_) => 'd',
        Node::File(_) => '-',
        Node::Symlink(_) => 'l',
        Node::CharDevice(_) => 'c',
        Node::BlockDevice(_) => 'b',
        Node::Fifo => 'p',
        Node::Socket => 's',
    };
    let mut text = String::from(kind);
    for (shift, special, letters) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => letters.chars().next().unwrap_or('s'),
            (false, true) => letters.chars().nth(1).unwrap_or('S'),
        });
    }
    if !inode.attributes.xattrs.is_empty() {
        text.push('+');
    }
    text
}

fn listing_json(disk: &DiskImage, place: &Place) -> Value {
    let tree = disk.tree();
    let links = tree.link_counts();
    let entry = |name: &[u8], id: NodeId| {
        let inode = tree.inode(id);
        let attributes = &inode.attributes;
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("name", String::from_utf8_lossy(name).into());
        let (kind, size) = match &inode.node {
            Node::Directory(_) => ("directory", None),
            Node::File(file) => ("file", Some(file.size)),
            Node::Symlink(target) => {
                put("target", String::from_utf8_lossy(target).into());
                ("symbolic link", None)
            }
            Node::CharDevice(device) | Node::BlockDevice(device) => {
                put(
                    "device",
                    format!("{}:{}", device.major, device.minor).into(),
                );
                let is_char = matches!(inode.node, Node::CharDevice(_));
                (
                    if is_char {
                        "character device"
                    } else {
                        "block device"
                    },
                    None,
                )
            }
            Node::Fifo => ("named pipe", None),
            Node::Socket => ("socket", None),
        };
        put("type", kind.into());
        if let Some(size) = size {
            put("size", size.into());
        }
        put("mode", format!("{:04o}", attributes.mode).into());
        put("uid", attributes.uid.into());
        put("gid", attributes.gid.into());
        put("mtime", time(attributes.mtime.seconds).into());
        put("links", links[id.as_usize()].into());
        let xattrs = attributes.xattrs.iter();
        let xattrs = xattrs
            .map(|(name, value)| (name.to_string_lossy().into_owned(), Value::from(hex(value))));
        put("xattrs", Value::Object(xattrs.collect()));
        Value::Object(fields)
    };
    let mut document = entry(&place.path, place.id);
    if let Node::Directory(entries) = &tree.inode(place.id).node {
        let entries = entries.iter().map(|it| entry(&it.name, it.id));
        document["entries"] = entries.collect();
    }
    document
}
