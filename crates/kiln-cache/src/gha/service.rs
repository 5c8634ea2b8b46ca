//! The two protocols of GitHub's cache service.
//!
//! | | version 1 | version 2 |
//! |---|---|---|
//! | address | `<url>/_apis/artifactcache/…` | `<url>/twirp/github.actions.results.api.v1.CacheService/…` |
//! | look up | `GET cache?keys=…&version=…` | `GetCacheEntryDownloadURL` |
//! | reserve | `POST caches` | `CreateCacheEntry` |
//! | send | `PATCH caches/<id>`, in ranges | to the signed address, as an Azure block blob |
//! | commit | `POST caches/<id>` | `FinalizeCacheEntryUpload` |

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kiln_base::{CancelToken, Secret};
use kiln_oci::Digest;
use kiln_registry::ClientConfig;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{Http, HttpError, body, content};
use crate::options::{GhaAccess, GhaApi};

/// How much is sent in one request.
pub(super) const CHUNK_SIZE: u64 = 32 * 1024 * 1024;
const MAX_ANSWER: u64 = 64 * 1024;
const JSON: &str = "application/json";

/// The service, as a workflow reaches it.
#[derive(Debug)]
pub(crate) struct Service {
    api: GhaApi,
    base: String,
    token: Secret<String>,
    http: Http,
}

/// An entry of the cache.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its whole key.
    pub(super) key: String,
    /// Where its content is; needs no token.
    url: Url,
}

/// What became of the wish to write an entry.
pub(super) enum Reserved {
    Yours(Slot),
    /// Somebody has written it, or is about to.
    Taken,
}

/// A place for an entry's content.
pub(super) enum Slot {
    First { id: i64 },
    Second { key: String, url: Url },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstEntry {
    cache_key: Option<String>,
    archive_location: Option<String>,
}

#[derive(Deserialize)]
struct FirstReserved {
    #[serde(rename = "cacheId", alias = "cacheID")]
    id: i64,
}

#[derive(Deserialize)]
struct SecondAnswer {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    signed_download_url: String,
    #[serde(default)]
    signed_upload_url: String,
    #[serde(default)]
    matched_key: String,
}

/// What stands in for the paths that other users of the service put into an entry's version; the
/// same as in BuildKit's, so that the two see each other's entries.
fn version() -> String {
    Digest::sha256(b"|go-actionscache-1.0").hex().to_owned()
}

fn address(text: &str) -> Result<Url, HttpError> {
    let url = Url::parse(text).map_err(|error| HttpError::Settings(error.into()))?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(HttpError::Protocol("an address that is not HTTP's"))
    }
}

impl Service {
    pub(super) fn new(
        access: &GhaAccess,
        timeout: Duration,
        config: &ClientConfig,
    ) -> Result<Self, HttpError> {
        let base = access.url.trim_end_matches('/');
        let base = match access.api {
            GhaApi::V1 => format!("{base}/_apis/artifactcache/"),
            GhaApi::V2 => {
                format!("{base}/twirp/github.actions.results.api.v1.CacheService/")
            }
        };
        Ok(Self {
            http: Http::new(&address(&base)?, config)?.with_patience(timeout),
            api: access.api,
            base,
            token: access.token.clone(),
        })
    }

    /// The newest entry whose key begins with `key`.
    pub(super) fn load(&self, key: &str, cancel: &CancelToken) -> Result<Option<Entry>, HttpError> {
        let found = match self.api {
            GhaApi::V1 => self.load_first(key, cancel)?,
            GhaApi::V2 => {
                let question = json!({
                    "key": key, "restore_keys": [key], "version": version(),
                });
                match self.ask(&Method::POST, "GetCacheEntryDownloadURL", &question, cancel) {
                    Err(error) if error.is_not_found() => None,
                    result => {
                        let answer: SecondAnswer = parse(&result?)?;
                        answer
                            .ok
                            .then_some((answer.matched_key, answer.signed_download_url))
                    }
                }
            }
        };
        let entry = found.map(|(key, url)| {
            let url = address(&url)?;
            Ok(Entry { key, url })
        });
        entry.transpose()
    }

    fn load_first(
        &self,
        key: &str,
        cancel: &CancelToken,
    ) -> Result<Option<(String, String)>, HttpError> {
        let mut url = address(&format!("{}cache", self.base))?;
        url.query_pairs_mut()
            .append_pair("keys", key)
            .append_pair("version", &version());
        let bytes = self.call(&Method::GET, &url, &[], None, cancel)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let entry: FirstEntry = parse(&bytes)?;
        Ok(entry
            .cache_key
            .filter(|key| !key.is_empty())
            .zip(entry.archive_location))
    }

    pub(super) fn reserve(&self, key: &str, cancel: &CancelToken) -> Result<Reserved, HttpError> {
        let question = json!({ "key": key, "version": version() });
        let what = match self.api {
            GhaApi::V1 => "caches",
            GhaApi::V2 => "CreateCacheEntry",
        };
        let bytes = match self.ask(&Method::POST, what, &question, cancel) {
            Err(error) if is_taken(&error) => return Ok(Reserved::Taken),
            result => result?,
        };
        let slot = match self.api {
            GhaApi::V1 => Slot::First {
                id: parse::<FirstReserved>(&bytes)?.id,
            },
            GhaApi::V2 => {
                let answer: SecondAnswer = parse(&bytes)?;
                if !answer.ok {
                    return Err(HttpError::Protocol("no place for a new entry"));
                }
                Slot::Second {
                    key: key.to_owned(),
                    url: address(&answer.signed_upload_url)?,
                }
            }
        };
        Ok(Reserved::Yours(slot))
    }

    pub(super) fn upload<'a>(&'a self, slot: &'a Slot, size: u64) -> Upload<'a> {
        Upload {
            service: self,
            slot,
            size,
            sent: 0,
            blocks: Vec::new(),
        }
    }

    pub(super) fn commit(
        &self,
        slot: &Slot,
        size: u64,
        cancel: &CancelToken,
    ) -> Result<(), HttpError> {
        match slot {
            Slot::First { id } => {
                let question = json!({ "size": size });
                self.ask(&Method::POST, &format!("caches/{id}"), &question, cancel)?;
            }
            Slot::Second { key, .. } => {
                let question = json!({
                    "key": key, "size_bytes": size, "version": version(),
                });
                let what = "FinalizeCacheEntryUpload";
                let bytes = self.ask(&Method::POST, what, &question, cancel)?;
                if !parse::<SecondAnswer>(&bytes)?.ok {
                    return Err(HttpError::Protocol("the entry was not taken"));
                }
            }
        }
        Ok(())
    }

    /// An entry's content from `offset` on.
    pub(super) fn download(
        &self,
        entry: &Entry,
        offset: u64,
        cancel: &CancelToken,
    ) -> Result<Response, HttpError> {
        let request = || {
            let request = self.http.client(&entry.url).get(entry.url.clone());
            Ok(if offset > 0 {
                request.header(RANGE, format!("bytes={offset}-"))
            } else {
                request
            })
        };
        let response = self.http.send(&request, cancel)?;
        if offset > 0 && response.status().as_u16() != 206 {
            return Err(HttpError::Protocol("it is not the part that was asked for"));
        }
        Ok(response)
    }

    /// Asks the service a question in JSON.
    fn ask(
        &self,
        method: &Method,
        what: &str,
        question: &Value,
        cancel: &CancelToken,
    ) -> Result<Vec<u8>, HttpError> {
        let url = address(&format!("{}{what}", self.base))?;
        let bytes = Arc::new(question.to_string().into_bytes());
        let headers = [(CONTENT_TYPE, JSON.to_owned())];
        self.call(method, &url, &headers, Some(&bytes), cancel)
    }

    fn call(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(reqwest::header::HeaderName, String)],
        bytes: Option<&Arc<Vec<u8>>>,
        cancel: &CancelToken,
    ) -> Result<Vec<u8>, HttpError> {
        let mut token = HeaderValue::from_str(&format!("Bearer {}", self.token.expose()))
            .map_err(|_| HttpError::Protocol("a token that is not text"))?;
        token.set_sensitive(true);
        let accept = match self.api {
            GhaApi::V1 => "application/json;api-version=6.0-preview.1",
            GhaApi::V2 => JSON,
        };
        let request = || {
            let client = self.http.client(url);
            let mut request = client
                .request(method.clone(), url.clone())
                .header(AUTHORIZATION, token.clone())
                .header(ACCEPT, accept);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            Ok(match bytes {
                Some(bytes) => content(request, bytes, cancel),
                None => request,
            })
        };
        body(self.http.send(&request, cancel)?, MAX_ANSWER)
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpError> {
    serde_json::from_slice(bytes).map_err(|_| HttpError::Protocol("it is not of the known form"))
}

/// Whether an entry of that key is there, or about to be.
fn is_taken(error: &HttpError) -> bool {
    let HttpError::Status { status, detail } = error else {
        return false;
    };
    let detail = detail.to_lowercase();
    *status == 409 || detail.contains("alreadyexists") || detail.contains("already exists")
}

/// A content on its way, in order.
pub(super) struct Upload<'a> {
    service: &'a Service,
    slot: &'a Slot,
    size: u64,
    sent: u64,
    /// The names of Azure's blocks.
    blocks: Vec<String>,
}

impl Upload<'_> {
    /// Sends the next piece.
    pub(super) fn send(
        &mut self,
        bytes: &Arc<Vec<u8>>,
        cancel: &CancelToken,
    ) -> Result<(), HttpError> {
        let length = bytes.len() as u64;
        match self.slot {
            Slot::First { id } if length > 0 => {
                let url = address(&format!("{}caches/{id}", self.service.base))?;
                let last = self.sent + length - 1;
                let headers = [
                    (CONTENT_TYPE, "application/octet-stream".to_owned()),
                    (CONTENT_RANGE, format!("bytes {}-{last}/*", self.sent)),
                ];
                let bytes = Some(bytes);
                self.service
                    .call(&Method::PATCH, &url, &headers, bytes, cancel)?;
            }
            Slot::First { .. } => {}
            Slot::Second { url, .. } if length == self.size => {
                self.put(url, Some("BlockBlob"), bytes, cancel)?;
            }
            Slot::Second { url, .. } => {
                // All of a blob's names have to be of one length.
                let name = BASE64_STANDARD.encode(format!("{:08}", self.blocks.len()));
                let mut url = url.clone();
                url.query_pairs_mut()
                    .append_pair("comp", "block")
                    .append_pair("blockid", &name);
                self.put(&url, None, bytes, cancel)?;
                self.blocks.push(name);
            }
        }
        self.sent += length;
        Ok(())
    }

    /// Puts the pieces together.
    pub(super) fn finish(self, cancel: &CancelToken) -> Result<(), HttpError> {
        let Slot::Second { url, .. } = self.slot else {
            return Ok(());
        };
        if self.blocks.is_empty() {
            return Ok(());
        }
        let names = self.blocks.iter();
        let names: Vec<String> = names
            .map(|name| format!("<Latest>{name}</Latest>"))
            .collect();
        let names = names.concat();
        let list =
            format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{names}</BlockList>");
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("comp", "blocklist");
        self.put(&url, None, &Arc::new(list.into_bytes()), cancel)
    }

    /// Sends to Azure, where the address is the permission and the token is nobody's business.
    fn put(
        &self,
        url: &Url,
        kind: Option<&'static str>,
        bytes: &Arc<Vec<u8>>,
        cancel: &CancelToken,
    ) -> Result<(), HttpError> {
        let request = || {
            let mut request = self.service.http.client(url).put(url.clone());
            if let Some(kind) = kind {
                request = request.header("x-ms-blob-type", kind);
            }
            Ok(content(request, bytes, cancel))
        };
        self.service.http.send(&request, cancel).map(drop)
    }
}
