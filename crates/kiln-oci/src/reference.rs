//! Image references as people type them, normalised as Docker does.
//!
//! The grammar is that of the `distribution/reference` library: `debian` means
//! `docker.io/library/debian:latest`, and the part before the first slash is a registry only where
//! it holds a dot, a colon or an upper-case letter, or is `localhost`.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, DigestError};

/// The registry of references that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// The tag of references that have neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

const LEGACY_DEFAULT_REGISTRY: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const MAX_NAME_LENGTH: usize = 255;
const MAX_TAG_LENGTH: usize = 128;

/// A normalised reference: registry, repository, and a tag or a digest or both.
///
/// `Display` prints the full form, which parses back to an equal value; [`Reference::familiar`]
/// prints what a person would type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing to parse.
    #[error("the image reference is empty")]
    Empty,
    /// The registry is not a host name or address with an optional port.
    #[error("`{0}` is not a registry name")]
    Registry(String),
    /// The repository has characters or separators that are not allowed.
    #[error("`{0}` is not a repository name")]
    Repository(String),
    /// A repository with upper-case letters, the commonest mistake.
    #[error("repository name `{0}` has to be lower case")]
    UpperCase(String),
    /// The registry and repository are longer than 255 bytes together.
    #[error("the image name is longer than {MAX_NAME_LENGTH} bytes")]
    TooLong,
    /// 64 hexadecimal digits: an image ID, not a name.
    #[error("`{0}` looks like an image ID, which can't be a repository name")]
    LooksLikeId(String),
    /// The part after the colon is not a tag.
    #[error("`{0}` is not a tag")]
    Tag(String),
    /// The part after `@` is not a digest.
    #[error("the digest of the image reference is not valid")]
    Digest(#[source] DigestError),
}

impl Reference {
    /// The registry's host with its port, for example `docker.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry, for example `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where the reference has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository with this tag, and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        Ok(Self {
            tag: Some(parse_tag(tag)?),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository at this digest, and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Registry and repository, without tag and digest: `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What the registry's manifest endpoint is asked for: the digest, or else the tag.
    pub fn manifest_key(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// The short form people type: `debian:latest`, `user/app@sha256:…`, `localhost:5000/x:1`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_suffix(&mut text);
        text
    }

    /// The short form without tag and digest: `debian`, `localhost:5000/x`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        let short = self.repository.strip_prefix(OFFICIAL_PREFIX);
        match short {
            // `docker.io/library/a/b` can't be shortened: `a/b` is another repository.
            Some(short) if !short.contains('/') => short.to_owned(),
            // The first component of a short name would be read as a registry.
            _ if self.repository.starts_with("localhost/") => self.name(),
            _ => self.repository.clone(),
        }
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_suffix(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(ReferenceError::Digest)?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (registry, rest) = split_registry(rest);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(parse_tag(tag)?)),
            None => (rest, None),
        };
        if !is_registry(registry) {
            return Err(ReferenceError::Registry(registry.to_owned()));
        }
        check_repository(path)?;
        // Only a bare name can be mistaken for an ID; after a registry it is unambiguous.
        if rest == text && path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ReferenceError::LooksLikeId(path.to_owned()));
        }
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{OFFICIAL_PREFIX}{path}")
        } else {
            path.to_owned()
        };
        if registry.len() + 1 + repository.len() > MAX_NAME_LENGTH {
            return Err(ReferenceError::TooLong);
        }
        let tag = match (&digest, tag) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (_, tag) => tag,
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

/// Docker's rule for what the first component is.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((LEGACY_DEFAULT_REGISTRY, rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, text),
    }
}

/// A host name, an IPv4 address or a bracketed IPv6 address, with an optional port.
fn is_registry(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    port.is_none_or(is_port) && host.split('.').all(is_host_label)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_host_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn check_repository(path: &str) -> Result<(), ReferenceError> {
    if path.split('/').all(is_path_component) {
        Ok(())
    } else if path.to_ascii_lowercase().split('/').all(is_path_component) {
        Err(ReferenceError::UpperCase(path.to_owned()))
    } else {
        Err(ReferenceError::Repository(path.to_owned()))
    }
}

/// Runs of `[a-z0-9]` joined by one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let is_alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well =
        bytes.first().is_some_and(is_alphanumeric) && bytes.last().is_some_and(is_alphanumeric);
    ends_well
        && bytes
            .split(is_alphanumeric)
            .all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'))
}

fn parse_tag(text: &str) -> Result<String, ReferenceError> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let is_tag = text.len() <= MAX_TAG_LENGTH
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'));
    if is_tag {
        Ok(text.to_owned())
    } else {
        Err(ReferenceError::Tag(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, full: &str, familiar: &str) {
        let reference: Reference = text.parse().expect("a reference");
        assert_eq!(reference.to_string(), full);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(full.parse(), Ok(reference.clone()));
        assert_eq!(familiar.parse(), Ok(reference));
    }

    #[track_caller]
    fn check_error(text: &str, message: &str) {
        let error = text.parse::<Reference>().expect_err("not a reference");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn short_names_are_on_docker_hub() {
        check("debian", "docker.io/library/debian:latest", "debian:latest");
        check("debian:12", "docker.io/library/debian:12", "debian:12");
        check("user/app", "docker.io/user/app:latest", "user/app:latest");
        check(
            "index.docker.io/debian",
            "docker.io/library/debian:latest",
            "debian:latest",
        );
        check("docker.io/a/b/c:1", "docker.io/a/b/c:1", "a/b/c:1");
        check(
            "docker.io/library/a/b:1",
            "docker.io/library/a/b:1",
            "library/a/b:1",
        );
    }

    #[test]
    fn a_dot_a_colon_or_localhost_names_a_registry() {
        check("localhost/x", "localhost/x:latest", "localhost/x:latest");
        check(
            "localhost:5000/x:1",
            "localhost:5000/x:1",
            "localhost:5000/x:1",
        );
        check(
            "127.0.0.1:5000/a/b",
            "127.0.0.1:5000/a/b:latest",
            "127.0.0.1:5000/a/b:latest",
        );
        check("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest");
        check(
            "ghcr.io/o/r:v1.2_x-y",
            "ghcr.io/o/r:v1.2_x-y",
            "ghcr.io/o/r:v1.2_x-y",
        );
        check("MyHost/x", "MyHost/x:latest", "MyHost/x:latest");
    }

    #[test]
    fn a_digest_stands_instead_of_the_default_tag() {
        let digest = Digest::sha256(b"");
        check(
            &format!("debian@{digest}"),
            &format!("docker.io/library/debian@{digest}"),
            &format!("debian@{digest}"),
        );
        let both: Reference = format!("a.b/c:1@{digest}").parse().expect("a reference");
        assert_eq!(both.tag(), Some("1"));
        assert_eq!(both.manifest_key(), digest.as_str());
    }

    #[test]
    fn says_what_is_wrong() {
        check_error("", "the image reference is empty");
        check_error("Debian", "repository name `Debian` has to be lower case");
        check_error("a//b", "`a//b` is not a repository name");
        check_error("a___b", "`a___b` is not a repository name");
        check_error("-a", "`-a` is not a repository name");
        check_error("a:", "`` is not a tag");
        check_error("a:b:c", "`b:c` is not a tag");
        check_error("a:.x", "`.x` is not a tag");
        check_error("-x.y/z", "`-x.y` is not a registry name");
        check_error("x:99999/z", "`x:99999` is not a registry name");
        check_error("a@b", "the digest of the image reference is not valid");
        check_error(&"a".repeat(300), "the image name is longer than 255 bytes");
        check_error(
            &"ab".repeat(32),
            &format!(
                "`{}` looks like an image ID, which can't be a repository name",
                "ab".repeat(32)
            ),
        );
        check_error("../../etc/passwd", "`..` is not a registry name");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_is_stable(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
                prop_assert_eq!(reference.familiar().parse(), Ok(reference));
            }
        }

        #[test]
        fn any_text_at_all_is_survived(text in ".*") {
            let _ = text.parse::<Reference>();
        }
    }
}
