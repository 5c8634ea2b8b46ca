//! What to bootstrap: decided values, derived from the image's name where the caller says nothing.

use std::num::NonZeroUsize;

use kiln_base::Timestamp;
use kiln_layer::LayerCompression;
use kiln_oci::{Platform, Reference};

use crate::{BootstrapError, Distribution, Named};

/// Which packages beside the requested ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// The essential packages only; apt is not among them.
    Essential,
    /// The essential packages and apt.
    Apt,
    /// Also what is marked as required: what debootstrap calls `minbase`, and what the
    /// distribution's own container images have.
    #[default]
    Minbase,
    /// Also what is marked as important: a small system as an installer leaves it.
    Important,
    /// `Minbase` with the compiler and the tools that building Debian packages takes for granted.
    Buildd,
}

/// Whether manual pages and documentation are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documentation {
    /// As the packages bring them.
    Keep,
    /// Copyright files only, also for packages installed later: what `-slim` images do.
    Drop,
}

/// One base image to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapRequest {
    /// The name it gets.
    pub name: Reference,
    /// Whose packages.
    pub distribution: Distribution,
    /// The suite, for example `bookworm`.
    pub suite: String,
    /// What it is to run on.
    pub platform: Platform,
    /// Which packages.
    pub variant: Variant,
    /// Whether documentation is among them.
    pub documentation: Documentation,
    /// Archives instead of the host's: addresses, or whole lines as in `sources.list`.
    pub mirrors: Vec<String>,
    /// Parts of the archive.
    pub components: Vec<String>,
    /// Packages beside those of the variant, as `apt-get install` takes them.
    pub include: Vec<String>,
    /// No time in the image is later. `None` is the newest Release file of the sources.
    pub epoch: Option<Timestamp>,
    /// Variables such as `http_proxy` that apt on the host is to see.
    pub proxies: Vec<(String, String)>,
    /// How the layer is compressed.
    pub compression: LayerCompression,
    /// How many threads may compress. The bytes do not depend on it.
    pub threads: NonZeroUsize,
}

impl Variant {
    /// The variant's name, as mmdebstrap and the command line know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Essential => "essential",
            Self::Apt => "apt",
            Self::Minbase => "minbase",
            Self::Important => "important",
            Self::Buildd => "buildd",
        }
    }

    /// The variant of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Essential,
            Self::Apt,
            Self::Minbase,
            Self::Important,
            Self::Buildd,
        ];
        all.into_iter().find(|variant| variant.name() == name)
    }
}

impl BootstrapRequest {
    /// What the name asks for: `debian:bookworm`, `debian:12-slim`, `ubuntu:24.04`. With `suite`, the
    /// name may be any. Everything else is as in the distribution's own images.
    pub fn new(name: Reference, suite: Option<&str>) -> Result<Self, BootstrapError> {
        let named = Named::from_name(name.repository(), name.tag());
        let Some(suite) = suite.map(str::to_owned).or(named.suite) else {
            return Err(BootstrapError::NoSuite {
                name: name.familiar(),
            });
        };
        if !is_suite(&suite) {
            return Err(BootstrapError::SuiteForm { suite });
        }
        Ok(Self {
            distribution: named.distribution.unwrap_or(Distribution::Debian),
            suite,
            platform: Platform::host(),
            variant: Variant::Minbase,
            documentation: if named.slim {
                Documentation::Drop
            } else {
                Documentation::Keep
            },
            mirrors: Vec::new(),
            components: vec!["main".to_owned()],
            include: Vec::new(),
            epoch: None,
            proxies: Vec::new(),
            compression: LayerCompression::default(),
            threads: NonZeroUsize::MIN,
            name,
        })
    }
}

/// Whether the word can be part of an address and of an argument list.
fn is_suite(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, suite: Option<&str>, expected: &str) {
        let request = BootstrapRequest::new(name.parse().unwrap(), suite);
        let text = match request {
            Ok(request) => format!(
                "{} {} {:?}",
                request.distribution, request.suite, request.documentation
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn names_decide_what_nobody_says() {
        check("debian:bookworm", None, "Debian bookworm Keep");
        check("debian:12-slim", None, "Debian bookworm Drop");
        check("ubuntu:24.04", None, "Ubuntu noble Keep");
        check(
            "registry.example/team/base:1",
            Some("sid"),
            "Debian sid Keep",
        );
        check("debian:mine", Some("trixie"), "Debian trixie Keep");
    }

    #[test]
    fn a_name_may_say_too_little() {
        check(
            "team/base:1",
            None,
            "`team/base:1` does not say which suite to install",
        );
        check(
            "ubuntu",
            None,
            "`ubuntu:latest` does not say which suite to install",
        );
        check("base", Some("../x"), "`../x` is not a suite");
    }

    #[test]
    fn variants_have_names() {
        assert_eq!(Variant::from_name("minbase"), Some(Variant::Minbase));
        assert_eq!(Variant::from_name("standard"), None);
    }
}
