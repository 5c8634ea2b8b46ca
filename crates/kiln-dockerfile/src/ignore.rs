//! `.dockerignore` files and `--exclude` patterns, with the semantics of moby's `patternmatcher`.

/// An ordered list of patterns; the last that matches a path, or one of its parents, decides.
#[derive(Debug, Clone, Default)]
pub struct Ignore {}

/// A pattern that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern `{pattern}`")]
pub struct PatternError {
    /// The pattern as written.
    pub pattern: String,
    /// The line of the ignore file it is on, from 1; the position in the list for other patterns.
    pub line: usize,
}

impl Ignore {
    /// Reads an ignore file.
    pub fn parse(_text: &str) -> Result<Self, PatternError> {
        unimplemented!()
    }

    /// From patterns that are given one by one, as `--exclude` does.
    pub fn from_patterns<S: AsRef<str>>(_patterns: &[S]) -> Result<Self, PatternError> {
        unimplemented!()
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }

    /// Whether `path` is ignored: relative to the root, slashes between names, no leading slash.
    pub fn matches(&self, _path: &str) -> bool {
        unimplemented!()
    }

    /// Whether the directory `path` is ignored and nothing below it can be included again, so that
    /// a walk needn't enter it.
    pub fn can_prune_dir(&self, _path: &str) -> bool {
        unimplemented!()
    }
}
