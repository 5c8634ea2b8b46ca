//! An image flattened to what two builders have to agree on: configuration and file tree.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use kiln_oci::Digest;
use serde_json::{Map, Value};

/// An image read from an archive of `docker save`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatImage {
    /// The configuration without times, texts of the history and layer digests.
    pub config: Value,
    /// The tree that the layers add up to, by path.
    pub files: BTreeMap<PathBuf, FlatNode>,
}

/// One name in the tree. Times are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatNode {
    /// `file`, `dir`, `link`, `fifo`, `char` or `block`.
    pub kind: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Digest of the content, target of the link, or device numbers.
    pub content: String,
}

/// Files of an archive by name, with whiteouts and layers as they are.
type Members = BTreeMap<String, Vec<u8>>;

impl FlatImage {
    /// Reads the first image of an archive.
    pub fn from_docker_archive(bytes: &[u8]) -> Self {
        let members = members(bytes);
        let manifest: Value = json(&members, "manifest.json");
        let image = &manifest[0];
        let config = image["Config"].as_str().expect("a configuration's name");
        let mut files = BTreeMap::new();
        for layer in image["Layers"].as_array().expect("a list of layers") {
            let name = layer.as_str().expect("a layer's name");
            apply(&mut files, &members[name]);
        }
        Self {
            config: comparable(json(&members, config)),
            files,
        }
    }

    /// What differs, one line each; empty when nothing does.
    pub fn differences(&self, other: &Self, names: [&str; 2]) -> String {
        let mut text = String::new();
        let config = [&self.config, &other.config];
        compare_values(&mut text, "config", config, names);
        let paths = self.files.keys().chain(other.files.keys());
        let paths: std::collections::BTreeSet<_> = paths.collect();
        for path in paths {
            let (one, two) = (self.files.get(path), other.files.get(path));
            if one != two {
                let show =
                    |node: Option<&FlatNode>| node.map_or("absent".to_owned(), FlatNode::line);
                let _ = writeln!(
                    text,
                    "/{}: {} {}, {} {}",
                    path.display(),
                    names[0],
                    show(one),
                    names[1],
                    show(two)
                );
            }
        }
        text
    }

    /// The tree as text, one name in a line.
    pub fn tree(&self) -> String {
        let lines = self.files.iter();
        let lines = lines.map(|(path, node)| format!("/{} {}\n", path.display(), node.line()));
        lines.collect::<Vec<_>>().concat()
    }
}

impl FlatNode {
    fn line(&self) -> String {
        let Self {
            kind,
            mode,
            uid,
            gid,
            content,
        } = self;
        format!("{kind} {mode:04o} {uid}:{gid} {content}")
            .trim_end()
            .to_owned()
    }
}

fn json(members: &Members, name: &str) -> Value {
    let bytes = members
        .get(name)
        .unwrap_or_else(|| panic!("the archive has no `{name}`"));
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("`{name}`: {error}"))
}

fn members(bytes: &[u8]) -> Members {
    let mut archive = tar::Archive::new(bytes);
    let mut members = Members::new();
    let mut links = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        if let Some(target) = entry.link_name().expect("a target") {
            // Docker 20.10 stores a layer that occurs twice as a link to `../<id>/layer.tar`.
            let target = target.display().to_string();
            links.push((name, target.trim_start_matches("../").to_owned()));
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("an entry");
        members.insert(name, content);
    }
    for (name, target) in links {
        let content = members[&target].clone();
        members.insert(name, content);
    }
    members
}

/// The configuration with everything removed that two builders need not agree on, and with absent,
/// null and empty values made the same.
fn comparable(mut config: Value) -> Value {
    let fields = config.as_object_mut().expect("an object");
    for name in [
        "created",
        "container",
        "container_config",
        "docker_version",
        "id",
        "parent",
    ] {
        fields.remove(name);
    }
    fields.retain(|name, _| !name.starts_with("moby."));
    if let Some(rootfs) = fields.get_mut("rootfs").and_then(Value::as_object_mut) {
        let layers = rootfs.remove("diff_ids");
        let count = layers.and_then(|ids| ids.as_array().map(Vec::len));
        rootfs.insert("layers".to_owned(), count.unwrap_or_default().into());
    }
    let history = fields.get_mut("history").and_then(Value::as_array_mut);
    for line in history.into_iter().flatten() {
        let empty = line["empty_layer"].as_bool().unwrap_or_default();
        *line = Value::String(if empty { "no layer" } else { "layer" }.to_owned());
    }
    without_empty(config)
}

fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                // The keys of these are what counts; their values are always `{}`.
                let keep = matches!(name.as_str(), "ExposedPorts" | "Volumes");
                let value = if keep { value } else { without_empty(value) };
                (name, value)
            });
            let kept: Map<String, Value> = fields.filter(|(_, value)| !is_empty(value)).collect();
            Value::Object(kept)
        }
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(set) => !set,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(_) | Value::Number(_) => false,
    }
}

fn compare_values(text: &mut String, path: &str, values: [&Value; 2], names: [&str; 2]) {
    if values[0] == values[1] {
        return;
    }
    if let [Value::Object(one), Value::Object(two)] = values {
        let keys: std::collections::BTreeSet<_> = one.keys().chain(two.keys()).collect();
        for key in keys {
            let pair = [&values[0][key], &values[1][key]];
            compare_values(text, &format!("{path}.{key}"), pair, names);
        }
        return;
    }
    let [one, two] = values;
    let _ = writeln!(text, "{path}: {} {one}, {} {two}", names[0], names[1]);
}

fn apply(files: &mut BTreeMap<PathBuf, FlatNode>, layer: &[u8]) {
    let plain;
    let bytes = if layer.starts_with(&[0x1f, 0x8b]) {
        let mut text = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(layer);
        decoder.read_to_end(&mut text).expect("a gzip layer");
        plain = text;
        plain.as_slice()
    } else {
        layer
    };
    // Whiteouts are about the layers below, wherever they stand in this one.
    let below: Vec<PathBuf> = files.keys().cloned().collect();
    let mut added = BTreeMap::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().expect("a layer") {
        let mut entry = entry.expect("an entry");
        let path: PathBuf = entry.path().expect("a name").components().collect();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let parent = path.parent().unwrap_or(Path::new(""));
        match name.as_deref() {
            None => {}
            Some(".wh..wh..opq") => {
                let inside = |known: &&PathBuf| known.starts_with(parent) && **known != parent;
                below.iter().filter(inside).for_each(|known| {
                    files.remove(known);
                });
            }
            Some(name) if name.starts_with(".wh.") => {
                let gone = parent.join(name.trim_start_matches(".wh."));
                files.retain(|known, _| !known.starts_with(&gone));
            }
            Some(_) => {
                let node = node(&mut entry, &added, files);
                if node.kind != "dir" {
                    files.retain(|known, _| !known.starts_with(&path) || *known == path);
                }
                added.insert(path, node);
            }
        }
    }
    files.extend(added);
}

fn node(
    entry: &mut tar::Entry<'_, impl Read>,
    added: &BTreeMap<PathBuf, FlatNode>,
    below: &BTreeMap<PathBuf, FlatNode>,
) -> FlatNode {
    let header = entry.header().clone();
    let target = entry
        .link_name()
        .expect("a target")
        .map(std::borrow::Cow::into_owned);
    let device = || {
        let number = |value: std::io::Result<Option<u32>>| value.ok().flatten().unwrap_or_default();
        format!(
            "{}:{}",
            number(header.device_major()),
            number(header.device_minor())
        )
    };
    let (kind, content) = match header.entry_type() {
        tar::EntryType::Directory => ("dir", String::new()),
        tar::EntryType::Symlink => ("link", target.unwrap_or_default().display().to_string()),
        tar::EntryType::Link => {
            let target: PathBuf = target.unwrap_or_default().components().collect();
            let node = added.get(&target).or_else(|| below.get(&target));
            return node.expect("the target stands before the link").clone();
        }
        tar::EntryType::Fifo => ("fifo", String::new()),
        tar::EntryType::Char => ("char", device()),
        tar::EntryType::Block => ("block", device()),
        _ => {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("an entry");
            let digest = Digest::sha256(&content);
            (
                "file",
                format!("{} bytes {}", content.len(), &digest.hex()[..12]),
            )
        }
    };
    // The mode of a symbolic link means nothing; builders write different ones.
    let mode = if kind == "link" {
        0o777
    } else {
        header.mode().expect("a mode") & 0o7777
    };
    FlatNode {
        kind,
        mode,
        uid: header.uid().expect("a user id"),
        gid: header.gid().expect("a group id"),
        content,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// A layer with these members; a name that ends in `/` is a folder.
    fn layer(members: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in members {
            let mut header = tar::Header::new_gnu();
            let kind = if name.ends_with('/') {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            };
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(0);
            header.set_uid(0);
            header.set_gid(0);
            builder
                .append_data(&mut header, name, std::io::empty())
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn layers_add_up() {
        let mut files = BTreeMap::new();
        apply(
            &mut files,
            &layer(&["a/", "a/one", "a/two", "b/", "b/three", "c"]),
        );
        apply(
            &mut files,
            &layer(&["a/", "a/.wh.one", "a/new", "b/", "b/.wh..wh..opq", "b/four"]),
        );
        apply(&mut files, &layer(&["a"]));
        let image = FlatImage {
            config: Value::Null,
            files,
        };
        expect![[r"
            /a file 0644 0:0 0 bytes e3b0c44298fc
            /b dir 0644 0:0
            /b/four file 0644 0:0 0 bytes e3b0c44298fc
            /c file 0644 0:0 0 bytes e3b0c44298fc
        "]]
        .assert_eq(&image.tree());
    }

    #[test]
    fn differences_are_lines() {
        let config = |text: &str| comparable(serde_json::from_str(text).unwrap());
        let one = FlatImage {
            config: config(r#"{"created": "x", "config": {"Env": ["A=1"], "User": ""}}"#),
            files: BTreeMap::new(),
        };
        let mut two = FlatImage {
            config: config(r#"{"created": "y", "config": {"Env": ["A=2"], "OnBuild": null}}"#),
            files: BTreeMap::new(),
        };
        apply(&mut two.files, &layer(&["a/"]));
        expect![[r#"
            config.config.Env: ours ["A=1"], theirs ["A=2"]
            /a: ours absent, theirs dir 0644 0:0
        "#]]
        .assert_eq(&one.differences(&two, ["ours", "theirs"]));
    }
}
