//! `-o`: the words of an output, before they are checked against what its type knows.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::values::split_csv;

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputType {
    /// An OCI archive or layout.
    Oci,
    /// An archive for `docker load`, or the running Docker or Podman itself.
    Docker,
    /// The root file system as a tar archive.
    Tar,
    /// The root file system as a directory.
    Local,
    /// The local store.
    Image,
    /// A registry.
    Registry,
    /// Nothing: only the cache is filled.
    CacheOnly,
}

/// One `-o`, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputSpec {
    pub(crate) kind: OutputType,
    /// The attributes besides `type`, as in `dest=PATH`.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// A text that is no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseOutputError {
    #[error("the output is empty")]
    Empty,
    #[error("`{0}` is not of the form `NAME=VALUE`")]
    NotAssigned(String),
    #[error("`{0}` is given twice")]
    Twice(String),
    #[error("`type` is missing")]
    NoType,
    #[error(
        "there is no output type `{0}`; the types are oci, docker, tar, local, image, registry, cacheonly"
    )]
    UnknownType(String),
    #[error("a quoted field does not end")]
    Quote,
}

impl OutputSpec {
    fn new(kind: OutputType, dest: &str) -> Self {
        Self {
            kind,
            attributes: BTreeMap::from([("dest".to_owned(), dest.to_owned())]),
        }
    }

    /// An output without attributes, as `--push` and `--load` ask for.
    pub(crate) const fn bare(kind: OutputType) -> Self {
        Self {
            kind,
            attributes: BTreeMap::new(),
        }
    }
}

impl FromStr for OutputSpec {
    type Err = ParseOutputError;

    /// `PATH`, `-`, or comma-separated `NAME=VALUE` fields of which one is `type`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => return Err(ParseOutputError::Empty),
            "-" => return Ok(Self::new(OutputType::Tar, "-")),
            _ => {}
        }
        let fields = split_csv(text).ok_or(ParseOutputError::Quote)?;
        if let [path] = fields.as_slice()
            && !path.contains('=')
        {
            return Ok(Self::new(OutputType::Local, path));
        }
        let mut attributes = BTreeMap::new();
        for field in fields {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| ParseOutputError::NotAssigned(field.clone()))?;
            let name = match name.trim() {
                // What follows is the annotation's own name.
                name if name.starts_with("annotation") => name.to_owned(),
                name => name.to_ascii_lowercase(),
            };
            if attributes.insert(name.clone(), value.to_owned()).is_some() {
                return Err(ParseOutputError::Twice(name));
            }
        }
        let kind = attributes.remove("type").ok_or(ParseOutputError::NoType)?;
        let kind = match kind.as_str() {
            "oci" => OutputType::Oci,
            "docker" => OutputType::Docker,
            "tar" => OutputType::Tar,
            "local" => OutputType::Local,
            "image" => OutputType::Image,
            "registry" => OutputType::Registry,
            "cacheonly" => OutputType::CacheOnly,
            _ => return Err(ParseOutputError::UnknownType(kind)),
        };
        Ok(Self { kind, attributes })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(text: &str, expected: Expect) {
        let actual = match text.parse::<OutputSpec>() {
            Ok(spec) => format!("{:?} {:?}", spec.kind, spec.attributes),
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&actual);
    }

    #[test]
    fn shorthands() {
        check("out", expect![[r#"Local {"dest": "out"}"#]]);
        check("-", expect![[r#"Tar {"dest": "-"}"#]]);
    }

    #[test]
    fn fields() {
        check(
            "type=oci,dest=a.tar,compression=zstd",
            expect![[r#"Oci {"compression": "zstd", "dest": "a.tar"}"#]],
        );
        check(
            r#"type=image,"name=a,b",push=true"#,
            expect![[r#"Image {"name": "a,b", "push": "true"}"#]],
        );
        check("type=docker", expect!["Docker {}"]);
        check(
            "TYPE=image,annotation-index.Org.Title=a b",
            expect![[r#"Image {"annotation-index.Org.Title": "a b"}"#]],
        );
    }

    #[test]
    fn errors() {
        check("", expect!["error: the output is empty"]);
        check("dest=a", expect!["error: `type` is missing"]);
        check(
            "type=oci,a.tar",
            expect!["error: `a.tar` is not of the form `NAME=VALUE`"],
        );
        check(
            "type=oci,dest=a,dest=b",
            expect!["error: `dest` is given twice"],
        );
        check(
            "type=floppy",
            expect![
                "error: there is no output type `floppy`; the types are oci, docker, tar, local, image, registry, cacheonly"
            ],
        );
        check(
            r#"type=oci,"dest=a"#,
            expect!["error: a quoted field does not end"],
        );
    }
}
