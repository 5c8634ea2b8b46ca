//! A place in a text, and the words of the language that are read there.

use crate::source::{Fault, Outcome, Span};
use crate::syntax::ast::{Expr, Kind};

/// Deeper expressions are refused, so that no recursion can exhaust the stack.
pub(crate) const MAX_DEPTH: u32 = 100;

/// Where the text of a cursor stands in its file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// Byte for byte, from this offset.
    Exact { file: usize, offset: usize },
    /// Somewhere in this range: the text was escaped.
    Within(Span),
}

/// A place in a text.
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
    /// Within brackets, where ends of lines are mere space.
    pub(crate) brackets: u32,
    pub(crate) depth: u32,
    pub(crate) origin: Origin,
}

impl<'a> Cursor<'a> {
    /// The beginning of `text`.
    pub(crate) fn new(text: &'a str, origin: Origin) -> Self {
        Self {
            text,
            at: 0,
            brackets: 0,
            depth: 0,
            origin,
        }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next character.
    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The place of the bytes from `start` to `end`.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        match self.origin {
            Origin::Exact { file, offset } => Span {
                file,
                start: offset + start,
                end: offset + end,
            },
            Origin::Within(span) => span,
        }
    }

    /// The place of the next character.
    pub(crate) fn here(&self) -> Span {
        let width = self.peek().map_or(0, char::len_utf8);
        self.span(self.at, self.at + width)
    }

    /// The origin of a text that begins at `start` of this one.
    pub(crate) fn origin_at(&self, start: usize) -> Origin {
        match self.origin {
            Origin::Exact { file, offset } => Origin::Exact {
                file,
                offset: offset + start,
            },
            within @ Origin::Within(_) => within,
        }
    }

    /// Takes `word` if it is next.
    pub(crate) fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes `word`, or says that it is missing.
    pub(crate) fn expect(&mut self, word: &str, place: &str) -> Outcome<()> {
        if self.eat(word) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("expected `{word}` {place}")))
        }
    }

    /// A fault at the next character.
    pub(crate) fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some('\n') => "the end of the line".to_owned(),
            Some(ch) => format!("`{ch}`"),
        };
        Fault::at(self.here(), format!("{wanted}, found {found}"))
    }

    /// Skips blanks and comments; ends of lines only where they don't count.
    pub(crate) fn space(&mut self) -> Outcome<()> {
        let lines = self.brackets > 0;
        self.skip(lines)
    }

    /// Skips blanks, comments and ends of lines.
    pub(crate) fn lines(&mut self) -> Outcome<()> {
        self.skip(true)
    }

    fn skip(&mut self, lines: bool) -> Outcome<()> {
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                let Some(end) = rest.find("*/") else {
                    return Err(Fault::at(
                        self.span(self.at, self.at + 2),
                        "comment is not closed",
                    ));
                };
                self.at += end + 2;
            } else if rest.starts_with('#') || rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with([' ', '\t', '\r']) || (lines && rest.starts_with('\n')) {
                self.at += 1;
            } else {
                return Ok(());
            }
        }
    }

    /// Takes an identifier, if one is next.
    pub(crate) fn identifier(&mut self) -> Option<(&'a str, Span)> {
        let rest = self.rest();
        let first = rest.chars().next()?;
        if !(first.is_alphabetic() || first == '_') {
            return None;
        }
        let end = rest
            .find(|ch: char| !(ch.is_alphanumeric() || ch == '_' || ch == '-'))
            .unwrap_or(rest.len());
        let start = self.at;
        self.at += end;
        Some((&rest[..end], self.span(start, self.at)))
    }

    /// Takes `word` if it is next as a whole identifier.
    pub(crate) fn keyword(&mut self, word: &str) -> bool {
        let start = self.at;
        let found = self.identifier().is_some_and(|(found, _)| found == word);
        if !found {
            self.at = start;
        }
        found
    }

    /// Runs `read` one level deeper.
    pub(crate) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth >= MAX_DEPTH {
            return Err(Fault::at(
                self.here(),
                format!("nested more than {MAX_DEPTH} levels deep"),
            ));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// An expression from `start` to here.
    pub(crate) fn node(&self, start: usize, kind: Kind) -> Outcome<Expr> {
        let span = self.span(start, self.at);
        let mut expr = Expr {
            kind,
            span,
            depth: 0,
        };
        let mut depth = 0;
        expr.children(&mut |child| depth = depth.max(child.depth + 1));
        if depth > MAX_DEPTH * 2 {
            return Err(Fault::at(
                span,
                format!("more than {} operators in a row", MAX_DEPTH * 2),
            ));
        }
        expr.depth = depth;
        Ok(expr)
    }
}
