//! Places and sources in the JSON that BuildKit's frontend answers with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_dockerfile::{Dockerfile, Span};
use serde::Serialize;

/// Of longer instructions only the first lines are listed.
const MAX_LINES: usize = 1000;

/// Where the lines of a text begin.
#[derive(Debug, Clone)]
pub(crate) struct LineIndex(Vec<usize>);

impl LineIndex {
    pub(crate) fn new(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(breaks).collect())
    }

    /// The number of the line that a byte is in, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }

    /// Where a line, by its number from 1, begins.
    pub(crate) fn start(&self, line: usize) -> usize {
        let start = line.checked_sub(1).and_then(|index| self.0.get(index));
        start.copied().unwrap_or_default()
    }
}

/// The lines of an instruction: one range a line, without columns, as BuildKit has it.
#[derive(Debug, Serialize)]
pub(crate) struct Location {
    ranges: Vec<Range>,
}

#[derive(Debug, Serialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Debug, Serialize)]
struct Position {
    line: usize,
}

impl Location {
    /// The lines of the instruction that `span` is in, or of `span` itself where it is in none. The
    /// empty span at the begin of the file is nowhere.
    pub(crate) fn of(dockerfile: &Dockerfile, index: &LineIndex, span: Span) -> Self {
        if span == Span::default() {
            return Self { ranges: Vec::new() };
        }
        let instruction = dockerfile.lines_at(span.start);
        let is_line_of_its_own =
            instruction.is_some_and(|lines| lines.empty_continuation == Some(span));
        let whole = match instruction {
            Some(lines) if !is_line_of_its_own => lines.span,
            _ => span,
        };
        let first = index.line(whole.start);
        let last = index.line(whole.end).clamp(first, first + MAX_LINES - 1);
        let range = |line| Range {
            start: Position { line },
            end: Position { line },
        };
        Self {
            ranges: (first..=last).map(range).collect(),
        }
    }
}

/// A file in full.
#[derive(Debug, Serialize)]
pub(crate) struct Source<'a> {
    filename: &'a str,
    data: String,
    language: &'static str,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a str, text: &str) -> Self {
        Self {
            filename: file,
            data: encoded(text),
            language: "Dockerfile",
        }
    }
}

/// A text as Go writes bytes in JSON.
pub(crate) fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

/// A value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    // The values of this crate have text keys and no maps of their own, so that this can't fail.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Rows as a table: all cells but the last of each are padded to their column's width and `gap`
/// more. Ends with a newline.
pub(crate) fn table<const N: usize>(rows: &[[&str; N]], gap: usize) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default() + gap
    };
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < N {
                let blanks = width(column) - cell.chars().count();
                out.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        out.push('\n');
    }
    out
}
