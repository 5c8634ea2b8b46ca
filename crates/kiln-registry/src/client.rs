//! The client: which hosts are asked, with what authorisation, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_base::{CancelToken, Secret};
use kiln_oci::Reference;
use reqwest::blocking::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};

use crate::auth::{self, Memory, Scopes};
use crate::challenge::{self, Challenge};
use crate::config::{ClientConfig, HostConfig};
use crate::credentials::Credential;
use crate::endpoint::{Endpoint, Schemes};
use crate::error::{Attempt, Failure, RegistryError, detail};
use crate::http::{Connections, Payload, Request, exchange, is_refused, read_body};

/// The largest error answer that is looked into, in bytes.
const MAX_ERROR_ANSWER: u64 = 64 * 1024;
/// How often a wait looks whether it was cancelled.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// Talks to registries. Shared by threads; holds tokens, so two tenants need two clients.
pub struct Client {
    config: ClientConfig,
    connections: Connections,
    memory: Memory,
    /// What was found for a host and repository: a helper is a program, asked once.
    credentials: Mutex<BTreeMap<(String, String), Option<Credential>>>,
    /// What loopback hosts turned out to speak.
    is_http: Mutex<BTreeMap<String, bool>>,
    random: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has connected to nobody yet. Files that the configuration names are read when
    /// they are needed first.
    pub fn new(config: ClientConfig) -> Self {
        Self {
            connections: Connections::new(&config),
            memory: Memory::default(),
            credentials: Mutex::default(),
            is_http: Mutex::default(),
            random: AtomicU64::new(config.retry.jitter_seed),
            config,
        }
    }

    /// What the client was made from.
    pub const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// A conversation with the registry itself, for what has to be there.
    pub(crate) fn session<'a>(
        &'a self,
        reference: &Reference,
        action: &str,
        cancel: &'a CancelToken,
    ) -> Session<'a> {
        let config = self.config.hosts.get(reference.registry());
        let endpoint = Endpoint::registry(reference.registry(), config);
        Session::new(self, endpoint, (reference.repository(), action), cancel)
    }

    /// The first success of everybody who may have what is to be fetched: the mirrors in their
    /// order, then the registry, whose failure is the one that is told.
    pub(crate) fn first_source<T>(
        &self,
        reference: &Reference,
        action: &str,
        cancel: &CancelToken,
        ask: impl Fn(&Session<'_>) -> Result<T, Failure>,
    ) -> Result<T, RegistryError> {
        for mirror in self.mirrors(reference, action, cancel) {
            match ask(&mirror) {
                Ok(found) => return Ok(found),
                Err(failure @ (Failure::Cancelled(_) | Failure::Local(_))) => {
                    return Err(mirror.error(failure));
                }
                // A mirror that fails, in whatever way, only means that the next one is asked.
                Err(_) => {}
            }
        }
        let registry = self.session(reference, action, cancel);
        ask(&registry).map_err(|failure| registry.error(failure))
    }

    fn mirrors<'a>(
        &'a self,
        reference: &Reference,
        action: &str,
        cancel: &'a CancelToken,
    ) -> Vec<Session<'a>> {
        let config = self.config.hosts.get(reference.registry());
        let mirrors = config.map_or(&[][..], |config| config.mirrors.as_slice());
        let session = |mirror: &String| {
            let endpoint = Endpoint::mirror(mirror, |host| self.config.hosts.get(host).cloned());
            let repository = endpoint.repository(reference.repository());
            Session::new(self, endpoint, (&repository, action), cancel)
        };
        mirrors.iter().map(session).collect()
    }

    fn host_config(&self, endpoint: &Endpoint) -> Option<&HostConfig> {
        self.config.hosts.get(&endpoint.name)
    }

    /// Numbers that look random enough to spread retries, by the splitmix64 generator.
    fn random(&self) -> u64 {
        let state = self
            .random
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// One conversation with one host about one repository.
pub(crate) struct Session<'a> {
    client: &'a Client,
    endpoint: Endpoint,
    pub(crate) attempt: Attempt,
    pub(crate) cancel: &'a CancelToken,
}

impl<'a> Session<'a> {
    fn new(
        client: &'a Client,
        endpoint: Endpoint,
        (repository, action): (&str, &str),
        cancel: &'a CancelToken,
    ) -> Self {
        Self {
            client,
            attempt: Attempt {
                action: action.to_owned(),
                host: endpoint.name.clone(),
                repository: repository.to_owned(),
            },
            endpoint,
            cancel,
        }
    }

    /// The error of this conversation's attempt.
    pub(crate) fn error(&self, failure: impl Into<Failure>) -> RegistryError {
        RegistryError {
            attempt: Box::new(self.attempt.clone()),
            failure: failure.into(),
        }
    }

    /// The address of something in the repository: `manifests/latest`.
    pub(crate) fn url(&self, what: &str) -> Result<Url, Failure> {
        let scheme = if self.is_http()? { "http" } else { "https" };
        let text = format!(
            "{scheme}://{}/v2/{}/{what}",
            self.endpoint.host, self.attempt.repository
        );
        Url::parse(&text).map_err(|error| Failure::Settings(error.into()))
    }

    /// Sends a request and gives the answer of any status that is not worth another try. Failures
    /// of the connection, 429 and 5xx are tried again, as often as the policy says.
    pub(crate) fn send(&self, request: &Request<'_>, scopes: &Scopes) -> Result<Response, Failure> {
        let policy = &self.client.config.retry;
        let mut failed = 0;
        loop {
            let result = self.send_authorized(request, scopes);
            failed += 1;
            let asked = match &result {
                Ok(response) if is_transient(response.status()) => retry_after(response),
                Err(failure) if is_worth_another(failure) => None,
                _ => return result,
            };
            if failed >= policy.attempts.max(1) {
                return result;
            }
            // A registry that asks for more patience than allowed is not asked again.
            if asked.is_some_and(|asked| asked > policy.longest_wait) {
                return result;
            }
            let wait = policy.wait(failed, self.client.random());
            self.wait(asked.map_or(wait, |asked| asked.max(wait)))?;
        }
    }

    /// Sends a request that carries a stream once, authorised; the caller knows how to go on.
    pub(crate) fn send_authorized(
        &self,
        request: &Request<'_>,
        scopes: &Scopes,
    ) -> Result<Response, Failure> {
        let response = self.send_as_known(request, scopes)?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.is_own(&request.url)? {
            return Ok(response);
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).into_iter();
        let Some(challenge) = challenge::parse(headers.filter_map(|value| value.to_str().ok()))
        else {
            return Ok(response);
        };
        self.client.memory.learn(&self.endpoint.host, &challenge);
        self.client.memory.forget(&self.endpoint.host, scopes);
        match self.authorization(&challenge, scopes)? {
            Some(authorization) => {
                exchange(&self.http()?, request, Some(&authorization), self.cancel)
            }
            None => Ok(response),
        }
    }

    /// Sends a request once, authorised as the registry has asked for before. Where that is not
    /// enough the answer says so, and what is known stays as it is.
    pub(crate) fn send_as_known(
        &self,
        request: &Request<'_>,
        scopes: &Scopes,
    ) -> Result<Response, Failure> {
        let http = self.http()?;
        // A registry may have uploads go elsewhere. That place gets the content, but neither a
        // credential nor a say in where credentials are sent.
        if !self.is_own(&request.url)? {
            if !self.is_http()? && request.url.scheme() != "https" {
                let what = "an upload that leads from HTTPS to something else";
                return Err(Failure::Protocol(what));
            }
            return exchange(&http, request, None, self.cancel);
        }
        let authorization = match self.client.memory.challenge(&self.endpoint.host) {
            Some(challenge) => self.authorization(&challenge, scopes)?,
            None => None,
        };
        exchange(&http, request, authorization.as_ref(), self.cancel)
    }

    /// Whether an address is one of the registry itself.
    pub(crate) fn is_own(&self, url: &Url) -> Result<bool, Failure> {
        Ok(url.origin() == self.url("")?.origin())
    }

    /// The `Authorization` header that meets a challenge; `None` where nobody logged in.
    fn authorization(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
    ) -> Result<Option<Secret<String>>, Failure> {
        let memory = &self.client.memory;
        let credential = self.credential()?;
        match (challenge, credential) {
            (_, Some(Credential::RegistryToken(token))) => Ok(Some(auth::bearer(&token))),
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                Ok(Some(auth::basic(&user, &password)))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer(bearer), credential) => {
                let host = &self.endpoint.host;
                if let Some(token) = memory.token(host, scopes) {
                    return Ok(Some(auth::bearer(&token)));
                }
                if bearer.realm.starts_with("http://") && !self.is_http()? {
                    return Err(Failure::Protocol("a token service without TLS"));
                }
                let token = auth::fetch_token(
                    memory,
                    &self.token_client(&bearer.realm)?,
                    bearer,
                    (host, scopes),
                    credential.as_ref(),
                    self.cancel,
                )?;
                Ok(Some(auth::bearer(&token)))
            }
        }
    }

    fn credential(&self) -> Result<Option<Credential>, Failure> {
        let key = (self.endpoint.name.clone(), self.attempt.repository.clone());
        let known = &self.client.credentials;
        // Held while a helper runs, so that parallel transfers ask it once.
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&key) {
            return Ok(found.clone());
        }
        let found = self.client.config.credentials.find(&key.0, &key.1)?;
        known.insert(key, found.clone());
        Ok(found)
    }

    /// Token services often share the registry's authority, and sometimes its certificate.
    fn token_client(&self, realm: &str) -> Result<reqwest::blocking::Client, Failure> {
        let host = Url::parse(realm).ok();
        let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
        let own = self.client.config.hosts.get(host);
        let config = own.or_else(|| self.client.host_config(&self.endpoint));
        let is_http = realm.starts_with("http://");
        self.client.connections.client(host, config, is_http)
    }

    fn http(&self) -> Result<reqwest::blocking::Client, Failure> {
        self.http_for(self.is_http()?)
    }

    fn http_for(&self, is_http: bool) -> Result<reqwest::blocking::Client, Failure> {
        let config = self.client.host_config(&self.endpoint);
        self.client
            .connections
            .client(&self.endpoint.host, config, is_http)
    }

    /// Whether the host is spoken to without TLS. A loopback host is asked once.
    fn is_http(&self) -> Result<bool, Failure> {
        match self.endpoint.schemes {
            Schemes::Http => return Ok(true),
            Schemes::Https => return Ok(false),
            Schemes::Either => {}
        }
        let lock = || {
            self.client
                .is_http
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = lock().get(&self.endpoint.host) {
            return Ok(*known);
        }
        let url = Url::parse(&format!("https://{}/v2/", self.endpoint.host))
            .map_err(|error| Failure::Settings(error.into()))?;
        let probe = Request {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            payload: Payload::Nothing,
        };
        let is_http = match exchange(&self.http_for(false)?, &probe, None, self.cancel) {
            Ok(_) => false,
            Err(Failure::Cancelled(cancelled)) => return Err(cancelled.into()),
            // Nobody listens: not worth remembering.
            Err(Failure::Unreachable(cause)) if is_refused(&*cause) => return Ok(true),
            Err(_) => true,
        };
        lock().insert(self.endpoint.host.clone(), is_http);
        Ok(is_http)
    }

    fn wait(&self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        loop {
            self.cancel.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(WAIT_SLICE));
        }
    }

    /// What an answer means that is not the one hoped for.
    pub(crate) fn refusal(&self, response: Response) -> Failure {
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let body = read_body(response, MAX_ERROR_ANSWER).unwrap_or_default();
        let detail = detail(&body);
        match status {
            401 | 403 => Failure::Denied {
                anonymous: matches!(self.credential(), Ok(None)),
                detail,
            },
            404 => Failure::NotFound { detail },
            429 => Failure::RateLimited { retry_after },
            status => Failure::Status { status, detail },
        }
    }
}

pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502..=504)
}

pub(crate) fn is_worth_another(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Unreachable(_)
            | Failure::Interrupted { .. }
            | Failure::Token {
                status: 429 | 500..,
                ..
            }
    )
}

/// The wait that the registry asks for, where it does so in seconds.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
