//! A registry in this process, which fails in the ways a test asks for.
//!
//! One request a connection, no TLS, everything in memory.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_oci::Digest;

/// A way to fail.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This status, with these headers and this body.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// The right answer, broken off after so many bytes of its body.
    Truncate(usize),
    /// The right answer with another body of the same length.
    Damage,
    /// No answer, and nothing done.
    Drop,
    /// No answer to what was done.
    Lose,
    /// The request's body is taken up to this many bytes, then the connection is closed.
    DropUpload(usize),
}

/// How requests have to be authorised.
#[derive(Clone)]
pub(crate) enum Auth {
    Anyone,
    /// This value of the header.
    Basic(&'static str),
    /// A token from this registry's own `/token`, for which these headers are right.
    Bearer(&'static str),
    /// Likewise; a token allows what it was asked for, and each request needs what it needs at CNCF
    /// distribution.
    Scoped(&'static str),
}

pub(crate) struct State {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifests: BTreeMap<String, (String, Vec<u8>)>,
    /// What was begun and neither finished nor cancelled.
    pub(crate) uploads: BTreeMap<String, Vec<u8>>,
    begun: usize,
    /// Each request: method, target, and whether it was authorised.
    pub(crate) log: Vec<String>,
    faults: Vec<(&'static str, Fault, usize)>,
    auth: Auth,
    /// What each token was asked for; they are called `t1`, `t2` and so on.
    tokens: Vec<String>,
}

/// A running registry; its thread ends with the process.
pub(crate) struct Fake {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State {
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            uploads: BTreeMap::new(),
            begun: 0,
            log: Vec::new(),
            faults: Vec::new(),
            auth: Auth::Anyone,
            tokens: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { host, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails the next `times` requests that begin with `start` (`GET /v2/a/blobs`).
    pub(crate) fn fail(&self, start: &'static str, fault: Fault, times: usize) {
        self.state().faults.push((start, fault, times));
    }

    pub(crate) fn require(&self, auth: Auth) {
        self.state().auth = auth;
    }

    pub(crate) fn add_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let key = format!("/v2/{repository}/blobs/{digest}");
        self.state().blobs.insert(key, content.to_owned());
        digest
    }

    pub(crate) fn add_manifest(&self, repository: &str, key: &str, kind: &str, content: &[u8]) {
        let path = format!("/v2/{repository}/manifests/{key}");
        self.state()
            .manifests
            .insert(path, (kind.to_owned(), content.to_owned()));
    }

    /// The requests so far, one a line, without this registry's own host.
    pub(crate) fn log(&self) -> String {
        let log = std::mem::take(&mut self.state().log);
        log.join("\n").replace(&self.host, "HOST")
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let Some(mut request) = read_head(&mut reader) else {
        return;
    };
    let line = format!("{} {}", request.method, request.target);
    let fault = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state
            .faults
            .iter_mut()
            .find(|(start, _, times)| line.starts_with(start) && *times > 0);
        found.map(|(_, fault, times)| {
            *times -= 1;
            fault.clone()
        })
    };
    let length = request
        .headers
        .get("content-length")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let limit = match fault {
        Some(Fault::DropUpload(limit)) => limit.min(length),
        _ => length,
    };
    let is_chunked = request.headers.contains_key("transfer-encoding");
    request.body = vec![0; limit];
    if is_chunked {
        let limit = match fault {
            Some(Fault::DropUpload(limit)) => limit,
            _ => usize::MAX,
        };
        let Some(body) = read_chunks(&mut reader, limit) else {
            return;
        };
        request.body = body;
    } else if reader.read_exact(&mut request.body).is_err() {
        return;
    }
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let authorized = request.headers.contains_key("authorization");
    state.log.push(if authorized {
        format!("{line} *")
    } else {
        line
    });
    match fault {
        Some(Fault::Drop) => {}
        Some(Fault::Lose) => drop(state.answer(&request)),
        Some(Fault::DropUpload(_)) => state.keep_part(&request),
        Some(Fault::Status(status, headers, body)) => {
            let body = body.as_bytes().to_vec();
            send(
                stream,
                &request,
                &Answer {
                    status,
                    headers,
                    body,
                },
                None,
            );
        }
        Some(Fault::Truncate(length)) => {
            let answer = state.answer(&request);
            send(stream, &request, &answer, Some(length));
        }
        Some(Fault::Damage) => {
            let mut answer = state.answer(&request);
            answer.body.iter_mut().for_each(|byte| *byte ^= 1);
            send(stream, &request, &answer, None);
        }
        None => {
            let answer = state.answer(&request);
            send(stream, &request, &answer, None);
        }
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<Request> {
    let mut first = Vec::new();
    reader
        .by_ref()
        .take(4096)
        .read_until(b'\n', &mut first)
        .ok()?;
    // Whoever speaks TLS here is sent away.
    let first = String::from_utf8(first).ok()?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    Some(Request {
        method,
        target,
        headers,
        body: Vec::new(),
    })
}

/// A body in chunks: to its end, or as many of its bytes as `limit` says.
fn read_chunks(reader: &mut impl BufRead, limit: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < limit {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
    body.truncate(limit);
    Some(body)
}

fn send(mut stream: &TcpStream, request: &Request, answer: &Answer, limit: Option<usize>) {
    let mut head = format!(
        "HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head.extend([*name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    let body = if request.method == "HEAD" {
        &[][..]
    } else {
        &answer.body
    };
    let body = &body[..limit.unwrap_or(body.len()).min(body.len())];
    // The client may have gone away; that is its right.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

fn status(status: u16) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

fn decoded(text: &str) -> String {
    text.replace("%3A", ":")
        .replace("%2F", "/")
        .replace("%2C", ",")
}

/// The repository of a request, as scopes name it, and what the request needs there.
fn needed(request: &Request) -> (String, &'static str) {
    let path = request.target.trim_start_matches("/v2/");
    let end = path.find("/blobs/").or_else(|| path.find("/manifests/"));
    let repository = &path[..end.unwrap_or(path.len())];
    let actions = match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "pull,push",
    };
    (format!("repository:{repository}"), actions)
}

/// Whether the address that a token was asked for with names all that is needed.
fn allows(asked: &str, (name, actions): (&str, &str)) -> bool {
    let scopes = asked
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="));
    let of_this = scopes.filter_map(|scope| scope.strip_prefix(name)?.strip_prefix(':'));
    let granted: Vec<&str> = of_this.flat_map(|actions| actions.split(',')).collect();
    actions.split(',').all(|action| granted.contains(&action))
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        if path == "/token" {
            return self.token(request);
        }
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        match request.method.as_str() {
            "GET" | "HEAD" if path.contains("/blobs/uploads/") => self.progress(path),
            "GET" | "HEAD" if path.contains("/blobs/") => self.blob(request, path),
            "GET" | "HEAD" => self.manifest(path),
            "POST" => self.begin(path, query),
            "PATCH" => {
                self.keep_part(request);
                self.progress(path).with_status(202)
            }
            "PUT" if path.contains("/manifests/") => {
                let kind = request.headers["content-type"].clone();
                self.manifests
                    .insert(path.to_owned(), (kind, request.body.clone()));
                status(201)
            }
            "PUT" => self.finish(request, path, query),
            "DELETE" => match self.uploads.remove(path) {
                Some(_) => status(204),
                None => status(404),
            },
            _ => status(405),
        }
    }

    fn refusal(&self, request: &Request) -> Option<Answer> {
        let given = request.headers.get("authorization");
        let host = request.headers.get("host").cloned().unwrap_or_default();
        let (good, challenge) = match &self.auth {
            Auth::Anyone => return None,
            Auth::Basic(value) => (
                given.is_some_and(|given| given == value),
                "Basic realm=\"x\"".to_owned(),
            ),
            Auth::Bearer(_) => (
                given.is_some_and(|given| *given == format!("Bearer t{}", self.tokens.len())),
                format!("Bearer realm=\"http://{host}/token\",service=\"fake\""),
            ),
            Auth::Scoped(_) => {
                let (name, actions) = needed(request);
                let number = given.and_then(|given| given.strip_prefix("Bearer t")?.parse().ok());
                let granted = number.and_then(|n: usize| self.tokens.get(n.checked_sub(1)?));
                (
                    granted.is_some_and(|granted| allows(granted, (&name, actions))),
                    format!(
                        "Bearer realm=\"http://{host}/token\",service=\"fake\",scope=\"{name}:{actions}\""
                    ),
                )
            }
        };
        (!good).then(|| Answer {
            headers: vec![("WWW-Authenticate", challenge)],
            body: br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#
                .to_vec(),
            ..status(401)
        })
    }

    fn token(&mut self, request: &Request) -> Answer {
        let (Auth::Bearer(expected) | Auth::Scoped(expected)) = self.auth else {
            return status(404);
        };
        let given = request
            .headers
            .get("authorization")
            .map_or("", String::as_str);
        let body = String::from_utf8_lossy(&request.body);
        let is_good = if request.method == "POST" {
            body.contains(expected)
        } else {
            given == expected
        };
        if !is_good {
            return Answer {
                body: br#"{"details":"incorrect username or password"}"#.to_vec(),
                ..status(401)
            };
        }
        self.tokens.push(decoded(&request.target));
        let number = self.tokens.len();
        Answer {
            body: format!(r#"{{"token":"t{number}","expires_in":300}}"#).into_bytes(),
            ..status(200)
        }
    }

    fn blob(&self, request: &Request, path: &str) -> Answer {
        let Some(content) = self.blobs.get(path) else {
            return status(404);
        };
        let range = request.headers.get("range").and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
        match range {
            Some(start) => Answer {
                headers: vec![(
                    "Content-Range",
                    format!("bytes {start}-{}/{}", content.len() - 1, content.len()),
                )],
                body: content[start..].to_vec(),
                ..status(206)
            },
            None => Answer {
                body: content.clone(),
                ..status(200)
            },
        }
    }

    fn manifest(&self, path: &str) -> Answer {
        match self.manifests.get(path) {
            None => Answer {
                body: br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#
                    .to_vec(),
                ..status(404)
            },
            Some((kind, content)) => Answer {
                headers: vec![
                    ("Content-Type", kind.clone()),
                    ("Docker-Content-Digest", Digest::sha256(content).to_string()),
                ],
                body: content.clone(),
                ..status(200)
            },
        }
    }

    fn begin(&mut self, path: &str, query: &str) -> Answer {
        let value = |name: &str| {
            let found = query.split('&').find_map(|pair| pair.strip_prefix(name));
            found.map(decoded)
        };
        if let (Some(digest), Some(from)) = (value("mount="), value("from=")) {
            let source = format!("/v2/{from}/blobs/{digest}");
            if let Some(content) = self.blobs.get(&source).cloned() {
                let repository = path.trim_end_matches("/blobs/uploads/");
                self.blobs
                    .insert(format!("{repository}/blobs/{digest}"), content);
                return status(201);
            }
        }
        let location = format!("{path}u{}", self.begun);
        self.begun += 1;
        self.uploads.insert(location.clone(), Vec::new());
        Answer {
            headers: vec![("Location", format!("{location}?state=s"))],
            ..status(202)
        }
    }

    fn keep_part(&mut self, request: &Request) {
        let path = request.target.split('?').next().unwrap_or_default();
        if let Some(upload) = self.uploads.get_mut(path) {
            upload.extend_from_slice(&request.body);
        }
    }

    fn progress(&self, path: &str) -> Answer {
        match self.uploads.get(path) {
            None => status(404),
            Some(upload) => Answer {
                headers: vec![
                    ("Location", format!("{path}?state=s")),
                    ("Range", format!("0-{}", upload.len().saturating_sub(1))),
                ],
                ..status(204)
            },
        }
    }

    fn finish(&mut self, request: &Request, path: &str, query: &str) -> Answer {
        self.keep_part(request);
        let Some(content) = self.uploads.remove(path) else {
            return status(404);
        };
        let digest = Digest::sha256(&content);
        let wanted = format!("digest={}", digest.to_string().replace(':', "%3A"));
        if !query.split('&').any(|pair| pair == wanted) {
            return status(400);
        }
        let repository = path.split("/uploads/").next().unwrap_or_default();
        self.blobs.insert(format!("{repository}/{digest}"), content);
        status(201)
    }
}

impl Answer {
    fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}
