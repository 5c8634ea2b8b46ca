//! A download from its first request to its digest.
//!
//! The exchange runs on a thread of its own, so that a cancelled build does not wait for a server:
//! the thread is left alone, and ends with the next bytes or with the connection's time-out.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use kiln_base::{CancelToken, Cancelled};
use kiln_oci::{Algorithm, Digest, Digester};
use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER,
};

use super::address::{shown, shown_text};
use super::auth::{authorization, host};
use super::client::{Client, Outgoing};
use super::error::HttpError;
use super::name::{disposition_name, url_file_name};
use super::{Downloaded, HttpOutcome, HttpRequest, Validators, date};

/// The longest wait before a request is sent again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How many bytes are passed on at once, and how many such pieces may wait to be written.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 8;

/// What the thread of the exchange tells.
enum Message {
    Head(Head),
    Bytes(Vec<u8>),
    End,
    Failed(HttpError),
    /// The body broke off.
    Broken(io::Error),
    /// Somebody else has something to say: the build was cancelled.
    Wake,
}

/// What an answer says before its content.
struct Head {
    status: u16,
    etag: Option<String>,
    last_modified: Option<String>,
    disposition: Option<String>,
    retry_after: Option<Duration>,
}

impl Client {
    /// Downloads a file into `file`, from its start; what is in it is lost. On error `file` may have
    /// a part of the content.
    pub fn fetch(
        &self,
        request: &HttpRequest<'_>,
        file: &mut File,
        cancel: &CancelToken,
    ) -> Result<HttpOutcome, HttpError> {
        let mut wait = request.retry.first_wait;
        for _ in 1..request.retry.attempts {
            let error = match self.attempt(request, file, cancel) {
                Err(error) if error.may_pass() => error,
                result => return result,
            };
            let asked = match &error {
                HttpError::Status { retry_after, .. } => *retry_after,
                _ => None,
            };
            if asked.is_some_and(|asked| asked > LONGEST_WAIT) {
                return Err(error);
            }
            sleep(asked.unwrap_or(wait).min(LONGEST_WAIT), cancel)?;
            wait = wait.saturating_mul(2);
        }
        self.attempt(request, file, cancel)
    }

    fn attempt(
        &self,
        request: &HttpRequest<'_>,
        file: &mut File,
        cancel: &CancelToken,
    ) -> Result<HttpOutcome, HttpError> {
        cancel.check()?;
        let outgoing = outgoing(request)?;
        let url = outgoing.url.clone();
        let had_credential = outgoing.authorization.is_some();
        let not_written = |cause| HttpError::Write {
            url: shown(&url),
            cause,
        };
        file.set_len(0).map_err(not_written)?;
        file.rewind().map_err(not_written)?;
        let (sender, receiver) = mpsc::sync_channel(PIECES);
        let waker = sender.clone();
        let guard = cancel.on_cancel(move || {
            // Where it is full, the reader is awake.
            let _ = waker.try_send(Message::Wake);
        });
        let client = self.clone();
        std::thread::spawn(move || {
            let _farewell = Farewell(sender.clone());
            // Who is not there any more does not want to know.
            let _ = client.transfer(&outgoing, &sender);
        });
        let answer = Answer {
            request,
            url: &url,
            receiver,
            cancel,
        };
        let head = answer.head()?;
        if is_unchanged(request, &head) {
            return Ok(HttpOutcome::NotModified);
        }
        answer.check_status(&head, had_credential)?;
        let outcome = answer.content(head, file);
        drop(guard);
        outcome
    }

    /// Sends the request and tells what comes back, piece by piece.
    fn transfer(
        &self,
        outgoing: &Outgoing,
        sender: &SyncSender<Message>,
    ) -> Result<(), mpsc::SendError<Message>> {
        let response = match self.exchange(outgoing) {
            Ok(response) => response,
            Err(error) => return sender.send(Message::Failed(error)),
        };
        sender.send(Message::Head(head(&response)))?;
        let mut content = content(response);
        let mut piece = vec![0; PIECE];
        loop {
            match content.read(&mut piece) {
                Ok(0) => return sender.send(Message::End),
                Ok(length) => sender.send(Message::Bytes(piece[..length].to_vec()))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return sender.send(Message::Broken(error)),
            }
        }
    }
}

/// Says that the exchange is over, also where its thread panics: the channel does not close by
/// itself, since the waker has an end of it.
struct Farewell(SyncSender<Message>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Who is not there any more does not want to know.
        let _ = self
            .0
            .send(Message::Broken(io::Error::other("the exchange ended")));
    }
}

fn outgoing(request: &HttpRequest<'_>) -> Result<Outgoing, HttpError> {
    let wrong = |reason: String| HttpError::Address {
        url: shown_text(request.url),
        reason,
    };
    let mut url = Url::parse(request.url).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("its scheme is `{}`", url.scheme())));
    }
    let authorization = match authorization(request.credential, &mut url) {
        None => None,
        Some(Ok(value)) => Some(value),
        Some(Err(())) => return Err(HttpError::Credential { url: shown(&url) }),
    };
    let mut headers = HeaderMap::new();
    if let Some(validators) = usable(request) {
        let mut add = |name: HeaderName, value: Option<&String>| {
            // What can't be a header never was one.
            if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        };
        add(IF_NONE_MATCH, validators.etag.as_ref());
        if validators.etag.is_none() {
            add(IF_MODIFIED_SINCE, validators.last_modified.as_ref());
        }
    }
    Ok(Outgoing {
        url,
        headers,
        authorization,
    })
}

/// What the caller has, unless it can't be what is asked for.
fn usable<'a>(request: &HttpRequest<'a>) -> Option<&'a Validators> {
    let validators = request.validators?;
    // With a checksum of another algorithm nobody knows whether what there is has it.
    let fits = |checksum: &Digest| *checksum == validators.digest;
    request.checksum.is_none_or(fits).then_some(validators)
}

/// Whether the caller has the content. Servers that don't know conditions tell by the same `ETag`.
fn is_unchanged(request: &HttpRequest<'_>, head: &Head) -> bool {
    let Some(validators) = usable(request) else {
        return false;
    };
    let plain = |tag: &String| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let is_conditional = validators.etag.is_some() || validators.last_modified.is_some();
    let known = validators.etag.as_ref().map(plain);
    match head.status {
        304 => is_conditional,
        200 => known.is_some() && known == head.etag.as_ref().map(plain),
        _ => false,
    }
}

fn head(response: &Response) -> Head {
    let text = |name: HeaderName| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let seconds = text(RETRY_AFTER).and_then(|text| text.trim().parse().ok());
    Head {
        status: response.status().as_u16(),
        etag: text(ETAG),
        last_modified: text(LAST_MODIFIED),
        disposition: text(CONTENT_DISPOSITION),
        retry_after: seconds.map(Duration::from_secs),
    }
}

/// The content. Compression for the way, which some servers apply without being asked, is undone.
fn content(response: Response) -> Box<dyn Read> {
    let encoding = response.headers().get(CONTENT_ENCODING);
    let is_gzip = encoding.is_some_and(|value| {
        let value = value.as_bytes();
        value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip")
    });
    if is_gzip {
        Box::new(MultiGzDecoder::new(response))
    } else {
        Box::new(response)
    }
}

/// An answer as it arrives.
struct Answer<'a> {
    request: &'a HttpRequest<'a>,
    url: &'a Url,
    receiver: Receiver<Message>,
    cancel: &'a CancelToken,
}

impl Answer<'_> {
    fn next(&self) -> Result<Message, HttpError> {
        let message = self.receiver.recv();
        self.cancel.check()?;
        message.map_err(|_| self.broken(0, io::Error::other("the exchange ended")))
    }

    fn broken(&self, received: u64, error: io::Error) -> HttpError {
        HttpError::Interrupted {
            url: shown(self.url),
            received,
            cause: hide_address(error),
        }
    }

    fn head(&self) -> Result<Head, HttpError> {
        match self.next()? {
            Message::Head(head) => Ok(head),
            Message::Failed(error) => Err(error),
            Message::Wake => Err(Cancelled.into()),
            Message::Bytes(_) | Message::End => Err(self.broken(0, io::Error::other("no head"))),
            Message::Broken(error) => Err(self.broken(0, error)),
        }
    }

    fn check_status(&self, head: &Head, had_credential: bool) -> Result<(), HttpError> {
        let url = shown(self.url);
        let host = host(self.url).unwrap_or_default().to_owned();
        let status = head.status;
        Err(match status {
            200..=299 => return Ok(()),
            401 | 403 | 407 if had_credential => HttpError::Denied { url, host, status },
            401 | 403 | 407 => HttpError::NeedsCredential { url, host, status },
            404 | 410 => HttpError::NotFound { url, status },
            _ => HttpError::Status {
                url,
                status,
                retry_after: head.retry_after,
            },
        })
    }

    fn content(&self, head: Head, file: &mut File) -> Result<HttpOutcome, HttpError> {
        let mut digester = Digester::sha256();
        let other = self.request.checksum.map(Digest::algorithm);
        let other = other.filter(|algorithm| *algorithm != Algorithm::Sha256);
        let mut other = other.map(Digester::new);
        loop {
            let bytes = match self.next()? {
                Message::Bytes(bytes) => bytes,
                Message::End => break,
                Message::Broken(error) => return Err(self.broken(digester.length(), error)),
                Message::Failed(error) => return Err(error),
                Message::Wake | Message::Head(_) => continue,
            };
            digester.update(&bytes);
            if let Some(other) = &mut other {
                other.update(&bytes);
            }
            if let Some(limit) = self.request.size_limit
                && digester.length() > limit
            {
                let url = shown(self.url);
                return Err(HttpError::TooLarge { url, limit });
            }
            file.write_all(&bytes).map_err(|cause| HttpError::Write {
                url: shown(self.url),
                cause,
            })?;
        }
        let size = digester.length();
        let digest = digester.finish();
        let compared = other.map_or_else(|| digest.clone(), Digester::finish);
        self.check_digest(compared)?;
        let named = head.disposition.as_deref().and_then(disposition_name);
        Ok(HttpOutcome::Downloaded(Downloaded {
            digest,
            size,
            etag: head.etag,
            modified: head.last_modified.as_deref().and_then(date::parse),
            last_modified: head.last_modified,
            file_name: named.unwrap_or_else(|| url_file_name(self.request.url)),
        }))
    }

    fn check_digest(&self, actual: Digest) -> Result<(), HttpError> {
        match self.request.checksum {
            Some(expected) if *expected != actual => Err(HttpError::Checksum {
                url: shown(self.url),
                expected: Box::new(expected.clone()),
                actual: Box::new(actual),
            }),
            _ => Ok(()),
        }
    }
}

/// An error of a body being read, without the address that the HTTP library puts into it.
fn hide_address(error: io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let kind = error.kind();
    let text = error.to_string();
    match error
        .into_inner()
        .map(<dyn std::error::Error + Send + Sync>::downcast::<reqwest::Error>)
    {
        Some(Ok(error)) => error.without_url().into(),
        Some(Err(inner)) => inner,
        None => io::Error::new(kind, text).into(),
    }
}

/// Waits, but not longer than until the build is cancelled.
fn sleep(time: Duration, cancel: &CancelToken) -> Result<(), Cancelled> {
    let (sender, receiver) = mpsc::channel();
    let _guard = cancel.on_cancel(move || {
        // The receiver lives as long as the guard.
        let _ = sender.send(());
    });
    match receiver.recv_timeout(time) {
        Ok(()) => Err(Cancelled),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => cancel.check(),
    }
}
