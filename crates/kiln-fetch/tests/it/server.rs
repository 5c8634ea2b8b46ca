//! An HTTP server in this process, one request a connection, that answers as a test says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request.
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) target: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What becomes of the end of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    /// The connection is closed after so many bytes of the body.
    Cut(usize),
    /// Nothing more is sent after so many bytes of the body, until the client goes away.
    Hang(usize),
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            status,
            headers: headers.collect(),
            body: body.to_owned(),
            end: End::Whole,
        }
    }

    pub(crate) fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }
}

/// A running server; its thread ends with the process.
pub(crate) struct Server {
    /// `127.0.0.1:port`.
    pub(crate) host: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(None, handler)
    }

    /// The same over TLS.
    pub(crate) fn start_tls(
        config: Arc<ServerConfig>,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(config), handler)
    }

    fn listen(
        config: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let handler = Arc::new(handler);
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (log, handler) = (Arc::clone(&shared), Arc::clone(&handler));
                let config = config.clone();
                std::thread::spawn(move || {
                    let Some(config) = config else {
                        serve(&mut stream, &log, &*handler);
                        // A client that is gone is not the server's problem.
                        let _ = stream.shutdown(Shutdown::Both);
                        return;
                    };
                    let connection = ServerConnection::new(config).expect("a configuration");
                    let mut stream = StreamOwned::new(connection, stream);
                    serve(&mut stream, &log, &*handler);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
            }
        });
        Self { host, log }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// The requests so far, `*` after those with an `Authorization` header.
    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.log))
    }
}

fn lock(log: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    stream: &mut (impl Read + Write),
    log: &Mutex<Vec<String>>,
    handler: &dyn Fn(&Request) -> Answer,
) {
    let Some(request) = read(&mut *stream) else {
        return;
    };
    let mark = match request.headers.get("authorization") {
        Some(_) => " *",
        None => "",
    };
    lock(log).push(format!("{} {}{mark}", request.method, request.target));
    let answer = handler(&request);
    // A client that is gone is not the server's problem.
    let _ = send(stream, &request, &answer);
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        target,
        headers,
        body,
    })
}

fn send(
    stream: &mut (impl Read + Write),
    request: &Request,
    answer: &Answer,
) -> std::io::Result<()> {
    let mut headers = answer.headers.clone();
    let has_length = answer
        .headers
        .iter()
        .any(|(name, _)| name == "Content-Length");
    if !has_length && answer.status != 304 {
        headers.push(("Content-Length".to_owned(), answer.body.len().to_string()));
    }
    write!(
        stream,
        "HTTP/1.1 {} X\r\nConnection: close\r\n",
        answer.status
    )?;
    for (name, value) in &headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    if request.method == "HEAD" {
        return Ok(());
    }
    match answer.end {
        End::Whole => stream.write_all(&answer.body)?,
        End::Cut(length) => stream.write_all(&answer.body[..length])?,
        End::Hang(length) => {
            stream.write_all(&answer.body[..length])?;
            stream.read_exact(&mut [0])?;
        }
    }
    stream.flush()
}
