//! What can go wrong with a download.

use std::error::Error;
use std::io;
use std::time::Duration;

use kiln_base::Cancelled;
use kiln_oci::Digest;

use super::auth::{HEADER_SECRET, TOKEN_SECRET};

type Cause = Box<dyn Error + Send + Sync>;

/// A file was not downloaded. Addresses are without user, password and query, which may be secret.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address can't be read.
    #[error("`{url}` is not an HTTP address: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such file.
    #[error("there is nothing at `{url}` (status {status})")]
    NotFound {
        /// The address.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server wants a credential.
    #[error(
        "`{url}` wants a credential (status {status}): give it the secret `{TOKEN_SECRET}{host}` or `{HEADER_SECRET}{host}`"
    )]
    NeedsCredential {
        /// The address.
        url: String,
        /// The host, as secrets are named after it.
        host: String,
        /// 401, 403 or 407.
        status: u16,
    },
    /// The server refused the credential.
    #[error("`{url}` refused the credential for `{host}` (status {status})")]
    Denied {
        /// The address.
        url: String,
        /// The host.
        host: String,
        /// 401, 403 or 407.
        status: u16,
    },
    /// The server answered with a status that is no success.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server's certificate is not trusted, or it does not speak TLS.
    #[error(
        "no trusted connection to `{url}`: where the server's authority is a private one, add it to the trusted ones"
    )]
    Tls {
        /// The address.
        url: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The host's name means nothing.
    #[error("the host of `{url}` can't be found")]
    UnknownHost {
        /// The address.
        url: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// Nobody answers.
    #[error("`{url}` can't be reached")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The connection broke off.
    #[error("the download of `{url}` broke off after {received} bytes")]
    Interrupted {
        /// The address.
        url: String,
        /// Bytes of content that had arrived.
        received: u64,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The content is larger than allowed.
    #[error("`{url}` is larger than the {limit} bytes that are allowed")]
    TooLarge {
        /// The address.
        url: String,
        /// Bytes.
        limit: u64,
    },
    /// The content is not the expected one.
    #[error("`{url}` has the digest `{actual}` where `{expected}` is expected")]
    Checksum {
        /// The address.
        url: String,
        /// What it should be.
        expected: Box<Digest>,
        /// What it is.
        actual: Box<Digest>,
    },
    /// A redirection that is not followed.
    #[error("`{url}` redirects {problem}")]
    Redirect {
        /// The address.
        url: String,
        /// What is wrong, fit to follow "redirects".
        problem: String,
    },
    /// The credential can't be a header.
    #[error("the credential for `{url}` has characters that can't be sent")]
    Credential {
        /// The address.
        url: String,
    },
    /// The proxies or authorities are wrong.
    #[error("the proxies or certificate authorities can't be used")]
    Settings(#[source] Cause),
    /// The file can't be written.
    #[error("could not write what was downloaded from `{url}`")]
    Write {
        /// The address.
        url: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The build was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl HttpError {
    /// Whether the same request may succeed a little later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            // Other than that the name is nobody's.
            Self::UnknownHost { cause, .. } => says(&**cause, "Temporary failure"),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }
}

/// Whether the error or one of its causes has these words.
fn says(error: &(dyn Error + 'static), words: &str) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if current.to_string().contains(words) {
            return true;
        }
        next = current.source();
    }
    false
}
