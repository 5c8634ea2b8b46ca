//! A server that answers as it is told: the registry that misbehaves.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a server says to one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, with its text: `404 Not Found`.
    pub status: &'static str,
    /// Header lines, without line ends.
    pub headers: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
    /// How many bytes of the body are sent before the connection breaks; `None` sends all.
    pub cut_after: Option<usize>,
}

/// A server on a port of loopback, until the process ends.
#[derive(Debug, Clone)]
pub struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Answer {
    /// A status and nothing else.
    pub fn status(status: &'static str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut_after: None,
        }
    }

    /// A body of this media type.
    pub fn body(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: "200 OK",
            headers: vec![format!("Content-Type: {media_type}")],
            body: body.into(),
            cut_after: None,
        }
    }

    /// The same with one more header line.
    #[must_use]
    pub fn with_header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// The same, broken off after so many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }
}

impl Server {
    /// Starts a server; `answer` gets the method, the path with its query, and how many requests
    /// came before.
    pub fn start(answer: impl Fn(&str, &str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
        let server = Self {
            port: listener.local_addr().expect("it is bound").port(),
            requests: Arc::default(),
        };
        let requests = Arc::clone(&server.requests);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                // A client that goes away in the middle is no failure of the server.
                std::thread::spawn(move || serve(&stream, &*answer, &requests).ok());
            }
        });
        server
    }

    /// Host and port, the first part of a reference.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many requests came so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(
    stream: &TcpStream,
    answer: &(dyn Fn(&str, &str, usize) -> Answer + Send + Sync),
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = first.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let answer = answer(method, path, requests.fetch_add(1, Ordering::SeqCst));
    let mut writer = stream;
    write!(
        writer,
        "HTTP/1.1 {}\r\nConnection: close\r\n",
        answer.status
    )?;
    for header in &answer.headers {
        write!(writer, "{header}\r\n")?;
    }
    write!(writer, "Content-Length: {}\r\n\r\n", answer.body.len())?;
    if method != "HEAD" {
        let sent = answer.cut_after.unwrap_or(answer.body.len());
        writer.write_all(&answer.body[..sent])?;
    }
    writer.flush()
}
