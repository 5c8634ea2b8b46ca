//! kiln and its peers, each as a function from a workload to a command.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts a process; benchmarks compare whole programs, so this is their job.
#[expect(
    clippy::disallowed_methods,
    reason = "the benchmarked programs need the environment and directory of their user"
)]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// The programs of this run.
#[derive(Debug)]
pub(crate) struct Tools {
    kiln: PathBuf,
    state: PathBuf,
    docker: Option<Docker>,
    buildah: Option<PathBuf>,
}

/// One build that every program can do.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    /// The directory with the Dockerfile.
    pub(crate) context: &'a Path,
    /// Nothing may come from the cache.
    pub(crate) cold: bool,
}

/// A program that builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builder {
    /// kiln with the rights it was started with.
    Kiln,
    /// kiln as an ordinary user; only where this runs as root and the user exists.
    KilnRootless,
    /// Docker with BuildKit, its daemon warm.
    Docker,
    /// Buildah with layers.
    Buildah,
}

impl Builder {
    pub(crate) const ALL: [Self; 4] = [Self::Kiln, Self::KilnRootless, Self::Docker, Self::Buildah];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kiln => "kiln",
            Self::KilnRootless => "kiln, rootless",
            Self::Docker => "Docker's BuildKit",
            Self::Buildah => "Buildah",
        }
    }
}

/// The ordinary user that the rootless rows run as.
const USER: &str = "kiln-test";

impl Tools {
    pub(crate) fn find(scratch: &Path) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let kiln = own.with_file_name("kiln");
        if !kiln.exists() {
            return Err(format!(
                "`{}` is missing: run `cargo build --release`",
                kiln.display()
            ));
        }
        // The ordinary user has to reach the program and the inputs.
        let _ = command("chmod").arg("755").arg(scratch).status();
        Ok(Self {
            kiln,
            state: scratch.to_owned(),
            docker: Docker::start(scratch),
            buildah: which("buildah"),
        })
    }

    pub(crate) fn describe(&self) -> String {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown processor", |rest| {
                rest.trim_start_matches([' ', '\t', ':'])
            });
        let cores = cpu
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let compared: Vec<&str> = Builder::ALL
            .into_iter()
            .filter(|builder| !self.has(*builder))
            .map(Builder::name)
            .collect();
        let missing = match compared.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        format!(
            "{cores} × {model}, Linux {}. Not compared, since not there: {missing}.\n",
            kernel.trim()
        )
    }

    /// Whether the machine has this program.
    pub(crate) fn has(&self, builder: Builder) -> bool {
        match builder {
            Builder::Kiln => true,
            Builder::KilnRootless => which("runuser").is_some() && user_exists(USER),
            Builder::Docker => self.docker.is_some(),
            Builder::Buildah => self.buildah.is_some(),
        }
    }

    /// The command for a build; `None` where the program is not there.
    pub(crate) fn build(&self, builder: Builder, build: &Build<'_>) -> Option<Command> {
        let mut command = match builder {
            Builder::Kiln => self.kiln_build(command(&self.kiln), "store"),
            Builder::KilnRootless => {
                let mut runuser = command("runuser");
                runuser.args(["-u", USER, "--"]).arg(&self.kiln);
                self.kiln_build(runuser, "store-rootless")
            }
            Builder::Docker => {
                let mut docker = command("/usr/bin/docker");
                docker
                    .env("DOCKER_BUILDKIT", "1")
                    .env("DOCKER_HOST", self.docker.as_ref()?.host());
                docker.args(["build", "--network=host", "-t", "bench"]);
                docker
            }
            Builder::Buildah => {
                let mut buildah = command(self.buildah.as_ref()?);
                let state = self.state.join("buildah");
                buildah.arg("--root").arg(state.join("root"));
                buildah.arg("--runroot").arg(state.join("run"));
                buildah.args(["build", "--layers", "--runtime", "runc", "--network=host"]);
                buildah.args(["-t", "bench"]);
                buildah
            }
        };
        if build.cold {
            command.arg("--no-cache");
        }
        command.arg(build.context);
        Some(command)
    }

    fn kiln_build(&self, mut kiln: Command, store: &str) -> Command {
        let root = self.state.join(store);
        if !root.exists() && std::fs::create_dir(&root).is_ok() && store != "store" {
            let _ = command("chown").arg(USER).arg(&root).status();
        }
        kiln.arg("build")
            .arg("--root")
            .arg(root)
            .args(["-t", "bench"]);
        kiln
    }
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn user_exists(name: &str) -> bool {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .any(|line| line.split(':').next() == Some(name))
}

/// A Docker daemon of our own, without network, stopped when dropped.
#[derive(Debug)]
struct Docker {
    daemon: Child,
    socket: PathBuf,
}

impl Docker {
    fn start(scratch: &Path) -> Option<Self> {
        let dockerd = which("dockerd")?;
        which("docker")?;
        let state = scratch.join("docker");
        let socket = state.join("docker.sock");
        std::fs::create_dir(&state).ok()?;
        let daemon = command(dockerd)
            .arg("--data-root")
            .arg(state.join("data"))
            .arg("--exec-root")
            .arg(state.join("exec"))
            .arg("--pidfile")
            .arg(state.join("pid"))
            .arg("-H")
            .arg(format!("unix://{}", socket.display()))
            .args(["--iptables=false", "--bridge=none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let docker = Self { daemon, socket };
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let mut info = command("/usr/bin/docker");
            info.env("DOCKER_HOST", docker.host()).arg("info");
            info.stdout(Stdio::null()).stderr(Stdio::null());
            if info.status().is_ok_and(|status| status.success()) {
                return Some(docker);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        None
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // SIGTERM, so that the daemon unmounts what it mounted.
        let _ = command("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}
