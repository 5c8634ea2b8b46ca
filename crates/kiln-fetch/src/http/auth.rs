//! What authorises a download.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_base::Secret;
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::address::decode;
use crate::git;

pub use crate::git::SecretError;

/// What the secrets with a token are named by, before the host.
pub(super) const TOKEN_SECRET: &str = "HTTP_AUTH_TOKEN_";
/// What the secrets with a value of the `Authorization` header are named by, before the host.
pub(super) const HEADER_SECRET: &str = "HTTP_AUTH_HEADER_";

/// A credential for a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpCredential {
    /// A bearer token.
    Token(Secret<String>),
    /// The value of the `Authorization` header.
    Header(Secret<String>),
}

/// Looks for the secret that authorises a download, by the names BuildKit gives them:
/// `HTTP_AUTH_TOKEN_<host>`, else `HTTP_AUTH_HEADER_<host>`; the host without its port. A line break
/// at the end is not part of a secret. An address that can't be read has none.
pub fn find_credential<'a>(
    url: &str,
    lookup: &dyn Fn(&str) -> Option<&'a Secret<Vec<u8>>>,
) -> Result<Option<HttpCredential>, SecretError> {
    let url = Url::parse(url).ok();
    let Some(host) = url.as_ref().and_then(host) else {
        return Ok(None);
    };
    let value = |name: String| match lookup(&name) {
        Some(secret) => git::line(secret).ok_or(SecretError(name)).map(Some),
        None => Ok(None),
    };
    if let Some(token) = value(format!("{TOKEN_SECRET}{host}"))? {
        return Ok(Some(HttpCredential::Token(token)));
    }
    let header = value(format!("{HEADER_SECRET}{host}"))?;
    Ok(header.map(HttpCredential::Header))
}

/// The host as secrets are named after it: an IPv6 address without its brackets.
pub(super) fn host(url: &Url) -> Option<&str> {
    let host = url.host_str()?;
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

/// The `Authorization` header for an address. User name and password are taken out of it.
pub(super) fn authorization(
    credential: Option<&HttpCredential>,
    url: &mut Url,
) -> Option<Result<HeaderValue, ()>> {
    let user = decode(url.username());
    let password = url.password().map(decode);
    // Only addresses without a host have no place for these, and they have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let value = match credential {
        Some(HttpCredential::Token(token)) => format!("Bearer {}", token.expose()),
        Some(HttpCredential::Header(value)) => value.expose().clone(),
        None if user.is_empty() && password.is_none() => return None,
        None => {
            let pair = format!("{user}:{}", password.unwrap_or_default());
            format!("Basic {}", STANDARD.encode(pair))
        }
    };
    Some(
        HeaderValue::from_str(&value)
            .map_err(|_| ())
            .map(|mut value| {
                value.set_sensitive(true);
                value
            }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_before_a_header() {
        let secret = Secret::new(b"x\n".to_vec());
        let found = |names: &[&str], url: &str| {
            let lookup = |name: &str| names.contains(&name).then_some(&secret);
            find_credential(url, &lookup).unwrap()
        };
        let (header, token) = ("HTTP_AUTH_HEADER_a.example", "HTTP_AUTH_TOKEN_a.example");
        let url = "https://a.example:8443/x";
        let x = || Secret::new("x".to_owned());
        assert_eq!(found(&[], url), None);
        assert_eq!(found(&[header], url), Some(HttpCredential::Header(x())));
        assert_eq!(
            found(&[header, token], url),
            Some(HttpCredential::Token(x()))
        );
        assert_eq!(found(&[header, token], "https://b.example/x"), None);
        let loopback = found(&["HTTP_AUTH_TOKEN_::1"], "http://[::1]:80/");
        assert_eq!(loopback, Some(HttpCredential::Token(x())));
    }

    #[test]
    fn an_address_may_have_a_credential() {
        let header = |text: &str, credential: Option<&HttpCredential>| {
            let mut url = Url::parse(text).unwrap();
            let value = authorization(credential, &mut url);
            assert!(!url.as_str().contains('@'));
            value.map(|value| value.unwrap().to_str().unwrap().to_owned())
        };
        let header_of = |text: &str| header(text, None).unwrap_or_default();
        assert_eq!(header_of("https://example.com/"), "");
        // `a:b@c`.
        assert_eq!(header_of("https://a:b%40c@example.com/"), "Basic YTpiQGM=");
        let token = HttpCredential::Token(Secret::new("t".to_owned()));
        let with_both = header("https://a:b@example.com/", Some(&token));
        assert_eq!(with_both.as_deref(), Some("Bearer t"));
    }
}
