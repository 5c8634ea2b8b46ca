//! Requests to services that are not registries: sent again where that may help, with bounded
//! answers, and without a word of what is secret in an error.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_base::{CancelToken, Cancelled};
use kiln_registry::{ClientConfig, Proxy, RetryPolicy};
use kiln_sys::files;
use reqwest::Url;
use reqwest::blocking::{Body, Client, RequestBuilder, Response};
use reqwest::header::RETRY_AFTER;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an answer, or its next bytes, may take.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The slowest upload that is waited for, in bytes per second.
const SLOWEST_UPLOAD: u64 = 16 * 1024;
/// The largest error answer that is looked into, in bytes.
const MAX_ERROR_ANSWER: u64 = 64 * 1024;
/// How much of a service's own words is repeated.
const MAX_DETAIL: usize = 300;
const MAX_PEM_SIZE: u64 = 4 * 1024 * 1024;
/// How often a wait looks whether it was cancelled.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// Why a service did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The credentials are missing, wrong, or not enough.
    #[error("access was denied ({status}){}", colon(detail))]
    Denied {
        /// The HTTP status.
        status: u16,
        /// What the service said.
        detail: String,
    },
    /// It is not there.
    #[error("the service does not have it{}", colon(detail))]
    NotFound {
        /// What the service said.
        detail: String,
    },
    /// Another status than the protocol has here.
    #[error("the service answered {status}{}", colon(detail))]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the service said.
        detail: String,
    },
    /// An answer that the protocol does not allow.
    #[error("the service's answer can't be used: {0}")]
    Protocol(&'static str),
    /// No connection, or no answer in time.
    #[error("the service can't be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address or the connection's settings can't be used.
    #[error("the address or the settings for the service can't be used")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

fn colon(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    }
}

impl HttpError {
    /// Whether the service does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether somebody with other credentials may succeed.
    pub fn is_authentication(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }
}

/// Sends requests to any host.
#[derive(Debug)]
pub(crate) struct Http {
    /// For `https://`.
    tls: Client,
    /// For `http://`: loads no authorities, which a machine need not have.
    plain: Client,
    retry: RetryPolicy,
    /// How long the service may say that it is too busy.
    patience: Option<Duration>,
}

impl Http {
    /// A client for `url` and wherever its answers lead. The host's own authorities, where the
    /// settings have some, are trusted besides the system's.
    pub(crate) fn new(url: &Url, config: &ClientConfig) -> Result<Self, HttpError> {
        let builder = || {
            let builder = Client::builder()
                .user_agent(&config.user_agent)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(IDLE_TIMEOUT)
                .redirect(reqwest::redirect::Policy::none());
            let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            if config.proxy == Proxy::None || is_local {
                builder.no_proxy()
            } else {
                builder
            }
        };
        let settings = |cause: reqwest::Error| HttpError::Settings(cause.into());
        let plain = builder().tls_certs_only([]).build().map_err(settings)?;
        let tls = if url.scheme() == "https" {
            let mut tls = builder();
            for path in authorities(url, config) {
                let pem = files::read_limited(path, MAX_PEM_SIZE);
                let pem = pem.map_err(|error| HttpError::Settings(error.into()))?;
                let bundle = reqwest::Certificate::from_pem_bundle(&pem).map_err(settings)?;
                tls = tls.tls_certs_merge(bundle);
            }
            tls.build().map_err(settings)?
        } else {
            plain.clone()
        };
        Ok(Self {
            tls,
            plain,
            retry: config.retry,
            patience: None,
        })
    }

    /// The same client with another number of tries.
    pub(crate) fn with_attempts(mut self, attempts: Option<u32>) -> Self {
        self.retry.attempts = attempts.unwrap_or(self.retry.attempts);
        self
    }

    /// The same client, which asks a service that is too busy for as long as this.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The connections for an address.
    pub(crate) fn client(&self, url: &Url) -> &Client {
        if url.scheme() == "https" {
            &self.tls
        } else {
            &self.plain
        }
    }

    /// Sends what `request` makes, and again what it makes then where the service is busy or the
    /// connection fails. Gives a successful answer.
    pub(crate) fn send(
        &self,
        request: &dyn Fn() -> Result<RequestBuilder, HttpError>,
        cancel: &CancelToken,
    ) -> Result<Response, HttpError> {
        let start = Instant::now();
        let mut failed = 0;
        loop {
            cancel.check()?;
            let result = request()?.send();
            cancel.check()?;
            failed += 1;
            let is_last = failed >= self.retry.attempts.max(1);
            let mut wait = self.wait(failed);
            match result {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let status = response.status().as_u16();
                    let asked = retry_after(&response).unwrap_or_default();
                    let patience = self.patience.filter(|_| status == 429);
                    let is_over = match patience {
                        Some(patience) => start.elapsed() + wait.max(asked) > patience,
                        None => is_last || asked > self.retry.longest_wait,
                    };
                    if is_over || !matches!(status, 408 | 429 | 500 | 502..=504) {
                        return Err(refusal(response));
                    }
                    wait = wait.max(asked);
                }
                Err(error) if is_last => return Err(unreachable(error)),
                Err(_) => {}
            }
            pause(wait, cancel)?;
        }
    }

    fn wait(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(20);
        let full = self.retry.first_wait.saturating_mul(1 << doublings);
        full.min(self.retry.longest_wait)
    }
}

fn authorities<'a>(
    url: &Url,
    config: &'a ClientConfig,
) -> impl Iterator<Item = &'a std::path::PathBuf> {
    let host = url.host_str().unwrap_or_default();
    let name = url
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let config = config.hosts.get(&name);
    config.into_iter().flat_map(|config| config.ca_files.iter())
}

/// Waits, unless told to stop.
pub(crate) fn pause(time: Duration, cancel: &CancelToken) -> Result<(), Cancelled> {
    let end = Instant::now() + time;
    loop {
        cancel.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(WAIT_SLICE));
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// An address can hold a signature, so it is not part of the error.
fn unreachable(error: reqwest::Error) -> HttpError {
    HttpError::Unreachable(error.without_url().into())
}

fn refusal(response: Response) -> HttpError {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    // Without a readable body there is only the status to tell.
    let _ = response.take(MAX_ERROR_ANSWER).read_to_end(&mut body);
    let detail = detail(&body);
    match status {
        401 | 403 => HttpError::Denied { status, detail },
        404 => HttpError::NotFound { detail },
        status => HttpError::Status { status, detail },
    }
}

/// What an error answer says, in one printable line: S3's XML or the JSON of GitHub's services.
fn detail(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let member = |name: &str| Some(json.as_ref()?.get(name)?.as_str()?.to_owned());
    let words = [
        element("Code"),
        element("Message"),
        member("code"),
        member("typeKey"),
        member("msg").or_else(|| member("message")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    let is_printable = |c: &char| !c.is_control();
    let line = words.join(": ");
    line.chars().filter(is_printable).take(MAX_DETAIL).collect()
}

/// Gives a request a body. Sending stops when told to, and may take as long as a slow connection
/// needs for that many bytes.
pub(crate) fn content(
    builder: RequestBuilder,
    bytes: &Arc<Vec<u8>>,
    cancel: &CancelToken,
) -> RequestBuilder {
    let length = bytes.len() as u64;
    let watched = Watched {
        bytes: Arc::clone(bytes),
        at: 0,
        cancel: cancel.clone(),
    };
    builder
        .timeout(IDLE_TIMEOUT + Duration::from_secs(length / SLOWEST_UPLOAD))
        .body(Body::sized(watched, length))
}

struct Watched {
    bytes: Arc<Vec<u8>>,
    at: usize,
    cancel: CancelToken,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        let count = (&self.bytes[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// The body of an answer that is not longer than `limit`.
pub(crate) fn body(response: Response, limit: u64) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    let read = response.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| HttpError::Unreachable(error.into()))?;
    if bytes.len() as u64 > limit {
        return Err(HttpError::Protocol("it is too long"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_words_become_one_line() {
        let check = |body: &str, expected: &str| assert_eq!(detail(body.as_bytes()), expected);
        check(
            "<Error><Code>AccessDenied</Code><Message>no\nway</Message></Error>",
            "AccessDenied: noway",
        );
        check(
            r#"{"code":"already_exists","msg":"it is there"}"#,
            "already_exists: it is there",
        );
        check("\u{feff}{\"message\":\"no\"}", "no");
        check("<html>", "");
    }
}
