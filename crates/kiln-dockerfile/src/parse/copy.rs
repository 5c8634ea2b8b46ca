//! `ADD` and `COPY`.

use super::flags::{Flags, Kind};
use super::instruction::{Parts, list};
use super::{Reader, heredoc};
use crate::Text;
use crate::ast::{Add, Copy, CopyOptions, CopySource, Paths};

pub(super) fn add(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Add> {
    let known = [
        ("chown", Kind::Value),
        ("chmod", Kind::Value),
        ("link", Kind::Bool),
        ("keep-git-dir", Kind::Bool),
        ("checksum", Kind::Value),
        ("unpack", Kind::Bool),
        ("exclude", Kind::Repeated),
    ];
    let flags = parts.check_flags(&known, reader);
    Some(Add {
        paths: paths(parts, reader)?,
        options: options(&flags),
        checksum: given(&flags, "checksum"),
        keep_git_dir: flags.bool("keep-git-dir"),
        unpack: flags.bool("unpack"),
    })
}

pub(super) fn copy(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Copy> {
    let known = [
        ("chown", Kind::Value),
        ("from", Kind::Value),
        ("chmod", Kind::Value),
        ("link", Kind::Bool),
        ("exclude", Kind::Repeated),
        ("parents", Kind::Bool),
    ];
    let flags = parts.check_flags(&known, reader);
    Some(Copy {
        paths: paths(parts, reader)?,
        options: options(&flags),
        from: given(&flags, "from"),
        parents: flags.is_true("parents"),
    })
}

fn options(flags: &Flags) -> CopyOptions {
    CopyOptions {
        chown: given(flags, "chown"),
        chmod: given(flags, "chmod"),
        link: flags.is_true("link"),
        exclude: flags.values("exclude"),
    }
}

/// A flag's value; an empty one counts as none, as it does for BuildKit.
fn given(flags: &Flags, name: &str) -> Option<Text> {
    flags.value(name).filter(|text| !text.value.is_empty())
}

fn paths(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Paths> {
    let name = parts.name();
    let mut words = list(parts.args, reader)?;
    let Some(destination) = words.pop().filter(|_| !words.is_empty()) else {
        let message = format!("`{name}` requires at least two arguments");
        let hint = format!("write `{name} <source>… <destination>`");
        reader.error_with(parts.place(), message, Some(hint));
        return None;
    };
    if heredoc::parse_word(&destination.value, destination.span).is_some() {
        let message = format!("`{name}` cannot accept a heredoc as a destination");
        reader.error(destination.span, message);
        return None;
    }
    let sources = words
        .into_iter()
        .map(|word| source(word, parts, reader))
        .collect();
    Some(Paths {
        sources,
        destination,
    })
}

/// A path, or the heredoc whose word it is. Of several with one name the last counts.
fn source(word: Text, parts: &Parts<'_>, reader: &mut Reader<'_>) -> CopySource {
    let Some(heredoc) = heredoc::parse_word(&word.value, word.span) else {
        return CopySource::Path(word);
    };
    let mut named = parts.heredocs.iter().rev();
    match named.find(|found| found.name == heredoc.name) {
        Some(found) => CopySource::Heredoc(crate::ast::Heredoc {
            body: found.body.clone(),
            body_span: found.body_span,
            ..heredoc
        }),
        None => {
            let message = format!("heredoc `{}` has no body", heredoc.name);
            let hint = "a heredoc can't be used in the JSON form".to_owned();
            reader.error_with(word.span, message, Some(hint));
            CopySource::Path(word)
        }
    }
}
