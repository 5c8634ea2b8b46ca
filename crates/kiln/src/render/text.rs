//! What a step's process wrote, made safe to show: whole lines, without control characters.
//!
//! A build's output is untrusted. Escape sequences could move the cursor, rename the window or
//! hide text, so none reaches the terminal or the log.

use unicode_width::UnicodeWidthChar;

/// The longest line kept in memory; a longer one is cut into several.
const LONGEST_LINE: usize = 16 * 1024;

/// Collects bytes until they make a line.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
}

impl LineBuffer {
    /// Adds bytes and hands each line they complete, cleaned, to `line`.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = piece.ends_with(b"\n");
            let mut rest = piece.strip_suffix(b"\n").unwrap_or(piece);
            while self.partial.len() + rest.len() > LONGEST_LINE {
                let (head, tail) = rest.split_at(LONGEST_LINE - self.partial.len());
                self.partial.extend_from_slice(head);
                rest = tail;
                line(clean(&std::mem::take(&mut self.partial)));
            }
            self.partial.extend_from_slice(rest);
            if whole {
                line(clean(&std::mem::take(&mut self.partial)));
            }
        }
    }

    /// The line that was never ended, if there is one.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let partial = std::mem::take(&mut self.partial);
        (!partial.is_empty()).then(|| clean(&partial))
    }

    /// The unfinished line as it would look now.
    pub(crate) fn peek(&self) -> Option<String> {
        (!self.partial.is_empty()).then(|| clean(&self.partial))
    }
}

/// One line as text: invalid UTF-8 replaced, escape sequences and control characters dropped, and
/// of a line that was rewritten with carriage returns only the last version.
pub(crate) fn clean(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let last = line
        .rsplit(|byte| *byte == b'\r')
        .find(|version| !version.is_empty());
    let text = String::from_utf8_lossy(last.unwrap_or_default());
    let mut cleaned = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_escape(&mut chars),
            '\t' => cleaned.push_str(&"        "[cleaned.chars().count() % 8..]),
            // Overrides of the writing direction can make a line read as another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => cleaned.push(c),
        }
    }
    cleaned.truncate(cleaned.trim_end().len());
    cleaned
}

/// Skips the rest of an escape sequence (ECMA-48: CSI, strings, and two-character ones).
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            while chars.next_if(|c| ('\x20'..='\x3f').contains(c)).is_some() {}
            chars.next_if(|c| ('\x40'..='\x7e').contains(c));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\x07' || (c == '\x1b' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {
            while chars.next_if(|c| ('\x20'..='\x2f').contains(c)).is_some() {}
            chars.next_if(|c| ('\x30'..='\x7e').contains(c));
        }
    }
}

/// `text` cut to `width` columns; what is cut leaves an ellipsis.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut used = 0;
    let mut end = None;
    for (index, c) in text.char_indices() {
        let columns = c.width().unwrap_or(0);
        if used + columns < width {
            end = Some(index + c.len_utf8());
        }
        used += columns;
    }
    if used <= width {
        return text.to_owned();
    }
    match (end, width) {
        (_, 0) => String::new(),
        (Some(end), _) => format!("{}…", &text[..end]),
        (None, _) => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lines(pieces: &[&[u8]], expected: &[&str]) {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for piece in pieces {
            buffer.push(piece, |line| lines.push(line));
        }
        lines.extend(buffer.finish());
        assert_eq!(lines, expected);
    }

    #[test]
    fn lines_are_joined_across_writes() {
        lines(&[b"one\ntw", b"o\n", b"\nend"], &["one", "two", "", "end"]);
    }

    #[test]
    fn the_last_version_of_a_rewritten_line_counts() {
        lines(&[b"10%\r50%\r100%\n", b"dos\r\n"], &["100%", "dos"]);
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut buffer = LineBuffer::default();
        let mut longest = 0;
        for _ in 0..100 {
            buffer.push(&[b'x'; 1000], |line| longest = longest.max(line.len()));
        }
        assert_eq!(longest, LONGEST_LINE);
    }

    #[test]
    fn escapes_and_controls_are_dropped() {
        assert_eq!(clean(b"\x1b[1;31mred\x1b[0m"), "red");
        assert_eq!(clean(b"\x1b]0;title\x07text"), "text");
        assert_eq!(clean(b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"), "link");
        assert_eq!(clean(b"a\x1b(Bb\x08\x00c\x7f"), "abc");
        assert_eq!(clean("\u{202e}txt.exe\u{9b}31m".as_bytes()), "txt.exe31m");
        assert_eq!(clean(b"a\tb"), "a       b");
        assert_eq!(clean(b"\xff!"), "\u{fffd}!");
        assert_eq!(clean(b"\x1b["), "");
    }

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 1), "…");
        assert_eq!(fit("abc", 0), "");
    }
}
