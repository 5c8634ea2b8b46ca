//! Servers on loopback that a row fetches from: one for HTTP, one for git.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use testkit::{Absent, Answer, Program, Scratch, make_tree};

/// A request, with what rows look at.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET`, `PUT` and so on.
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// Header lines with names in lower case.
    pub(crate) headers: Vec<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// A server for HTTP that keeps what it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Request {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl Web {
    /// Starts a server.
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                // A client that goes away in the middle is no failure of the server.
                std::thread::spawn(move || serve(stream, &*answer, &log).ok());
            }
        });
        Self { port, seen }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it was asked so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

fn serve(
    stream: TcpStream,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
        headers.push(format!("{}: {}", name.to_ascii_lowercase(), value.trim()));
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length");
    let length: u64 = length.and_then(|n| n.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut request.body)?;
    let answer = answer(&request);
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.clone());
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {}\r\nConnection: close\r\n",
        answer.status
    )?;
    for header in &answer.headers {
        write!(stream, "{header}\r\n")?;
    }
    write!(stream, "Content-Length: {}\r\n\r\n", answer.body.len())?;
    if request.method != "HEAD" {
        stream.write_all(&answer.body)?;
    }
    stream.flush()
}

/// A repository that all rows about git share, served by git's own daemon.
#[derive(Debug)]
pub(crate) struct Repository {
    port: u16,
    folder: PathBuf,
    _daemon: Child,
}

/// The time of every commit.
pub(crate) const COMMIT_TIME: u64 = 1_500_000_000;

impl Repository {
    /// The repository: `main` with `file` (two), `tool` (0755) and the submodule `sub`; the tag
    /// `v1` of the first commit (one) and `v2`, an annotated one, of the second; the branch `side`.
    pub(crate) fn get() -> Result<&'static Self, Absent> {
        static REPOSITORY: OnceLock<Result<Repository, Absent>> = OnceLock::new();
        REPOSITORY
            .get_or_init(Self::start)
            .as_ref()
            .map_err(Clone::clone)
    }

    fn start() -> Result<Self, Absent> {
        testkit::find_program("git")?;
        let folder = Scratch::folder("compat-git");
        let (port, daemon) = daemon(&folder)?;
        let repository = Self {
            port,
            folder,
            _daemon: daemon,
        };
        repository.fill();
        Ok(repository)
    }

    fn fill(&self) {
        let main = self.folder.join("app.git");
        let sub = self.folder.join("sub.git");
        for folder in [&main, &sub] {
            fs::create_dir(folder).unwrap();
            git(folder, &["init", "--quiet", "--initial-branch=main"]);
            git(folder, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        }
        make_tree(&sub, "below 0644 submodule");
        git(&sub, &["add", "below"]);
        git(&sub, &["commit", "--quiet", "--message=sub"]);
        make_tree(
            &main,
            "file 0644 one\ntool 0755 tool\ndir/inner 0644 inner\nDockerfile 0644 FROM scratch\\nCOPY file /from-git",
        );
        git(&main, &["add", "."]);
        git(&main, &["commit", "--quiet", "--message=one"]);
        git(&main, &["tag", "v1"]);
        make_tree(&main, "file 0644 side");
        git(&main, &["checkout", "--quiet", "-b", "side"]);
        git(&main, &["commit", "--quiet", "--all", "--message=side"]);
        git(&main, &["checkout", "--quiet", "main"]);
        make_tree(&main, "file 0644 two");
        let sub = self.url("sub.git");
        git(&main, &["submodule", "--quiet", "add", &sub, "sub"]);
        git(&main, &["add", "."]);
        git(&main, &["commit", "--quiet", "--message=two"]);
        git(&main, &["tag", "--annotate", "--message=two", "v2"]);
    }

    /// The address of a repository, with what comes after it.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("git://127.0.0.1:{}/{rest}", self.port)
    }

    /// The commit that a name is for.
    pub(crate) fn commit(&self, name: &str) -> String {
        let name = format!("{name}^{{commit}}");
        let commit = git(&self.folder.join("app.git"), &["rev-parse", &name]);
        commit.trim().to_owned()
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let date = format!("{COMMIT_TIME} +0000");
    let git = Program::new("git").cwd(folder).env("HOME", "/nonexistent");
    let git = git.env("GIT_CONFIG_NOSYSTEM", "1");
    let names = ["user.name=Potter", "user.email=potter@example.org"];
    let git = git.args(names.iter().flat_map(|name| ["-c", name]));
    let git = git.env("GIT_AUTHOR_DATE", &date);
    let git = git.env("GIT_COMMITTER_DATE", &date);
    git.args(arguments).run().ok().text()
}

fn daemon(folder: &Path) -> Result<(u16, Child), Absent> {
    let programs = Program::new("git").arg("--exec-path").run().ok().text();
    let program = Path::new(programs.trim()).join("git-daemon");
    if !program.is_file() {
        return Err(Absent("`git-daemon` is not installed".to_owned()));
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut daemon = Program::new(program)
        .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
        .arg(format!("--base-path={}", folder.display()))
        .arg(format!("--port={port}"))
        .start(&Scratch::folder("logs").join("git-daemon"));
    Scratch::stop_at_end("git-daemon", daemon.id());
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok((port, daemon));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    Err(Absent("`git-daemon` does not start here".to_owned()))
}
