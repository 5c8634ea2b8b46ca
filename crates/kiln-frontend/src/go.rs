//! Values as Go prints them, which is how they stand in the history.

use std::fmt::Write as _;
use std::time::Duration;

/// Words as `%q` prints a list of strings: `["a" "b"]`.
pub(crate) fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("[{}]", words.join(" "))
}

fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for ch in text.chars() {
        match ch {
            '"' | '\\' => out.extend(['\\', ch]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            _ if ch < ' ' || ch == '\x7f' => {
                // Writing to a text can't fail.
                let _ = write!(out, "\\x{:02x}", u32::from(ch));
            }
            _ if is_printable(ch) => out.push(ch),
            _ if u32::from(ch) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04x}", u32::from(ch));
            }
            _ => {
                let _ = write!(out, "\\U{:08x}", u32::from(ch));
            }
        }
    }
    out.push('"');
    out
}

/// Of all white space only the plain space is printable; what Rust's `Debug` escapes isn't either.
fn is_printable(ch: char) -> bool {
    let combining = matches!(ch, '\u{300}'..='\u{36f}');
    ch == ' ' || combining || (!ch.is_whitespace() && ch.escape_debug().len() == 1) || ch == '\''
}

/// A duration as `%v` prints it: `1m30s`, `1.5s`, `300ms`, `0s`.
pub(crate) fn duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match nanoseconds {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanoseconds}ns"),
            1_000..1_000_000 => with_fraction(nanoseconds, 1_000, "µs"),
            _ => with_fraction(nanoseconds, 1_000_000, "ms"),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = with_fraction(nanoseconds % 60_000_000_000, 1_000_000_000, "s");
    match (hours, minutes) {
        (0, 0) => rest,
        (0, minutes) => format!("{minutes}m{rest}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
    }
}

/// `value / unit`, with as many decimals as it takes.
fn with_fraction(value: u128, unit: u128, name: &str) -> String {
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", value % unit);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}{name}", value / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        let words = [
            "a",
            "",
            "a\"b\\c",
            "é日 x",
            "\n\t\0\x7f",
            "\u{a0}\u{200b}\u{e000}",
        ];
        let words = words.map(str::to_owned);
        let expected = r#"["a" "" "a\"b\\c" "é日 x" "\n\t\x00\x7f" "\u00a0\u200b\ue000"]"#;
        assert_eq!(quoted(&words), expected);
        assert_eq!(quoted(&["it's".to_owned()]), r#"["it's"]"#);
    }

    #[test]
    fn durations() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (5_000_000_000, "5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_000_000_001, "1h1m1.000000001s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanoseconds)), expected);
        }
    }
}
