//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, and `\` before one of these or
//! itself.

use regex::{Regex, RegexBuilder};

use super::{ExpandError, MAX_PATTERN};

type Result<T> = std::result::Result<T, ExpandError>;

/// Where a pattern may match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Start,
    Anywhere,
}

/// An error where `pattern` can't be read.
pub(super) fn check(pattern: &str) -> Result<()> {
    to_regex(pattern, true, Anchor::Anywhere).map(drop)
}

/// `value` without the shortest or longest prefix that `pattern` matches.
pub(super) fn trim_prefix(value: &str, pattern: &str, greedy: bool) -> Result<String> {
    let regex = to_regex(pattern, greedy, Anchor::Start)?;
    Ok(match regex.find(value) {
        Some(found) => value[found.end()..].to_owned(),
        None => value.to_owned(),
    })
}

/// `value` without the shortest or longest suffix that `pattern` matches.
///
/// A search finds the leftmost match, so both are reversed to look for a prefix.
pub(super) fn trim_suffix(value: &str, pattern: &str, greedy: bool) -> Result<String> {
    let trimmed = trim_prefix(&reverse(value), &reverse_pattern(pattern), greedy)?;
    Ok(reverse(&trimmed))
}

/// `value` with the first or every match of `pattern` replaced; an error where the result would be
/// longer than `limit`.
pub(super) fn replace(
    value: &str,
    pattern: &str,
    replacement: &str,
    every: bool,
    limit: usize,
) -> Result<String> {
    let regex = to_regex(pattern, true, Anchor::Anywhere)?;
    let mut result = String::new();
    let mut copied = 0;
    for found in regex
        .find_iter(value)
        .take(if every { usize::MAX } else { 1 })
    {
        result.push_str(&value[copied..found.start()]);
        result.push_str(replacement);
        copied = found.end();
        if result.len() > limit {
            return Err(ExpandError::TooLong);
        }
    }
    result.push_str(&value[copied..]);
    Ok(result)
}

fn to_regex(pattern: &str, greedy: bool, anchor: Anchor) -> Result<Regex> {
    let bad = || ExpandError::BadPattern(pattern.chars().take(60).collect());
    if pattern.len() > MAX_PATTERN {
        return Err(bad());
    }
    let mut out = String::with_capacity(pattern.len() + 4);
    if anchor == Anchor::Start {
        out.push('^');
    }
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        match ch {
            '*' => out.push_str(if greedy { ".*" } else { ".*?" }),
            '?' => out.push('.'),
            // `}` and `/` are escaped for the substitution, not for the pattern.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => {}
            '\\' => match chars.next() {
                Some(next @ ('*' | '?' | '\\')) => push_literal(&mut out, next),
                _ => return Err(bad()),
            },
            _ => push_literal(&mut out, ch),
        }
    }
    RegexBuilder::new(&out)
        .size_limit(4 << 20)
        .build()
        .map_err(|_| bad())
}

fn push_literal(out: &mut String, ch: char) {
    out.push_str(&regex::escape(ch.encode_utf8(&mut [0; 4])));
}

fn reverse(text: &str) -> String {
    text.chars().rev().collect()
}

/// Reversed, with each backslash still before the character it escapes.
fn reverse_pattern(pattern: &str) -> String {
    let mut units: Vec<(Option<char>, char)> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(ch) = chars.next() {
        match (ch, chars.clone().next()) {
            ('\\', Some(escaped)) => {
                chars.next();
                units.push((Some('\\'), escaped));
            }
            _ => units.push((None, ch)),
        }
    }
    let mut reversed = String::with_capacity(pattern.len());
    for (escape, ch) in units.into_iter().rev() {
        reversed.extend(escape);
        reversed.push(ch);
    }
    reversed
}
