//! Sources that the ignore file excludes.

use kiln_dockerfile::ignore::{Ignore, PatternError};

/// The patterns of an ignore file, for the check of what `COPY` and `ADD` name.
#[derive(Debug, Clone)]
pub struct IgnoreList {
    patterns: Ignore,
    /// Some pattern includes again what others exclude. What a path comes to can't be told then.
    has_exceptions: bool,
    /// Some pattern excludes all that is in the root.
    covers_root: bool,
}

impl IgnoreList {
    /// Reads an ignore file's text.
    ///
    /// # Errors
    /// The first pattern that can't be read.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let lines = text.trim_start_matches('\u{feff}').lines();
        let lines: Vec<&str> = lines
            .filter(|line| !line.starts_with('#'))
            .map(str::trim)
            .collect();
        let root = |line: &&str| matches!(line.trim_matches('/'), "*" | "**" | "**/*");
        Ok(Self {
            patterns: Ignore::parse(text)?,
            has_exceptions: lines.iter().any(|line| line.starts_with('!')),
            covers_root: lines.iter().any(root),
        })
    }

    /// Whether a source as it is written, variables replaced, is surely excluded.
    pub(super) fn excludes(&self, source: &str) -> bool {
        if self.has_exceptions || self.patterns.is_empty() {
            return false;
        }
        let path = clean(source);
        if matches!(path.as_str(), "." | "/") {
            return self.covers_root;
        }
        // The patterns are relative, and BuildKit compares them with the source as it stands.
        !path.starts_with('/') && self.patterns.matches(&path)
    }
}

/// A path without `.`, `..` and needless slashes; `..` stays at the beginning of a relative one.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_absolute, joined.as_str()) {
        (true, _) => format!("/{joined}"),
        (false, "") => ".".to_owned(),
        (false, _) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        let cleaned = ["a/./b/../c", "./", "/", "../x", "/../x", "a//b/"].map(clean);
        assert_eq!(cleaned, ["a/c", ".", "/", "../x", "/x", "a/b"]);
    }
}
