//! The lexer: one pass over the text, recursion only for nested substitutions.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{ExpandError, ExpandOptions, MAX_DEPTH, MAX_GROWTH, Quotes, Vars, pattern};

type Result<T> = std::result::Result<T, ExpandError>;

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    vars: &'a dyn Vars,
    options: ExpandOptions,
    keep_escapes: bool,
    depth: usize,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, vars: &'a dyn Vars, options: ExpandOptions) -> Self {
        Self {
            text,
            at: 0,
            vars,
            options,
            keep_escapes: options.keep_escapes,
            depth: 0,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
        }
    }

    /// The whole text, expanded.
    pub(super) fn text(&mut self) -> Result<String> {
        self.until(None, &mut Words::default())
    }

    /// The words of the whole text, with their places.
    pub(super) fn words(mut self) -> Result<Vec<(String, Range<usize>)>> {
        let mut words = Words::default();
        self.until(None, &mut words)?;
        Ok(words.finish())
    }

    /// The names that were asked for: those that were set, and those that were not.
    pub(super) fn into_names(self) -> (BTreeSet<String>, BTreeSet<String>) {
        (self.used, self.unset)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let ch = self.peek()?;
        self.at += ch.len_utf8();
        Some(ch)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn check_length(&self, result: &str) -> Result<()> {
        if result.len() > self.text.len() + MAX_GROWTH {
            return Err(ExpandError::TooLong);
        }
        Ok(())
    }

    /// Expands up to and without `stop`, or up to the end where there is none.
    fn until(&mut self, stop: Option<char>, words: &mut Words) -> Result<String> {
        let mut result = String::new();
        while let Some(ch) = self.peek() {
            if Some(ch) == stop {
                self.next();
                return Ok(result);
            }
            let from = self.at;
            match ch {
                '$' => {
                    let value = self.dollar()?;
                    words.split(&value, from, self.at);
                    result.push_str(&value);
                    self.check_length(&result)?;
                }
                '<' => {
                    let value = self.heredoc_operator();
                    words.raw(value, from, self.at);
                    result.push_str(value);
                }
                '\'' | '"' if self.options.quotes != Quotes::Ignore => {
                    let value = if ch == '"' {
                        self.double_quoted()?
                    } else {
                        self.single_quoted()?
                    };
                    words.raw(&value, from, self.at);
                    result.push_str(&value);
                    self.check_length(&result)?;
                }
                _ if ch == self.options.escape => self.escaped(&mut result, words),
                _ => {
                    self.next();
                    words.plain(ch, from, self.at);
                    result.push(ch);
                }
            }
        }
        match stop {
            Some(stop) => Err(ExpandError::Unterminated(stop)),
            None => Ok(result),
        }
    }

    fn escaped(&mut self, result: &mut String, words: &mut Words) {
        let from = self.at;
        self.next();
        if self.keep_escapes {
            words.raw(self.options.escape.encode_utf8(&mut [0; 4]), from, self.at);
            result.push(self.options.escape);
        }
        if let Some(ch) = self.next() {
            words.raw(ch.encode_utf8(&mut [0; 4]), from, self.at);
            result.push(ch);
        }
    }

    /// `<`, or `<<` with the blanks after it, which belong to the word: `<< EOF`.
    fn heredoc_operator(&mut self) -> &'a str {
        let from = self.at;
        self.next();
        if self.eat('<') {
            while matches!(self.peek(), Some(' ' | '\t' | '\r')) {
                self.next();
            }
        }
        &self.text[from..self.at]
    }

    fn single_quoted(&mut self) -> Result<String> {
        let from = self.at;
        self.next();
        let inner = &self.text[self.at..];
        let length = inner
            .find('\'')
            .ok_or(ExpandError::UnterminatedQuote("single"))?;
        self.at += length + 1;
        Ok(match self.options.quotes {
            Quotes::Keep => self.text[from..self.at].to_owned(),
            Quotes::Remove | Quotes::Ignore => inner[..length].to_owned(),
        })
    }

    fn double_quoted(&mut self) -> Result<String> {
        let mut result = String::new();
        let keep_quotes = self.options.quotes == Quotes::Keep;
        self.next();
        if keep_quotes {
            result.push('"');
        }
        loop {
            match self.peek() {
                None => return Err(ExpandError::UnterminatedQuote("double")),
                Some('"') => {
                    self.next();
                    if keep_quotes {
                        result.push('"');
                    }
                    return Ok(result);
                }
                Some('$') => {
                    result.push_str(&self.dollar()?);
                    self.check_length(&result)?;
                }
                Some(ch) if ch == self.options.escape => self.escaped_in_quotes(&mut result),
                Some(ch) => {
                    self.next();
                    result.push(ch);
                }
            }
        }
    }

    /// Only the quote, `$` and the escape character itself can be escaped between double quotes;
    /// before anything else the escape character is an ordinary one.
    fn escaped_in_quotes(&mut self, result: &mut String) {
        self.next();
        let escape = self.options.escape;
        if self.keep_escapes {
            result.push(escape);
        }
        match self.peek() {
            None => {}
            Some(ch) if ch == '"' || ch == '$' || ch == escape => {
                self.next();
                result.push(ch);
            }
            Some(_) => result.push(escape),
        }
    }

    fn dollar(&mut self) -> Result<String> {
        let from = self.at;
        self.next();
        if self.eat('{') {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(ExpandError::TooDeep);
            }
            let value = self.braces(from);
            self.depth -= 1;
            return value;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.value_of(name) {
            Some(value) => value.to_owned(),
            None if self.options.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    /// What comes after `${`, which is at `from`.
    fn braces(&mut self, from: usize) -> Result<String> {
        match self.peek() {
            None => return Err(ExpandError::Unterminated('}')),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let modifier_at = self.at;
        match self.next() {
            None => Err(ExpandError::Unterminated('}')),
            Some('}') => Ok(match self.value_of(name) {
                Some(value) => value.to_owned(),
                None if self.options.keep_unset => self.text[from..self.at].to_owned(),
                None => String::new(),
            }),
            Some('/') => self.replace(name),
            Some(':') => match self.next() {
                None => Err(ExpandError::Unterminated('}')),
                Some(ch @ ('-' | '+' | '?')) => self.alternative(name, ch, true),
                Some(_) => Err(self.unsupported(modifier_at)),
            },
            Some(ch @ ('-' | '+' | '?')) => self.alternative(name, ch, false),
            Some(ch @ ('#' | '%')) => self.trim(name, ch),
            Some(_) => Err(self.unsupported(modifier_at)),
        }
    }

    fn unsupported(&self, modifier_at: usize) -> ExpandError {
        ExpandError::UnsupportedModifier(self.text[modifier_at..self.at].to_owned())
    }

    /// `-`, `+` and `?`; `null_is_unset` is the colon.
    fn alternative(&mut self, name: &str, modifier: char, null_is_unset: bool) -> Result<String> {
        let word = self.nested('}', false)?;
        let value = self.value_of(name);
        if value.is_none() && self.options.keep_unset {
            let colon = if null_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let present = value.filter(|value| !(null_is_unset && value.is_empty()));
        match (modifier, present) {
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('?', None) => Err(ExpandError::Required {
                name: name.to_owned(),
                message: match (word.is_empty(), value) {
                    (false, _) => word,
                    (true, None) => "is not allowed to be unset".to_owned(),
                    (true, Some(_)) => "is not allowed to be empty".to_owned(),
                },
            }),
            (_, present) => Ok(present.unwrap_or_default().to_owned()),
        }
    }

    /// `#` and `%`, single or double.
    fn trim(&mut self, name: &str, modifier: char) -> Result<String> {
        let word = self.nested('}', true)?;
        let Some(value) = self.value_of(name) else {
            return Ok(if self.options.keep_unset {
                format!("${{{name}{modifier}{word}}}")
            } else {
                pattern::check(word.strip_prefix(modifier).unwrap_or(&word))?;
                String::new()
            });
        };
        let (pattern, greedy) = match word.strip_prefix(modifier) {
            Some(pattern) => (pattern, true),
            None => (word.as_str(), false),
        };
        if modifier == '#' {
            pattern::trim_prefix(value, pattern, greedy)
        } else {
            pattern::trim_suffix(value, pattern, greedy)
        }
    }

    /// `/` and `//`.
    fn replace(&mut self, name: &str) -> Result<String> {
        let every = self.eat('/');
        let pattern = self.nested('/', true)?;
        let replacement = self.nested('}', true)?;
        let Some(value) = self.value_of(name) else {
            return Ok(if self.options.keep_unset {
                let slash = if every { "//" } else { "/" };
                format!("${{{name}{slash}{pattern}/{replacement}}}")
            } else {
                pattern::check(&pattern)?;
                String::new()
            });
        };
        let limit = self.text.len() + MAX_GROWTH;
        pattern::replace(value, &pattern, &replacement, every, limit)
    }

    fn nested(&mut self, stop: char, keep_escapes: bool) -> Result<String> {
        let outer = std::mem::replace(&mut self.keep_escapes, keep_escapes);
        let word = self.until(Some(stop), &mut Words::ignored());
        self.keep_escapes = outer;
        word
    }

    /// A variable's name: letters, digits and `_`; or digits alone; or one special parameter.
    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = match rest.chars().next() {
            Some(ch) if ch.is_numeric() => rest.find(|ch: char| !ch.is_numeric()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => Some(1),
            _ => rest.find(|ch: char| !ch.is_alphanumeric() && ch != '_'),
        };
        let name = &rest[..length.unwrap_or(rest.len())];
        self.at += name.len();
        name
    }

    fn value_of(&mut self, name: &str) -> Option<&'a str> {
        let value = self.vars.get(name);
        let names = match value {
            Some(_) => &mut self.used,
            None => &mut self.unset,
        };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }
}

/// Collects words while text goes by.
#[derive(Default)]
struct Words {
    done: Vec<(String, Range<usize>)>,
    current: String,
    place: Option<Range<usize>>,
    ignored: bool,
}

impl Words {
    /// For nested words, which are text only.
    fn ignored() -> Self {
        Self {
            ignored: true,
            ..Self::default()
        }
    }

    fn plain(&mut self, ch: char, from: usize, to: usize) {
        if !ch.is_whitespace() {
            self.raw(ch.encode_utf8(&mut [0; 4]), from, to);
        } else if !self.current.is_empty() {
            self.end_word();
        }
    }

    fn split(&mut self, value: &str, from: usize, to: usize) {
        for ch in value.chars() {
            self.plain(ch, from, to);
        }
    }

    fn raw(&mut self, value: &str, from: usize, to: usize) {
        if self.ignored {
            return;
        }
        self.current.push_str(value);
        let start = self.place.as_ref().map_or(from, |place| place.start);
        self.place = Some(start..to);
    }

    fn end_word(&mut self) {
        if let Some(place) = self.place.take() {
            self.done.push((std::mem::take(&mut self.current), place));
        }
    }

    fn finish(mut self) -> Vec<(String, Range<usize>)> {
        if !self.current.is_empty() {
            self.end_word();
        }
        self.done
    }
}
