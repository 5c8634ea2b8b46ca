//! Docker with the BuildKit inside its daemon, as the distribution packages it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::daemon::Daemon;
use super::{Job, need_root, version, which};
use crate::measure::{self, Invocation};

/// The distribution's client; another one may be first on `PATH`, without a BuildKit that fits.
const CLIENT: &str = "/usr/bin/docker";

/// Docker with its daemon running.
#[derive(Debug)]
pub(crate) struct Docker {
    client: PathBuf,
    host: String,
    daemon: Daemon,
}

impl Docker {
    pub(crate) fn start(scratch: &Path) -> Result<Self, String> {
        let server = which("dockerd")?;
        let client = Path::new(CLIENT);
        let client = if client.exists() {
            client.to_owned()
        } else {
            which("docker")?
        };
        need_root()?;
        let folder = scratch.join("docker");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let host = format!("unix://{}", folder.join("socket").display());
        let option = |name: &str, file: &str| format!("--{name}={}", folder.join(file).display());
        let invocation = Invocation::new(server)
            .arg(format!("--host={host}"))
            .arg(option("data-root", "data"))
            .arg(option("exec-root", "exec"))
            .arg(option("pidfile", "pid"))
            .args(["--storage-driver=overlay2", "--iptables=false"])
            .args(["--ip6tables=false", "--bridge=none"]);
        let daemon = Daemon::start("dockerd", &invocation, &folder)?;
        let mut docker = Self {
            client,
            host,
            daemon,
        };
        let asked = docker.client().arg("version");
        docker.daemon.wait_until(|| {
            let mut command = asked.command();
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })?;
        Ok(docker)
    }

    pub(crate) fn describe(&self) -> (Result<String, String>, String) {
        let version = version(&self.client().arg("--version"));
        let settings = "`docker build` with a warm `dockerd` and its BuildKit \
                        (`DOCKER_BUILDKIT=1`): overlay2, the host's network";
        (version, settings.to_owned())
    }

    pub(super) fn client(&self) -> Invocation {
        let client = Invocation::new(&self.client)
            .env("DOCKER_BUILDKIT", "1")
            .env("DOCKER_HOST", &self.host);
        Invocation {
            daemon: Some(self.daemon.id()),
            ..client
        }
    }

    pub(crate) fn pull(&self, image: &str) -> Invocation {
        self.client().args(["pull", image])
    }

    pub(crate) fn build(&self, job: &Job<'_>) -> Invocation {
        // A cache is an image that says what it is made of.
        let name = job.cache_to.unwrap_or(job.name);
        let mut command = self
            .client()
            .args(["build", "--network=host", "--tag", name]);
        if job.no_cache {
            command = command.arg("--no-cache");
        }
        if job.cache_to.is_some() {
            command = command.args(["--build-arg", "BUILDKIT_INLINE_CACHE=1"]);
        }
        if let Some(name) = job.cache_from {
            command = command.args(["--cache-from", name]);
        }
        let command = command.arg(job.context);
        if job.push || job.cache_to.is_some() {
            command.then(&self.client().args(["push", name]))
        } else {
            command
        }
    }

    pub(crate) fn reset(&self, scratch: &Path) -> Result<(), String> {
        for words in [["image", "prune"], ["builder", "prune"]] {
            let prune = self.client().args(words).args(["--all", "--force"]);
            measure::run(&prune, scratch)?;
        }
        Ok(())
    }
}
