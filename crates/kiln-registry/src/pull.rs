//! Fetching blobs.

use std::io::{Read, Write};

use kiln_base::CancelToken;
use kiln_oci::{Descriptor, Reference};
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use crate::auth::scope;
use crate::client::Session;
use crate::error::Failure;
use crate::http::{Payload, Request, hide_address};
use crate::{Client, RegistryError};

const BUFFER_SIZE: usize = 64 * 1024;

impl Client {
    /// Writes a blob's bytes from `offset` on into `sink`; whoever takes them checks the digest.
    ///
    /// Requests are repeated until the first byte arrives. When the transfer breaks off after that,
    /// the error says so ([`RegistryError::is_interrupted`]), and the caller goes on from as far as
    /// it came. No more bytes are written than the descriptor announces.
    pub fn pull_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
        sink: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        if offset >= blob.size && blob.size > 0 {
            return Ok(());
        }
        let action = format!("fetch blob `{}`", blob.digest);
        let (response, attempt) = self.first_source(reference, &action, cancel, |session| {
            let response = open(session, blob, offset)?;
            Ok((response, session.attempt.clone()))
        })?;
        copy(response, blob.size - offset, sink, cancel).map_err(|failure| RegistryError {
            attempt: Box::new(attempt),
            failure,
        })
    }
}

/// The answer whose body begins at `offset`.
fn open(session: &Session<'_>, blob: &Descriptor, offset: u64) -> Result<Response, Failure> {
    let mut headers = HeaderMap::new();
    if offset > 0 {
        let range = HeaderValue::from_str(&format!("bytes={offset}-"));
        headers.insert(
            RANGE,
            range.map_err(|_| Failure::Protocol("a range that is not text"))?,
        );
    }
    let request = Request {
        method: Method::GET,
        url: session.url(&format!("blobs/{}", blob.digest))?,
        headers,
        payload: Payload::Nothing,
    };
    let scopes = vec![scope(&session.attempt.repository, "pull")];
    let mut response = session.send(&request, &scopes)?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(offset) => Ok(response),
        StatusCode::PARTIAL_CONTENT => Err(Failure::Protocol("it is another part of the blob")),
        StatusCode::OK => {
            // Not every registry knows ranges: what is there already comes again.
            skip(&mut response, offset)?;
            Ok(response)
        }
        _ => Err(session.refusal(response)),
    }
}

/// The `100` of `Content-Range: bytes 100-199/200`.
fn range_start(response: &Response) -> Option<u64> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (start, _) = value.trim().strip_prefix("bytes ")?.split_once('-')?;
    start.trim().parse().ok()
}

fn skip(response: &mut Response, count: u64) -> Result<(), Failure> {
    let skipped = std::io::copy(&mut response.take(count), &mut std::io::sink());
    match skipped {
        Ok(skipped) if skipped == count => Ok(()),
        Ok(_) => Err(Failure::Interrupted {
            received: 0,
            cause: None,
        }),
        Err(cause) => Err(Failure::Interrupted {
            received: 0,
            cause: Some(hide_address(cause)),
        }),
    }
}

fn copy(
    mut response: Response,
    expected: u64,
    sink: &mut dyn Write,
    cancel: &CancelToken,
) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut received = 0;
    loop {
        cancel.check()?;
        let count = response
            .read(&mut buffer)
            .map_err(|cause| Failure::Interrupted {
                received,
                cause: Some(hide_address(cause)),
            })?;
        if count == 0 {
            break;
        }
        received += count as u64;
        if received > expected {
            return Err(Failure::TooLarge(expected));
        }
        sink.write_all(&buffer[..count]).map_err(Failure::Local)?;
    }
    if received < expected {
        return Err(Failure::Interrupted {
            received,
            cause: None,
        });
    }
    Ok(())
}
