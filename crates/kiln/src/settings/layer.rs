//! Layers of settings: files, environment, flags. The later wins, and each value knows its origin.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::env::Environment;
use super::key::{FOREIGN, Key, ROWS};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file and the line, from 1.
    File { path: Arc<PathBuf>, line: usize },
    /// A variable.
    Variable(&'static str),
    /// A flag.
    Flag(&'static str),
}

/// A value as it was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// What one or several sources set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layer(BTreeMap<Key, Written>);

impl Layer {
    /// What the environment sets.
    pub(crate) fn from_environment(environment: &Environment) -> Self {
        let own = ROWS.iter().map(|row| (row.key, row.variable));
        let written = FOREIGN.into_iter().chain(own).filter_map(|(key, name)| {
            let text = environment.by_name(name)?.to_string_lossy().into_owned();
            let origin = Origin::Variable(name);
            Some((key, Written { text, origin }))
        });
        Self(written.collect())
    }

    /// What flags set.
    pub(crate) fn from_flags(flags: impl IntoIterator<Item = (Key, Option<String>)>) -> Self {
        let written = flags.into_iter().filter_map(|(key, text)| {
            let origin = Origin::Flag(key.row().flag);
            Some((
                key,
                Written {
                    text: text?,
                    origin,
                },
            ))
        });
        Self(written.collect())
    }

    /// What a file sets.
    pub(crate) fn from_file(
        path: &Arc<PathBuf>,
        values: impl IntoIterator<Item = (Key, String, usize)>,
    ) -> Self {
        let written = values.into_iter().map(|(key, text, line)| {
            let path = Arc::clone(path);
            (
                key,
                Written {
                    text,
                    origin: Origin::File { path, line },
                },
            )
        });
        Self(written.collect())
    }

    /// Both layers; where both set a value, `stronger` wins.
    #[must_use]
    pub(crate) fn under(mut self, stronger: Self) -> Self {
        self.0.extend(stronger.0);
        self
    }

    /// What is written for a setting.
    pub(crate) fn get(&self, key: Key) -> Option<&Written> {
        self.0.get(&key)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}
