//! Shell patterns with the exact meaning of Go's `filepath.Match`, which `COPY` promises.
//!
//! `*` matches any text without `/`, `?` one character other than `/`, `[a-z]` and `[^a-z]` one
//! character in or not in the class, `\c` the character `c`. There is no `**` and no `{a,b}`; `!`
//! does not negate a class, and a class can't be empty, nor hold a bare `]` or `-`.

use std::str::Chars;

/// A pattern that was found to be well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

/// A pattern that is not well formed: an open class, an empty range, or a trailing backslash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern `{0}`")]
pub struct BadPattern(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    AnyChar,
    AnyText,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(next) = chars.next() {
            tokens.push(match next {
                '*' => Token::AnyText,
                '?' => Token::AnyChar,
                '[' => class(&mut chars).ok_or_else(bad)?,
                '\\' => Token::Char(chars.next().ok_or_else(bad)?),
                other => Token::Char(other),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether all of `text` matches. Bytes that are not UTF-8 count as one character each.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut rest) = (0, text);
        // Where to go on when the text after the last `*` does not fit: that `*` takes one more.
        let mut retry: Option<(usize, &[u8])> = None;
        loop {
            match self.0.get(token) {
                Some(Token::AnyText) => {
                    token += 1;
                    retry = Some((token, rest));
                    continue;
                }
                Some(one) => {
                    if let Some((char, after)) = first_char(rest)
                        && one.matches(char)
                    {
                        token += 1;
                        rest = after;
                        continue;
                    }
                }
                None if rest.is_empty() => return true,
                None => {}
            }
            // An earlier `*` need not be tried: it could only reach places this one has tried.
            let Some((after_star, from)) = retry else {
                return false;
            };
            match first_char(from) {
                Some((char, after)) if char != Some('/') => {
                    token = after_star;
                    rest = after;
                    retry = Some((after_star, after));
                }
                _ => return false,
            }
        }
    }
}

/// Whether a path component has any of the characters that make it a pattern. Escaped ones do not.
pub(crate) fn has_wildcards(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '\\' => {
                chars.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

impl Token {
    /// Whether this token, which stands for one character, matches `char`; `None` is a byte that is
    /// not UTF-8.
    fn matches(&self, char: Option<char>) -> bool {
        match self {
            Self::Char(wanted) => char == Some(*wanted),
            Self::AnyChar => char != Some('/'),
            Self::AnyText => false,
            Self::Class { negated, ranges } => {
                // Go takes such a byte for U+FFFD.
                let char = char.unwrap_or(char::REPLACEMENT_CHARACTER);
                ranges
                    .iter()
                    .any(|&(low, high)| (low..=high).contains(&char))
                    != *negated
            }
        }
    }
}

/// The rest of a class, after its `[`.
fn class(chars: &mut Chars<'_>) -> Option<Token> {
    let negated = chars.as_str().starts_with('^');
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        if chars.as_str().starts_with(']') && !ranges.is_empty() {
            chars.next();
            return Some(Token::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.as_str().starts_with('-') {
            chars.next();
            class_char(chars)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// One end of a range. Something has to follow it: at least the class's `]`.
fn class_char(chars: &mut Chars<'_>) -> Option<char> {
    let char = match chars.next()? {
        '-' | ']' => return None,
        '\\' => chars.next()?,
        other => other,
    };
    (!chars.as_str().is_empty()).then_some(char)
}

/// The first character and what follows it; `None` for the character where it is not UTF-8.
fn first_char(text: &[u8]) -> Option<(Option<char>, &[u8])> {
    let (&first, after_first) = text.split_first()?;
    if first.is_ascii() {
        return Some((Some(first.into()), after_first));
    }
    let (2..=4) = first.leading_ones() else {
        return Some((None, after_first));
    };
    let length = first.leading_ones() as usize;
    let char = text
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    Some(match char.and_then(|char| char.chars().next()) {
        Some(char) => (Some(char), &text[length..]),
        None => (None, after_first),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines of `pattern: text …`, where a text that must not match has a `!` in front.
    #[track_caller]
    fn check(table: &str) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (pattern, texts) = line.split_once(": ").unwrap();
            let parsed = Pattern::parse(pattern).unwrap();
            for text in texts.split(' ') {
                let (text, expected) = match text.strip_prefix('!') {
                    Some(text) => (text, false),
                    None => (text, true),
                };
                assert_eq!(
                    parsed.matches(text.as_bytes()),
                    expected,
                    "{pattern}: {text}"
                );
            }
        }
    }

    #[test]
    fn stars_stop_at_slashes() {
        check(
            r"
            *: go.mod a .hidden !a/b
            *.go: main.go .go !main.go.bak !cmd/main.go
            a*: a ab !ba !a/b
            a*/b: a/b abc/b !a/c/b !ab
            a*b*c/d: abc/d a-b-c/d abcbc/d !abc/dd !ab/c/d !a/bc/d
            *x: x xxx !xy
            **: abc !a/b
            a*b?c*x: abxbbxdbxebxczzx !abxbbxdbxebxczzy
            ",
        );
    }

    #[test]
    fn question_marks_are_one_character() {
        check(
            r"
            ?: a é ☺ !ab !/
            a?b: a☺b a.b !a/b !ab
            a???b: axyzb !a☺b
            index.?s: index.js index.ts !index.s
            ",
        );
    }

    #[test]
    fn classes_hold_ranges_and_negate_by_a_caret() {
        check(
            r"
            ab[c]: abc !abd !ab
            ab[b-d]: abc !abe
            ab[^b-d]: abe !abc
            a[!b]c: abc a!c !axc
            [a-ζ]*: α !A
            a[^a]b: a☺b !aab
            [\]x]: ] x !y
            [x\-]: x - !y
            arr[[]0].txt: arr[0].txt !arr0.txt
            ",
        );
    }

    #[test]
    fn a_negated_class_that_took_a_slash_is_not_tried_elsewhere() {
        check("*[^a]*: b !b/");
    }

    #[test]
    fn backslashes_quote() {
        check(
            r"
            a\*b: a*b !ab !axb
            \[a: [a
            \\: \
            a\bc: abc
            ",
        );
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in [
            "[", "[^", "[]", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[^bc", "a[", "a/b[", "\\",
            "a\\", "[a", "[a-", "[\\",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_one_character_each() {
        assert!(Pattern::parse("a?b").unwrap().matches(b"a\xffb"));
        assert!(!Pattern::parse("a?b").unwrap().matches(b"a\xff\xffb"));
        assert!(Pattern::parse("a??b").unwrap().matches(b"a\xc3\xc3b"));
        assert!(Pattern::parse("*b").unwrap().matches(b"\xe2\x98b"));
        assert!(Pattern::parse("[^a]").unwrap().matches(b"\xff"));
    }

    #[test]
    fn wildcards_are_seen() {
        assert!(has_wildcards("a*") && has_wildcards("[") && has_wildcards(r"\\?"));
        assert!(!has_wildcards("plain.txt") && !has_wildcards(r"\*") && !has_wildcards(r"a\"));
    }

    /// The definition, without any cleverness.
    fn slow_match(tokens: &[Token], text: &[char]) -> bool {
        match tokens.split_first() {
            None => text.is_empty(),
            Some((Token::AnyText, rest)) => {
                let stop = text
                    .iter()
                    .position(|&char| char == '/')
                    .unwrap_or(text.len());
                (0..=stop).any(|taken| slow_match(rest, &text[taken..]))
            }
            Some((one, rest)) => text
                .split_first()
                .is_some_and(|(&char, text)| one.matches(Some(char)) && slow_match(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn matches_by_definition(pattern in r"[ab/*?]{0,8}(\[\^?[ab-]\])?[a*]{0,3}", text in "[ab/]{0,9}") {
            // A negated class also takes a slash, and Go then does not go back to try another place:
            // the one case in which it is not the definition, told by a row of its own.
            let text = if pattern.contains("[^") { text.replace('/', "b") } else { text };
            if let Ok(parsed) = Pattern::parse(&pattern) {
                let chars: Vec<_> = text.chars().collect();
                prop_assert_eq!(parsed.matches(text.as_bytes()), slow_match(&parsed.0, &chars));
            }
        }

        #[test]
        fn an_escaped_name_matches_only_itself(name in "[ -~]{1,10}", other in "[ -~]{1,10}") {
            let escaped: String = name.chars().flat_map(|char| ['\\', char]).collect();
            let pattern = Pattern::parse(&escaped).unwrap();
            prop_assert!(pattern.matches(name.as_bytes()));
            prop_assert_eq!(pattern.matches(other.as_bytes()), name == other);
        }

        #[test]
        fn never_panics(pattern in any::<String>(), text in any::<Vec<u8>>()) {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let _ = pattern.matches(&text);
            }
        }
    }
}
