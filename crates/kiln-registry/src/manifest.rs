//! Manifests, indexes and tags.

use kiln_base::CancelToken;
use kiln_oci::{
    Algorithm, Descriptor, Digest, Digester, Document, MAX_DOCUMENT_SIZE, MediaType, Reference,
};
use reqwest::Method;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use serde::Deserialize;

use crate::auth::scope;
use crate::client::Session;
use crate::error::Failure;
use crate::http::{Payload, Request, read_body};
use crate::{Client, RegistryError};

/// The registry's word for the digest of what it sends.
pub(crate) const CONTENT_DIGEST: &str = "docker-content-digest";
/// How often a document is asked for again whose transfer broke off.
const MAX_BROKEN_OFF: u32 = 2;
/// More pages of tags than any repository has.
const MAX_PAGES: usize = 1000;

/// A document as a registry gave it; the bytes have the descriptor's digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The document.
    pub bytes: Vec<u8>,
}

impl Client {
    /// The manifest or index that a name leads to: by its digest where it has one, else by its tag.
    pub fn resolve(
        &self,
        reference: &Reference,
        cancel: &CancelToken,
    ) -> Result<Resolved, RegistryError> {
        let action = format!("fetch manifest `{}`", reference.manifest_key());
        self.first_source(reference, &action, cancel, |session| {
            get_manifest(session, reference)
        })
    }

    /// The manifest or index with this digest, in the repository of `reference`.
    pub fn manifest(
        &self,
        reference: &Reference,
        digest: &Digest,
        cancel: &CancelToken,
    ) -> Result<Resolved, RegistryError> {
        self.resolve(&reference.with_digest(digest.clone()), cancel)
    }

    /// What a name leads to, without fetching it. Asks the registry itself, no mirror.
    pub fn head(
        &self,
        reference: &Reference,
        cancel: &CancelToken,
    ) -> Result<Descriptor, RegistryError> {
        let action = format!("look up manifest `{}`", reference.manifest_key());
        let session = self.session(reference, &action, cancel);
        match head_manifest(&session, reference) {
            Ok(Some(descriptor)) => Ok(descriptor),
            Ok(None) => Ok(self.resolve(reference, cancel)?.descriptor),
            Err(failure) => Err(session.error(failure)),
        }
    }

    /// Uploads a manifest or an index under a tag, or by its digest where the name has one. The
    /// registry has to hold everything it names.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: &[u8],
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        let action = format!("push manifest `{}`", reference.manifest_key());
        let session = self.session(reference, &action, cancel);
        put_manifest(&session, reference, media_type, bytes).map_err(|f| session.error(f))
    }

    /// The tags of a repository, in the registry's order.
    pub fn tags(
        &self,
        reference: &Reference,
        cancel: &CancelToken,
    ) -> Result<Vec<String>, RegistryError> {
        let session = self.session(reference, "list the tags", cancel);
        list_tags(&session).map_err(|failure| session.error(failure))
    }
}

/// Asks for every kind of manifest, those that say most first.
fn accept() -> HeaderMap {
    let types = MediaType::MANIFESTS.iter().map(MediaType::as_str);
    let value = types.collect::<Vec<_>>().join(", ");
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(ACCEPT, value);
    }
    headers
}

fn manifest_request<'a>(
    session: &Session<'_>,
    reference: &Reference,
    method: Method,
) -> Result<Request<'a>, Failure> {
    Ok(Request {
        method,
        url: session.url(&format!("manifests/{}", reference.manifest_key()))?,
        headers: accept(),
        payload: Payload::Nothing,
    })
}

fn get_manifest(session: &Session<'_>, reference: &Reference) -> Result<Resolved, Failure> {
    let request = manifest_request(session, reference, Method::GET)?;
    let mut broken_off = 0;
    let (announced, content_type, bytes) = loop {
        match get_document(session, &request) {
            Err(Failure::Interrupted { .. }) if broken_off < MAX_BROKEN_OFF => broken_off += 1,
            result => break result?,
        }
    };
    let expected = reference.digest().cloned().or(announced);
    let algorithm = expected
        .as_ref()
        .map_or(Algorithm::Sha256, Digest::algorithm);
    let mut digester = Digester::new(algorithm);
    digester.update(&bytes);
    let found = digester.finish();
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(Failure::Digest { expected, found });
    }
    let document = Document::parse(&bytes, content_type.as_ref())?;
    let size = bytes.len() as u64;
    Ok(Resolved {
        descriptor: Descriptor::new(document.media_type(), found, size),
        bytes,
    })
}

type Announced = (Option<Digest>, Option<MediaType>, Vec<u8>);

fn get_document(session: &Session<'_>, request: &Request<'_>) -> Result<Announced, Failure> {
    let scopes = vec![scope(&session.attempt.repository, "pull")];
    let response = session.send(request, &scopes)?;
    if !response.status().is_success() {
        return Err(session.refusal(response));
    }
    let announced = (content_digest(&response), content_type(&response));
    let bytes = read_body(response, MAX_DOCUMENT_SIZE as u64)?;
    Ok((announced.0, announced.1, bytes))
}

fn head_manifest(
    session: &Session<'_>,
    reference: &Reference,
) -> Result<Option<Descriptor>, Failure> {
    let request = manifest_request(session, reference, Method::HEAD)?;
    let scopes = vec![scope(&session.attempt.repository, "pull")];
    let response = session.send(&request, &scopes)?;
    if !response.status().is_success() {
        return Err(session.refusal(response));
    }
    let size = response.headers().get(CONTENT_LENGTH);
    let size = size.and_then(|size| size.to_str().ok()?.parse().ok());
    let parts = (content_type(&response), content_digest(&response), size);
    let (Some(media_type), Some(digest), Some(size)) = parts else {
        return Ok(None);
    };
    let wanted = reference.digest().filter(|wanted| **wanted != digest);
    if let Some(wanted) = wanted {
        return Err(Failure::Digest {
            expected: wanted.clone(),
            found: digest,
        });
    }
    Ok(Some(Descriptor::new(media_type, digest, size)))
}

fn put_manifest(
    session: &Session<'_>,
    reference: &Reference,
    media_type: &MediaType,
    bytes: &[u8],
) -> Result<(), Failure> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(media_type.as_str());
    headers.insert(
        CONTENT_TYPE,
        value.map_err(|_| Failure::Protocol("a media type that is not text"))?,
    );
    let request = Request {
        payload: Payload::Bytes(bytes),
        headers,
        ..manifest_request(session, reference, Method::PUT)?
    };
    let scopes = vec![scope(&session.attempt.repository, "pull,push")];
    let response = session.send(&request, &scopes)?;
    if !response.status().is_success() {
        return Err(session.refusal(response));
    }
    match content_digest(&response) {
        Some(expected) if !expected.verifies(bytes) => Err(Failure::Digest {
            expected: Digest::sha256(bytes),
            found: expected,
        }),
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct TagsAnswer {
    tags: Option<Vec<String>>,
}

fn list_tags(session: &Session<'_>) -> Result<Vec<String>, Failure> {
    let scopes = vec![scope(&session.attempt.repository, "pull")];
    let first = session.url("tags/list")?;
    let mut next = Some(first.clone());
    let mut tags = Vec::new();
    for _ in 0..MAX_PAGES {
        let Some(url) = next else { break };
        let request = Request {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            payload: Payload::Nothing,
        };
        let response = session.send(&request, &scopes)?;
        if !response.status().is_success() {
            return Err(session.refusal(response));
        }
        // The next page is on the same host, or the authorisation would go elsewhere.
        next = next_page(&response).filter(|url| url.origin() == first.origin());
        let body = read_body(response, MAX_DOCUMENT_SIZE as u64)?;
        let answer: TagsAnswer = serde_json::from_slice(&body)
            .map_err(|_| Failure::Protocol("it is not a list of tags"))?;
        tags.extend(answer.tags.unwrap_or_default());
    }
    Ok(tags)
}

/// The address in `Link: </v2/…>; rel="next"`.
fn next_page(response: &Response) -> Option<reqwest::Url> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    let (address, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("next")
        .then(|| response.url().join(address).ok())?
}

fn content_type(response: &Response) -> Option<MediaType> {
    let value = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(MediaType::parse(value))
}

pub(crate) fn content_digest(response: &Response) -> Option<Digest> {
    let value = response.headers().get(CONTENT_DIGEST)?.to_str().ok()?;
    value.parse().ok()
}
