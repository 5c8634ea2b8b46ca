//! What differs between two images: configuration, layers, files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_image::Image;
use kiln_layer::{Member, MemberKind};
use kiln_oci::Digest;
use serde_json::Value;

use crate::Engine;
use crate::inspect::InspectError;

/// What differs between two images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDiff {
    /// Fields of the configuration, by their place: `config.Env.PATH`.
    pub config: Vec<ValueChange>,
    /// Layers that both have, base first.
    pub shared_layers: Vec<Digest>,
    /// Layers of the first alone.
    pub first_layers: Vec<Digest>,
    /// Layers of the second alone.
    pub second_layers: Vec<Digest>,
    /// Files that differ, by path.
    pub files: Vec<FileChange>,
}

/// A value that differs. What one side lacks is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueChange {
    /// What it is.
    pub name: String,
    /// In the first image.
    pub first: Option<String>,
    /// In the second.
    pub second: Option<String>,
}

/// A file, directory or link that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Where it is, without a leading slash.
    pub path: PathBuf,
    /// How it differs.
    pub how: FileDifference,
}

/// How a file differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileDifference {
    /// The second image alone has it; its type and, of a file, the size.
    Added(&'static str, Option<u64>),
    /// The first image alone has it.
    Removed(&'static str, Option<u64>),
    /// Both have it: type, size, content, target, device, mode, owner, time, extended attributes.
    Changed(Vec<ValueChange>),
}

impl ImageDiff {
    /// Whether nothing differs in what a container would see. Layers may be cut differently.
    pub fn is_same(&self) -> bool {
        self.config.is_empty() && self.files.is_empty()
    }
}

/// Whether times count as a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// They don't.
    Ignore,
    /// Of files, and of the configuration.
    Compare,
}

impl Engine {
    /// Compares two images of the store.
    pub fn diff_images(
        &self,
        first: &Image,
        second: &Image,
        times: Times,
        cancel: &CancelToken,
    ) -> Result<ImageDiff, InspectError> {
        let digests = |image: &Image| -> Vec<Digest> {
            let layers = image.layers().iter();
            layers.map(|layer| layer.digest.clone()).collect()
        };
        let (of_first, of_second) = (digests(first), digests(second));
        let (shared_layers, first_layers) = of_first
            .iter()
            .cloned()
            .partition(|digest| of_second.contains(digest));
        let mut second_layers = of_second.clone();
        second_layers.retain(|digest| !of_first.contains(digest));
        // The same stack of layers has the same files.
        let files = if of_first == of_second {
            Vec::new()
        } else {
            let one = stacked(&self.list_layers(first, cancel)?);
            let other = stacked(&self.list_layers(second, cancel)?);
            compare_files(&one, &other, times)
        };
        let document = |image: &Image| -> Value {
            serde_json::from_slice(image.config_bytes()).unwrap_or_default()
        };
        Ok(ImageDiff {
            config: compare_configs(&document(first), &document(second), times),
            shared_layers,
            first_layers,
            second_layers,
            files,
        })
    }
}

type Tree = BTreeMap<PathBuf, Member>;

/// The files of all layers on top of each other. Another name of a file is that file again.
fn stacked(layers: &[Vec<Member>]) -> Tree {
    let mut tree: BTreeMap<PathBuf, (usize, Member)> = BTreeMap::new();
    for (number, members) in layers.iter().enumerate() {
        for member in members {
            let path = &member.path;
            match &member.kind {
                MemberKind::Whiteout => remove(&mut tree, number, path, true),
                MemberKind::Opaque => remove(&mut tree, number, path, false),
                kind => {
                    let was_dir = matches!(
                        tree.get(path),
                        Some((
                            _,
                            Member {
                                kind: MemberKind::Dir,
                                ..
                            }
                        ))
                    );
                    if was_dir && !matches!(kind, MemberKind::Dir) {
                        remove(&mut tree, number, path, false);
                    }
                    let mut entry = member.clone();
                    if let MemberKind::HardLink(target) = kind
                        && let Some((_, file)) = tree.get(target)
                    {
                        entry = Member {
                            path: path.clone(),
                            ..file.clone()
                        };
                    }
                    entry.xattrs.sort();
                    tree.insert(path.clone(), (number, entry));
                }
            }
        }
    }
    // Whether a layer mentions the root is of no consequence.
    tree.remove(Path::new(""));
    tree.into_iter()
        .map(|(path, (_, member))| (path, member))
        .collect()
}

fn remove(
    tree: &mut BTreeMap<PathBuf, (usize, Member)>,
    number: usize,
    path: &Path,
    with_itself: bool,
) {
    let gone: Vec<PathBuf> = tree
        .range(path.to_path_buf()..)
        .take_while(|(below, _)| below.starts_with(path))
        .filter(|(below, (layer, _))| *layer < number && (with_itself || *below != path))
        .map(|(below, _)| below.clone())
        .collect();
    for path in gone {
        tree.remove(&path);
    }
}

fn compare_files(first: &Tree, second: &Tree, times: Times) -> Vec<FileChange> {
    let paths: BTreeSet<&PathBuf> = first.keys().chain(second.keys()).collect();
    let mut changes = Vec::new();
    for path in paths {
        let how = match (first.get(path), second.get(path)) {
            (Some(one), Some(other)) => match aspects(one, other, times) {
                aspects if aspects.is_empty() => continue,
                aspects => FileDifference::Changed(aspects),
            },
            (Some(one), None) => FileDifference::Removed(kind_word(one), size(one)),
            (None, Some(other)) => FileDifference::Added(kind_word(other), size(other)),
            (None, None) => continue,
        };
        changes.push(FileChange {
            path: path.clone(),
            how,
        });
    }
    changes
}

fn kind_word(member: &Member) -> &'static str {
    match member.kind {
        MemberKind::File { .. } => "file",
        MemberKind::Dir => "directory",
        MemberKind::Symlink(_) => "symbolic link",
        MemberKind::HardLink(_) => "hard link",
        MemberKind::Fifo => "named pipe",
        MemberKind::CharDevice(_) => "character device",
        MemberKind::BlockDevice(_) => "block device",
        MemberKind::Whiteout | MemberKind::Opaque => "whiteout",
    }
}

fn size(member: &Member) -> Option<u64> {
    match member.kind {
        MemberKind::File { size, .. } => Some(size),
        _ => None,
    }
}

fn aspects(one: &Member, other: &Member, times: Times) -> Vec<ValueChange> {
    let mut changes = Vec::new();
    let mut compare = |name: &str, of: &dyn Fn(&Member) -> Option<String>| {
        let (first, second) = (of(one), of(other));
        if first != second {
            changes.push(ValueChange {
                name: name.to_owned(),
                first,
                second,
            });
        }
    };
    compare("type", &|member| Some(kind_word(member).to_owned()));
    compare("size", &|member| size(member).map(|size| size.to_string()));
    compare("content", &|member| match &member.kind {
        MemberKind::File { digest, .. } => Some(digest.to_string()),
        _ => None,
    });
    compare("target", &|member| match &member.kind {
        MemberKind::Symlink(target) => Some(target.to_string_lossy().into_owned()),
        MemberKind::HardLink(target) => Some(target.display().to_string()),
        _ => None,
    });
    compare("device", &|member| match &member.kind {
        MemberKind::CharDevice(device) | MemberKind::BlockDevice(device) => {
            Some(format!("{}:{}", device.major, device.minor))
        }
        _ => None,
    });
    compare("mode", &|member| Some(format!("{:04o}", member.mode)));
    compare("owner", &|member| {
        Some(format!("{}:{}", member.uid, member.gid))
    });
    if times == Times::Compare {
        compare("time", &|member| {
            let time = member.mtime;
            Some(kiln_base::Timestamp::from_seconds(time.seconds).to_string())
        });
    }
    let names: BTreeSet<String> = [one, other]
        .iter()
        .flat_map(|member| &member.xattrs)
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    for name in names {
        compare(&format!("xattr {name}"), &|member| {
            let mut found = member.xattrs.iter();
            let (_, value) = found.find(|(known, _)| known.to_string_lossy() == name)?;
            Some(Digest::sha256(value).to_string())
        });
    }
    changes
}

/// Compares the documents of two configurations, but for what layers are made of.
fn compare_configs(first: &Value, second: &Value, times: Times) -> Vec<ValueChange> {
    let flat = |document: &Value| {
        let mut values = BTreeMap::new();
        flatten(document, "", &mut values);
        values.retain(|name, _| {
            let of = |field: &str| name == field || name.starts_with(&format!("{field}."));
            let is_time = of("created");
            !(of("rootfs") || of("history") || (is_time && times == Times::Ignore))
        });
        values
    };
    let (one, other) = (flat(first), flat(second));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let changes = names.into_iter().filter_map(|name| {
        let (first, second) = (one.get(name), other.get(name));
        (first != second).then(|| ValueChange {
            name: name.clone(),
            first: first.cloned(),
            second: second.cloned(),
        })
    });
    changes.collect()
}

/// Each value by its place. Empty values say what missing ones do; variables go by their name.
fn flatten(value: &Value, place: &str, into: &mut BTreeMap<String, String>) {
    let below = |name: &str| {
        if place.is_empty() {
            name.to_owned()
        } else {
            format!("{place}.{name}")
        }
    };
    match value {
        Value::Null | Value::Bool(false) => {}
        Value::Object(fields) => {
            // The sets of the format, as `ExposedPorts`.
            for (name, value) in fields {
                if value.as_object().is_some_and(serde_json::Map::is_empty) {
                    into.insert(below(name), "yes".to_owned());
                }
                flatten(value, &below(name), into);
            }
        }
        Value::Array(entries) if place.ends_with("Env") => {
            for entry in entries.iter().filter_map(Value::as_str) {
                let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
                into.insert(below(name), value.to_owned());
            }
        }
        Value::Array(entries) if entries.is_empty() => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => drop(into.insert(place.to_owned(), text.clone())),
        other => drop(into.insert(place.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;
    use crate::inspect::tests::layer;

    #[track_caller]
    fn check(first: &[&str], second: &[&str], expected: &str) {
        let tree = |layers: &[&str]| {
            let layers: Vec<_> = layers.iter().map(|text| layer(text)).collect();
            stacked(&layers)
        };
        let changes = compare_files(&tree(first), &tree(second), Times::Ignore);
        let mut text = String::new();
        for change in changes {
            let path = change.path.display();
            _ = match change.how {
                FileDifference::Added(kind, _) => write!(text, "+{path} {kind}; "),
                FileDifference::Removed(kind, _) => write!(text, "-{path} {kind}; "),
                FileDifference::Changed(aspects) => {
                    let names: Vec<String> =
                        aspects.into_iter().map(|aspect| aspect.name).collect();
                    write!(text, "~{path} {}; ", names.join(" "))
                }
            };
        }
        assert_eq!(text.trim_end(), expected);
    }

    #[test]
    fn the_cut_into_layers_makes_no_difference() {
        check(&["d a\nf a/b 1", "f c 2"], &["d a\nf a/b 1\nf c 2"], "");
        check(&["f a 1\nf b 2", "w a"], &["f b 2"], "");
        check(
            &["d a\nf a/x 1", "d a\no a\nf a/y 2"],
            &["d a\nf a/y 2"],
            "",
        );
        check(&["d a\nf a/x 1", "f a 2"], &["f a 2"], "");
        check(&["f a 1\nh b a"], &["f a 1\nf b 1"], "");
    }

    #[test]
    fn differences_are_told() {
        check(&["f a 1"], &["f b 1"], "-a file; +b file;");
        check(&["f a 1"], &["f a 2"], "~a size content;");
        check(&["f a 1 644"], &["f a 1 755"], "~a mode;");
        check(&["l a x"], &["l a y"], "~a target;");
        check(&["d a"], &["l a b"], "~a type target;");
    }

    #[test]
    fn configurations_are_compared_by_value() {
        let first = json!({
            "created": "2020-01-01T00:00:00Z",
            "architecture": "amd64",
            "config": {"Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "User": "",
                "ExposedPorts": {"80/tcp": {}}},
            "rootfs": {"type": "layers", "diff_ids": ["a"]},
        });
        let second = json!({
            "created": "2021-01-01T00:00:00Z",
            "architecture": "amd64",
            "config": {"Env": ["A=2", "PATH=/bin"], "Cmd": ["sh", "-c"]},
            "rootfs": {"type": "layers", "diff_ids": ["b"]},
        });
        let names = |times| {
            let changes = compare_configs(&first, &second, times).into_iter();
            changes.map(|change| change.name).collect::<Vec<_>>()
        };
        let expected = ["config.Cmd", "config.Env.A", "config.ExposedPorts.80/tcp"];
        assert_eq!(names(Times::Ignore), expected);
        assert!(names(Times::Compare).contains(&"created".to_owned()));
    }
}
