//! What an optimisation did.

use std::collections::BTreeMap;

use super::rules::Rule;

/// How much something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Files of any kind, directories too; those with several names once.
    pub files: u64,
    /// Bytes of their data, without holes.
    pub bytes: u64,
}

/// Something that is not there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The path from the root. With `names` more than one, all those names were in or below it.
    pub path: Vec<u8>,
    /// Whether the path itself went, or only `names` files directly in it.
    pub is_whole: bool,
    /// Names that went.
    pub names: u64,
    /// What became free; 0 for a file that has another name.
    pub bytes: u64,
    /// Why.
    pub rule: Rule,
}

/// A file that has other content now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The path from the root.
    pub path: Vec<u8>,
    /// Bytes before.
    pub before: u64,
    /// Bytes after.
    pub after: u64,
    /// Why.
    pub rule: Rule,
}

/// A package that is not installed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it was for development; else it came only for one that was.
    pub is_development: bool,
}

/// Something that was not done, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The rule that would have done it.
    pub rule: Rule,
    /// On what, and why not.
    pub text: String,
}

/// What was removed and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The tree as it was.
    pub before: Totals,
    /// The tree as it is.
    pub after: Totals,
    /// What each rule freed.
    pub rules: BTreeMap<Rule, Totals>,
    /// What is gone: packages' files first, then in the order of a lexical walk in which a directory
    /// comes after what was in it.
    pub gone: Vec<Gone>,
    /// What was rewritten.
    pub changed: Vec<Changed>,
    /// Packages that were taken out.
    pub packages: Vec<RemovedPackage>,
    /// What was left, and why.
    pub notes: Vec<Note>,
}

impl Report {
    pub(super) fn new(before: Totals) -> Self {
        Self {
            before,
            after: before,
            rules: BTreeMap::new(),
            gone: Vec::new(),
            changed: Vec::new(),
            packages: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Which rule took `path`, if one did.
    pub fn rule_of(&self, path: &[u8]) -> Option<Rule> {
        let direct = self.gone.iter().find(|gone| {
            if gone.is_whole {
                gone.path == path || is_below(path, &gone.path)
            } else {
                crate::paths::join(&gone.path, crate::paths::base_name(path)) == path
            }
        });
        let changed = || self.changed.iter().find(|changed| changed.path == path);
        direct
            .map(|gone| gone.rule)
            .or_else(|| changed().map(|changed| changed.rule))
    }

    pub(super) fn freed(&mut self, rule: Rule, freed: Totals) {
        let totals = self.rules.entry(rule).or_default();
        totals.files += freed.files;
        totals.bytes += freed.bytes;
    }

    pub(super) fn note(&mut self, rule: Rule, text: String) {
        self.notes.push(Note { rule, text });
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.starts_with(b"/"))
}
