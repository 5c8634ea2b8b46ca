//! The ways in which instructions split their text into words.

use super::source::Piece;
use crate::Text;

/// White space that separates words. Unlike most white space, a newline is not among it.
const BLANKS: [char; 5] = ['\t', '\x0b', '\x0c', '\r', ' '];

/// The first word and the rest, blanks between them removed.
pub(super) fn split_first(piece: Piece<'_>) -> (Piece<'_>, Option<Piece<'_>>) {
    let Some(end) = piece.text.find(BLANKS) else {
        return (piece, None);
    };
    let rest = piece.text[end..].trim_start_matches(BLANKS);
    let rest = piece.from(piece.text.len() - rest.len());
    (piece.slice(0..end), Some(rest))
}

/// Words separated by blanks; quotes mean nothing.
pub(super) fn split_blanks(piece: Piece<'_>) -> Vec<Piece<'_>> {
    let mut words = Vec::new();
    let mut rest = Some(piece).filter(|piece| !piece.text.is_empty());
    while let Some(piece) = rest {
        let (word, after) = split_first(piece);
        words.push(word);
        rest = after;
    }
    words
}

/// Words separated by white space outside of quotes; quotes and escapes stay in the words.
pub(super) fn split_quoted(piece: Piece<'_>, escape: char) -> Vec<Text> {
    let mut words = Vec::new();
    let mut chars = piece.text.char_indices().peekable();
    while let Some(&(start, ch)) = chars.peek() {
        if ch.is_whitespace() {
            chars.next();
            continue;
        }
        let mut word = String::new();
        let mut quote: Option<char> = None;
        let mut end = start;
        while let Some((at, ch)) = chars.next_if(|&(_, ch)| quote.is_some() || !ch.is_whitespace())
        {
            end = at + ch.len_utf8();
            if ch == escape && quote != Some('\'') {
                // An escape character at the very end is dropped.
                if let Some((at, escaped)) = chars.next() {
                    word.extend([ch, escaped]);
                    end = at + escaped.len_utf8();
                }
                continue;
            }
            match quote {
                Some(open) if open == ch => quote = None,
                None if ch == '\'' || ch == '"' => quote = Some(ch),
                _ => {}
            }
            word.push(ch);
        }
        if !word.is_empty() {
            words.push(Text::new(word, piece.slice(start..end).span()));
        }
    }
    words
}

/// The flags at the begin (words with `--`), quotes and escapes removed, and what comes after them.
/// A flag `--` alone ends the flags.
pub(super) fn split_flags(piece: Piece<'_>, escape: char) -> (Vec<Text>, Piece<'_>) {
    let text = piece.text;
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        at = text.len() - text[at..].trim_start().len();
        if !text[at..].starts_with("--") {
            return (flags, piece.from(at).trim());
        }
        let (flag, end) = flag_word(text, at, escape);
        if flag == "--" {
            return (flags, piece.from(end).trim());
        }
        flags.push(Text::new(flag, piece.slice(at..end).span()));
        at = end;
    }
}

/// One flag from the byte `start` on, and where it ends.
fn flag_word(text: &str, start: usize, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text[start..].char_indices();
    while let Some((at, ch)) = chars.next() {
        if quote.is_none() && ch.is_whitespace() {
            return (word, start + at);
        }
        if ch == escape {
            word.extend(chars.next().map(|(_, escaped)| escaped));
        } else if quote == Some(ch) {
            quote = None;
        } else if quote.is_none() && (ch == '\'' || ch == '"') {
            quote = Some(ch);
        } else {
            word.push(ch);
        }
    }
    (word, text.len())
}

/// What an instruction that takes a JSON array was given.
pub(super) enum Array {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array, but not only of strings.
    Mixed,
    /// Not a JSON array.
    NotJson,
}

/// Reads a JSON array of strings.
pub(super) fn json_array(text: &str) -> Array {
    let text = text.trim();
    if !text.starts_with('[') {
        return Array::NotJson;
    }
    // Without this bracket it can't be JSON, and the shell's `[ … ] && …` is cheap to tell apart.
    if !text.ends_with(']') {
        return Array::NotJson;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Array::NotJson;
    };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    });
    match strings.collect() {
        Some(strings) => Array::Strings(strings),
        None => Array::Mixed,
    }
}
