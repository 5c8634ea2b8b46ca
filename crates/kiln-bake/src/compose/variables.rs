//! `${NAME:-default}` in compose files, and the lines of `.env`.

use std::collections::BTreeMap;

use super::yaml::{Yaml, YamlKind};
use crate::source::{Fault, Outcome, Span};

/// Names and values that compose files refer to.
pub(crate) type Environment = BTreeMap<String, String>;

/// Bytes of one text.
const MAX_TEXT: usize = 1 << 20;
/// Defaults within defaults.
const MAX_DEPTH: usize = 16;

/// Replaces variables in all texts, keys apart.
pub(crate) fn interpolate(value: &mut Yaml, environment: &Environment) -> Outcome<()> {
    match &mut value.kind {
        YamlKind::Null => {}
        YamlKind::Text(text) => {
            if text.contains('$') {
                *text = expand(text, environment, 0).map_err(|fault| fault.or_at(value.span))?;
            }
        }
        YamlKind::List(items) => items
            .iter_mut()
            .try_for_each(|item| interpolate(item, environment))?,
        YamlKind::Map(entries) => entries
            .iter_mut()
            .try_for_each(|(_, item)| interpolate(item, environment))?,
    }
    Ok(())
}

fn name_end(text: &str) -> usize {
    let begins = text.starts_with(|ch: char| ch.is_ascii_alphabetic() || ch == '_');
    if !begins {
        return 0;
    }
    text.find(|ch: char| !(ch.is_ascii_alphanumeric() || ch == '_'))
        .unwrap_or(text.len())
}

pub(crate) fn expand(text: &str, environment: &Environment, depth: usize) -> Outcome<String> {
    if depth > MAX_DEPTH {
        return Err(Fault::new("defaults of variables are nested too deep"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or_else(|| Fault::new("`${` is not closed by `}`"))?;
            out.push_str(&braced(&after[..end], environment, depth)?);
            rest = &after[end + 1..];
        } else {
            let end = name_end(rest);
            if end == 0 {
                return Err(Fault::new("`$` is followed by no name")
                    .hint(Some("write `$$` for a dollar sign".to_owned())));
            }
            out.push_str(environment.get(&rest[..end]).map_or("", String::as_str));
            rest = &rest[end..];
        }
        if out.len() > MAX_TEXT {
            return Err(Fault::limit(format!(
                "this text is longer than {MAX_TEXT} bytes"
            )));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the brace closes that is open before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    let mut before = ' ';
    for (at, ch) in text.char_indices() {
        match ch {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = ch;
    }
    None
}

fn braced(text: &str, environment: &Environment, depth: usize) -> Outcome<String> {
    let end = name_end(text);
    let (name, operator) = text.split_at(end);
    if name.is_empty() {
        return Err(Fault::new(format!("`${{{text}}}` has no name")));
    }
    let value = environment.get(name);
    let set = value.filter(|value| !value.is_empty());
    let (value, word) = match operator.strip_prefix(':') {
        Some(word) => (set, word),
        None => (value, operator),
    };
    let Some(kind) = word.chars().next() else {
        return if operator.is_empty() {
            Ok(value.cloned().unwrap_or_default())
        } else {
            Err(Fault::new(format!("`${{{text}}}` is no variable")))
        };
    };
    let word = &word[kind.len_utf8()..];
    match (kind, value) {
        ('-' | '?', Some(value)) => Ok(value.clone()),
        ('-', None) | ('+', Some(_)) => expand(word, environment, depth + 1),
        ('+', None) => Ok(String::new()),
        ('?', None) => {
            let why = expand(word, environment, depth + 1)?;
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(": {why}")
            };
            Err(Fault::new(format!("variable `{name}` is required{why}")))
        }
        _ => Err(Fault::new(format!("`${{{text}}}` is no variable"))),
    }
}

/// Adds the lines of a `.env` file to what the environment has not.
pub(crate) fn dotenv(text: &str, file: usize, environment: &mut Environment) -> Outcome<()> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let start = text.len() - rest.len();
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let span = Span {
            file,
            start,
            end: start + line_end,
        };
        let line = rest[..line_end].trim();
        if line.is_empty() || line.starts_with('#') {
            rest = rest.get(line_end + 1..).unwrap_or_default();
            continue;
        }
        let assignment = rest.trim_start();
        let assignment = assignment.strip_prefix("export ").unwrap_or(assignment);
        let key_end = assignment
            .find(['=', ':', '\n'])
            .unwrap_or(assignment.len());
        let key = assignment[..key_end].trim();
        let valid = !key.is_empty()
            && key
                .chars()
                .all(|ch| ch.is_ascii_alphanumeric() || "_.-[]".contains(ch));
        if !valid {
            return Err(Fault::at(span, "expected `NAME=value`"));
        }
        let after = &assignment[key_end..];
        if !after.starts_with(['=', ':']) {
            // A name alone takes its value from the environment.
            rest = after.strip_prefix('\n').unwrap_or(after);
            continue;
        }
        let (value, left) = dotenv_value(after[1..].trim_start_matches([' ', '\t']), environment)
            .map_err(|fault| fault.or_at(span))?;
        environment.entry(key.to_owned()).or_insert(value);
        rest = left;
    }
    Ok(())
}

fn dotenv_value<'a>(text: &'a str, environment: &Environment) -> Outcome<(String, &'a str)> {
    let line_after = |rest: &'a str| rest.find('\n').map_or("", |at| &rest[at + 1..]);
    if let Some(quoted) = text.strip_prefix('\'') {
        let end = quoted
            .find('\'')
            .ok_or_else(|| Fault::new("`'` is not closed"))?;
        return Ok((quoted[..end].to_owned(), line_after(&quoted[end..])));
    }
    if let Some(quoted) = text.strip_prefix('"') {
        let mut out = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, ch)) = chars.next() {
            match ch {
                '"' => return Ok((expand(&out, environment, 0)?, line_after(&quoted[at..]))),
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, '$')) => out.push_str("$$"),
                    Some((_, other)) => out.push(other),
                    None => out.push('\\'),
                },
                _ => out.push(ch),
            }
        }
        return Err(Fault::new("`\"` is not closed"));
    }
    let end = text.find('\n').unwrap_or(text.len());
    let line = &text[..end];
    let line = if line.starts_with('#') {
        ""
    } else {
        line.find(" #").map_or(line, |at| &line[..at])
    };
    Ok((
        expand(line.trim(), environment, 0)?,
        line_after(&text[end..]),
    ))
}
