//! A Docker daemon of our own: private socket and folders, no network set-up, stopped at the end.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::{Absent, Finished, Program, Scratch, find_program, is_root};

/// Debian's client; a newer one without BuildKit of its own may be first on `PATH`.
const CLIENT: &str = "/usr/bin/docker";

/// A running daemon.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    _daemon: Child,
}

impl Docker {
    /// The daemon of this process, started when it is first asked for.
    pub fn get() -> Result<&'static Self, Absent> {
        static DOCKER: OnceLock<Result<Docker, Absent>> = OnceLock::new();
        DOCKER
            .get_or_init(Self::start)
            .as_ref()
            .map_err(Clone::clone)
    }

    fn start() -> Result<Self, Absent> {
        if !is_root() {
            return Err(Absent("a Docker daemon needs root".to_owned()));
        }
        let program = find_program("dockerd")?;
        if !Path::new(CLIENT).exists() {
            return Err(Absent(format!("`{CLIENT}` is not installed")));
        }
        let folder = Scratch::folder("docker");
        let socket = folder.join("socket");
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let daemon = Program::new(program)
            .arg(format!("--host=unix://{}", socket.display()))
            .arg(option("data-root", &folder.join("data")))
            .arg(option("exec-root", &folder.join("exec")))
            .arg(option("pidfile", &folder.join("pid")))
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .start(&folder.join("log"));
        Scratch::stop_at_end("docker", daemon.id());
        let docker = Self {
            socket,
            _daemon: daemon,
        };
        let started = Instant::now();
        while !docker.run(&["version"]).success() {
            if started.elapsed() > Duration::from_mins(1) {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(Absent(format!("`dockerd` does not start here: {last}")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(docker)
    }

    /// A command of Docker's client; the caller adds the subcommand.
    pub fn command(&self) -> Program {
        Program::new(CLIENT)
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("DOCKER_BUILDKIT", "1")
    }

    /// The daemon's address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Runs a command of Docker's client to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.command().args(arguments).run()
    }

    /// Runs a command that has to succeed; gives its standard output.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok().text()
    }
}
