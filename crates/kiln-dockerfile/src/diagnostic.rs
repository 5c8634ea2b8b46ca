//! What is wrong with a Dockerfile, and how it is shown.

use std::fmt::Write as _;

use crate::lint::LintRule;
use crate::span::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file can be built, but the author should look at this.
    Warning,
    /// The file can't be built.
    Error,
}

/// One thing to tell about a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: a lower-case fragment without a full stop, backticks round names.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// The check that found it; `None` for everything that is no matter of style.
    pub rule: Option<LintRule>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: printable(message.into()),
            span,
            hint: None,
            rule: None,
        }
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// A warning that a check gives.
    pub fn lint(rule: LintRule, span: Span, message: impl Into<String>) -> Self {
        Self {
            rule: Some(rule),
            ..Self::warning(span, message)
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(printable(hint.into())),
            ..self
        }
    }

    /// Whether this keeps the file from being built.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Messages quote the file, and a file can hold what a terminal would obey.
fn printable(text: String) -> String {
    if text.contains(char::is_control) {
        text.replace(char::is_control, "\u{fffd}")
    } else {
        text
    }
}

/// The diagnostic as lines of plain text: message, file and line, the line itself, a caret, a hint.
///
/// `text` is what was parsed. Long lines are cut round the caret; a caret is never wider than the
/// line it stands under. The last line has no newline.
pub fn render(diagnostic: &Diagnostic, file_name: &str, text: &str) -> String {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut out = match diagnostic.rule {
        Some(rule) => format!("{severity}: {}: {}\n", rule.name(), diagnostic.message),
        None => format!("{severity}: {}\n", diagnostic.message),
    };
    out.push_str(&quote(diagnostic.span, file_name, text));
    if let Some(hint) = &diagnostic.hint {
        let _ = write!(out, "\nhint: {hint}");
    }
    out
}

/// The place of `span`: file and line, the line itself, and a caret under the first line's part of
/// the span. The last line has no newline.
pub fn quote(span: Span, file_name: &str, text: &str) -> String {
    let start = floor_char_boundary(text, span.start);
    let end = floor_char_boundary(text, span.end).max(start);
    let number = line_number(text, start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let from = (start - line_start).min(line.len());
    let to = (end - line_start).clamp(from, line.len());
    let (shown, indent, width) = window(line, from, to);

    let gutter = " ".repeat(number.to_string().len());
    let mut out = String::new();
    let _ = writeln!(out, "{gutter}--> {file_name}:{number}");
    let _ = writeln!(out, "{gutter} |");
    let _ = writeln!(out, "{number} | {shown}");
    let _ = write!(
        out,
        "{gutter} | {}{}",
        " ".repeat(indent),
        "^".repeat(width)
    );
    out
}

/// The number of the line that the byte `offset` is in, from 1.
pub fn line_number(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.split(|&byte| byte == b'\n').count()
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// The part of a line that is shown, and where the caret stands in it and how wide it is, in
/// characters. Control characters become spaces, so that the caret stands right and a terminal is
/// safe from what a file has in it.
fn window(line: &str, from: usize, to: usize) -> (String, usize, usize) {
    const BEFORE: usize = 60;
    const WIDTH: usize = 120;
    let column = line[..from].chars().count();
    let marked = line[from..to].chars().count();
    let skipped = column.saturating_sub(BEFORE);
    let mut shown: String = line
        .chars()
        .skip(skipped)
        .take(WIDTH)
        .map(|ch| if ch.is_control() { ' ' } else { ch })
        .collect();
    shown.truncate(shown.trim_end().len());
    let indent = column - skipped;
    let room = shown.chars().count().saturating_sub(indent);
    (shown, indent, marked.min(room).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_diagnostic_points_at_its_line() {
        let text = "FROM scratch\nRUNN make\n";
        let error = Diagnostic::error(Span::new(13, 17), "unknown instruction `RUNN`");
        let error = error.with_hint("did you mean `RUN`?");
        expect![[r"
            error: unknown instruction `RUNN`
             --> Dockerfile:2
              |
            2 | RUNN make
              | ^^^^
            hint: did you mean `RUN`?"]]
        .assert_eq(&render(&error, "Dockerfile", text));
    }

    #[test]
    fn wrong_spans_and_long_lines_do_no_harm() {
        let text = format!("é{}X{}\tend", "a".repeat(500), "b".repeat(500));
        let warning = Diagnostic::warning(Span::new(1, 900), "wide");
        assert!(render(&warning, "f", &text).contains("\n1 | é"));
        let warning = Diagnostic::warning(Span::new(502, 503), "X");
        let rendered = render(&warning, "f", &text);
        assert!(
            rendered.ends_with(&format!("| {}^", " ".repeat(60))),
            "{rendered}"
        );
        render(
            &Diagnostic::error(Span::new(9999, 99999), "far"),
            "f",
            &text,
        );
        render(&Diagnostic::error(Span::new(0, 0), "empty"), "f", "");
    }
}
