//! Package URLs: one line that names a package of any ecosystem.
//!
//! <https://github.com/package-url/purl-spec>. Images are named as BuildKit names them, so that
//! tools which read its attestations find the same names in ours.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use kiln_oci::{Platform, Reference};

/// A package URL: `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageUrl {
    /// The ecosystem, for example `deb`.
    pub kind: String,
    /// What the name is unique in: its parts are separated by `/`. May be empty.
    pub namespace: String,
    /// The package's name.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
    /// What else tells it from others; those that are empty are left out.
    pub qualifiers: BTreeMap<String, String>,
}

impl PackageUrl {
    /// A package with no qualifiers.
    pub fn new(kind: &str, namespace: &str, name: &str, version: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            qualifiers: BTreeMap::new(),
        }
    }

    /// The same package with one more qualifier.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.qualifiers.insert(key.to_owned(), value.to_owned());
        self
    }
}

impl fmt::Display for PackageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("pkg:{}/", self.kind);
        for part in self.namespace.split('/').filter(|part| !part.is_empty()) {
            encode(&mut text, part);
            text.push('/');
        }
        encode(&mut text, &self.name);
        if !self.version.is_empty() {
            text.push('@');
            encode(&mut text, &self.version);
        }
        let mut separator = '?';
        for (key, value) in self
            .qualifiers
            .iter()
            .filter(|(_, value)| !value.is_empty())
        {
            text.push(separator);
            text.push_str(key);
            text.push('=');
            encode(&mut text, value);
            separator = '&';
        }
        f.write_str(&text)
    }
}

/// Percent-encodes everything but unreserved characters and the colon.
fn encode(text: &mut String, part: &str) {
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                text.push(char::from(byte));
            }
            // Writing to a `String` can't fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
}

/// The package URL of an image: `pkg:docker/alpine@3.20?platform=linux%2Famd64`.
pub fn image_purl(reference: &Reference, platform: Option<&Platform>) -> PackageUrl {
    let familiar = reference.familiar_name();
    let (namespace, name) = familiar.rsplit_once('/').unwrap_or(("", &familiar));
    let tag = reference.tag().unwrap_or_default();
    let mut purl = PackageUrl::new("docker", namespace, name, tag);
    if let Some(digest) = reference.digest() {
        purl = purl.with("digest", digest.as_str());
    }
    if let Some(platform) = platform {
        purl = purl.with("platform", &platform.normalized().to_string());
    }
    purl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_image(reference: &str, platform: Option<&str>, expected: &str) {
        let reference: Reference = reference.parse().expect("a reference");
        let platform = platform.map(|text| text.parse().expect("a platform"));
        assert_eq!(
            image_purl(&reference, platform.as_ref()).to_string(),
            expected
        );
    }

    #[test]
    fn images_are_named_as_buildkit_names_them() {
        check_image("alpine", None, "pkg:docker/alpine@latest");
        check_image(
            "docker.io/library/alpine:3.15",
            None,
            "pkg:docker/alpine@3.15",
        );
        check_image("user/test:v2", None, "pkg:docker/user/test@v2");
        check_image("ghcr.io/foo/bar", None, "pkg:docker/ghcr.io/foo/bar@latest");
        check_image("localhost:5000/a:b", None, "pkg:docker/localhost:5000/a@b");
        check_image(
            "alpine",
            Some("linux/arm64/v8"),
            "pkg:docker/alpine@latest?platform=linux%2Farm64",
        );
        let digest = format!("sha256:{}", "a".repeat(64));
        check_image(
            &format!("alpine@{digest}"),
            Some("linux/amd64"),
            &format!("pkg:docker/alpine?digest={digest}&platform=linux%2Famd64"),
        );
    }

    #[test]
    fn odd_characters_are_escaped() {
        let purl = PackageUrl::new("npm", "@scope", "a b", "1.0+x")
            .with("arch", "")
            .with("a", "b/c");
        assert_eq!(purl.to_string(), "pkg:npm/%40scope/a%20b@1.0%2Bx?a=b%2Fc");
    }
}
