//! Caches in GitHub's service: one in this process that speaks both of its protocols.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::fake::{Answer, Request, Server, Service, answer};
use crate::support::{Build, NOW, blob, chain, read, sample, shown, write};

/// SHA-256 of `|go-actionscache-1.0`.
const VERSION: &str = "693bb7016429d80366022f036f84856888c9f13e00145f5f6f4dce303a38d6f2";
const TWIRP: &str = "/twirp/github.actions.results.api.v1.CacheService/";
const REST: &str = "/_apis/artifactcache/";

struct Entry {
    key: String,
    content: Vec<u8>,
    blocks: BTreeMap<String, Vec<u8>>,
    is_done: bool,
}

struct Hub {
    url: String,
    entries: Vec<Entry>,
    log: Vec<String>,
    /// Statuses for the next requests of this path.
    fail: Option<(&'static str, u16, usize)>,
}

impl Hub {
    fn start() -> Server<Self> {
        Server::start(|url| Self {
            url: url.to_owned(),
            entries: Vec::new(),
            log: Vec::new(),
            fail: None,
        })
    }

    fn find(&self, key: &str) -> Option<usize> {
        let is_it = |entry: &Entry| entry.is_done && entry.key.starts_with(key);
        self.entries.iter().rposition(is_it)
    }

    /// The place of a new entry; `None` where there is one of that key.
    fn reserve(&mut self, question: &Value) -> Option<usize> {
        assert_eq!(question["version"], VERSION);
        let key = question["key"].as_str().expect("a key");
        if self.entries.iter().any(|entry| entry.key == key) {
            return None;
        }
        self.entries.push(Entry {
            key: key.to_owned(),
            content: Vec::new(),
            blocks: BTreeMap::new(),
            is_done: false,
        });
        Some(self.entries.len() - 1)
    }

    fn twirp(&mut self, what: &str, question: &Value) -> Answer {
        let url = self.url.clone();
        let text = match what {
            "GetCacheEntryDownloadURL" => {
                assert_eq!(question["restore_keys"][0], question["key"]);
                match self.find(question["key"].as_str().expect("a key")) {
                    Some(index) => json!({
                        "ok": true,
                        "signed_download_url": format!("{url}/blob/{index}?sig=a%2Fb"),
                        "matched_key": self.entries[index].key,
                    }),
                    None => json!({ "ok": false }),
                }
            }
            "CreateCacheEntry" => match self.reserve(question) {
                Some(index) => json!({
                    "ok": true,
                    "signed_upload_url": format!("{url}/blob/{index}?sig=a%2Fb"),
                }),
                None => return answer(409, r#"{"code":"already_exists","msg":"it is there"}"#),
            },
            "FinalizeCacheEntryUpload" => {
                let is_it = |entry: &&mut Entry| entry.key == question["key"];
                let entry = self.entries.iter_mut().find(is_it).expect("reserved");
                assert_eq!(question["size_bytes"], entry.content.len());
                entry.is_done = true;
                json!({ "ok": true, "entry_id": "1" })
            }
            other => panic!("{other}"),
        };
        answer(200, text.to_string())
    }

    fn rest(&mut self, request: &Request, what: &str) -> Answer {
        let question: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let number = |what: &str| what.trim_start_matches("caches/").parse().unwrap_or(0);
        match (request.method.as_str(), what) {
            ("GET", "cache") => {
                assert_eq!(request.query("version").as_deref(), Some(VERSION));
                let key = request.query("keys").expect("keys");
                let Some(index) = self.find(&key) else {
                    return answer(204, "");
                };
                let found = json!({
                    "cacheKey": self.entries[index].key,
                    "scope": "refs/heads/main",
                    "archiveLocation": format!("{}/blob/{index}", self.url),
                });
                answer(200, found.to_string())
            }
            ("POST", "caches") => match self.reserve(&question) {
                Some(index) => answer(201, json!({ "cacheId": index }).to_string()),
                None => answer(
                    409,
                    r#"{"typeKey":"ArtifactCacheItemAlreadyExistsException","message":"x"}"#,
                ),
            },
            ("PATCH", what) => {
                let entry: &mut Entry = &mut self.entries[number(what)];
                let start = entry.content.len();
                let range = format!("bytes {start}-{}/*", start + request.body.len() - 1);
                assert_eq!(request.header("content-range"), range);
                entry.content.extend(&request.body);
                answer(204, "")
            }
            ("POST", what) => {
                let entry: &mut Entry = &mut self.entries[number(what)];
                assert_eq!(question["size"], entry.content.len());
                entry.is_done = true;
                answer(204, "")
            }
            other => panic!("{other:?}"),
        }
    }

    /// What Azure's storage does.
    fn azure(&mut self, request: &Request, index: usize) -> Answer {
        assert_eq!(request.header("authorization"), "");
        let entry = &mut self.entries[index];
        if request.method == "GET" {
            return answer(200, entry.content.clone());
        }
        match request.query("comp").as_deref() {
            None => {
                assert_eq!(request.header("x-ms-blob-type"), "BlockBlob");
                entry.content.clone_from(&request.body);
            }
            Some("block") => {
                let name = request.query("blockid").expect("a name");
                entry.blocks.insert(name, request.body.clone());
            }
            Some(_) => {
                let list = String::from_utf8_lossy(&request.body).into_owned();
                let names = list.split("<Latest>").skip(1);
                let names = names.map(|name| name.split('<').next().expect("a name"));
                entry.content = names.flat_map(|name| entry.blocks[name].clone()).collect();
            }
        }
        answer(201, "")
    }
}

impl Service for Hub {
    fn answer(&mut self, request: &Request) -> Answer {
        let path = request.path().to_owned();
        self.log.push(format!("{} {path}", request.method));
        if let Some((start, status, times)) = &mut self.fail
            && path.contains(*start)
            && *times > 0
        {
            *times -= 1;
            return answer(*status, r#"{"message":"no"}"#);
        }
        if let Some(index) = path.strip_prefix("/blob/") {
            return self.azure(request, index.parse().expect("a number"));
        }
        assert_eq!(
            request.header("authorization"),
            format!("Bearer {}", token(3))
        );
        match path.strip_prefix(TWIRP) {
            Some(what) => {
                let question = serde_json::from_slice(&request.body).expect("JSON");
                self.twirp(what, &question)
            }
            None => self.rest(request, path.strip_prefix(REST).expect("a path")),
        }
    }
}

/// A token that may read main, and read, write or both in a branch.
fn token(permission: u8) -> String {
    let scopes = json!([
        { "Scope": "refs/heads/branch", "Permission": permission },
        { "Scope": "refs/heads/main", "Permission": 1 },
    ]);
    let claims = json!({ "ac": scopes.to_string(), "exp": NOW + 60, "nbf": NOW - 60 });
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{encoded}.signature")
}

fn flag(server: &Server<Hub>, version: u8) -> String {
    let token = token(3);
    format!(
        "type=gha,version={version},url={},token={token},scope=x",
        server.url
    )
}

#[test]
fn a_cache_is_read_back_by_both_protocols() {
    for version in [1, 2] {
        let server = Hub::start();
        let to = flag(&server, version);
        assert!(read(&to).expect_err("nothing there").is_missing());
        let (build, expected) = sample();
        assert_eq!(write(&to, &build).expect("written").sent, 4);
        assert_eq!(shown(&read(&to).expect("read"), 5), expected);
        // The document is a new entry, the layers are there already.
        let build = build.with(&[5], "base");
        assert_eq!(write(&to, &build).expect("written").sent, 0);
        let imported = read(&to).expect("read");
        assert_eq!(
            shown(&imported, 5),
            expected.replace("5: nothing", "5: 5: base")
        );
        let service = server.service();
        let keys: Vec<&str> = service
            .entries
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        assert_eq!(keys.len(), 6);
        let branch = blob("refs/heads/branch");
        let index = format!("index-x-1-{}", &branch.hex()[..8]);
        assert_eq!(keys[4..], [format!("{index}#1"), format!("{index}#2")]);
        assert!(keys[..4].contains(&format!("buildkit-blob-1-{}", blob("base")).as_str()));
    }
}

#[test]
fn a_cache_of_the_main_branch_is_read() {
    let server = Hub::start();
    write(&flag(&server, 2), &sample().0).expect("written");
    let main = blob("refs/heads/main");
    for entry in &mut server.service().entries {
        let branch = blob("refs/heads/branch");
        entry.key = entry.key.replace(&branch.hex()[..8], &main.hex()[..8]);
    }
    assert_eq!(
        shown(&read(&flag(&server, 2)).expect("read"), 5),
        sample().1
    );
}

#[test]
fn large_layers_are_sent_in_blocks() {
    let large = "x".repeat(65 * 1024 * 1024);
    for version in [1, 2] {
        let server = Hub::start();
        write(
            &flag(&server, version),
            &Build::default().with(&[1], &large),
        )
        .expect("written");
        let service = server.service();
        assert!(service.entries[0].content == large.as_bytes());
        let kind = if version == 1 { "PATCH" } else { "PUT /blob/0" };
        let sent = service
            .log
            .iter()
            .filter(|line| line.starts_with(kind))
            .count();
        // Three pieces; then the list of them, or the document's own piece.
        assert_eq!(sent, 4);
    }
}

#[test]
fn a_busy_service_is_asked_again() {
    let server = Hub::start();
    server.service().fail = Some(("CreateCacheEntry", 429, 6));
    write(&flag(&server, 2), &Build::default().with(&[1], "base")).expect("written");
    server.service().fail = Some(("CreateCacheEntry", 429, 99));
    let to = format!("{},timeout=20ms", flag(&server, 2));
    let error = write(&to, &Build::default().with(&[1], "other")).expect_err("too busy");
    assert!(
        chain(&error).ends_with("the service answered 429: no"),
        "{}",
        chain(&error)
    );
}

#[test]
fn what_the_service_refuses_is_told() {
    let server = Hub::start();
    for status in [401, 403] {
        server.service().fail = Some(("CacheEntry", status, 1));
        let error = read(&flag(&server, 2)).expect_err("refused");
        assert!(error.is_authentication());
        assert!(!chain(&error).contains("e30"), "{}", chain(&error));
    }
    let read_only = flag(&server, 2).replace(&token(3), &token(1));
    let error = write(&read_only, &sample().0).expect_err("read only");
    assert!(error.to_string().contains("may not write"), "{error}");
    let error = read("type=gha").expect_err("no workflow");
    assert!(error.is_missing());
    let error = write("type=gha", &sample().0).expect_err("no workflow");
    assert!(error.is_missing());
}

#[test]
fn damage_is_noticed() {
    let server = Hub::start();
    write(&flag(&server, 2), &Build::default().with(&[1], "base")).expect("written");
    server.service().entries[0].content = b"bas3".to_vec();
    let text = shown(&read(&flag(&server, 2)).expect("read"), 1);
    assert!(text.contains("is damaged: its content has"), "{text}");
    server.service().entries[0].is_done = false;
    let text = shown(&read(&flag(&server, 2)).expect("read"), 1);
    assert!(
        text.contains("is not in the cache at `GitHub` any more"),
        "{text}"
    );
}
