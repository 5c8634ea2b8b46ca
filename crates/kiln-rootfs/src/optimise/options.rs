//! Which rules are applied, and what they must leave.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use kiln_dockerfile::ignore::{Ignore, PatternError};

use super::rules::Rule;

/// How far to go, where single rules are not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing but what patterns exclude.
    None,
    /// What is there again when it is needed: caches, logs, temporary files.
    Safe,
    /// Also what people read: documentation and translations.
    Balanced,
    /// Also what is for building and for debuggers, and byte code, which costs time at starts.
    Smallest,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The rules to apply.
    pub rules: BTreeSet<Rule>,
    /// Locales that stay, as `en`, `en_GB` or `de_DE.UTF-8`; a language keeps its countries. `C` and
    /// `POSIX` always stay.
    pub locales: Vec<String>,
    /// Patterns of `.dockerignore` for what goes.
    pub exclude: Vec<String>,
    /// The same for what stays, whatever else is said.
    pub preserve: Vec<String>,
    /// How many bytes stripped programs may take in memory; what doesn't fit stays as it is, the
    /// smallest savings first.
    pub memory: u64,
}

/// Why options can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// What should be excluded.
    #[error("could not read an exclude pattern")]
    Exclude(#[source] PatternError),
    /// What should be preserved.
    #[error("could not read a preserve pattern")]
    Preserve(#[source] PatternError),
    /// No such level.
    #[error("`{0}` is not a level; the levels are none, safe, balanced, smallest")]
    Level(String),
}

/// The patterns, compiled.
pub(super) struct Patterns {
    pub(super) exclude: Ignore,
    pub(super) preserve: Ignore,
}

impl Options {
    /// What `level` means: English stays, and 64 MiB of stripped programs fit into memory.
    pub fn at(level: Level) -> Self {
        Self {
            rules: level.rules(),
            locales: vec!["en".to_owned()],
            exclude: Vec::new(),
            preserve: Vec::new(),
            memory: 64 << 20,
        }
    }

    pub(super) fn patterns(&self) -> Result<Patterns, OptionsError> {
        Ok(Patterns {
            exclude: compile(&self.exclude).map_err(OptionsError::Exclude)?,
            preserve: compile(&self.preserve).map_err(OptionsError::Preserve)?,
        })
    }
}

impl Patterns {
    pub(super) fn preserves(&self, path: &[u8]) -> bool {
        !self.preserve.is_empty() && self.preserve.matches(&String::from_utf8_lossy(path))
    }
}

/// Paths are those of the running program, so a slash at the begin is usual.
pub(crate) fn compile(patterns: &[String]) -> Result<Ignore, PatternError> {
    let relative: Vec<String> = patterns
        .iter()
        .map(|pattern| match pattern.trim().strip_prefix('!') {
            Some(pattern) => format!("!{}", pattern.trim().trim_start_matches('/')),
            None => pattern.trim().trim_start_matches('/').to_owned(),
        })
        .collect();
    Ignore::from_patterns(&relative)
}

impl Level {
    /// The rules of this level. [`Rule::Excluded`] is in all: without patterns it does nothing.
    pub fn rules(self) -> BTreeSet<Rule> {
        let of = |rule: &Rule| {
            self >= match rule {
                Rule::Excluded => Self::None,
                Rule::PackageCaches | Rule::Logs | Rule::Temporary => Self::Safe,
                Rule::Documentation | Rule::Locales => Self::Balanced,
                Rule::ByteCode
                | Rule::DevelopmentPackages
                | Rule::DevelopmentFiles
                | Rule::DebugSymbols => Self::Smallest,
            }
        };
        Rule::ALL.into_iter().filter(of).collect()
    }

    /// The level's name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Safe => "safe",
            Self::Balanced => "balanced",
            Self::Smallest => "smallest",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = OptionsError;

    fn from_str(text: &str) -> Result<Self, OptionsError> {
        [Self::None, Self::Safe, Self::Balanced, Self::Smallest]
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| OptionsError::Level(text.to_owned()))
    }
}
