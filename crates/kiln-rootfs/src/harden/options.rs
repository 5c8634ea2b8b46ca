//! Which rules are applied, and what they found.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use kiln_disk::{NodeId, Tree};
use kiln_dockerfile::ignore::{Ignore, PatternError};

use crate::paths;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HardenRule {
    /// Host keys of SSH servers: each machine makes its own.
    SshHostKeys,
    /// `/etc/machine-id`: emptied, so that the machine makes its own.
    MachineId,
    /// Seeds of random number generators, which must never be used twice.
    RandomSeed,
    /// Histories of shells and other interpreters.
    Histories,
    /// Directories of version control: `.git` and its like.
    Repositories,
    /// Files with passwords, tokens and private keys of users.
    Credentials,
    /// Files that everyone may write, and directories in which everyone may delete others' files.
    WorldWritable,
    /// Programs that run with others' privileges.
    SetId,
    /// Accounts that anyone may enter.
    EmptyPasswords,
}

/// A word that names no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rule of hardening; the rules are {list}", list = HardenRule::list())]
pub struct UnknownHardenRule(pub String);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardenOptions {
    /// The rules to apply.
    pub rules: BTreeSet<HardenRule>,
    /// Whether programs with others' privileges lose them; else they are only told.
    pub remove_set_id: bool,
    /// Patterns of `.dockerignore` for what is left as it is.
    pub preserve: Vec<String>,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// By which rule.
    pub rule: HardenRule,
    /// Where, from the root.
    pub path: Vec<u8>,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone.
    Removed,
    /// It is there, without content.
    Emptied,
    /// The secrets in it are gone.
    Edited,
    /// Its mode was changed.
    Mode {
        /// Permission bits before.
        from: u32,
        /// Permission bits now.
        to: u32,
    },
    /// Set-id bits and file capabilities are gone.
    Disarmed,
    /// These accounts are locked.
    Locked(Vec<String>),
    /// Nothing; somebody should know of it.
    Reported {
        /// Permission bits.
        mode: u32,
        /// Whether it has file capabilities.
        has_capabilities: bool,
    },
    /// Nothing: it is to be preserved.
    Preserved,
}

impl HardenOptions {
    /// All rules; privileges are only told.
    pub fn all() -> Self {
        Self {
            rules: HardenRule::ALL.into_iter().collect(),
            remove_set_id: false,
            preserve: Vec::new(),
        }
    }
}

impl HardenRule {
    /// All rules, in the order in which they are reported.
    pub const ALL: [Self; 9] = [
        Self::SshHostKeys,
        Self::MachineId,
        Self::RandomSeed,
        Self::Histories,
        Self::Repositories,
        Self::Credentials,
        Self::WorldWritable,
        Self::SetId,
        Self::EmptyPasswords,
    ];

    /// The rule's name in settings, reports and manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SshHostKeys => "ssh-host-keys",
            Self::MachineId => "machine-id",
            Self::RandomSeed => "random-seed",
            Self::Histories => "histories",
            Self::Repositories => "repositories",
            Self::Credentials => "credentials",
            Self::WorldWritable => "world-writable",
            Self::SetId => "set-id",
            Self::EmptyPasswords => "empty-passwords",
        }
    }

    fn list() -> String {
        let names: Vec<&str> = Self::ALL.iter().map(|rule| rule.name()).collect();
        names.join(", ")
    }
}

impl fmt::Display for HardenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HardenRule {
    type Err = UnknownHardenRule;

    fn from_str(text: &str) -> Result<Self, UnknownHardenRule> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| UnknownHardenRule(text.to_owned()))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("removed"),
            Self::Emptied => f.write_str("emptied"),
            Self::Edited => f.write_str("secrets removed"),
            Self::Mode { from, to } => write!(f, "mode changed from {from:04o} to {to:04o}"),
            Self::Disarmed => f.write_str("privileges removed"),
            Self::Locked(names) => write!(f, "locked {}", names.join(", ")),
            Self::Reported {
                mode,
                has_capabilities: true,
            } if mode & 0o6000 == 0 => f.write_str("runs with file capabilities"),
            Self::Reported { mode, .. } => write!(
                f,
                "runs with its owner's or group's privileges: mode {mode:04o}"
            ),
            Self::Preserved => f.write_str("left as it is: preserved"),
        }
    }
}

/// Patterns for what is left alone.
pub(super) struct Preserve(Ignore);

impl Preserve {
    pub(super) fn new(patterns: &[String]) -> Result<Self, PatternError> {
        crate::optimise::compile(patterns).map(Self)
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        !self.0.is_empty() && self.0.matches(&String::from_utf8_lossy(path))
    }

    /// Whether anything below the directory `id` at `path` is to be left.
    pub(super) fn may_match_below(&self, tree: &Tree, id: NodeId, path: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let mut pending = vec![(id, path.to_vec())];
        while let Some((id, path)) = pending.pop() {
            if self.matches(&path) {
                return true;
            }
            let entries = tree.entries(id).iter();
            pending.extend(entries.map(|entry| (entry.id, paths::join(&path, &entry.name))));
        }
        false
    }
}
