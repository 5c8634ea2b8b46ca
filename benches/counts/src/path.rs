//! The closed set of paths that are counted.

use crate::{Failure, keys, layers, lower, noop, scan};

/// A path that is walked while its instructions are counted.
pub(crate) type Walk = Box<dyn FnOnce() -> Result<(), Failure>>;

/// A part of a build that every user waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HotPath {
    /// The ids and cache keys of 200 steps.
    Keys,
    /// A Dockerfile of 12 stages to a tree, and to a graph.
    Lower,
    /// A context of 2,000 files that are all known.
    ScanWarm,
    /// A context of 2,000 files, none of which is known.
    ScanCold,
    /// A tree of 2,000 small files and a few larger ones to a gzip layer, on one thread.
    WriteLayer,
    /// That layer to a tree.
    Unpack,
    /// A build of 20 steps over 1,000 files that has been done before.
    NoopBuild,
}

impl HotPath {
    /// All of them, in the order of a build.
    pub(crate) const ALL: [Self; 7] = [
        Self::Lower,
        Self::Keys,
        Self::ScanWarm,
        Self::ScanCold,
        Self::WriteLayer,
        Self::Unpack,
        Self::NoopBuild,
    ];

    /// What the table of counts calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Lower => "lower",
            Self::ScanWarm => "scan-warm",
            Self::ScanCold => "scan-cold",
            Self::WriteLayer => "write-layer",
            Self::Unpack => "unpack",
            Self::NoopBuild => "no-op-build",
        }
    }

    /// The path of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    /// Makes the path's inputs in the working directory.
    pub(crate) fn prepare(self) -> Result<(), Failure> {
        match self {
            Self::Keys | Self::Lower => Ok(()),
            Self::ScanWarm => scan::prepare_warm(),
            Self::ScanCold => scan::prepare_cold(),
            Self::WriteLayer => layers::prepare_tree(),
            Self::Unpack => layers::prepare_layer(),
            Self::NoopBuild => noop::prepare(),
        }
    }

    /// Loads what was prepared in the working directory; what it returns does the work.
    pub(crate) fn load(self) -> Result<Walk, Failure> {
        match self {
            Self::Keys => Ok(keys::load()),
            Self::Lower => Ok(lower::load()),
            Self::ScanWarm | Self::ScanCold => scan::load(),
            Self::WriteLayer => layers::load_tree(),
            Self::Unpack => layers::load_layer(),
            Self::NoopBuild => noop::load(),
        }
    }
}
