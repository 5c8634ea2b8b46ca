//! One pattern, compiled the way moby does it.
//!
//! Moby turns a pattern into the text of a Go regular expression and leaves `[`, `]`, `^`, `|`,
//! `{` and `}` in it as they are, so that what these mean is decided by Go's syntax. Here the same
//! text is made, and read by [`to_regex`], which knows the two places where Go's syntax and that of
//! the `regex` crate differ: classes and braces.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// Characters that end the part of a pattern that can be compared as text.
const SPECIAL: [char; 7] = ['*', '?', '[', '\\', '|', '^', '{'];

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    includes_again: bool,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    /// The path is the text.
    Exact,
    /// The path begins with the text without its two stars at the end.
    Prefix,
    /// The path ends with the text without its two stars at the begin.
    Suffix,
    Regex(Regex),
}

impl Pattern {
    /// Compiles a cleaned pattern; `None` where its syntax is wrong.
    pub(super) fn compile(pattern: &str) -> Option<Self> {
        let (includes_again, text) = match pattern.strip_prefix('!') {
            Some("") => return None,
            Some(text) => (true, text),
            None => (false, pattern),
        };
        if !is_well_formed(text) {
            return None;
        }
        Some(Self {
            matcher: matcher(text)?,
            text: text.to_owned(),
            includes_again,
        })
    }

    /// Whether the pattern was written with `!`.
    pub(super) fn includes_again(&self) -> bool {
        self.includes_again
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Exact => path == self.text,
            Matcher::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            Matcher::Suffix => {
                let suffix = &self.text[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path)
            }
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }

    /// Whether a path below the directory could match; may say yes where none does.
    pub(super) fn may_match_below(&self, dir: &str) -> bool {
        let literal = match self.matcher {
            Matcher::Exact => return is_below(&self.text, dir),
            _ if self.text.contains('|') => return true,
            _ => self.text.split(SPECIAL).next().unwrap_or_default(),
        };
        is_below(literal, dir) || dir.starts_with(literal) || literal.strip_suffix('/') == Some(dir)
    }
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether Go's `filepath.Match` accepts the pattern.
fn is_well_formed(pattern: &str) -> bool {
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        let fine = match ch {
            '\\' => chars.next().is_some(),
            '[' => is_class(&mut chars),
            _ => true,
        };
        if !fine {
            return false;
        }
    }
    true
}

/// Reads what comes after `[`: members and ranges up to `]`, at least one.
fn is_class(chars: &mut Peekable<Chars<'_>>) -> bool {
    fn member(chars: &mut Peekable<Chars<'_>>) -> bool {
        match chars.next() {
            None | Some('-' | ']') => false,
            Some('\\') => chars.next().is_some(),
            Some(_) => true,
        }
    }
    chars.next_if_eq(&'^');
    let mut members = 0;
    loop {
        if members > 0 && chars.next_if_eq(&']').is_some() {
            return true;
        }
        if !member(chars) || (chars.next_if_eq(&'-').is_some() && !member(chars)) {
            return false;
        }
        members += 1;
    }
}

/// Moby's classification, and for everything but plain text its regular expression.
fn matcher(pattern: &str) -> Option<Matcher> {
    let mut go_regex = String::from("^");
    let mut matcher = Matcher::Exact;
    let mut needs_regex = false;
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(ch) = chars.next() {
        match ch {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    go_regex.push_str("(.*/)?");
                    needs_regex = true;
                } else if needs_regex || !matches!(matcher, Matcher::Exact) {
                    go_regex.push_str(".*");
                    needs_regex = true;
                } else {
                    matcher = Matcher::Prefix;
                }
                if first {
                    (matcher, needs_regex) = (Matcher::Suffix, false);
                }
            }
            '*' | '?' => {
                go_regex.push_str(if ch == '*' { "[^/]*" } else { "[^/]" });
                needs_regex = true;
            }
            '\\' => {
                go_regex.push('\\');
                go_regex.extend(chars.next());
                needs_regex = true;
            }
            '.' | '+' | '(' | ')' | '$' => {
                go_regex.push('\\');
                go_regex.push(ch);
            }
            _ => {
                go_regex.push(ch);
                needs_regex |= ch == '[' || ch == ']';
            }
        }
        first = false;
    }
    if !needs_regex {
        return Some(matcher);
    }
    go_regex.push('$');
    to_regex(&go_regex).map(Matcher::Regex)
}

/// Compiles the text of a Go regular expression, as far as moby makes such.
fn to_regex(go_regex: &str) -> Option<Regex> {
    let mut out = String::with_capacity(go_regex.len() + 8);
    let mut rest = go_regex;
    while let Some(ch) = rest.chars().next() {
        let taken = match ch {
            '\\' => {
                let escaped = rest[1..].chars().next()?;
                out.push_str(&escape(escaped, Place::Outside)?);
                1 + escaped.len_utf8()
            }
            '[' => class(rest, &mut out)?,
            '{' => match repetition(rest) {
                Some(length) => {
                    out.push_str(&rest[..length]);
                    length
                }
                None => {
                    out.push_str("\\{");
                    1
                }
            },
            ']' | '}' => {
                out.push('\\');
                out.push(ch);
                1
            }
            _ => {
                out.push(ch);
                ch.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    RegexBuilder::new(&out).size_limit(1 << 20).build().ok()
}

/// The length of a repetition (`{2}`, `{2,}`, `{2,5}`) at the begin of `text`.
fn repetition(text: &str) -> Option<usize> {
    let inner = text[1..].split('}').next()?;
    let length = inner.len() + 2;
    let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let found = length <= text.len() && is_number(least) && (most.is_empty() || is_number(most));
    found.then_some(length)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Class,
}

/// What Go reads a backslash and `ch` as, in the `regex` crate's syntax.
fn escape(ch: char, place: Place) -> Option<String> {
    let class = match ch {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t\n\x0c\r\x20]",
        'S' => r"[^\t\n\x0c\r\x20]",
        'b' if place == Place::Outside => r"(?-u:\b)",
        'B' if place == Place::Outside => r"(?-u:\B)",
        'A' if place == Place::Outside => r"\A",
        'z' if place == Place::Outside => r"\z",
        _ => return single(ch).map(hex),
    };
    Some(class.to_owned())
}

/// The one character that Go reads a backslash and `ch` as.
fn single(ch: char) -> Option<char> {
    match ch {
        'a' => Some('\x07'),
        'f' => Some('\x0c'),
        't' => Some('\t'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        'v' => Some('\x0b'),
        _ if ch.is_ascii_alphanumeric() => None,
        _ => Some(ch),
    }
}

fn hex(ch: char) -> String {
    format!("\\x{{{:x}}}", u32::from(ch))
}

/// Translates the class at the begin of `text` and says how long it is.
fn class(text: &str, out: &mut String) -> Option<usize> {
    let mut rest = &text[1..];
    out.push('[');
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some((name, after)) = rest
            .strip_prefix("[:")
            .and_then(|rest| rest.split_once(":]"))
        {
            out.push_str("[:");
            out.push_str(name);
            out.push_str(":]");
            rest = after;
            continue;
        }
        if let Some(escaped) = rest.strip_prefix('\\').and_then(|rest| rest.chars().next())
            && single(escaped).is_none()
        {
            out.push_str(&escape(escaped, Place::Class)?);
            rest = &rest[1 + escaped.len_utf8()..];
            continue;
        }
        let (low, after) = class_char(rest)?;
        rest = after;
        out.push_str(&hex(low));
        if rest.starts_with('-') && rest.len() > 1 && !rest[1..].starts_with(']') {
            let (high, after) = class_char(&rest[1..])?;
            rest = after;
            out.push('-');
            out.push_str(&hex(high));
        }
    }
    out.push(']');
    Some(text.len() - rest.len() + 1)
}

fn class_char(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let ch = match chars.next()? {
        '\\' => single(chars.next()?)?,
        ch => ch,
    };
    Some((ch, chars.as_str()))
}
