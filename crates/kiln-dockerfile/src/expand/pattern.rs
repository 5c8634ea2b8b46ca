//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, and `\` before one of these or
//! itself.
//!
//! A pattern is an automaton whose states are the bits of a few words, so that a long pattern and a
//! long value, which a stranger may both choose, take time for each character of the value and 64
//! characters of the pattern. What [`Glob`] finds is what the pattern finds as a regular expression
//! with `.*` and `.`, which is what BuildKit makes of it.

use std::collections::HashMap;

use super::{ExpandError, MAX_PATTERN};

type Result<T> = std::result::Result<T, ExpandError>;

const WORD: usize = 64;

/// An error where `pattern` can't be read.
pub(super) fn check(pattern: &str) -> Result<()> {
    parse(pattern).map(drop)
}

/// `value` without the shortest or longest prefix that `pattern` matches.
pub(super) fn trim_prefix(value: &str, pattern: &str, greedy: bool) -> Result<String> {
    let length = Glob::new(&parse(pattern)?).match_start(value.chars(), greedy);
    Ok(value[length.unwrap_or(0)..].to_owned())
}

/// `value` without the shortest or longest suffix that `pattern` matches.
pub(super) fn trim_suffix(value: &str, pattern: &str, greedy: bool) -> Result<String> {
    let glob = Glob::new(&parse(&reverse_pattern(pattern))?);
    let length = glob.match_start(value.chars().rev(), greedy);
    Ok(value[..value.len() - length.unwrap_or(0)].to_owned())
}

/// `value` with the first or every match of `pattern` replaced; an error where the result would be
/// longer than `limit`. Each match is the longest of the leftmost ones.
pub(super) fn replace(
    value: &str,
    pattern: &str,
    replacement: &str,
    every: bool,
    limit: usize,
) -> Result<String> {
    let tokens = parse(pattern)?;
    let glob = Glob::new(&tokens);
    let mut result = String::new();
    let mut copied = 0;
    // An empty match right after another one does not count.
    let mut last_end = None;
    for start in match_starts(&tokens, value) {
        if start < copied {
            continue;
        }
        let length = glob.match_start(value[start..].chars(), true);
        let end = start + length.unwrap_or(0);
        if end == start && last_end == Some(start) {
            continue;
        }
        result.push_str(&value[copied..start]);
        result.push_str(replacement);
        copied = end;
        last_end = Some(end);
        if result.len() > limit {
            return Err(ExpandError::TooLong);
        }
        if !every {
            break;
        }
    }
    result.push_str(&value[copied..]);
    Ok(result)
}

/// What a pattern is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `*`: any characters but the end of a line, or none.
    AnyText,
    /// `?`: any character but the end of a line.
    AnyChar,
    Char(char),
}

fn parse(pattern: &str) -> Result<Vec<Token>> {
    let bad = || ExpandError::BadPattern(pattern.chars().take(60).collect());
    if pattern.len() > MAX_PATTERN {
        return Err(bad());
    }
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        tokens.push(match ch {
            '*' => Token::AnyText,
            '?' => Token::AnyChar,
            // `}` and `/` are escaped for the substitution, not for the pattern.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
            '\\' => match chars.next() {
                Some(next @ ('*' | '?' | '\\')) => Token::Char(next),
                _ => return Err(bad()),
            },
            _ => Token::Char(ch),
        });
    }
    Ok(tokens)
}

/// A pattern as an automaton. In state `n` the first `n` characters of the pattern, stars not
/// counted, have matched.
struct Glob {
    /// By character the states that it leads out of, to the next.
    chars: HashMap<char, Vec<u64>>,
    /// The states that any character leads out of, to the next.
    any_char: Vec<u64>,
    /// The states that any character stays in.
    any_text: Vec<u64>,
    last: usize,
}

impl Glob {
    fn new(tokens: &[Token]) -> Self {
        let words = tokens.len() / WORD + 1;
        let mut glob = Self {
            chars: HashMap::new(),
            any_char: vec![0; words],
            any_text: vec![0; words],
            last: 0,
        };
        for token in tokens {
            let states = match token {
                Token::AnyText => {
                    set(&mut glob.any_text, glob.last);
                    continue;
                }
                Token::AnyChar => &mut glob.any_char,
                Token::Char(ch) => glob.chars.entry(*ch).or_insert_with(|| vec![0; words]),
            };
            set(states, glob.last);
            glob.last += 1;
        }
        glob
    }

    /// The length in bytes of the shortest or longest match at the beginning of `text`.
    fn match_start(&self, text: impl Iterator<Item = char>, greedy: bool) -> Option<usize> {
        let mut states = self.begin();
        let mut found = self.accepts(&states).then_some(0);
        let mut length = 0;
        for ch in text {
            if found.is_some() && !greedy || !self.step(&mut states, ch) {
                break;
            }
            length += ch.len_utf8();
            if self.accepts(&states) {
                found = Some(length);
            }
        }
        found
    }

    fn begin(&self) -> Vec<u64> {
        let mut states = vec![0; self.any_char.len()];
        set(&mut states, 0);
        states
    }

    fn accepts(&self, states: &[u64]) -> bool {
        states[self.last / WORD] & 1 << (self.last % WORD) != 0
    }

    /// Reads a character; whether there is still a state to be in.
    fn step(&self, states: &mut [u64], ch: char) -> bool {
        let in_line = if ch == '\n' { 0 } else { u64::MAX };
        let exact = self.chars.get(&ch);
        let (mut carry, mut alive) = (0, 0);
        for (index, word) in states.iter_mut().enumerate() {
            let exact = exact.map_or(0, |states| states[index]);
            let advanced = *word & (exact | self.any_char[index] & in_line);
            *word = *word & self.any_text[index] & in_line | advanced << 1 | carry;
            carry = advanced >> (WORD - 1);
            alive |= *word;
        }
        alive != 0
    }
}

fn set(states: &mut [u64], state: usize) {
    states[state / WORD] |= 1 << (state % WORD);
}

/// The places in `value` where a match begins, found by reading both backwards.
fn match_starts(tokens: &[Token], value: &str) -> impl Iterator<Item = usize> {
    let tokens: Vec<Token> = tokens.iter().rev().copied().collect();
    let glob = Glob::new(&tokens);
    let mut states = glob.begin();
    let mut starts = Vec::new();
    if glob.accepts(&states) {
        starts.push(value.len());
    }
    for (at, ch) in value.char_indices().rev() {
        glob.step(&mut states, ch);
        set(&mut states, 0);
        if glob.accepts(&states) {
            starts.push(at);
        }
    }
    starts.into_iter().rev()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::{NoExpand, Regex};

    use super::*;

    fn regex(pattern: &str, anchor: &str, greedy: bool) -> Regex {
        let tokens = parse(pattern).expect("a good pattern").into_iter();
        let parts = tokens.map(|token| match token {
            Token::AnyText if greedy => ".*".to_owned(),
            Token::AnyText => ".*?".to_owned(),
            Token::AnyChar => ".".to_owned(),
            Token::Char(ch) => regex::escape(&ch.to_string()),
        });
        Regex::new(&(anchor.to_owned() + &parts.collect::<String>())).expect("a regex")
    }

    fn reverse(text: &str) -> String {
        text.chars().rev().collect()
    }

    fn check_against_regex(value: &str, pattern: &str) {
        for greedy in [false, true] {
            let trim = |value: &str, pattern: &str| {
                let regex = regex(pattern, "^", greedy);
                regex.replace(value, "").into_owned()
            };
            let trimmed = trim_prefix(value, pattern, greedy).expect("a good pattern");
            assert_eq!(trimmed, trim(value, pattern), "{value:?} # {pattern:?}");
            let trimmed = trim_suffix(value, pattern, greedy).expect("a good pattern");
            let expected = reverse(&trim(&reverse(value), &reverse_pattern(pattern)));
            assert_eq!(trimmed, expected, "{value:?} % {pattern:?}");
        }
        let regex = regex(pattern, "", true);
        for (every, limit) in [(false, 1), (true, 0)] {
            let replaced = replace(value, pattern, "<>", every, usize::MAX);
            let expected = regex.replacen(value, limit, NoExpand("<>"));
            assert_eq!(
                replaced.as_deref(),
                Ok(&*expected),
                "{value:?} / {pattern:?}"
            );
        }
    }

    #[test]
    fn patterns_that_are_longer_than_a_word_match() {
        let long = "ab?".repeat(50);
        let value = "abc".repeat(120);
        for pattern in [
            long.clone(),
            format!("*{long}"),
            format!("{long}*b"),
            format!("c{long}c"),
        ] {
            check_against_regex(&value, &pattern);
        }
    }

    /// Found by fuzzing: as a regular expression the pattern took several seconds.
    #[test]
    fn long_patterns_on_long_values_end() {
        let value = "ab".repeat(50_000);
        for pattern in ["?a*".repeat(1300) + "c", "*a".repeat(2000) + "c"] {
            assert_eq!(
                replace(&value, &pattern, "x", true, usize::MAX),
                Ok(value.clone())
            );
            assert_eq!(trim_prefix(&value, &pattern, true), Ok(value.clone()));
            assert_eq!(trim_suffix(&value, &pattern, false), Ok(value.clone()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_pattern_finds_what_its_regular_expression_finds(
            value in r"[abé\n*]{0,12}",
            pattern in r"([abé\n?*]|\\[*?\\]){0,6}",
        ) {
            check_against_regex(&value, &pattern);
        }
    }
}
