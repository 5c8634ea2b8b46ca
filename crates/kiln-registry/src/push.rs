//! Sending blobs: only those the registry lacks, from another repository where it can take them
//! from there, in one request where it goes well, and going on where it broke off where not.

use std::io::{self, Read};

use kiln_base::CancelToken;
use kiln_base::trace::Tracer;
use kiln_oci::{Descriptor, Reference};
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};

use crate::client::{is_transient, is_worth_another};
use crate::error::Failure;
use crate::http::Payload;
use crate::upload::{Begun, Mount, Target, check, finishing, request};
use crate::{Client, RegistryError};

/// Opens a blob's content from its beginning; called again for each attempt.
pub type OpenBlob<'a> = &'a (dyn Fn() -> io::Result<Box<dyn Read + Send>> + Sync);

/// How often an upload goes on, or begins again, after it broke off.
const MAX_RESUMES: u32 = 5;
/// The size of the parts for registries that take no blob in one request.
const CHUNK_SIZE: u64 = 16 * 1024 * 1024;
/// How many other repositories are offered to a registry as sources of a blob.
pub const MAX_MOUNTS: usize = 3;

impl Client {
    /// Uploads a blob, unless the registry has it already, or takes it from one of the
    /// repositories `mount_from` of the same registry.
    pub fn push_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        mount_from: &[String],
        content: OpenBlob<'_>,
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        let watched = (cancel, &Tracer::off());
        self.push_blob_traced(reference, blob, mount_from, content, watched)
    }

    /// [`Client::push_blob`] that says where the time goes.
    pub fn push_blob_traced(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        mount_from: &[String],
        content: OpenBlob<'_>,
        (cancel, tracer): (&CancelToken, &Tracer),
    ) -> Result<(), RegistryError> {
        let action = format!("push blob `{}`", blob.digest);
        let upload = Upload {
            to: Target::new(self, reference, &action, cancel),
            blob,
            content,
            tracer,
        };
        upload
            .run(mount_from)
            .map_err(|failure| upload.to.session.error(failure))
    }
}

struct Upload<'a> {
    to: Target<'a>,
    blob: &'a Descriptor,
    content: OpenBlob<'a>,
    tracer: &'a Tracer,
}

/// What became of one way of sending the content.
enum Sent {
    Done,
    /// The registry does not take a blob in one request.
    NotInOne,
}

impl Upload<'_> {
    fn run(&self, mount_from: &[String]) -> Result<(), Failure> {
        let tracer = self.tracer;
        if tracer.within("ask for the blob", || self.exists())? {
            return Ok(());
        }
        let mut begun = None;
        for repository in mount_from.iter().take(MAX_MOUNTS) {
            match tracer.within("take it from elsewhere", || {
                self.to.mount(&self.blob.digest, repository)
            })? {
                Mount::Mounted => return Ok(()),
                Mount::Declined(Some(upload)) => {
                    begun = Some(upload);
                    break;
                }
                Mount::Declined(None) => {}
            }
        }
        let begun = match begun {
            Some(begun) => begun,
            None => tracer.within("begin the upload", || self.to.begin())?,
        };
        let _span = tracer.span("send");
        match self.send_whole(&begun)? {
            Sent::Done => Ok(()),
            Sent::NotInOne => self.send_in_parts(&self.to.begin()?),
        }
    }

    fn exists(&self) -> Result<bool, Failure> {
        self.to.exists(&self.blob.digest)
    }

    /// Sends the whole content in one request; where that breaks off, asks how far it came and
    /// sends the rest, or begins again.
    fn send_whole(&self, begun: &Begun) -> Result<Sent, Failure> {
        let (mut location, mut offset) = (begun.location.clone(), 0);
        let mut resumes = 0;
        loop {
            let failure = match self.finish(&location, offset) {
                Ok(response) if response.status().is_success() => {
                    return check(&response, &self.blob.digest).map(|()| Sent::Done);
                }
                Ok(response) if resumes == 0 && offset == 0 && refuses_size(&response) => {
                    return Ok(Sent::NotInOne);
                }
                Ok(response) if is_transient(response.status()) => {
                    self.to.session.refusal(response)
                }
                Ok(response) => return Err(self.to.session.refusal(response)),
                Err(failure) if is_worth_another(&failure) => failure,
                Err(failure) => return Err(failure),
            };
            resumes += 1;
            if resumes > MAX_RESUMES {
                return Err(failure);
            }
            // The registry may have taken all of it and lost only its answer.
            if self.exists()? {
                return Ok(Sent::Done);
            }
            (location, offset) = match self.progress(&location)? {
                Some(progress) => progress,
                None => (self.to.begin()?.location, 0),
            };
        }
    }

    /// The request that ends an upload, with the content from `offset` on.
    fn finish(&self, location: &Url, offset: u64) -> Result<Response, Failure> {
        let mut location = location.clone();
        if offset > 0 {
            // A PUT has no place for a range in every registry: the rest goes as a part first.
            let rest = self.blob.size.saturating_sub(offset);
            let response = self.send_part(&location, offset, rest)?;
            if response.status() != StatusCode::ACCEPTED {
                return Ok(response);
            }
            location = crate::http::location(&response).unwrap_or(location);
            return self.close(location, Payload::End(self.blob.size));
        }
        let open = |offset| self.open_at(offset);
        let payload = Payload::Stream {
            open: &open,
            offset: 0,
            length: self.blob.size,
        };
        self.close(location, payload)
    }

    fn close(&self, location: Url, payload: Payload<'_>) -> Result<Response, Failure> {
        let request = finishing(location, &self.blob.digest, payload);
        self.to.session.send_authorized(&request, &self.to.scopes)
    }

    fn send_part(&self, location: &Url, offset: u64, length: u64) -> Result<Response, Failure> {
        let open = |offset| self.open_at(offset);
        let payload = Payload::Stream {
            open: &open,
            offset,
            length,
        };
        let mut request = request(Method::PATCH, location.clone(), payload);
        let last = (offset + length).saturating_sub(1);
        if let Ok(range) = HeaderValue::from_str(&format!("{offset}-{last}")) {
            request.headers.insert(CONTENT_RANGE, range);
        }
        self.to.session.send_authorized(&request, &self.to.scopes)
    }

    /// Sends the content in parts of a moderate size.
    fn send_in_parts(&self, begun: &Begun) -> Result<(), Failure> {
        let size = begun.chunk_minimum.max(CHUNK_SIZE);
        let (mut location, mut offset) = (begun.location.clone(), 0);
        let mut resumes = 0;
        while offset < self.blob.size {
            let length = size.min(self.blob.size - offset);
            let failure = match self.send_part(&location, offset, length) {
                Ok(response) if response.status() == StatusCode::ACCEPTED => {
                    location = crate::http::location(&response).unwrap_or(location);
                    offset += length;
                    continue;
                }
                Ok(response) if is_transient(response.status()) => {
                    self.to.session.refusal(response)
                }
                Ok(response) => return Err(self.to.session.refusal(response)),
                Err(failure) if is_worth_another(&failure) => failure,
                Err(failure) => return Err(failure),
            };
            resumes += 1;
            if resumes > MAX_RESUMES {
                return Err(failure);
            }
            (location, offset) = match self.progress(&location)? {
                Some(progress) => progress,
                None => (self.to.begin()?.location, 0),
            };
        }
        self.to.end(location, &self.blob.digest, self.blob.size)
    }

    /// How far the registry came with an upload, and where it goes on; `None` where it has
    /// forgotten it.
    fn progress(&self, location: &Url) -> Result<Option<(Url, u64)>, Failure> {
        let request = request(Method::GET, location.clone(), Payload::Nothing);
        let response = self.to.session.send(&request, &self.to.scopes)?;
        if response.status() != StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let range = response
            .headers()
            .get(RANGE)
            .and_then(|range| range.to_str().ok());
        let Some(next) = range.and_then(next_byte) else {
            return Ok(None);
        };
        let location = crate::http::location(&response).unwrap_or_else(|| location.clone());
        Ok((next <= self.blob.size).then_some((location, next)))
    }

    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut content = (self.content)()?;
        let skipped = io::copy(&mut content.by_ref().take(offset), &mut io::sink())?;
        if skipped < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(content)
    }
}

/// The byte after those of `Range: 0-99`. A registry that has none says `0-0`, as one that has the
/// first does: sending a byte again is refused, so the upload then begins again.
fn next_byte(range: &str) -> Option<u64> {
    let range = range.trim().trim_start_matches("bytes=");
    let (start, end) = range.split_once('-')?;
    let end: u64 = end.parse().ok()?;
    (start == "0" && end > 0).then_some(end + 1)
}

/// Whether the registry, or something in front of it, does not take a blob in one request.
fn refuses_size(response: &Response) -> bool {
    matches!(
        response.status().as_u16(),
        400 | 405 | 411 | 413 | 416 | 501
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_on_after_the_last_byte() {
        assert_eq!(next_byte("0-99"), Some(100));
        assert_eq!(next_byte("bytes=0-99"), Some(100));
        assert_eq!(next_byte("0-0"), None);
        assert_eq!(next_byte("5-9"), None);
        assert_eq!(next_byte("x"), None);
    }
}
