//! Physical lines to logical ones, and places in a logical line back to places in the file.

use std::ops::Range;

use crate::{Span, Text};

/// The physical lines of a text with their places; line endings stay.
pub(super) struct Lines<'t> {
    text: &'t str,
    at: usize,
}

/// One physical line.
#[derive(Clone, Copy)]
pub(super) struct Line<'t> {
    /// The line with its ending.
    pub(super) text: &'t str,
    /// Where it begins.
    pub(super) start: usize,
}

impl<'t> Line<'t> {
    /// The line without its ending.
    pub(super) fn content(self) -> &'t str {
        self.text.trim_end_matches(['\r', '\n'])
    }

    /// The line without its ending.
    pub(super) fn span(self) -> Span {
        Span::new(self.start, self.start + self.content().len())
    }

    fn is_comment(self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    /// What a comment says; `None` where it says nothing. The `#` counts only in the first column,
    /// as in BuildKit: that of an indented comment is a part of what it says.
    fn comment(self) -> Option<Text> {
        let mut chars = self.content().chars();
        chars.next()?;
        let body = chars.as_str();
        let said = body.trim();
        let end = self.start + self.content().trim_end().len();
        (!said.is_empty()).then(|| Text::new(said.to_owned(), Span::new(end - said.len(), end)))
    }
}

impl<'t> Lines<'t> {
    /// The lines of `text` from the byte `at` on.
    pub(super) fn new(text: &'t str, at: usize) -> Self {
        Self { text, at }
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> usize {
        self.at
    }
}

impl<'t> Iterator for Lines<'t> {
    type Item = Line<'t>;

    fn next(&mut self) -> Option<Line<'t>> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let start = self.at;
        self.at += length;
        let text = &rest[..length];
        Some(Line { text, start })
    }
}

/// A logical line: an instruction with its continuations joined and comments removed.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// The text.
    pub(super) text: String,
    /// Where pieces of the text come from: offset in `text`, offset in the file.
    pieces: Vec<(usize, usize)>,
    /// The first continuation line that is empty.
    pub(super) empty_continuation: Option<Span>,
    /// The comments above it.
    pub(super) comments: Vec<Text>,
}

impl Joined {
    /// Reads the next logical line; `None` at the end of the text.
    pub(super) fn read(lines: &mut Lines<'_>, escape: char) -> Option<Self> {
        let mut comments = Vec::new();
        loop {
            let line = lines.next()?;
            if line.is_comment() {
                match line.comment() {
                    Some(comment) => comments.push(comment),
                    None => comments.clear(),
                }
                continue;
            }
            let content = line.content().trim_start();
            let start = line.start + (line.content().len() - content.len());
            let continued = continuation(content, escape);
            let first = continued.unwrap_or(content);
            if first.is_empty() && continued.is_none() {
                continue;
            }
            let mut joined = Self {
                comments,
                ..Self::default()
            };
            joined.push(first, start);
            if continued.is_some() {
                joined.read_continuations(lines, escape);
            }
            return Some(joined);
        }
    }

    fn read_continuations(&mut self, lines: &mut Lines<'_>, escape: char) {
        for line in lines {
            if line.is_comment() {
                continue;
            }
            let content = line.content();
            if content.trim_start().is_empty() {
                self.empty_continuation.get_or_insert(line.span());
                continue;
            }
            let continued = continuation(content, escape);
            self.push(continued.unwrap_or(content), line.start);
            if continued.is_none() {
                return;
            }
        }
    }

    fn push(&mut self, piece: &str, start: usize) {
        self.pieces.push((self.text.len(), start));
        self.text.push_str(piece);
    }

    /// Where bytes of the text are in the file.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let start = self.place(range.start);
        if range.is_empty() {
            return Span::new(start, start);
        }
        Span::new(start, self.place(range.end - 1) + 1)
    }

    /// Where the whole line is in the file, from its first to its last byte.
    pub(super) fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }

    fn place(&self, offset: usize) -> usize {
        let next = self.pieces.partition_point(|&(at, _)| at <= offset);
        match next.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some(&(at, start)) => start + (offset - at),
            None => offset,
        }
    }

    /// The whole text as a piece.
    pub(super) fn piece(&self) -> Piece<'_> {
        Piece {
            text: &self.text,
            at: 0,
            line: self,
        }
    }
}

/// The part of a line before the escape character that continues it.
///
/// The escape character continues a line where only blanks follow it and it isn't escaped itself.
fn continuation(line: &str, escape: char) -> Option<&str> {
    let head = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!head.ends_with(escape)).then_some(head)
}

/// A part of a logical line.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    /// The part's text.
    pub(super) text: &'a str,
    /// Where it begins in the line's text.
    at: usize,
    line: &'a Joined,
}

impl Piece<'_> {
    /// Some bytes of this piece.
    pub(super) fn slice(self, range: Range<usize>) -> Self {
        Self {
            text: &self.text[range.clone()],
            at: self.at + range.start,
            line: self.line,
        }
    }

    /// From a byte on.
    pub(super) fn from(self, start: usize) -> Self {
        self.slice(start..self.text.len())
    }

    /// Without white space at both ends.
    pub(super) fn trim(self) -> Self {
        let end = self.text.trim_end().len();
        let start = self.text[..end].len() - self.text[..end].trim_start().len();
        self.slice(start..end)
    }

    /// Where it is in the file.
    pub(super) fn span(self) -> Span {
        self.line.span(self.at..self.at + self.text.len())
    }

    /// The text with its place.
    pub(super) fn to_text(self) -> crate::Text {
        crate::Text::new(self.text.to_owned(), self.span())
    }
}
