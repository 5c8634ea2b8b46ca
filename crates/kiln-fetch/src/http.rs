//! Files over HTTP.
//!
//! A download is checked while it arrives: its length, where the server says it, and its digest. A
//! request that fails in a way that may pass (a connection that breaks, a status 5xx, 408 or 429)
//! is sent again. Credentials go to the server that was asked and to nobody it redirects to.
//!
//! Deliberately absent: keeping what was downloaded. The caller says what it has ([`Validators`])
//! and hears that it is still right. Also absent: going on where a broken download ended.

mod address;
mod auth;
mod client;
mod date;
mod error;
mod fetch;
mod name;

use std::time::Duration;

use kiln_base::Timestamp;
use kiln_oci::Digest;

pub use auth::{HttpCredential, SecretError, find_credential};
pub use client::Client;
pub use date::parse as parse_date;
pub use error::HttpError;
pub use name::url_file_name;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct HttpRequest<'a> {
    /// An `http` or `https` address. A user name and password in it are sent as a credential,
    /// unless there is another.
    pub url: &'a str,
    /// What authorises it.
    pub credential: Option<&'a HttpCredential>,
    /// The digest that the content must have.
    pub checksum: Option<&'a Digest>,
    /// What the caller has of an earlier download.
    pub validators: Option<&'a Validators>,
    /// The largest content that is accepted, in bytes.
    pub size_limit: Option<u64>,
    /// What to do about failures that may pass.
    pub retry: Retry,
}

/// What a server said about a content, by which it recognises it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The `Last-Modified` header as it was written.
    pub last_modified: Option<String>,
    /// The SHA-256 digest of the content. Where the request has a checksum of this algorithm that
    /// is another one, the content is fetched anew.
    pub digest: Digest,
}

/// How failed requests are sent again: after `first_wait`, then twice that, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Requests in all, the first included; at least one is made.
    pub attempts: u32,
    /// Before the second request. No wait is longer than half a minute; where a server asks for
    /// more, its answer is an error.
    pub first_wait: Duration,
}

impl Retry {
    /// Four requests within about four seconds.
    pub const STANDARD: Self = Self {
        attempts: 4,
        first_wait: Duration::from_millis(500),
    };
}

/// An address for messages: without user, password and query, which may be secret.
pub fn shown(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(url) => address::shown(&url),
        Err(_) => address::shown_text(url),
    }
}

/// How a download ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpOutcome {
    /// What the caller has is still right. The file is empty.
    NotModified,
    /// The content is in the file.
    Downloaded(Downloaded),
}

/// What was downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Bytes of the content.
    pub size: u64,
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The `Last-Modified` header as it was written, for a later request.
    pub last_modified: Option<String>,
    /// The time in the `Last-Modified` header, where that is one.
    pub modified: Option<Timestamp>,
    /// A name without `/`: from the `Content-Disposition` header, else from the address, else
    /// `__unnamed__`. `ADD` takes that of the address alone: [`url_file_name`].
    pub file_name: String,
}
