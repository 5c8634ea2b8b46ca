//! Text: characters are what a reader sees as one (grapheme clusters).

use unicode_segmentation::UnicodeSegmentation as _;

use super::{Args, Function, entry, size};
use crate::eval::MAX_TEXT;
use crate::source::{Fault, Outcome};
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    entry("upper", "s", |args| text(args.text(0).to_uppercase())),
    entry("lower", "s", |args| text(args.text(0).to_lowercase())),
    entry("title", "s", title),
    entry("reverse", "s", |args| {
        text(args.text(0).graphemes(true).rev().collect::<String>())
    }),
    entry("strlen", "s", |args| {
        Ok(size(args.text(0).graphemes(true).count()))
    }),
    entry("substr", "snn", substr),
    entry("chomp", "s", |args| {
        text(args.text(0).trim_end_matches(['\r', '\n']))
    }),
    entry("indent", "ns", indent),
    entry("trim", "ss", |args| {
        text(args.text(0).trim_matches(|ch| args.text(1).contains(ch)))
    }),
    entry("trimspace", "s", |args| text(args.text(0).trim())),
    entry("trimprefix", "ss", |args| {
        text(
            args.text(0)
                .strip_prefix(args.text(1))
                .unwrap_or(args.text(0)),
        )
    }),
    entry("trimsuffix", "ss", |args| {
        text(
            args.text(0)
                .strip_suffix(args.text(1))
                .unwrap_or(args.text(0)),
        )
    }),
    entry("split", "ss", split),
    entry("join", "s*S", join),
    entry("replace", "sss", replace),
    entry("sort", "S", |args| {
        let mut texts = args.texts(0)?;
        texts.sort_unstable();
        Ok(Value::texts(texts))
    }),
    entry("sanitize", "s", |args| text(sanitize(args.text(0)))),
    entry("basename", "s", |args| text(basename(args.text(0)))),
    entry("dirname", "s", |args| text(dirname(args.text(0)))),
    entry("homedir", "", |args| match &args.world.clock().home {
        Some(home) => Ok(Value::text(home)),
        None => Err(Fault::new("the home directory is not known")),
    }),
];

pub(super) fn text(text: impl AsRef<str>) -> Outcome<Value> {
    let text = text.as_ref();
    if text.len() > MAX_TEXT {
        return Err(Fault::limit(format!(
            "this text is longer than {MAX_TEXT} bytes"
        )));
    }
    Ok(Value::text(text))
}

fn title(args: &Args<'_>) -> Outcome<Value> {
    let mut out = String::new();
    let mut begins = true;
    for ch in args.text(0).chars() {
        if begins && ch.is_alphabetic() {
            out.extend(ch.to_uppercase());
        } else {
            out.push(ch);
        }
        begins = !(ch.is_alphanumeric() || ch == '_');
    }
    text(out)
}

fn substr(args: &Args<'_>) -> Outcome<Value> {
    let clusters: Vec<&str> = args.text(0).graphemes(true).collect();
    let (mut offset, length) = (args.int(1)?, args.int(2)?);
    if offset < 0 {
        offset += i64::try_from(clusters.len()).unwrap_or(i64::MAX);
    }
    let start = usize::try_from(offset.max(0))
        .unwrap_or(usize::MAX)
        .min(clusters.len());
    // From the end, a length of zero means the rest, as a negative one does.
    let rest = length < 0 || (length == 0 && args.int(1)? < 0);
    let length = if rest {
        usize::MAX
    } else {
        usize::try_from(length).unwrap_or(usize::MAX)
    };
    text(
        clusters[start..]
            .iter()
            .take(length)
            .copied()
            .collect::<String>(),
    )
}

fn indent(args: &Args<'_>) -> Outcome<Value> {
    let spaces =
        usize::try_from(args.int(0)?).map_err(|_| Fault::new("a number from 0 is required"))?;
    let lines = args.text(1).matches('\n').count();
    if lines.saturating_mul(spaces) > MAX_TEXT {
        return Err(Fault::limit(format!(
            "this text is longer than {MAX_TEXT} bytes"
        )));
    }
    text(
        args.text(1)
            .replace('\n', &format!("\n{}", " ".repeat(spaces))),
    )
}

fn split(args: &Args<'_>) -> Outcome<Value> {
    args.charge(args.text(1).len() / 4)?;
    Ok(match (args.text(0), args.text(1)) {
        (_, "") => Value::list(Type::String, vec![Value::text("")]),
        ("", text) => Value::texts(text.chars().map(String::from)),
        (separator, text) => Value::texts(text.split(separator)),
    })
}

fn join(args: &Args<'_>) -> Outcome<Value> {
    if args.all().len() < 2 {
        return Err(Fault::new("at least one list is required"));
    }
    let mut texts = Vec::new();
    for at in 1..args.all().len() {
        texts.extend(args.texts(at)?);
    }
    let length: usize = texts
        .iter()
        .map(|text| text.len() + args.text(0).len())
        .sum();
    if length > 2 * MAX_TEXT {
        return Err(Fault::limit(format!(
            "this text is longer than {MAX_TEXT} bytes"
        )));
    }
    text(texts.join(args.text(0)))
}

fn replace(args: &Args<'_>) -> Outcome<Value> {
    let (source, old, new) = (args.text(0), args.text(1), args.text(2));
    let count = source.matches(old).count();
    if source.len().saturating_add(count.saturating_mul(new.len())) > 2 * MAX_TEXT {
        return Err(Fault::limit(format!(
            "this text is longer than {MAX_TEXT} bytes"
        )));
    }
    text(source.replace(old, new))
}

/// Letters, digits, `_` and `-` stay; everything else becomes `_`.
pub(crate) fn sanitize(name: &str) -> String {
    name.chars()
        .map(|ch| {
            if ch.is_ascii_alphanumeric() || ch == '_' || ch == '-' {
                ch
            } else {
                '_'
            }
        })
        .collect()
}

fn basename(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match (path, trimmed) {
        ("", _) => ".".to_owned(),
        (_, "") => "/".to_owned(),
        _ => trimmed.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

fn dirname(path: &str) -> String {
    crate::path::clean(path.rfind('/').map_or("", |at| &path[..=at]))
}
