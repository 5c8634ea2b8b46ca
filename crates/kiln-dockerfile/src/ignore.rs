//! `.dockerignore` files and `--exclude` patterns, with the semantics of moby's `patternmatcher`.
//!
//! Patterns are tried in order and the last that matches decides; a pattern with `!` includes
//! again. A pattern that matches a directory also matches everything below it: a walk carries the
//! [`Matches`] of the directory it is in from parent to child. `*` and `?` stop at slashes, `**`
//! does not (and may be glued to text, as in `a**b`), `[…]` is a class, `\` takes the next
//! character as it is, and matching is case-sensitive and anchored at the root.
//!
//! Which file is read for which Dockerfile is the caller's business.

mod clean;
mod pattern;

pub use clean::clean;
use pattern::Pattern;

/// An ordered list of patterns.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

/// A pattern that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern `{pattern}`")]
pub struct PatternError {
    /// The pattern as written, spaces trimmed.
    pub pattern: String,
    /// The line of the ignore file it is on, from 1; the position in the list for other patterns.
    pub line: usize,
}

/// What the patterns say of one directory: where a walk goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matches {
    ignored: bool,
    by_pattern: Vec<bool>,
}

impl Matches {
    /// Whether the directory itself is ignored.
    pub fn is_ignored(&self) -> bool {
        self.ignored
    }
}

impl Ignore {
    /// Reads an ignore file: one pattern a line, `#` in the first column begins a comment, a byte
    /// order mark and slashes at a pattern's begin don't matter.
    ///
    /// # Errors
    /// The first pattern that can't be read.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().map(|line| {
            if line.starts_with('#') {
                return String::new();
            }
            let line = line.trim();
            let (bang, pattern) = match line.strip_prefix('!') {
                Some(pattern) => ("!", pattern.trim()),
                None => ("", line),
            };
            if pattern.is_empty() {
                return bang.to_owned();
            }
            let cleaned = clean(pattern);
            let relative = cleaned
                .strip_prefix('/')
                .filter(|relative| !relative.is_empty())
                .unwrap_or(&cleaned);
            format!("{bang}{relative}")
        });
        Self::compile(lines)
    }

    /// From patterns that are given one by one, as `--exclude` does.
    ///
    /// # Errors
    /// The first pattern that can't be read.
    pub fn from_patterns<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        Self::compile(patterns.iter().map(|pattern| pattern.as_ref().to_owned()))
    }

    fn compile(texts: impl Iterator<Item = String>) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        for (index, text) in texts.enumerate() {
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let pattern = Pattern::compile(&clean(text)).ok_or_else(|| PatternError {
                pattern: text.to_owned(),
                line: index + 1,
            })?;
            patterns.push(pattern);
        }
        Ok(Self { patterns })
    }

    /// Whether there is no pattern at all, so that nothing is ignored.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The root directory: nothing has matched yet.
    pub fn root(&self) -> Matches {
        Matches {
            ignored: false,
            by_pattern: vec![false; self.patterns.len()],
        }
    }

    /// What the patterns say of `path`, which is directly in the directory that `parent` is about.
    ///
    /// `path` is relative to the root, with slashes between names and none at its ends.
    pub fn enter(&self, parent: &Matches, path: &str) -> Matches {
        let mut matches = Matches {
            ignored: false,
            by_pattern: vec![false; self.patterns.len()],
        };
        matches.ignored = self.evaluate(parent, path, |index, matched| {
            matches.by_pattern[index] = matched;
        });
        matches
    }

    /// Whether `path`, which is directly in the directory that `parent` is about, is ignored.
    pub fn is_ignored_in(&self, parent: &Matches, path: &str) -> bool {
        self.evaluate(parent, path, |_, _| {})
    }

    /// Moby's algorithm: a pattern that could not change the verdict is not tried, and then counts
    /// as not matching for everything below, too.
    fn evaluate(&self, parent: &Matches, path: &str, mut record: impl FnMut(usize, bool)) -> bool {
        let mut ignored = false;
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.by_pattern.get(index).copied().unwrap_or(false);
            let matched =
                inherited || (pattern.includes_again() == ignored && pattern.matches(path));
            if matched {
                ignored = !pattern.includes_again();
                record(index, true);
            }
        }
        ignored
    }

    /// Whether `path` is ignored, found by walking down from the root.
    pub fn matches(&self, path: &str) -> bool {
        match self.parent_of(path) {
            Some(parent) => self.is_ignored_in(&parent, path),
            None => false,
        }
    }

    fn parent_of(&self, path: &str) -> Option<Matches> {
        if path.is_empty() || path == "." {
            return None;
        }
        let slashes = path.match_indices('/').map(|(at, _)| at);
        Some(slashes.fold(self.root(), |parent, at| self.enter(&parent, &path[..at])))
    }

    /// Whether the directory `path` is ignored and nothing below it can be included again, so that
    /// a walk needn't enter it.
    pub fn can_prune_dir(&self, path: &str) -> bool {
        self.matches(path) && !self.may_include_below(path)
    }

    /// Whether a pattern with `!` could match anything below the directory `path`.
    ///
    /// A walk that has [`Matches`] at hand prunes where a directory is ignored and this is false.
    pub fn may_include_below(&self, path: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.includes_again() && pattern.may_match_below(path))
    }
}

#[cfg(test)]
mod tests;
