//! Uploads of blobs whose digest only their end tells: begun, streamed, and then finished or given
//! up, each a call of its own.
//!
//! This is how a blob is sent while it is made. The content goes in one request of no announced
//! length, as `docker push` sends it, so that any registry takes it; the digest is told by the
//! request that ends the upload, and until then the registry has no such blob. Nothing here is sent
//! twice: whoever sees it fail pushes the blob from its beginning by [`Client::push_blob`].

use std::fmt;

use kiln_base::CancelToken;
use kiln_oci::{Digest, Reference};
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use crate::auth::{Scopes, scope};
use crate::client::Session;
use crate::error::Failure;
use crate::http::{Payload, Request, location};
use crate::{Client, OpenBlob, RegistryError};

const CHUNK_MINIMUM: &str = "oci-chunk-min-length";
const OCTETS: &str = "application/octet-stream";

/// An upload that a registry has begun, of a blob that has no name yet.
#[derive(Clone)]
pub struct BlobUpload {
    reference: Reference,
    location: Url,
}

impl fmt::Debug for BlobUpload {
    /// Without the address, which may hold a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobUpload")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Has the registry begin an upload of a blob to the repository of `reference`.
    pub fn begin_upload(
        &self,
        reference: &Reference,
        cancel: &CancelToken,
    ) -> Result<BlobUpload, RegistryError> {
        let to = Target::new(self, reference, "begin an upload", cancel);
        let begun = to.begin().map_err(|failure| to.session.error(failure))?;
        Ok(BlobUpload {
            reference: reference.clone(),
            location: begun.location,
        })
    }

    /// Sends all that the content gives, until it ends.
    ///
    /// Blocks as long as the content does, and also while the registry takes nothing: nobody but the
    /// caller knows how fast the content comes. Who can't wait for that calls it in a thread of its
    /// own, and goes on without it.
    pub fn stream_upload(
        &self,
        upload: &mut BlobUpload,
        content: OpenBlob<'_>,
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        let to = Target::new(self, &upload.reference, "send a blob", cancel);
        let sent = to.stream(&upload.location, content);
        upload.location = sent.map_err(|failure| to.session.error(failure))?;
        Ok(())
    }

    /// Ends an upload of `size` bytes: from then on the repository has the blob.
    ///
    /// Asked again where the registry fails for a moment. Some look at all of the content before they
    /// answer, so the larger it is the longer that is waited for; `cancel` is not looked at meanwhile.
    pub fn finish_upload(
        &self,
        upload: BlobUpload,
        digest: &Digest,
        size: u64,
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        let action = format!("push blob `{digest}`");
        let to = Target::new(self, &upload.reference, &action, cancel);
        to.end(upload.location, digest, size)
            .map_err(|failure| to.session.error(failure))
    }

    /// Gives an upload up: the registry forgets what it was sent. Some allow that only to whoever may
    /// delete what the repository has. An upload that went to another place than the registry is left
    /// to that place.
    pub fn cancel_upload(
        &self,
        upload: BlobUpload,
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        let to = Target::new(self, &upload.reference, "cancel an upload", cancel);
        to.cancel(upload.location)
            .map_err(|failure| to.session.error(failure))
    }

    /// Asks the registry to take the blob from another of its repositories; whether it did.
    pub fn mount_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        from: &str,
        cancel: &CancelToken,
    ) -> Result<bool, RegistryError> {
        let action = format!("take blob `{digest}` from `{from}`");
        let to = Target::new(self, reference, &action, cancel);
        let mounted = to.mount(digest, from).map(|mount| match mount {
            Mount::Mounted => true,
            Mount::Declined(None) => false,
            Mount::Declined(Some(begun)) => {
                // Nothing was sent. Who may not cancel it leaves it to the registry.
                let _ = to.cancel(begun.location);
                false
            }
        });
        mounted.map_err(|failure| to.session.error(failure))
    }

    /// Whether the repository of `reference` has the blob.
    pub fn has_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        cancel: &CancelToken,
    ) -> Result<bool, RegistryError> {
        let action = format!("ask for blob `{digest}`");
        let to = Target::new(self, reference, &action, cancel);
        to.exists(digest)
            .map_err(|failure| to.session.error(failure))
    }
}

/// A repository that blobs are sent to.
pub(crate) struct Target<'a> {
    pub(crate) session: Session<'a>,
    pub(crate) scopes: Scopes,
}

/// An upload that the registry has begun.
pub(crate) struct Begun {
    pub(crate) location: Url,
    /// The smallest part the registry takes, except for the last.
    pub(crate) chunk_minimum: u64,
}

/// What became of the wish to take a blob from another repository.
pub(crate) enum Mount {
    Mounted,
    /// Not done; the registry may have begun an upload instead.
    Declined(Option<Begun>),
}

impl<'a> Target<'a> {
    pub(crate) fn new(
        client: &'a Client,
        reference: &Reference,
        action: &str,
        cancel: &'a CancelToken,
    ) -> Self {
        Self {
            session: client.session(reference, action, cancel),
            scopes: vec![scope(reference.repository(), "pull,push")],
        }
    }

    pub(crate) fn exists(&self, digest: &Digest) -> Result<bool, Failure> {
        let url = self.session.url(&format!("blobs/{digest}"))?;
        let request = request(Method::HEAD, url, Payload::Nothing);
        let response = self.session.send(&request, &self.scopes)?;
        match response.status() {
            status if status.is_success() => Ok(true),
            // A refusal of HEAD has no words; that of the POST which follows does.
            StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(false),
            _ => Err(self.session.refusal(response)),
        }
    }

    /// Asks the registry to take the blob from another of its repositories.
    pub(crate) fn mount(&self, digest: &Digest, repository: &str) -> Result<Mount, Failure> {
        let mut url = self.session.url("blobs/uploads/")?;
        url.query_pairs_mut()
            .append_pair("mount", digest.as_str())
            .append_pair("from", repository);
        let mut scopes = self.scopes.clone();
        scopes.push(scope(repository, "pull"));
        let request = request(Method::POST, url, Payload::Bytes(&[]));
        // A credential that may not read the other repository is no reason to fail.
        let response = match self.session.send(&request, &scopes) {
            Ok(response) => response,
            Err(Failure::Token {
                status: 400..=403, ..
            }) => return Ok(Mount::Declined(None)),
            Err(failure) => return Err(failure),
        };
        Ok(match response.status() {
            StatusCode::CREATED => Mount::Mounted,
            StatusCode::ACCEPTED => Mount::Declined(begun(&response)),
            _ => Mount::Declined(None),
        })
    }

    pub(crate) fn begin(&self) -> Result<Begun, Failure> {
        let url = self.session.url("blobs/uploads/")?;
        let request = request(Method::POST, url, Payload::Bytes(&[]));
        let response = self.session.send(&request, &self.scopes)?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.session.refusal(response));
        }
        begun(&response).ok_or(Failure::Protocol("an upload without address"))
    }

    /// Sends a content to its end, and returns where the upload goes on.
    fn stream(&self, at: &Url, content: OpenBlob<'_>) -> Result<Url, Failure> {
        // Who is asked for a credential in the middle begins anew.
        let open = |_| content();
        let payload = Payload::ToItsEnd { open: &open };
        let request = request(Method::PATCH, at.clone(), payload);
        let response = self.session.send_authorized(&request, &self.scopes)?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.session.refusal(response));
        }
        Ok(location(&response).unwrap_or_else(|| at.clone()))
    }

    /// Ends an upload all of which was sent.
    pub(crate) fn end(&self, location: Url, digest: &Digest, size: u64) -> Result<(), Failure> {
        let request = finishing(location, digest, Payload::End(size));
        let response = self.session.send(&request, &self.scopes)?;
        match response.status() {
            status if status.is_success() => check(&response, digest),
            // It may have been done already, and only the answer was lost.
            StatusCode::NOT_FOUND if self.exists(digest)? => Ok(()),
            _ => Err(self.session.refusal(response)),
        }
    }

    fn cancel(&self, location: Url) -> Result<(), Failure> {
        // Elsewhere a registry could have anything deleted that this machine can reach.
        if !self.session.is_own(&location)? {
            return Ok(());
        }
        let request = request(Method::DELETE, location, Payload::Nothing);
        let mut response = self.session.send_as_known(&request, &self.scopes)?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // Some want another action for it, which other token services know nothing of: so it is
            // asked for only then, and apart from the token that running transfers share.
            let scopes = vec![scope(&self.session.attempt.repository, "delete")];
            response = self.session.send_authorized(&request, &scopes)?;
        }
        match response.status() {
            status if status.is_success() => Ok(()),
            // It has forgotten it already.
            StatusCode::NOT_FOUND => Ok(()),
            _ => Err(self.session.refusal(response)),
        }
    }
}

/// The request that ends an upload, with what is left of the content.
pub(crate) fn finishing<'a>(
    mut location: Url,
    digest: &Digest,
    payload: Payload<'a>,
) -> Request<'a> {
    location
        .query_pairs_mut()
        .append_pair("digest", digest.as_str());
    request(Method::PUT, location, payload)
}

pub(crate) fn request(method: Method, url: Url, payload: Payload<'_>) -> Request<'_> {
    let mut headers = HeaderMap::new();
    if !matches!(payload, Payload::Nothing) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    }
    Request {
        method,
        url,
        headers,
        payload,
    }
}

fn begun(response: &Response) -> Option<Begun> {
    let minimum = response
        .headers()
        .get(HeaderName::from_static(CHUNK_MINIMUM));
    let minimum = minimum.and_then(|value| value.to_str().ok()?.parse().ok());
    Some(Begun {
        location: location(response)?,
        chunk_minimum: minimum.unwrap_or(0),
    })
}

/// Compares the digest that the registry says it has stored with the blob's.
pub(crate) fn check(response: &Response, digest: &Digest) -> Result<(), Failure> {
    match crate::manifest::content_digest(response) {
        Some(found) if found != *digest => Err(Failure::Digest {
            expected: digest.clone(),
            found,
        }),
        _ => Ok(()),
    }
}
