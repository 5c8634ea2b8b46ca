//! The rules and their names.

use std::fmt;
use std::str::FromStr;

/// What can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Downloads and indexes of package managers: apt, apk, dnf, pip, npm, cargo, …
    PackageCaches,
    /// What is in log files; the files stay, since services want to write them.
    Logs,
    /// What is in `/tmp` and `/var/tmp`.
    Temporary,
    /// Manuals, info pages, examples; licences stay.
    Documentation,
    /// Translations into languages that are not to be kept.
    Locales,
    /// Python's byte code, where the source is there.
    ByteCode,
    /// Packages for building, by dpkg's and apk's metadata.
    DevelopmentPackages,
    /// Headers, static libraries and the like that no package manager knows to be for building.
    DevelopmentFiles,
    /// Debug information and symbols in programs and libraries, and detached ones.
    DebugSymbols,
    /// What the caller's own patterns name.
    Excluded,
}

/// A word that names no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rule; the rules are {list}", list = Rule::list())]
pub struct UnknownRule(pub String);

impl Rule {
    /// All rules, in the order in which they are reported.
    pub const ALL: [Self; 10] = [
        Self::PackageCaches,
        Self::Logs,
        Self::Temporary,
        Self::Documentation,
        Self::Locales,
        Self::ByteCode,
        Self::DevelopmentPackages,
        Self::DevelopmentFiles,
        Self::DebugSymbols,
        Self::Excluded,
    ];

    /// The rule's name in settings, reports and manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PackageCaches => "package-caches",
            Self::Logs => "logs",
            Self::Temporary => "temporary",
            Self::Documentation => "documentation",
            Self::Locales => "locales",
            Self::ByteCode => "byte-code",
            Self::DevelopmentPackages => "development-packages",
            Self::DevelopmentFiles => "development-files",
            Self::DebugSymbols => "debug-symbols",
            Self::Excluded => "excluded",
        }
    }

    /// What it takes away, in one line.
    pub const fn description(self) -> &'static str {
        match self {
            Self::PackageCaches => "downloads and indexes of package managers",
            Self::Logs => "contents of log files",
            Self::Temporary => "contents of /tmp and /var/tmp",
            Self::Documentation => "manuals and documentation, but for licences",
            Self::Locales => "translations into languages that are not kept",
            Self::ByteCode => "Python's byte code where the source is there",
            Self::DevelopmentPackages => "packages for building that nothing else needs",
            Self::DevelopmentFiles => "headers and static libraries",
            Self::DebugSymbols => "debug information and symbols of programs and libraries",
            Self::Excluded => "what exclude patterns name",
        }
    }

    fn list() -> String {
        let names: Vec<&str> = Self::ALL.iter().map(|rule| rule.name()).collect();
        names.join(", ")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| UnknownRule(text.to_owned()))
    }
}
