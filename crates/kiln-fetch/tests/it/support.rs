//! Repositories that a test makes, and the programs that serve them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_dockerfile::gitref::GitRef;
use kiln_fetch::Network;
use kiln_fetch::git::{self, Checkout, GitAuth, GitCommit, GitError, GitRequest};
use kiln_sys::process::command;

use crate::server::{Answer, Request};

/// Seconds after the epoch at which every commit of a test is made.
pub(crate) const COMMIT_TIME: i64 = 1_234_567_890;

/// The host's git with nothing of the host's configuration.
pub(crate) fn git_command(directory: &Path) -> Command {
    let mut command = command("git", directory);
    let date = format!("{COMMIT_TIME} +0000");
    command.envs([
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ("GIT_AUTHOR_DATE", &date),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@example.com"),
        ("GIT_COMMITTER_DATE", &date),
        ("GIT_ALLOW_PROTOCOL", "file"),
    ]);
    command
}

/// Runs git and returns what it says, without the last line break.
pub(crate) fn run_git(directory: &Path, arguments: &[&str]) -> String {
    let output = git_command(directory)
        .args(arguments)
        .output()
        .expect("git");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {messages}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim_end().to_owned()
}

/// A folder with repositories to serve, a cache, and places to check out to.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cache: PathBuf,
    pub(crate) auth: GitAuth,
}

impl World {
    /// `None`, with a line that says so, where git is not installed.
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub(crate) fn new() -> Option<Self> {
        let is_installed = git_command(Path::new("/")).arg("version").output();
        if let Err(error) = is_installed {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("git");
            eprintln!("skipped: {test}: git does not run: {error}");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("served")).expect("a folder");
        Some(Self {
            cache: folder.path().join("cache"),
            folder,
            auth: GitAuth::default(),
        })
    }

    /// The folder of repositories.
    pub(crate) fn served(&self) -> PathBuf {
        self.folder.path().join("served")
    }

    /// Makes a repository `name` with one commit of these files on the branch `main`.
    pub(crate) fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.served().join(name);
        std::fs::create_dir_all(&path).expect("the test's own files and programs");
        run_git(&path, &["init", "-q", "-b", "main"]);
        commit(&path, files);
        path
    }

    pub(crate) fn resolve(&self, address: &str) -> Result<GitCommit, GitError> {
        let git = GitRef::parse(address)
            .expect("the test's own files and programs")
            .expect("a git address");
        git::resolve(
            &self.request(&git, &Network::default()),
            &CancelToken::new(),
        )
    }

    /// Resolves and checks out into the folder `name`.
    pub(crate) fn checkout(&self, address: &str, name: &str) -> Result<Checkout, GitError> {
        let git = GitRef::parse(address)
            .expect("the test's own files and programs")
            .expect("a git address");
        let network = Network::default();
        let request = self.request(&git, &network);
        let commit = git::resolve(&request, &CancelToken::new())?;
        git::checkout(&request, &commit, &self.place(name), &CancelToken::new())
    }

    fn request<'a>(&'a self, git: &'a GitRef, network: &'a Network) -> GitRequest<'a> {
        GitRequest {
            git,
            auth: &self.auth,
            network,
            cache_dir: &self.cache,
            timeout: Duration::from_mins(5),
        }
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    /// The files of a checkout, one a line, without what is in `.git` folders.
    pub(crate) fn tree(&self, name: &str) -> String {
        let mut lines = String::new();
        list(&self.place(name), "", &mut lines);
        lines
    }

    /// Serves the repositories by git's own protocol and returns the address without path.
    pub(crate) fn daemon(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the test's own files and programs");
        let address = listener
            .local_addr()
            .expect("the test's own files and programs");
        let served = self.served();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut command = git_command(&served);
                let base = format!("--base-path={}", served.display());
                command.args(["daemon", "--inetd", "--export-all", &base]);
                command.env_remove("GIT_ALLOW_PROTOCOL");
                let input = OwnedFd::from(
                    stream
                        .try_clone()
                        .expect("the test's own files and programs"),
                );
                command
                    .stdin(Stdio::from(input))
                    .stdout(OwnedFd::from(stream));
                command.stderr(Stdio::null());
                let mut child = command.spawn().expect("the test's own files and programs");
                drop(command);
                std::thread::spawn(move || child.wait());
            }
        });
        format!("git://{address}")
    }
}

/// Commits files, each with its content: `-> target` for a link, `program` at the start for a program.
pub(crate) fn commit(repository: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = repository.join(name);
        std::fs::create_dir_all(path.parent().expect("the test's own files and programs"))
            .expect("the test's own files and programs");
        if let Some(target) = content.strip_prefix("-> ") {
            std::os::unix::fs::symlink(target, &path).expect("the test's own files and programs");
            continue;
        }
        std::fs::write(&path, content).expect("the test's own files and programs");
        if content.starts_with("program") {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
                .expect("the test's own files and programs");
        }
    }
    run_git(repository, &["add", "-A"]);
    run_git(repository, &["commit", "-q", "--allow-empty", "-m", "x"]);
}

fn list(folder: &Path, prefix: &str, lines: &mut String) {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("the test's own files and programs")
        .map(|entry| {
            entry
                .expect("the test's own files and programs")
                .file_name()
                .into_string()
                .expect("the test's own files and programs")
        })
        .collect();
    names.sort();
    for name in names {
        let path = folder.join(&name);
        let metadata = path
            .symlink_metadata()
            .expect("the test's own files and programs");
        let mode = metadata.permissions().mode() & 0o7777;
        let shown = format!("{prefix}{name}");
        if metadata.is_symlink() {
            let target = path.read_link().expect("the test's own files and programs");
            writeln!(lines, "{shown} -> {}", target.display())
                .expect("the test's own files and programs");
        } else if metadata.is_dir() {
            writeln!(lines, "{shown}/ {mode:04o}").expect("the test's own files and programs");
            if name != ".git" {
                list(&path, &format!("{shown}/"), lines);
            }
        } else {
            let content =
                std::fs::read_to_string(&path).expect("the test's own files and programs");
            writeln!(lines, "{shown} {mode:04o} {content:?}")
                .expect("the test's own files and programs");
        }
    }
}

/// Answers by `git http-backend`, which is git's server as a CGI program.
pub(crate) fn smart(served: &Path, request: &Request) -> Answer {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let mut command = git_command(served);
    command.arg("http-backend").env_remove("GIT_ALLOW_PROTOCOL");
    command.env("GIT_PROJECT_ROOT", served);
    command.envs([
        ("GIT_HTTP_EXPORT_ALL", "1"),
        ("PATH_INFO", path),
        ("QUERY_STRING", query),
        ("REQUEST_METHOD", &request.method),
        ("CONTENT_TYPE", &header("content-type")),
        ("CONTENT_LENGTH", &request.body.len().to_string()),
        ("HTTP_CONTENT_ENCODING", &header("content-encoding")),
        ("GIT_PROTOCOL", &header("git-protocol")),
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .stderr(Stdio::null())
        .spawn()
        .expect("git http-backend");
    let mut input = child
        .stdin
        .take()
        .expect("the test's own files and programs");
    let body = request.body.clone();
    let writer = std::thread::spawn(move || input.write_all(&body));
    let output = child.wait_with_output().expect("its output").stdout;
    // It need not read everything.
    let _ = writer.join();
    let end = output
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut answer = Answer::new(200, &[], &output[end + 4..]);
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if name == "Status" {
            answer.status = value[..3].parse().expect("a status");
        } else {
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    answer
}

/// Answers with plain files.
pub(crate) fn dumb(served: &Path, request: &Request) -> Answer {
    let path = request.target.split('?').next().unwrap_or_default();
    match std::fs::read(served.join(path.trim_start_matches('/'))) {
        Ok(content) => Answer::new(200, &[], &content),
        Err(_) => Answer::new(404, &[], b""),
    }
}
