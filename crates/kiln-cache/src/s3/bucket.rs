//! A bucket's objects.

use std::sync::Arc;

use kiln_base::{CancelToken, Timestamp};
use kiln_oci::{Descriptor, Digest};
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use reqwest::{Method, Url};

use super::sign::{Signer, encode, sha256_hex};
use crate::CacheError;
use crate::chunks::Chunks;
use crate::context::Context;
use crate::export::Export;
use crate::http::{Http, HttpError, body, content};
use crate::options::S3;

/// The size of the parts of large layers; smaller ones are sent in one request.
const PART_SIZE: u64 = 16 * 1024 * 1024;
/// S3 takes no more parts.
const MAX_PARTS: u64 = 10_000;
/// The largest object that can be copied in one request.
const MAX_COPY: u64 = 5 * 1024 * 1024 * 1024;
const MAX_ANSWER: u64 = 1024 * 1024;

/// A bucket, and who asks for its objects.
#[derive(Debug)]
pub(crate) struct Bucket {
    settings: S3,
    /// The address of the bucket, without a slash at its end.
    base: String,
    http: Http,
    clock: fn() -> Timestamp,
}

/// What a bucket says of an object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) modified: Timestamp,
    pub(super) size: u64,
}

/// What a request asks for besides its key.
#[derive(Default)]
struct Ask<'a> {
    /// Sorted by name.
    query: &'a [(&'a str, String)],
    headers: &'a [(&'a str, String)],
    body: Option<&'a Arc<Vec<u8>>>,
}

impl Bucket {
    pub(super) fn new(settings: &S3, context: Context<'_>) -> Result<Self, CacheError> {
        let base = base(settings).map_err(CacheError::Settings)?;
        let unusable = |cause| CacheError::Http {
            action: format!("reach the bucket `{}`", settings.bucket),
            cause,
        };
        let url = Url::parse(&base).map_err(|error| unusable(HttpError::Settings(error.into())))?;
        let http = Http::new(&url, context.config).map_err(unusable)?;
        Ok(Self {
            http: http.with_attempts(settings.retry_max_attempts),
            settings: settings.clone(),
            base,
            clock: context.clock,
        })
    }

    pub(super) fn document_key(&self, name: &str) -> String {
        let S3 {
            prefix,
            manifests_prefix,
            ..
        } = &self.settings;
        format!("{prefix}{manifests_prefix}{name}")
    }

    pub(super) fn layer_key(&self, digest: &Digest) -> String {
        let S3 {
            prefix,
            blobs_prefix,
            ..
        } = &self.settings;
        format!("{prefix}{blobs_prefix}{digest}")
    }

    /// An object's name for people.
    pub(super) fn place(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.settings.bucket)
    }

    /// An object's content from `offset` on.
    pub(super) fn get(
        &self,
        key: &str,
        offset: u64,
        cancel: &CancelToken,
    ) -> Result<Response, HttpError> {
        let range = [("range", format!("bytes={offset}-"))];
        let ask = Ask {
            headers: if offset > 0 { &range } else { &[] },
            ..Ask::default()
        };
        let response = self.send(&Method::GET, key, &ask, cancel)?;
        if offset > 0 && response.status().as_u16() != 206 {
            return Err(HttpError::Protocol("it is not the part that was asked for"));
        }
        Ok(response)
    }

    /// What there is under a key.
    pub(super) fn head(
        &self,
        key: &str,
        cancel: &CancelToken,
    ) -> Result<Option<Object>, HttpError> {
        let response = match self.send(&Method::HEAD, key, &Ask::default(), cancel) {
            Err(error) if error.is_not_found() => return Ok(None),
            result => result?,
        };
        let header = |name| response.headers().get(name)?.to_str().ok();
        let modified = header(LAST_MODIFIED)
            .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
            .ok_or(HttpError::Protocol("an object without a time"))?;
        let size = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
        Ok(Some(Object {
            modified: Timestamp::from_seconds(modified.timestamp().as_second()),
            size: size.ok_or(HttpError::Protocol("an object without a size"))?,
        }))
    }

    pub(super) fn put(
        &self,
        key: &str,
        bytes: &Arc<Vec<u8>>,
        cancel: &CancelToken,
    ) -> Result<(), HttpError> {
        let ask = Ask {
            body: Some(bytes),
            ..Ask::default()
        };
        self.send(&Method::PUT, key, &ask, cancel).map(drop)
    }

    /// Sends a layer, in parts where it is large.
    pub(super) fn send_layer(
        &self,
        job: &Export<'_>,
        layer: &Descriptor,
        key: &str,
    ) -> Result<(), CacheError> {
        let failed = |cause| CacheError::Http {
            action: format!("write layer `{}`", self.place(key)),
            cause,
        };
        let size = PART_SIZE.max(layer.size.div_ceil(MAX_PARTS));
        let mut chunks = Chunks::open(job, layer, size)?;
        if layer.size <= size {
            while let Some(bytes) = chunks.next()? {
                self.put(key, &bytes, job.cancel).map_err(failed)?;
            }
            return Ok(());
        }
        let upload = self.begin(key, job.cancel).map_err(failed)?;
        let sent = (|| {
            let mut tags = Vec::new();
            while let Some(bytes) = chunks.next()? {
                let query = part(tags.len() + 1, &upload);
                let ask = Ask {
                    query: &query,
                    body: Some(&bytes),
                    ..Ask::default()
                };
                let sent = self.send(&Method::PUT, key, &ask, job.cancel);
                let tag = sent.and_then(|response| {
                    let tag = response.headers().get(ETAG);
                    let tag = tag.and_then(|tag| Some(tag.to_str().ok()?.to_owned()));
                    tag.ok_or(HttpError::Protocol("a part without an entity tag"))
                });
                tags.push(tag.map_err(failed)?);
            }
            self.complete(key, &upload, &tags, job.cancel)
                .map_err(failed)
        })();
        self.ended(key, &upload, sent)
    }

    /// Makes an object young again by copying it onto itself.
    pub(super) fn touch(
        &self,
        key: &str,
        size: u64,
        cancel: &CancelToken,
    ) -> Result<(), HttpError> {
        let source = encode(&format!("{}/{key}", self.settings.bucket), true);
        let mut headers = vec![("x-amz-copy-source", source)];
        if size <= MAX_COPY {
            headers.push(("x-amz-metadata-directive", "REPLACE".to_owned()));
            headers.push(("x-amz-meta-updated-at", (self.clock)().to_string()));
            let ask = Ask {
                headers: &headers,
                ..Ask::default()
            };
            let response = self.send(&Method::PUT, key, &ask, cancel)?;
            return without_error(&body(response, MAX_ANSWER)?);
        }
        let upload = self.begin(key, cancel)?;
        let copied = (|| {
            let mut tags = Vec::new();
            let mut start = 0;
            while start < size {
                let end = (start + MAX_COPY).min(size);
                let range = format!("bytes={start}-{}", end - 1);
                let headers = [headers[0].clone(), ("x-amz-copy-source-range", range)];
                let query = part(tags.len() + 1, &upload);
                let ask = Ask {
                    query: &query,
                    headers: &headers,
                    ..Ask::default()
                };
                let response = self.send(&Method::PUT, key, &ask, cancel)?;
                tags.push(element(&body(response, MAX_ANSWER)?, "ETag")?);
                start = end;
            }
            self.complete(key, &upload, &tags, cancel)
        })();
        self.ended(key, &upload, copied)
    }

    fn begin(&self, key: &str, cancel: &CancelToken) -> Result<String, HttpError> {
        let ask = Ask {
            query: &[("uploads", String::new())],
            ..Ask::default()
        };
        let response = self.send(&Method::POST, key, &ask, cancel)?;
        element(&body(response, MAX_ANSWER)?, "UploadId")
    }

    fn complete(
        &self,
        key: &str,
        upload: &str,
        tags: &[String],
        cancel: &CancelToken,
    ) -> Result<(), HttpError> {
        let parts = tags.iter().enumerate().map(|(index, tag)| {
            let number = index + 1;
            let tag = tag.replace('&', "&amp;").replace('<', "&lt;");
            format!("<Part><ETag>{tag}</ETag><PartNumber>{number}</PartNumber></Part>")
        });
        let parts = parts.collect::<Vec<String>>().concat();
        let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let ask = Ask {
            query: &[("uploadId", upload.to_owned())],
            body: Some(&Arc::new(document.into_bytes())),
            ..Ask::default()
        };
        let response = self.send(&Method::POST, key, &ask, cancel)?;
        // S3 may say that it failed after it had said 200.
        without_error(&body(response, MAX_ANSWER)?)
    }

    /// Throws an upload that failed away, also where the build was told to stop.
    fn ended<E>(&self, key: &str, upload: &str, result: Result<(), E>) -> Result<(), E> {
        if result.is_err() {
            let ask = Ask {
                query: &[("uploadId", upload.to_owned())],
                ..Ask::default()
            };
            // The first failure is the one to tell; what is left of the upload expires.
            let _ = self.send(&Method::DELETE, key, &ask, &CancelToken::new());
        }
        result
    }

    fn send(
        &self,
        method: &Method,
        key: &str,
        ask: &Ask<'_>,
        cancel: &CancelToken,
    ) -> Result<Response, HttpError> {
        let url = self.url(key, ask.query)?;
        let empty = Arc::default();
        let bytes = ask.body.unwrap_or(&empty);
        let payload = sha256_hex(bytes);
        let request = || {
            let mut request = self.http.client(&url).request(method.clone(), url.clone());
            let headers = match &self.settings.credentials {
                Some(credentials) => Signer {
                    region: &self.settings.region,
                    credentials,
                    now: (self.clock)(),
                }
                .sign(method.as_str(), &url, ask.headers, &payload),
                None => {
                    let headers = ask.headers.iter();
                    headers.map(|(n, v)| ((*n).to_owned(), v.clone())).collect()
                }
            };
            for (name, value) in headers {
                let mut value = reqwest::header::HeaderValue::from_str(&value)
                    .map_err(|_| HttpError::Protocol("a header that is not text"))?;
                value.set_sensitive(name == "authorization" || name == "x-amz-security-token");
                request = request.header(name, value);
            }
            if ask.body.is_some() || matches!(*method, Method::PUT | Method::POST) {
                request = content(request, bytes, cancel);
            }
            Ok(request)
        };
        self.http.send(&request, cancel)
    }

    fn url(&self, key: &str, query: &[(&str, String)]) -> Result<Url, HttpError> {
        let mut text = format!("{}/{}", self.base, encode(key, true));
        for (index, (name, value)) in query.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            text.push_str(&encode(value, false));
        }
        Url::parse(&text).map_err(|error| HttpError::Settings(error.into()))
    }
}

/// The query of a part, sorted.
fn part(number: usize, upload: &str) -> [(&'static str, String); 2] {
    [
        ("partNumber", number.to_string()),
        ("uploadId", upload.to_owned()),
    ]
}

/// The address of a bucket.
fn base(settings: &S3) -> Result<String, String> {
    let S3 { bucket, region, .. } = settings;
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    let own = format!("https://s3.{region}.{domain}");
    let endpoint = settings.endpoint_url.as_deref().unwrap_or(&own);
    let endpoint = endpoint.trim_end_matches('/');
    let (scheme, rest) = endpoint
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
        .ok_or_else(|| format!("`endpoint_url={endpoint}` is not an HTTP address"))?;
    // A certificate for all buckets does not hold for names with dots.
    if settings.use_path_style || (bucket.contains('.') && scheme == "https") {
        return Ok(format!("{endpoint}/{}", encode(bucket, false)));
    }
    Ok(format!("{scheme}://{bucket}.{rest}"))
}

fn without_error(body: &[u8]) -> Result<(), HttpError> {
    match element(body, "Code") {
        Ok(detail) => Err(HttpError::Status {
            status: 200,
            detail,
        }),
        Err(_) => Ok(()),
    }
}

/// The text of the first element of a name.
fn element(body: &[u8], name: &str) -> Result<String, HttpError> {
    let text = String::from_utf8_lossy(body);
    let found = text.split_once(&format!("<{name}>")).and_then(|(_, rest)| {
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        let value = value.replace("&quot;", "\"").replace("&#34;", "\"");
        Some(value.replace("&amp;", "&"))
    });
    found.ok_or(HttpError::Protocol("an answer without what it is for"))
}
