//! Meeting a registry's challenge: Basic, or a token from its token service.
//!
//! A token is asked for exactly what a request needs (its scopes), kept until shortly before it
//! ends, and never used for another host or other scopes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use kiln_base::{CancelToken, Secret};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::challenge::{Bearer, Challenge};
use crate::credentials::Credential;
use crate::error::{Failure, detail};
use crate::http::{Payload, Request, exchange, read_body};

/// The largest answer of a token service, in bytes.
const MAX_TOKEN_ANSWER: u64 = 1024 * 1024;
/// A token that does not say how long it lasts lasts this long.
const DEFAULT_LIFETIME: u64 = 60;
/// A token is given up this long before it ends.
const MARGIN: Duration = Duration::from_secs(10);
/// How kiln calls itself at token services.
const CLIENT_ID: &str = "kiln";

/// What a request needs, as token services write it: `repository:a/b:pull,push`. Sorted.
pub(crate) type Scopes = Vec<String>;

/// The scope of one repository.
pub(crate) fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

/// What is known about authorisation so far, by host.
#[derive(Default)]
pub(crate) struct Memory {
    challenges: Mutex<BTreeMap<String, Challenge>>,
    tokens: Mutex<BTreeMap<(String, Scopes), Token>>,
}

#[derive(Clone)]
struct Token {
    value: Secret<String>,
    ends: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Memory {
    /// How the host wants requests authorised, where it has said so before.
    pub(crate) fn challenge(&self, host: &str) -> Option<Challenge> {
        lock(&self.challenges).get(host).cloned()
    }

    /// Remembers how a host wants requests authorised; not what one of them would have needed, which
    /// the next need not.
    pub(crate) fn learn(&self, host: &str, challenge: &Challenge) {
        let mut challenge = challenge.clone();
        if let Challenge::Bearer(bearer) = &mut challenge {
            bearer.scope.clear();
        }
        lock(&self.challenges).insert(host.to_owned(), challenge);
    }

    /// A token that still lasts.
    pub(crate) fn token(&self, host: &str, scopes: &Scopes) -> Option<Secret<String>> {
        let tokens = lock(&self.tokens);
        let token = tokens.get(&(host.to_owned(), scopes.clone()))?;
        (Instant::now() + MARGIN < token.ends).then(|| token.value.clone())
    }

    /// Gives up a token that the registry refused.
    pub(crate) fn forget(&self, host: &str, scopes: &Scopes) {
        lock(&self.tokens).remove(&(host.to_owned(), scopes.clone()));
    }

    fn keep(&self, host: &str, scopes: &Scopes, token: Token) {
        lock(&self.tokens).insert((host.to_owned(), scopes.clone()), token);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of an `Authorization` header with user and password.
pub(crate) fn basic(user: &str, password: &Secret<String>) -> Secret<String> {
    let pair = format!("{user}:{}", password.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    Secret::new(format!("Basic {encoded}"))
}

/// The value of an `Authorization` header with a token.
pub(crate) fn bearer(token: &Secret<String>) -> Secret<String> {
    Secret::new(format!("Bearer {}", token.expose()))
}

/// Asks the token service for a token for `scopes`, and keeps it for `host`.
pub(crate) fn fetch_token(
    memory: &Memory,
    client: &reqwest::blocking::Client,
    challenge: &Bearer,
    (host, scopes): (&str, &Scopes),
    credential: Option<&Credential>,
    cancel: &CancelToken,
) -> Result<Secret<String>, Failure> {
    let realm = Url::parse(&challenge.realm)
        .ok()
        .filter(|realm| matches!(realm.scheme(), "http" | "https"))
        .ok_or(Failure::Protocol(
            "the address of its token service is not valid",
        ))?;
    let service = realm.host_str().unwrap_or_default().to_owned();
    let scopes_asked = all_scopes(scopes, &challenge.scope);
    let (request_url, form, authorization) = match credential {
        Some(Credential::IdentityToken(token)) => {
            let form = refresh_form(&realm, challenge, &scopes_asked, token);
            (realm, Some(form), None)
        }
        Some(Credential::Password { user, password }) => (
            token_url(realm, challenge, &scopes_asked),
            None,
            Some(basic(user, password)),
        ),
        _ => (token_url(realm, challenge, &scopes_asked), None, None),
    };
    let mut headers = HeaderMap::new();
    let (method, payload) = match &form {
        Some(form) => {
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, form_type);
            (Method::POST, Payload::Bytes(form.expose().as_bytes()))
        }
        None => (Method::GET, Payload::Nothing),
    };
    let request = Request {
        method,
        url: request_url,
        headers,
        payload,
    };
    let response = exchange(client, &request, authorization.as_ref(), cancel)?;
    let status = response.status();
    let body = read_body(response, MAX_TOKEN_ANSWER)?;
    if !status.is_success() {
        return Err(Failure::Token {
            service,
            status: status.as_u16(),
            detail: detail(&body),
        });
    }
    let unusable = Failure::Protocol("its token service gave no token");
    // What a parser says may quote the answer, so the cause is dropped.
    let Ok(answer) = serde_json::from_slice::<Answer>(&body) else {
        return Err(unusable);
    };
    let given = [answer.token, answer.access_token].into_iter().flatten();
    let value = given
        .into_iter()
        .find(|token| !token.is_empty())
        .ok_or(unusable)?;
    let value = Secret::new(value);
    let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFETIME).min(86_400));
    let token = Token {
        value: value.clone(),
        ends: Instant::now() + lifetime,
    };
    memory.keep(host, scopes, token);
    Ok(value)
}

/// What the request needs, and what the registry says it needs where that is something else.
fn all_scopes(needed: &Scopes, asked: &str) -> Scopes {
    let mut scopes = needed.clone();
    for scope in asked.split_whitespace() {
        let name = |scope: &str| scope.rsplit_once(':').map(|(name, _)| name.to_owned());
        if !scopes.iter().any(|known| name(known) == name(scope)) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

fn token_url(mut realm: Url, challenge: &Bearer, scopes: &Scopes) -> Url {
    let mut query = realm.query_pairs_mut();
    if !challenge.service.is_empty() {
        query.append_pair("service", &challenge.service);
    }
    for scope in scopes {
        query.append_pair("scope", scope);
    }
    drop(query);
    realm
}

/// The form of the refresh-token flow of `OAuth2`.
fn refresh_form(
    realm: &Url,
    challenge: &Bearer,
    scopes: &Scopes,
    token: &Secret<String>,
) -> Secret<String> {
    // The query of an address is encoded as forms are.
    let mut url = realm.clone();
    url.set_query(None);
    url.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", &challenge.service)
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", &scopes.join(" "))
        .append_pair("refresh_token", token.expose());
    Secret::new(url.query().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(scope: &str) -> Bearer {
        Bearer {
            realm: "https://auth.example/token?x=1".to_owned(),
            service: "r.example".to_owned(),
            scope: scope.to_owned(),
        }
    }

    #[test]
    fn a_token_is_asked_for_every_scope() {
        let realm = Url::parse("https://auth.example/token?x=1").expect("an address");
        let scopes = all_scopes(
            &vec![scope("a/b", "pull,push"), scope("c", "pull")],
            "repository:a/b:pull registry:catalog:*",
        );
        assert_eq!(
            token_url(realm, &challenge(""), &scopes).as_str(),
            "https://auth.example/token?x=1&service=r.example&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull&scope=registry%3Acatalog%3A*"
        );
    }

    #[test]
    fn an_identity_token_is_sent_as_a_form() {
        let token = Secret::new("a&b".to_owned());
        let realm = Url::parse("https://auth.example/token?x=1").expect("an address");
        let form = refresh_form(&realm, &challenge(""), &vec![scope("a", "pull")], &token);
        assert_eq!(
            form.expose(),
            "grant_type=refresh_token&service=r.example&client_id=kiln&scope=repository%3Aa%3Apull&refresh_token=a%26b"
        );
    }

    #[test]
    fn tokens_are_kept_by_host_and_scopes_until_they_end() {
        let memory = Memory::default();
        let scopes = vec![scope("a", "pull")];
        let token = |lifetime| Token {
            value: Secret::new("t".to_owned()),
            ends: Instant::now() + Duration::from_secs(lifetime),
        };
        memory.keep("r.example", &scopes, token(100));
        assert!(memory.token("r.example", &scopes).is_some());
        assert!(memory.token("q.example", &scopes).is_none());
        assert!(
            memory
                .token("r.example", &vec![scope("a", "pull,push")])
                .is_none()
        );
        memory.keep("r.example", &scopes, token(1));
        assert!(memory.token("r.example", &scopes).is_none());
    }

    #[test]
    fn basic_is_encoded() {
        let value = basic("u", &Secret::new("p".to_owned()));
        assert_eq!(value.expose(), "Basic dTpw");
    }
}
