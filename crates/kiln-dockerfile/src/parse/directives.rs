//! Parser directives: `# syntax=`, `# escape=`, `# check=` at the top of the file.
//!
//! BuildKit reads them twice, by slightly different rules, and so does this. The parser, which only
//! wants `escape`, allows blanks before the `#` but no shebang line; the detection of `syntax` and
//! `check` skips a shebang line but wants the `#` in the first column, and for `syntax` falls back
//! to `//` comments and to a JSON object.

use super::source::{Line, Lines};
use crate::ast::Directives;
use crate::{Diagnostic, Text};

const KNOWN: [&str; 3] = ["syntax", "escape", "check"];

/// Reads the directives of a text that begins, after a byte order mark, at `start`; also where the
/// parser's own directives end.
pub(super) fn read(
    text: &str,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Directives, usize) {
    let mut escape = '\\';
    let mut end = start;
    let mut seen: Vec<String> = Vec::new();
    for line in Lines::new(text, start) {
        let Some((name, value)) = directive(line, line.content().trim_start(), "#") else {
            break;
        };
        if seen.contains(&name) {
            let message = format!("only one `{name}` parser directive can be used");
            diagnostics.push(Diagnostic::error(line.span(), message));
        } else if name == "escape" {
            match value.value.as_str() {
                "\\" => {}
                "`" => escape = '`',
                other => {
                    let message = format!("invalid escape character `{other}`");
                    let error = Diagnostic::error(value.span, message);
                    diagnostics.push(error.with_hint("it can be `\\` or a backtick"));
                }
            }
        }
        seen.push(name);
        end = line.start + line.text.len();
    }
    let directives = Directives {
        syntax: detect("syntax", text, start, "#")
            .or_else(|| detect("syntax", text, start, "//"))
            .or_else(|| syntax_of_json(text, start))
            .map(first_word),
        check: detect("check", text, start, "#"),
        escape,
    };
    (directives, end)
}

/// Finds one directive by the rules of the detection.
fn detect(wanted: &str, text: &str, start: usize, comment: &str) -> Option<Text> {
    let mut first = true;
    let mut seen: Vec<String> = Vec::new();
    for line in Lines::new(text, start) {
        if std::mem::take(&mut first) && line.text.starts_with("#!") {
            continue;
        }
        let (name, value) = directive(line, line.content(), comment)?;
        if seen.contains(&name) {
            return None;
        }
        if name == wanted {
            return Some(value);
        }
        seen.push(name);
    }
    None
}

/// Reads `comment name = value`, in lower case; `None` where the line is not a directive.
fn directive(line: Line<'_>, content: &str, comment: &str) -> Option<(String, Text)> {
    let body = content.strip_prefix(comment)?.trim_start();
    let (name, value) = body.split_once('=')?;
    let name = name.trim_end().to_ascii_lowercase();
    let value = value.trim();
    if value.is_empty() || !KNOWN.contains(&name.as_str()) {
        return None;
    }
    let end = line.start + line.content().trim_end().len();
    let span = crate::Span::new(end - value.len(), end);
    Some((name, Text::new(value.to_owned(), span)))
}

/// The frontend's name ends at the first space.
fn first_word(text: Text) -> Text {
    match text.value.split_once(' ') {
        Some((word, _)) => {
            let end = text.span.start + word.len();
            let span = crate::Span::new(text.span.start, end.min(text.span.end));
            Text::new(word.to_owned(), span)
        }
        None => text,
    }
}

/// `{"syntax": "…"}` as the whole file.
fn syntax_of_json(text: &str, start: usize) -> Option<Text> {
    let mut body = &text[start..];
    if body.starts_with("#!") {
        body = body.split_once('\n').map_or("", |(_, rest)| rest);
    }
    let body = body.trim_start();
    if !body.starts_with('{') {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).ok()?;
    let syntax = object.get("syntax")?.as_str()?;
    let at = text.len() - body.len();
    Some(Text::new(syntax.to_owned(), crate::Span::new(at, at + 1)))
}
