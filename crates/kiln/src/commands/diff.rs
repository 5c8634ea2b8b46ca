//! `kiln diff`: what differs between two images.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_engine::{
    AnywhereError, DiffTimes, FileChange, FileDifference, ImageDiff, InspectError, Lookup,
    TransferError, ValueChange,
};
use kiln_oci::Digest;
use serde_json::{Value, json};

use super::Invocation;
use crate::args::{ByteSize, DiffArgs, ReportFormat};
use crate::error::{Blame, CliError, Exit};
use crate::interrupt;
use crate::terminal::{print, tell};

/// Longer values are cut in the table.
const LONGEST: usize = 60;

pub(super) fn diff(args: &DiffArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let engine = invocation.open_engine()?;
    let platform = invocation.settings.platform()?;
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), tell);
    let lookup = lookup(args.remote);
    let first = engine.image_anywhere(&args.first, platform, lookup, &cancel)?;
    let second = engine.image_anywhere(&args.second, platform, lookup, &cancel)?;
    let times = if args.times {
        DiffTimes::Compare
    } else {
        DiffTimes::Ignore
    };
    let found = engine.diff_images(&first, &second, times, &cancel)?;
    drop(watch);
    print(&match args.format {
        ReportFormat::Json => format!("{:#}\n", document(&found)),
        ReportFormat::Table => text(&found),
    })?;
    Ok(if found.is_same() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Different.code())
    })
}

pub(super) const fn lookup(remote: bool) -> Lookup {
    if remote {
        Lookup::StoreThenRegistry
    } else {
        Lookup::Store
    }
}

fn text(diff: &ImageDiff) -> String {
    let mut text = String::new();
    if !diff.config.is_empty() {
        text.push_str("Configuration:\n");
        for change in &diff.config {
            _ = writeln!(text, "  {}", change_text(change));
        }
    }
    if !diff.first_layers.is_empty() || !diff.second_layers.is_empty() {
        _ = writeln!(
            text,
            "Layers: {} shared, {} in the first alone, {} in the second alone",
            diff.shared_layers.len(),
            diff.first_layers.len(),
            diff.second_layers.len()
        );
    }
    if !diff.files.is_empty() {
        text.push_str("Files:\n");
    }
    text.extend(diff.files.iter().map(file_text));
    if text.is_empty() {
        text.push_str("The images are the same.\n");
    } else if diff.is_same() {
        text.push_str("Configuration and files are the same.\n");
    }
    text
}

/// A file that differs, in a line.
pub(super) fn file_text(FileChange { path, how }: &FileChange) -> String {
    let path = shown(&format!("/{}", path.display()));
    match how {
        FileDifference::Added(kind, size) => {
            format!("  + {path}  ({})\n", kind_text(kind, *size))
        }
        FileDifference::Removed(kind, size) => {
            format!("  - {path}  ({})\n", kind_text(kind, *size))
        }
        FileDifference::Changed(aspects) => {
            let aspects: Vec<String> = aspects.iter().map(aspect_text).collect();
            format!("  ~ {path}  ({})\n", aspects.join(", "))
        }
    }
}

fn kind_text(kind: &str, size: Option<u64>) -> String {
    match size {
        Some(size) => format!("{kind}, {}", ByteSize(size)),
        None => kind.to_owned(),
    }
}

fn aspect_text(change: &ValueChange) -> String {
    match change.name.as_str() {
        "content" => "content".to_owned(),
        "size" => {
            let size = |text: &Option<String>| {
                let size = text.as_ref().and_then(|text| text.parse().ok());
                size.map_or_else(String::new, |size| ByteSize(size).to_string())
            };
            format!("size {} → {}", size(&change.first), size(&change.second))
        }
        name if name.starts_with("xattr ") => shown(name),
        _ => change_text(change),
    }
}

fn change_text(change: &ValueChange) -> String {
    let name = shown(&change.name);
    let cut = |text: &String| {
        let text = shown(text);
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    match (&change.first, &change.second) {
        (Some(first), Some(second)) => format!("{name} {} → {}", cut(first), cut(second)),
        (Some(first), None) => format!("{name} {} → nothing", cut(first)),
        (None, Some(second)) => format!("{name} nothing → {}", cut(second)),
        (None, None) => name,
    }
}

/// Names in images are strangers'.
pub(super) fn shown(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

fn document(diff: &ImageDiff) -> Value {
    let digests = |digests: &[Digest]| {
        digests
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<String>>()
    };
    json!({
        "same": diff.is_same(),
        "config": diff.config.iter().map(value_json).collect::<Vec<_>>(),
        "layers": {
            "shared": digests(&diff.shared_layers),
            "first": digests(&diff.first_layers),
            "second": digests(&diff.second_layers),
        },
        "files": diff.files.iter().map(file_json).collect::<Vec<_>>(),
    })
}

fn value_json(change: &ValueChange) -> Value {
    json!({"name": change.name, "first": change.first, "second": change.second})
}

fn path_text(path: &Path) -> String {
    format!("/{}", path.display())
}

/// A file that differs, as a document.
pub(super) fn file_json(change: &FileChange) -> Value {
    let path = path_text(&change.path);
    match &change.how {
        FileDifference::Added(kind, size) => {
            json!({"path": path, "change": "added", "type": kind, "size": size})
        }
        FileDifference::Removed(kind, size) => {
            json!({"path": path, "change": "removed", "type": kind, "size": size})
        }
        FileDifference::Changed(aspects) => json!({
            "path": path,
            "change": "changed",
            "differences": aspects.iter().map(value_json).collect::<Vec<_>>(),
        }),
    }
}

impl From<AnywhereError> for CliError {
    fn from(error: AnywhereError) -> Self {
        match error {
            AnywhereError::Output(error) => Self::from(error)
                .hint("`docker://NAME` is an image in a registry, and `--remote` looks there, too"),
            AnywhereError::Layout(error) => error.into(),
            AnywhereError::Registry(error) => {
                kiln_engine::OutputError::from(TransferError::from(error)).into()
            }
            AnywhereError::Store(error) => error.into(),
            AnywhereError::Cancelled(_) => Self::new(Blame::User, Exit::Cancelled, error),
            AnywhereError::Archive { .. }
            | AnywhereError::Several { .. }
            | AnywhereError::Name { .. }
            | AnywhereError::Platform { .. }
            | AnywhereError::Fs(_) => Self::usage(error),
            AnywhereError::Document { .. } | AnywhereError::Image(_) => {
                Self::new(Blame::Environment, Exit::Registry, error)
            }
            AnywhereError::Blob { .. } => Self::new(Blame::Environment, Exit::General, error),
        }
    }
}

impl From<InspectError> for CliError {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Store(error) => error.into(),
            InspectError::Layer {
                cause: kiln_layer::UnpackError::Cancelled(_),
                ..
            } => Self::new(Blame::User, Exit::Cancelled, error),
            InspectError::Layer { .. } | InspectError::Missing(_) => {
                Self::new(Blame::Environment, Exit::General, error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn change(name: &str, first: Option<&str>, second: Option<&str>) -> ValueChange {
        ValueChange {
            name: name.to_owned(),
            first: first.map(str::to_owned),
            second: second.map(str::to_owned),
        }
    }

    #[test]
    fn differences_are_lines() {
        let file = |path: &str, how| FileChange {
            path: path.into(),
            how,
        };
        let found = ImageDiff {
            config: vec![
                change("config.Env.A", Some("1"), Some("2")),
                change("config.User", None, Some("app")),
            ],
            shared_layers: vec![Digest::sha256(b"a")],
            first_layers: vec![],
            second_layers: vec![Digest::sha256(b"b")],
            files: vec![
                file("etc/new", FileDifference::Added("file", Some(1234))),
                file("etc/old", FileDifference::Removed("directory", None)),
                file(
                    "bin/x\u{1b}[31m",
                    FileDifference::Changed(vec![
                        change("size", Some("5"), Some("7000")),
                        change("content", Some("sha256:a"), Some("sha256:b")),
                        change("mode", Some("0644"), Some("0755")),
                    ]),
                ),
            ],
        };
        expect![[r#"
            Configuration:
              config.Env.A 1 → 2
              config.User nothing → app
            Layers: 1 shared, 0 in the first alone, 1 in the second alone
            Files:
              + /etc/new  (file, 1.23kB)
              - /etc/old  (directory)
              ~ /bin/x�[31m  (size 5B → 7.00kB, content, mode 0644 → 0755)
        "#]]
        .assert_eq(&text(&found));
    }

    #[test]
    fn the_same_is_said() {
        let same = ImageDiff {
            config: vec![],
            shared_layers: vec![],
            first_layers: vec![],
            second_layers: vec![],
            files: vec![],
        };
        assert_eq!(text(&same), "The images are the same.\n");
        let cut = ImageDiff {
            first_layers: vec![Digest::sha256(b"a")],
            ..same
        };
        assert!(text(&cut).ends_with("Configuration and files are the same.\n"));
    }
}
