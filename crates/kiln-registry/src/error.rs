//! What can go wrong between kiln and a registry.

use std::fmt;
use std::io;
use std::time::Duration;

use kiln_base::Cancelled;
use kiln_oci::{Digest, DocumentError};

use crate::CredentialError;

/// What was attempted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What follows "could not": `fetch blob`, with the name of the thing.
    pub action: String,
    /// The registry as the reference names it, or the mirror.
    pub host: String,
    /// The repository.
    pub repository: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            host,
            repository,
        } = self;
        write!(f, "{action} of `{repository}` at `{host}`")
    }
}

/// A registry did not do what was asked. Holds no credential and no token.
#[derive(Debug, thiserror::Error)]
#[error("could not {attempt}")]
pub struct RegistryError {
    /// What was attempted.
    pub attempt: Box<Attempt>,
    /// Why it failed.
    #[source]
    pub failure: Failure,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No credential is known, or the registry did not accept it. Registries also answer so for
    /// repositories that do not exist.
    #[error("access was denied{}{}", nobody(*.anonymous), colon(detail))]
    Denied {
        /// Whether no credential was known.
        anonymous: bool,
        /// What the registry said.
        detail: String,
    },
    /// The token service did not give a token.
    #[error("the token service `{service}` answered {status}{}", colon(detail))]
    Token {
        /// Its host.
        service: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// A credential could not be read.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// There is no such manifest, blob or repository.
    #[error("the registry does not have it{}", colon(detail))]
    NotFound {
        /// What the registry said.
        detail: String,
    },
    /// Too many requests; sent again as often as allowed.
    #[error("the registry limits the rate of requests{}", patience(*.retry_after))]
    RateLimited {
        /// When the registry allows the next one.
        retry_after: Option<Duration>,
    },
    /// Another status than the protocol has here.
    #[error("the registry answered {status}{}", colon(detail))]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        detail: String,
    },
    /// An answer that the protocol does not allow.
    #[error("the registry's answer can't be used: {0}")]
    Protocol(&'static str),
    /// The content is not what the digest names.
    #[error("expected `{expected}`, but the registry gave `{found}`")]
    Digest {
        /// As asked for or announced.
        expected: Digest,
        /// As computed.
        found: Digest,
    },
    /// More bytes than announced, or than documents may have.
    #[error("the registry gives more than {0} bytes")]
    TooLarge(u64),
    /// The document is neither a manifest nor an index.
    #[error("the registry's answer is not an image")]
    Document(#[from] DocumentError),
    /// The connection was lost before everything had arrived.
    #[error("the transfer broke off after {received} bytes")]
    Interrupted {
        /// Bytes of this transfer that arrived.
        received: u64,
        /// Why, where the connection says so.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// No connection, or no answer in time.
    #[error("the registry can't be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection is not secure: an unknown authority, another name, no TLS at all.
    #[error("no secure connection can be made")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The settings for this host can't be used.
    #[error("the settings for the registry can't be used")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The content to be sent can't be read, or what was received can't be kept.
    #[error("the content can't be read or written here")]
    Local(#[source] io::Error),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

fn nobody(anonymous: bool) -> &'static str {
    if anonymous {
        " (no credentials are known for it)"
    } else {
        ""
    }
}

fn colon(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    }
}

fn patience(wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!(": the next is allowed after {} seconds", wait.as_secs()),
        None => String::new(),
    }
}

impl RegistryError {
    /// Whether the transfer broke off, so that going on from there may help.
    pub fn is_interrupted(&self) -> bool {
        matches!(self.failure, Failure::Interrupted { .. })
    }

    /// Whether somebody who logs in may succeed.
    pub fn is_authentication(&self) -> bool {
        matches!(
            self.failure,
            Failure::Denied { .. }
                | Failure::Credentials(_)
                | Failure::Token {
                    status: 400..=403,
                    ..
                }
        )
    }

    /// Whether the registry does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self.failure, Failure::NotFound { .. })
    }

    /// Whether the build was told to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.failure, Failure::Cancelled(_))
    }
}

/// How much of a registry's own words is repeated.
const MAX_DETAIL: usize = 300;

/// What an error answer says, in one printable line: the messages of its `errors`, or nothing.
pub(crate) fn detail(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(default)]
        errors: Vec<Entry>,
        /// What token services write.
        #[serde(default)]
        details: String,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return String::new();
    };
    let entries = answer.errors.into_iter().map(|entry| {
        if entry.message.is_empty() {
            entry.code
        } else {
            entry.message
        }
    });
    let words: Vec<String> = entries
        .chain([answer.details])
        .filter(|w| !w.is_empty())
        .collect();
    let is_printable = |c: &char| !c.is_control();
    words
        .join("; ")
        .chars()
        .filter(is_printable)
        .take(MAX_DETAIL)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_become_one_line() {
        let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication\nrequired"},{"code":"DENIED"}]}"#;
        assert_eq!(detail(body), "authenticationrequired; DENIED");
        assert_eq!(detail(b"<html>"), "");
        assert_eq!(detail(br#"{"details":"no such user"}"#), "no such user");
    }

    #[test]
    fn messages_name_what_was_attempted() {
        let error = RegistryError {
            attempt: Box::new(Attempt {
                action: "fetch manifest `1`".to_owned(),
                host: "r.example".to_owned(),
                repository: "a/b".to_owned(),
            }),
            failure: Failure::Denied {
                anonymous: true,
                detail: String::new(),
            },
        };
        assert_eq!(
            error.to_string(),
            "could not fetch manifest `1` of `a/b` at `r.example`"
        );
        assert_eq!(
            error.failure.to_string(),
            "access was denied (no credentials are known for it)"
        );
        assert!(error.is_authentication());
    }
}
