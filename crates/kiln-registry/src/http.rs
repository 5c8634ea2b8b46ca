//! One HTTP exchange: connections by host, redirects, and what a failure means.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kiln_base::{CancelToken, Secret};
use kiln_sys::files;
use reqwest::blocking::{Body, Client as HttpClient, Response};
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, Url};

use crate::config::{ClientConfig, HostConfig, Proxy};
use crate::endpoint::is_loopback;
use crate::error::Failure;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an answer, or its next bytes, may take.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The slowest upload that is waited for.
const SLOWEST_UPLOAD: u64 = 16 * 1024;
/// The longest that a content may take which is made while it is sent, from its first byte on.
const LONGEST_STREAM: Duration = Duration::from_hours(24);
const MAX_REDIRECTS: usize = 10;
/// The largest PEM file that is read, in bytes.
const MAX_PEM_SIZE: u64 = 4 * 1024 * 1024;

/// How long a registry may take for an upload of so many bytes until it answers: to receive
/// them, or to look at them again and put them where they belong.
pub fn patience(bytes: u64) -> Duration {
    IDLE_TIMEOUT + Duration::from_secs(bytes / SLOWEST_UPLOAD)
}

/// Opens the content of a request from a given byte on.
pub(crate) type OpenFrom<'a> = &'a dyn Fn(u64) -> io::Result<Box<dyn Read + Send>>;

/// What a request carries.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// `length` bytes of a content that can be opened again, from `offset` on.
    Stream {
        open: OpenFrom<'a>,
        offset: u64,
        length: u64,
    },
    /// All that a content gives, whose length only its end tells.
    ToItsEnd {
        open: OpenFrom<'a>,
    },
    /// Nothing, at the end of an upload of so many bytes: what the registry does with all of them
    /// comes before its answer.
    End(u64),
}

impl Payload<'_> {
    /// How long the request may take in all, where that is longer than others may.
    fn patience(&self) -> Option<Duration> {
        match *self {
            Self::Nothing | Self::Bytes(_) => None,
            Self::Stream { length, .. } => Some(patience(length)),
            Self::ToItsEnd { .. } => Some(LONGEST_STREAM),
            Self::End(size) => Some(patience(size)),
        }
    }
}

/// A request that can be sent again.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload<'a>,
}

/// The HTTP clients, one for each host whose connections have to be made in their own way.
pub(crate) struct Connections {
    proxy: Proxy,
    user_agent: String,
    clients: Mutex<BTreeMap<String, HttpClient>>,
}

impl Connections {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Self {
            proxy: config.proxy,
            user_agent: config.user_agent.clone(),
            clients: Mutex::default(),
        }
    }

    /// The client for a host; made at its first use.
    pub(crate) fn client(
        &self,
        host: &str,
        config: Option<&HostConfig>,
        is_http: bool,
    ) -> Result<HttpClient, Failure> {
        let key = format!("{host} {is_http}");
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.build(host, config, is_http)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn build(
        &self,
        host: &str,
        config: Option<&HostConfig>,
        is_http: bool,
    ) -> Result<HttpClient, Failure> {
        let settings = |cause: reqwest::Error| Failure::Settings(cause.into());
        let mut builder = HttpClient::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if self.proxy == Proxy::None || is_loopback(host) {
            builder = builder.no_proxy();
        }
        let authorities = config.map_or(&[][..], |config| config.ca_files.as_slice());
        let is_verified = config.is_none_or(|config| !config.skip_verify)
            && (!is_loopback(host) || !authorities.is_empty());
        if is_http {
            // Does not load the system's authorities, which a machine need not have.
            builder = builder.tls_certs_only([]);
        } else if !is_verified {
            builder = builder.tls_danger_accept_invalid_certs(true);
        } else {
            for path in authorities {
                let certificates = reqwest::Certificate::from_pem_bundle(&read_pem(path)?);
                builder = builder.tls_certs_merge(certificates.map_err(settings)?);
            }
        }
        if let Some(identity) = config.and_then(|config| config.client_certificate.as_ref()) {
            let mut pem = read_pem(&identity.key)?;
            pem.push(b'\n');
            pem.extend(read_pem(&identity.certificate)?);
            builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(settings)?);
        }
        builder.build().map_err(settings)
    }
}

fn read_pem(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    files::read_limited(path, MAX_PEM_SIZE).map_err(|error| Failure::Settings(error.into()))
}

/// Sends a request once. Redirects of requests without content are followed; the authorisation
/// goes along only to the same scheme, host and port.
pub(crate) fn exchange(
    client: &HttpClient,
    request: &Request<'_>,
    authorization: Option<&Secret<String>>,
    cancel: &CancelToken,
) -> Result<Response, Failure> {
    let mut url = request.url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let is_same = url.origin() == request.url.origin();
        let authorization = authorization.filter(|_| is_same);
        let response = send(client, request, &url, authorization, cancel)?;
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        if !is_read || !is_redirect(response.status()) {
            return Ok(response);
        }
        let target = location(&response).ok_or(Failure::Protocol("a redirect without target"))?;
        if url.scheme() == "https" && target.scheme() != "https" {
            return Err(Failure::Protocol("a redirect from HTTPS to something else"));
        }
        url = target;
    }
    Err(Failure::Protocol("too many redirects"))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The `Location` header, which may be relative to the address asked.
pub(crate) fn location(response: &Response) -> Option<Url> {
    let text = response.headers().get(LOCATION)?.to_str().ok()?;
    let target = response.url().join(text).ok()?;
    matches!(target.scheme(), "http" | "https").then_some(target)
}

fn send(
    client: &HttpClient,
    request: &Request<'_>,
    url: &Url,
    authorization: Option<&Secret<String>>,
    cancel: &CancelToken,
) -> Result<Response, Failure> {
    cancel.check()?;
    let mut builder = client
        .request(request.method.clone(), url.clone())
        .headers(request.headers.clone());
    if let Some(value) = authorization {
        let mut value = reqwest::header::HeaderValue::from_str(value.expose())
            .map_err(|_| Failure::Protocol("a token that is not text"))?;
        value.set_sensitive(true);
        builder = builder.header(AUTHORIZATION, value);
    }
    if let Some(patience) = request.payload.patience() {
        builder = builder.timeout(patience);
    }
    let broken = Arc::new(Mutex::new(None));
    match request.payload {
        Payload::Nothing => {}
        Payload::Bytes(bytes) => builder = builder.body(bytes.to_vec()),
        Payload::Stream {
            open,
            offset,
            length,
        } => {
            let content = Watched {
                content: open(offset).map_err(Failure::Local)?.take(length),
                cancel: cancel.clone(),
                broken: Arc::clone(&broken),
            };
            builder = builder.body(Body::sized(content, length));
        }
        Payload::ToItsEnd { open } => {
            let content = Watched {
                content: open(0).map_err(Failure::Local)?,
                cancel: cancel.clone(),
                broken: Arc::clone(&broken),
            };
            builder = builder.body(Body::new(content));
        }
        Payload::End(_) => builder = builder.body(Vec::new()),
    }
    builder.send().map_err(|error| {
        if cancel.check().is_err() {
            return Failure::Cancelled(kiln_base::Cancelled);
        }
        let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken
            .take()
            .map_or_else(|| classify(error), Failure::Local)
    })
}

/// A content on its way out: stops when told to, and keeps the error of its own side apart from
/// those of the connection.
struct Watched<R> {
    content: R,
    cancel: CancelToken,
    broken: Arc<Mutex<Option<io::Error>>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.content.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            kind.into()
        })
    }
}

/// What a failed exchange means. The address is taken out: its query may hold a signature.
pub(crate) fn classify(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if any_cause(&error, &|cause| cause.is::<rustls::Error>()) {
        Failure::Tls(error.into())
    } else if error.is_connect() || error.is_timeout() {
        Failure::Unreachable(error.into())
    } else if error.is_body() || error.is_decode() || error.is_request() {
        Failure::Interrupted {
            received: 0,
            cause: Some(error.into()),
        }
    } else {
        Failure::Unreachable(error.into())
    }
}

/// Whether the connection was refused: nobody listens there.
pub(crate) fn is_refused(error: &(dyn Error + 'static)) -> bool {
    any_cause(error, &|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
    })
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

/// Reads an answer of at most `limit` bytes into memory.
pub(crate) fn read_body(response: Response, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let result = response.take(limit + 1).read_to_end(&mut bytes);
    let received = bytes.len() as u64;
    result.map_err(|cause| Failure::Interrupted {
        received,
        cause: Some(hide_address(cause)),
    })?;
    if received > limit {
        return Err(Failure::TooLarge(limit));
    }
    Ok(bytes)
}

/// An error of a body being read, without the address that the HTTP library puts into it.
pub(crate) fn hide_address(error: io::Error) -> Box<dyn Error + Send + Sync> {
    let kind = error.kind();
    let inner = error.into_inner();
    match inner.map(<dyn Error + Send + Sync>::downcast::<reqwest::Error>) {
        Some(Ok(error)) => error.without_url().into(),
        Some(Err(inner)) => inner,
        None => io::Error::from(kind).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_upload_is_waited_for_as_long_as_its_content() {
        let open = |_| -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::empty())) };
        let seconds = |payload: Payload<'_>| payload.patience().map(|time| time.as_secs());
        let (open, offset, size) = (&open, 0, 10 << 30);
        let content = Payload::Stream {
            open,
            offset,
            length: size,
        };
        assert_eq!(seconds(Payload::End(size)), Some(60 + 655_360));
        assert_eq!(seconds(content), seconds(Payload::End(size)));
        assert_eq!(seconds(Payload::Bytes(b"")), None);
    }
}
