//! in-toto statements: a predicate, and what it is about.
//!
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>

use kiln_oci::{Digest, Platform, Reference};
use serde_json::{Value, json};

use crate::image_purl;

/// The version of the statement around a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum StatementVersion {
    /// `https://in-toto.io/Statement/v0.1`, which older tools want.
    V01,
    /// `https://in-toto.io/Statement/v1`, what BuildKit writes.
    #[default]
    V1,
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// A package URL, or `_` where the thing has no name.
    pub name: String,
    /// The digest of the manifest.
    pub digest: Digest,
}

/// What is said, without of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    kind: String,
    json: String,
}

/// A predicate, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The version of the statement's own form.
    pub version: StatementVersion,
    /// What it is about.
    pub subjects: Vec<Subject>,
    /// What is said.
    pub predicate: Predicate,
}

/// A predicate is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the predicate `{kind}` is not JSON")]
pub struct PredicateError {
    kind: String,
    #[source]
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl StatementVersion {
    /// The statement's `_type`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::V01 => "https://in-toto.io/Statement/v0.1",
            Self::V1 => "https://in-toto.io/Statement/v1",
        }
    }
}

impl Subject {
    /// The subjects for an image: one for each of its names, or one without a name.
    pub fn of_image(names: &[Reference], platform: &Platform, manifest: &Digest) -> Vec<Self> {
        let unnamed = names.is_empty().then(|| "_".to_owned());
        let by_name = names
            .iter()
            .map(|name| image_purl(name, Some(platform)).to_string());
        let subjects = by_name.chain(unnamed).map(|name| Self {
            name,
            digest: manifest.clone(),
        });
        subjects.collect()
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "digest": { self.digest.algorithm().name(): self.digest.hex() },
        })
    }
}

impl Predicate {
    /// A predicate that was made elsewhere; `kind` is its URI.
    pub fn new(kind: &str, json: &str) -> Result<Self, PredicateError> {
        match serde_json::from_str::<Value>(json) {
            Ok(value) => Ok(Self::of(kind, &value)),
            Err(cause) => Err(PredicateError {
                kind: kind.to_owned(),
                cause: cause.into(),
            }),
        }
    }

    pub(crate) fn of(kind: &str, value: &Value) -> Self {
        Self {
            kind: kind.to_owned(),
            json: value.to_string(),
        }
    }

    /// The URI that says what kind of predicate it is.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The predicate as JSON on one line, for a file of its own.
    pub fn as_json(&self) -> &str {
        &self.json
    }
}

impl Statement {
    /// A statement in the form that BuildKit writes.
    pub fn new(subjects: Vec<Subject>, predicate: Predicate) -> Self {
        Self {
            version: StatementVersion::default(),
            subjects,
            predicate,
        }
    }

    /// The statement as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let subjects: Vec<Value> = self.subjects.iter().map(Subject::to_json).collect();
        // Put together by hand, so that a large predicate is not parsed and copied again.
        format!(
            r#"{{"_type":{},"predicateType":{},"subject":{},"predicate":{}}}"#,
            Value::from(self.version.uri()),
            Value::from(self.predicate.kind()),
            Value::from(subjects),
            self.predicate.json,
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_statement_names_the_image_by_each_of_its_names() {
        let names = [
            "alpine:1".parse().unwrap(),
            "example.com/a/b:2".parse().unwrap(),
        ];
        let platform = Platform::new("linux", "amd64");
        let digest = Digest::sha256(b"manifest");
        let predicate = Predicate::new("https://example.com/x", "{\"a\": 1}").unwrap();
        let statement = Statement::new(Subject::of_image(&names, &platform, &digest), predicate);
        let text = String::from_utf8(statement.to_bytes()).unwrap();
        expect![[r#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example.com/x","subject":[{"digest":{"sha256":"05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"},"name":"pkg:docker/alpine@1?platform=linux%2Famd64"},{"digest":{"sha256":"05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"},"name":"pkg:docker/example.com/a/b@2?platform=linux%2Famd64"}],"predicate":{"a":1}}"#]].assert_eq(&text);
        let old = Statement {
            version: StatementVersion::V01,
            ..statement
        };
        let old: Value = serde_json::from_slice(&old.to_bytes()).unwrap();
        assert_eq!(old["_type"], "https://in-toto.io/Statement/v0.1");
    }

    #[test]
    fn an_image_without_a_name_is_a_subject_too() {
        let digest = Digest::sha256(b"manifest");
        let subjects = Subject::of_image(&[], &Platform::new("linux", "amd64"), &digest);
        assert_eq!(
            subjects,
            [Subject {
                name: "_".to_owned(),
                digest
            }]
        );
    }

    #[test]
    fn a_predicate_is_json() {
        let error = Predicate::new("https://example.com/x", "{").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the predicate `https://example.com/x` is not JSON"
        );
    }
}
