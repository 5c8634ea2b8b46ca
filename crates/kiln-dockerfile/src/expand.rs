//! Expansion of `$name` and `${…}` in the words of instructions, as BuildKit's shell lexer does it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where the values of variables come from.
pub trait Vars {
    /// The value of `name`; `None` where it is not set.
    fn get(&self, name: &str) -> Option<&str>;
}

impl Vars for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(String::as_str)
    }
}

impl Vars for HashMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        HashMap::get(self, name).map(String::as_str)
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

    /// How the body of a heredoc of `COPY` or `ADD` is expanded.
    pub const fn heredoc(escape: char) -> Self {
        Self {
            quotes: Quotes::Ignore,
            ..Self::word(escape)
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
    #[error("unexpected end of statement while looking for matching {0}-quote")]
    UnterminatedQuote(&'static str),
}

/// Expands `word` to one text.
pub fn expand_word(
    _word: &str,
    _vars: &dyn Vars,
    _options: ExpandOptions,
) -> Result<Expanded, ExpandError> {
    unimplemented!()
}

/// Expands `text` and splits the result at unquoted spaces.
pub fn expand_words(
    _text: &str,
    _vars: &dyn Vars,
    _options: ExpandOptions,
) -> Result<Vec<String>, ExpandError> {
    unimplemented!()
}
