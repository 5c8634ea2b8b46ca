//! Platforms such as `linux/arm64`: parse, normalise and match as containerd does.

use std::fmt;
use std::str::FromStr;

/// An operating system and a processor.
///
/// A platform read from a document keeps the document's words; [`Platform::normalized`] gives the
/// form in which platforms are compared, and matching uses it on both sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`, `windows`, …
    pub os: String,
    /// Go's name of the processor: `amd64`, `arm64`, …
    pub architecture: String,
    /// The processor's variant: `v7` of `arm`, `v3` of `amd64`.
    pub variant: Option<String>,
    /// Windows only.
    pub os_version: Option<String>,
    /// Windows only.
    pub os_features: Vec<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Not one to three words of `[A-Za-z0-9_.-]` joined by slashes.
    #[error("`{0}` is not a platform of the form `os/architecture/variant`")]
    Form(String),
    /// A single word that is neither a known operating system nor a known processor.
    #[error("`{0}` is neither an operating system nor an architecture")]
    Unknown(String),
}

const OPERATING_SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
];

const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

impl Platform {
    /// A platform without variant, in normal form.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
            os_version: None,
            os_features: Vec::new(),
        }
        .normalized()
    }

    /// The platform this program was compiled for.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH)
    }

    /// The same platform in the words in which platforms are compared: `x86_64` is `amd64`,
    /// `arm64/v8` is `arm64`, `arm` is `arm/v7`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, variant) =
            normalize_architecture(&self.architecture, self.variant.as_deref().unwrap_or(""));
        Self {
            os: normalize_os(&self.os),
            architecture,
            variant,
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }

    /// Whether something made for `candidate` runs on this platform.
    pub fn matches(&self, candidate: &Self) -> bool {
        self.preference(candidate).is_some()
    }

    /// How well something made for `candidate` runs on this platform: 0 is an exact match, larger
    /// is worse, `None` does not run.
    pub fn preference(&self, candidate: &Self) -> Option<usize> {
        let (wanted, candidate) = (self.normalized(), candidate.normalized());
        let version_differs = |wanted: &Option<String>| {
            wanted.is_some() && wanted.as_deref() != candidate.os_version.as_deref()
        };
        if wanted.os != candidate.os || version_differs(&wanted.os_version) {
            return None;
        }
        let found = (
            candidate.architecture.as_str(),
            candidate.variant.as_deref(),
        );
        runnable(&wanted.architecture, wanted.variant.as_deref())
            .iter()
            .position(|(architecture, variant)| {
                found == (architecture.as_str(), variant.as_deref())
            })
    }
}

/// What runs on a processor, best first: a newer one runs what was made for an older one.
fn runnable(architecture: &str, variant: Option<&str>) -> Vec<(String, Option<String>)> {
    let number = variant.and_then(|variant| variant.strip_prefix('v')?.parse::<u8>().ok());
    let mut found = vec![(architecture.to_owned(), variant.map(str::to_owned))];
    let arm = |newest: u8| {
        (5..=newest)
            .rev()
            .map(|version| ("arm".to_owned(), Some(format!("v{version}"))))
    };
    match (architecture, number) {
        ("amd64", number) => {
            let lower = (2..number.unwrap_or(1).min(9)).rev();
            found.extend(lower.map(|version| ("amd64".to_owned(), Some(format!("v{version}")))));
            if variant.is_some() {
                found.push(("amd64".to_owned(), None));
            }
            found.push(("386".to_owned(), None));
        }
        ("arm", Some(version @ 6..=8)) => found.extend(arm(version - 1)),
        ("arm64", _) => {
            if variant.is_some() {
                found.push(("arm64".to_owned(), None));
            }
            found.extend(arm(8));
        }
        _ => {}
    }
    found
}

fn normalize_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        lower => lower.to_owned(),
    }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, Option<String>) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i686" | "x86" | "386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0" | "") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        ("powerpc64le", variant) => ("ppc64le", variant),
        ("loongarch64", variant) => ("loong64", variant),
        (architecture, variant) => (architecture, variant),
    };
    let variant = (!variant.is_empty()).then(|| variant.to_owned());
    (architecture.to_owned(), variant)
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os`, `architecture`, `os/architecture` or `os/architecture/variant`; what is not
    /// given is the host's. The result is normalised.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        let words: Vec<&str> = text.split('/').collect();
        if !words.iter().copied().all(is_word) {
            return Err(PlatformError::Form(text.to_owned()));
        }
        match words.as_slice() {
            [word] => parse_word(word),
            [os, architecture] => Ok(Self::new(os, architecture)),
            [os, architecture, variant] => Ok(Self {
                variant: Some((*variant).to_owned()),
                // Not `new`, which would first decide a variant of its own.
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                os_version: None,
                os_features: Vec::new(),
            }
            .normalized()),
            _ => Err(PlatformError::Form(text.to_owned())),
        }
    }
}

fn parse_word(word: &str) -> Result<Platform, PlatformError> {
    let host = Platform::host();
    let os = normalize_os(word);
    if OPERATING_SYSTEMS.contains(&os.as_str()) {
        return Ok(Platform { os, ..host });
    }
    let platform = Platform::new(&host.os, word);
    if ARCHITECTURES.contains(&platform.architecture.as_str()) {
        Ok(platform)
    } else {
        Err(PlatformError::Unknown(word.to_owned()))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, printed: &str) {
        let platform: Platform = text.parse().expect("a platform");
        assert_eq!(platform.to_string(), printed);
        assert_eq!(printed.parse(), Ok(platform));
    }

    #[test]
    fn normalises_the_names_of_processors() {
        check("linux/amd64", "linux/amd64");
        check("Linux/x86_64", "linux/amd64");
        check("linux/amd64/v1", "linux/amd64");
        check("linux/x86_64/v3", "linux/amd64/v3");
        check("linux/aarch64", "linux/arm64");
        check("linux/arm64/v8", "linux/arm64");
        check("linux/arm64/v9", "linux/arm64/v9");
        check("linux/arm", "linux/arm/v7");
        check("linux/arm/6", "linux/arm/v6");
        check("linux/armel", "linux/arm/v6");
        check("linux/i386", "linux/386");
        check("macos/arm64", "darwin/arm64");
    }

    #[test]
    fn one_word_is_completed_by_the_host() {
        let host = Platform::host();
        check("linux", &format!("linux/{}", host.architecture));
        check("riscv64", &format!("{}/riscv64", host.os));
    }

    #[test]
    fn says_what_is_wrong() {
        #[track_caller]
        fn check_error(text: &str, message: &str) {
            let error = text.parse::<Platform>().expect_err("not a platform");
            assert_eq!(error.to_string(), message);
        }
        check_error(
            "",
            "`` is not a platform of the form `os/architecture/variant`",
        );
        check_error(
            "a/b/c/d",
            "`a/b/c/d` is not a platform of the form `os/architecture/variant`",
        );
        check_error(
            "linux/*",
            "`linux/*` is not a platform of the form `os/architecture/variant`",
        );
        check_error(
            "vax",
            "`vax` is neither an operating system nor an architecture",
        );
    }

    #[test]
    fn a_newer_processor_runs_what_an_older_one_runs() {
        #[track_caller]
        fn preference(wanted: &str, candidate: &str) -> Option<usize> {
            let parse = |text: &str| text.parse::<Platform>().expect("a platform");
            parse(wanted).preference(&parse(candidate))
        }
        assert_eq!(preference("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(preference("linux/amd64", "linux/386"), Some(1));
        assert_eq!(preference("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(preference("linux/amd64/v3", "linux/amd64/v2"), Some(1));
        assert_eq!(preference("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(preference("linux/arm/v7", "linux/arm/v5"), Some(2));
        assert_eq!(preference("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(preference("linux/arm64", "linux/arm/v7"), Some(2));
        assert_eq!(preference("linux/arm64", "windows/arm64"), None);
        assert_eq!(preference("linux/s390x", "linux/s390x"), Some(0));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_is_stable(text in "[a-z0-9/._-]{0,24}|.{0,8}") {
            if let Ok(platform) = text.parse::<Platform>() {
                prop_assert_eq!(platform.to_string().parse(), Ok(platform));
            }
        }
    }
}
