//! What a workflow's token says. It is not verified here: the service does that.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kiln_base::{Secret, Timestamp};
use serde::Deserialize;

/// Bits of a permission.
const WRITE: i64 = 2;
/// How many branches a token may name.
const MAX_SCOPES: usize = 32;

/// What a token allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) scopes: Vec<Scope>,
}

/// A branch whose entries may be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) name: String,
    pub(super) can_write: bool,
}

#[derive(Deserialize)]
struct ClaimsWire {
    /// A JSON document of its own.
    ac: Option<String>,
    /// Seconds since 1970; some services print it with a fraction.
    exp: Option<serde_json::Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScopeWire {
    scope: String,
    permission: i64,
}

/// Reads a token. The error says what is wrong, without the token's text.
pub(super) fn read(token: &Secret<String>, now: Timestamp) -> Result<Token, String> {
    let wrong = |what: &str| format!("the token for GitHub's cache {what}");
    let payload = token.expose().split('.').nth(1);
    let claims: Option<ClaimsWire> = payload
        .and_then(|payload| {
            BASE64_URL_SAFE_NO_PAD
                .decode(payload.trim_end_matches('='))
                .ok()
        })
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let claims = claims.ok_or_else(|| wrong("is not a JSON web token"))?;
    let end = claims.exp.map(|end| end.to_string());
    let end = end.as_deref().and_then(|end| end.split('.').next());
    let is_over = end
        .and_then(|end| end.parse().ok())
        .is_some_and(|end| now > Timestamp::from_seconds(end));
    if is_over {
        return Err(wrong("has expired"));
    }
    let access = claims.ac.ok_or_else(|| wrong("has no access controls"))?;
    let scopes: Vec<ScopeWire> = serde_json::from_str(&access)
        .map_err(|_| wrong("has access controls that can't be read"))?;
    let scopes = scopes.into_iter().take(MAX_SCOPES).map(|wire| Scope {
        name: wire.scope,
        can_write: wire.permission & WRITE != 0,
    });
    Ok(Token {
        scopes: scopes.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(claims: &str, expected: &str) {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims);
        let token = Secret::new(format!("e30.{payload}.x"));
        let found = match read(&token, Timestamp::from_seconds(1000)) {
            Ok(token) => format!("{:?}", token.scopes),
            Err(error) => error,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_token_names_branches() {
        check(
            r#"{"exp":1001,"ac":"[{\"Scope\":\"refs/heads/a\",\"Permission\":3},{\"Scope\":\"refs/heads/main\",\"Permission\":1}]"}"#,
            "[Scope { name: \"refs/heads/a\", can_write: true }, \
             Scope { name: \"refs/heads/main\", can_write: false }]",
        );
        check(
            r#"{"exp":999,"ac":"[]"}"#,
            "the token for GitHub's cache has expired",
        );
        check("{}", "the token for GitHub's cache has no access controls");
        check("[", "the token for GitHub's cache is not a JSON web token");
    }
}
