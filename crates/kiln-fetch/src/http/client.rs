//! Connections, and one exchange over them.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::blocking::{Client as Connections, Response};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{NoProxy, Proxy, Url};

use super::address::shown;
use super::error::HttpError;
use crate::Network;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer, or its next bytes, may take.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_REDIRECTS: usize = 10;

/// Downloads files. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    network: Network,
    user_agent: String,
    plain: Mutex<Option<Connections>>,
    encrypted: Mutex<Option<Connections>>,
}

/// A request that can be sent to another address.
pub(super) struct Outgoing {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) authorization: Option<HeaderValue>,
}

impl Client {
    /// A client; nothing is connected yet. `user_agent` is the header of that name.
    pub fn new(network: Network, user_agent: String) -> Self {
        Self {
            shared: Arc::new(Shared {
                network,
                user_agent,
                plain: Mutex::default(),
                encrypted: Mutex::default(),
            }),
        }
    }

    /// Sends a request and follows redirections, the credential only within one scheme, host and
    /// port.
    pub(super) fn exchange(&self, outgoing: &Outgoing) -> Result<Response, HttpError> {
        let mut url = outgoing.url.clone();
        let refused = |problem: String| HttpError::Redirect {
            url: shown(&outgoing.url),
            problem,
        };
        for _ in 0..=MAX_REDIRECTS {
            let is_same = url.origin() == outgoing.url.origin();
            let authorization = outgoing.authorization.clone().filter(|_| is_same);
            let mut builder = self
                .connections(&url)?
                .get(url.clone())
                .headers(outgoing.headers.clone());
            if let Some(value) = authorization {
                builder = builder.header(AUTHORIZATION, value);
            }
            let response = builder.send().map_err(|error| classify(error, &url))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let target = target(&response).ok_or_else(|| refused("to no HTTP address".into()))?;
            let is_downgrade = url.scheme() == "https" && target.scheme() != "https";
            if is_downgrade && outgoing.authorization.is_some() {
                let target = shown(&target);
                return Err(refused(format!(
                    "to `{target}`, which is not encrypted, where a credential was given"
                )));
            }
            url = target;
        }
        Err(refused(format!("more than {MAX_REDIRECTS} times")))
    }

    fn connections(&self, url: &Url) -> Result<Connections, HttpError> {
        let is_encrypted = url.scheme() == "https";
        let slot = if is_encrypted {
            &self.shared.encrypted
        } else {
            &self.shared.plain
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = &*slot {
            return Ok(connections.clone());
        }
        let connections = self.build(is_encrypted)?;
        Ok(slot.insert(connections).clone())
    }

    fn build(&self, is_encrypted: bool) -> Result<Connections, HttpError> {
        let settings = |cause: reqwest::Error| HttpError::Settings(cause.without_url().into());
        let network = &self.shared.network;
        let mut builder = Connections::builder()
            .user_agent(&self.shared.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let scheme_proxy = if is_encrypted {
            "https_proxy"
        } else {
            "http_proxy"
        };
        let proxy = network.proxy(scheme_proxy).or(network.proxy("all_proxy"));
        if let Some(proxy) = proxy {
            let address = if proxy.contains("://") {
                proxy.to_owned()
            } else {
                format!("http://{proxy}")
            };
            let proxy = Proxy::all(address).map_err(settings)?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&network.excluded())));
        }
        if !is_encrypted {
            // Does not load the machine's authorities, which it need not have.
            return builder.tls_certs_only([]).build().map_err(settings);
        }
        let authorities = network.authorities();
        for pem in authorities.map_err(|cause| HttpError::Settings(cause.into()))? {
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            builder = builder.tls_certs_merge(certificates.map_err(settings)?);
        }
        builder.build().map_err(settings)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("network", &self.shared.network)
            .field("user_agent", &self.shared.user_agent)
            .finish_non_exhaustive()
    }
}

/// Where an answer redirects to, which may be written relative to the address asked. A user in it is
/// nobody whom the caller named.
fn target(response: &Response) -> Option<Url> {
    let text = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut target = response.url().join(text).ok()?;
    target.set_username("").ok()?;
    target.set_password(None).ok()?;
    let is_http = matches!(target.scheme(), "http" | "https");
    is_http.then_some(target)
}

/// What a failed exchange means.
fn classify(error: reqwest::Error, url: &Url) -> HttpError {
    let error = error.without_url();
    let url = shown(url);
    let is_lookup = any_cause(&error, &|cause| cause.to_string().starts_with("dns error"));
    if any_cause(&error, &|cause| cause.is::<rustls::Error>()) {
        let cause = error.into();
        HttpError::Tls { url, cause }
    } else if is_lookup {
        let cause = error.into();
        HttpError::UnknownHost { url, cause }
    } else if error.is_connect() || error.is_timeout() {
        let cause = error.into();
        HttpError::Unreachable { url, cause }
    } else {
        HttpError::Interrupted {
            url,
            received: 0,
            cause: error.into(),
        }
    }
}

/// Whether the error or one of its causes is such. An `io::Error` hides its own content from
/// `source`, so it is looked into.
fn any_cause(
    error: &(dyn Error + 'static),
    is_such: &dyn Fn(&(dyn Error + 'static)) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        let inner = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if is_such(current) || inner.is_some_and(|inner| any_cause(inner, is_such)) {
            return true;
        }
        next = current.source();
    }
    false
}
