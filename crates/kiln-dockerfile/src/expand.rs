//! Expansion of `$name` and `${…}` in the words of instructions, as BuildKit's shell lexer does it.
//!
//! | form | result |
//! |---|---|
//! | `$v`, `${v}` | the value, or nothing |
//! | `${v:-w}`, `${v-w}` | `w` where `v` is unset (with `:`, or empty) |
//! | `${v:+w}`, `${v+w}` | `w` where `v` is set (with `:`, and not empty) |
//! | `${v:?m}`, `${v?m}` | an error with the text `m` where `v` is unset (with `:`, or empty) |
//! | `${v#p}`, `${v##p}` | without the shortest, longest prefix that matches `p` |
//! | `${v%p}`, `${v%%p}` | without the shortest, longest suffix that matches `p` |
//! | `${v/p/r}`, `${v//p/r}` | the first, every match of `p` replaced by `r` |
//!
//! Patterns have `*` and `?`; brackets are ordinary characters. `$1`, `$@` and their like are
//! looked up as variables of that name, and so usually expand to nothing.
//!
//! Hostile input costs at most time and memory in proportion to its length: nesting, the length of
//! patterns and the length of the result are limited.

mod lexer;
mod pattern;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use lexer::Lexer;

/// The most levels of `${a:-${b:-…}}`.
pub const MAX_DEPTH: usize = 64;
/// The longest pattern after `#`, `%` or `/`, in bytes.
pub const MAX_PATTERN: usize = 4096;
/// How much longer than the text that is expanded the result may be, in bytes. Linux takes no
/// longer variable or argument.
pub const MAX_GROWTH: usize = 128 << 10;

/// Where the values of variables come from.
pub trait Vars {
    /// The value of `name`; `None` where it is not set.
    fn get(&self, name: &str) -> Option<&str>;
}

impl Vars for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        Self::get(self, name).map(String::as_str)
    }
}

impl Vars for HashMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        Self::get(self, name).map(String::as_str)
    }
}

/// No variables at all.
#[derive(Debug, Clone, Copy)]
pub struct NoVars;

impl Vars for NoVars {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// What happens to quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// They group, and are removed: the words of instructions.
    Remove,
    /// They group, and stay: text for people.
    Keep,
    /// They are characters like others: bodies of heredocs.
    Ignore,
}

/// How to expand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpandOptions {
    /// The file's escape character, `\` or `` ` ``.
    pub escape: char,
    /// What happens to quotes.
    pub quotes: Quotes,
    /// Whether escape characters stay in the text.
    pub keep_escapes: bool,
    /// Whether references to variables that are not set stay as written.
    pub keep_unset: bool,
}

impl ExpandOptions {
    /// How the words of instructions are expanded.
    pub const fn word(escape: char) -> Self {
        Self {
            escape,
            quotes: Quotes::Remove,
            keep_escapes: false,
            keep_unset: false,
        }
    }

    /// How the body of a heredoc of `COPY` or `ADD` is expanded: always with `\`, whatever the
    /// file's escape character is.
    pub const fn heredoc() -> Self {
        Self {
            quotes: Quotes::Ignore,
            ..Self::word('\\')
        }
    }
}

/// An expanded text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// The variables that were asked for and set.
    pub used: BTreeSet<String>,
    /// The variables that were asked for and not set.
    pub unset: BTreeSet<String>,
}

/// A text that can't be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The text ends inside a quotation.
    #[error("missing closing {0} quote")]
    UnterminatedQuote(&'static str),
    /// The text ends inside `${`.
    #[error("missing `{0}` in substitution")]
    Unterminated(char),
    /// `${}`, `${:…}` or `${{…}`.
    #[error("bad substitution")]
    BadSubstitution,
    /// Something else than `:-`, `:+`, `:?`, `#`, `%` or `/` after a variable's name.
    #[error("unsupported modifier `{0}` in substitution")]
    UnsupportedModifier(String),
    /// The `?` form, of a variable that has no value.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the author wants to be said.
        message: String,
    },
    /// A pattern with a backslash before an ordinary character.
    #[error("invalid pattern `{0}` in substitution")]
    BadPattern(String),
    /// More than [`MAX_DEPTH`] substitutions inside each other.
    #[error("substitutions are nested too deeply")]
    TooDeep,
    /// A result more than [`MAX_GROWTH`] bytes longer than the text.
    #[error("the expanded text is too long")]
    TooLong,
}

/// Expands `word` to one text; spaces stay.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand_word(
    word: &str,
    vars: &dyn Vars,
    options: ExpandOptions,
) -> Result<Expanded, ExpandError> {
    let mut lexer = Lexer::new(word, vars, options);
    let text = lexer.text()?;
    let (used, unset) = lexer.into_names();
    Ok(Expanded { text, used, unset })
}

/// Expands `text` and splits the result at unquoted spaces; values of variables are split, too, and
/// empty words vanish.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand_words(
    text: &str,
    vars: &dyn Vars,
    options: ExpandOptions,
) -> Result<Vec<String>, ExpandError> {
    let words = expand_words_at(text, vars, options)?;
    Ok(words.into_iter().map(|(word, _)| word).collect())
}

/// Like [`expand_words`]; each word comes with the bytes of `text` that it was made from.
pub(crate) fn expand_words_at(
    text: &str,
    vars: &dyn Vars,
    options: ExpandOptions,
) -> Result<Vec<(String, Range<usize>)>, ExpandError> {
    Lexer::new(text, vars, options).words()
}

#[cfg(test)]
mod tests;
