//! Strangers' texts made harmless.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The text as a terminal would leave it: without escape sequences and control characters, and of
/// a line that was overwritten (`\r`) only what was written last.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut line_start = 0;
    // A carriage return clears the line only when something is written after it.
    let mut returned = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                out.push('\n');
                line_start = out.len();
                returned = false;
            }
            '\r' => returned = true,
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\t' => out.push('\t'),
            c if c.is_control() || is_reordering(c) => {}
            c => {
                if std::mem::take(&mut returned) {
                    out.truncate(line_start);
                }
                out.push(c);
            }
        }
    }
    out
}

/// The text on one line.
pub(crate) fn one_line(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Characters that turn the order of what follows, so that it reads as something else.
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control_sequence(chars);
        }
        // Strings: they end with a bell or with `ESC \`.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' {
                    return;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    return;
                }
            }
        }
        // Intermediate bytes, then one final byte.
        Some(_) => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        None => {}
    }
}

/// Parameters and intermediates, then one final byte.
fn skip_control_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// The plain text for HTML and SVG, in text and in quoted attributes.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no word for these.
            '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

/// The text on one line, cut to `width` columns with `…` where it is wider.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    let text = one_line(text);
    if text.width() <= width {
        return text;
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// The text, filled with spaces to `width` columns.
pub(crate) fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(plain(text), expected);
    }

    #[test]
    fn escape_sequences_are_gone() {
        check("\u{1b}[1;31mred\u{1b}[0m", "red");
        check(
            "\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\link",
            "alink",
        );
        check("\u{1b}(Ba\u{1b}=b\u{1b}cc", "abc");
        check("\u{9b}31mx", "x");
        check("a\u{1b}", "a");
        check("a\u{0}\u{8}b\u{7f}\u{85}c", "abc");
        check("safe\u{202e}txt.exe", "safetxt.exe");
    }

    #[test]
    fn overwritten_lines_show_what_stayed() {
        check("10%\r50%\r100%\ndone\r\nnext", "100%\ndone\nnext");
    }

    #[test]
    fn html_has_no_marks() {
        assert_eq!(
            html("<script>'\"&\u{ffff}"),
            "&lt;script&gt;&#39;&quot;&amp;"
        );
    }

    #[test]
    fn long_texts_are_cut_by_columns() {
        assert_eq!(shortened("RUN  make\n all", 20), "RUN make all");
        assert_eq!(shortened("RUN make all", 9), "RUN make…");
        assert_eq!(shortened("漢字漢字", 5), "漢字…");
        assert_eq!(padded("漢", 4), "漢  ");
    }

    proptest! {
        #[test]
        fn nothing_hostile_is_left(text in ".*") {
            let plain = plain(&text);
            prop_assert!(plain.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
            prop_assert!(!html(&text).contains(['<', '>', '"', '\'']));
        }
    }
}
