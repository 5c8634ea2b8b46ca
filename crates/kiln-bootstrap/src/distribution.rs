//! The distributions that can be bootstrapped, and what an image's name says about them.

use std::fmt;

/// A family of package archives with one signing authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

/// What an image's repository and tag ask for, as Docker Hub's own tags are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// From the last component of the repository.
    pub distribution: Option<Distribution>,
    /// From the tag, with version numbers turned into code names.
    pub suite: Option<String>,
    /// Whether the tag ends in `-slim`: without manual pages and most documentation.
    pub slim: bool,
}

/// Version numbers that people write as tags, and the code names that archives know.
const DEBIAN_VERSIONS: &[(&str, &str)] = &[
    ("11", "bullseye"),
    ("12", "bookworm"),
    ("13", "trixie"),
    ("14", "forky"),
    ("latest", "stable"),
];

const UBUNTU_VERSIONS: &[(&str, &str)] = &[
    ("20.04", "focal"),
    ("22.04", "jammy"),
    ("24.04", "noble"),
    ("26.04", "resolute"),
];

impl Distribution {
    /// The file that holds the archive's public keys, at the same place on a host and in an image.
    pub const fn keyring(self) -> &'static str {
        match self {
            Self::Debian => "/usr/share/keyrings/debian-archive-keyring.gpg",
            Self::Ubuntu => "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        }
    }

    /// The package that brings [`Distribution::keyring`].
    pub const fn keyring_package(self) -> &'static str {
        match self {
            Self::Debian => "debian-archive-keyring",
            Self::Ubuntu => "ubuntu-archive-keyring",
        }
    }

    /// The `Origin` of its archives' Release files.
    pub const fn origin(self) -> &'static str {
        match self {
            Self::Debian => "Debian",
            Self::Ubuntu => "Ubuntu",
        }
    }

    /// Suites beside the main one that an up-to-date system has: corrections and security updates.
    pub(crate) fn companions(self, suite: &str) -> &'static [&'static str] {
        match (self, suite) {
            (Self::Debian, "sid" | "unstable" | "experimental" | "rc-buggy") => &[""],
            (Self::Debian | Self::Ubuntu, _) => &["", "-updates", "-security"],
        }
    }

    fn versions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Debian => DEBIAN_VERSIONS,
            Self::Ubuntu => UBUNTU_VERSIONS,
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.origin())
    }
}

impl Named {
    /// Reads a repository such as `library/debian` and a tag such as `bookworm-slim`.
    pub fn from_name(repository: &str, tag: Option<&str>) -> Self {
        let distribution = match repository.rsplit('/').next() {
            Some("debian") => Some(Distribution::Debian),
            Some("ubuntu") => Some(Distribution::Ubuntu),
            _ => None,
        };
        let Some(known) = distribution else {
            return Self {
                distribution,
                suite: None,
                slim: false,
            };
        };
        let tag = tag.unwrap_or("latest");
        let (tag, slim) = match tag.strip_suffix("-slim") {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let version = known.versions().iter().find(|(version, _)| *version == tag);
        let suite = match version {
            Some((_, suite)) => Some((*suite).to_owned()),
            None if tag == "latest" => None,
            None => Some(tag.to_owned()),
        };
        Self {
            distribution,
            suite,
            slim,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(repository: &str, tag: Option<&str>, expected: &str) {
        let named = Named::from_name(repository, tag);
        let distribution = named.distribution.map(|known| known.to_string());
        let text = format!(
            "{} {}{}",
            distribution.as_deref().unwrap_or("-"),
            named.suite.as_deref().unwrap_or("-"),
            if named.slim { " slim" } else { "" }
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn tags_are_suites() {
        check("library/debian", Some("bookworm"), "Debian bookworm");
        check(
            "library/debian",
            Some("bookworm-slim"),
            "Debian bookworm slim",
        );
        check("library/debian", Some("12"), "Debian bookworm");
        check("library/debian", Some("latest"), "Debian stable");
        check("library/debian", None, "Debian stable");
        check("library/ubuntu", Some("22.04"), "Ubuntu jammy");
        check("library/ubuntu", None, "Ubuntu -");
    }

    #[test]
    fn other_names_say_nothing() {
        check("team/base", Some("bookworm"), "- -");
    }
}
