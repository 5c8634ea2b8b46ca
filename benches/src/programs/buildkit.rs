//! BuildKit by `buildctl`, with a daemon of our own: overlay snapshots, runc, the host's network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::daemon::Daemon;
use super::{Job, need_root, version, which};
use crate::measure::{self, Invocation};

/// BuildKit with its daemon running.
#[derive(Debug)]
pub(crate) struct BuildKit {
    client: PathBuf,
    address: String,
    daemon: Daemon,
}

impl BuildKit {
    pub(crate) fn start(scratch: &Path) -> Result<Self, String> {
        let client = which("buildctl")?;
        let server = which("buildkitd")?;
        need_root()?;
        let folder = scratch.join("buildkit");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let config = folder.join("buildkitd.toml");
        fs::write(&config, "").map_err(|error| error.to_string())?;
        let address = format!("unix://{}", folder.join("socket").display());
        let invocation = Invocation::new(server)
            .arg("--config")
            .arg(config)
            .arg("--root")
            .arg(folder.join("state"))
            .args(["--addr", &address, "--containerd-worker=false"])
            .arg("--oci-worker-snapshotter=overlayfs")
            .arg("--oci-worker-binary")
            .arg(which("runc")?)
            .args(["--oci-worker-net", "host"]);
        let daemon = Daemon::start("buildkitd", &invocation, &folder)?;
        let mut buildkit = Self {
            client,
            address,
            daemon,
        };
        let workers = buildkit.client().args(["debug", "workers"]);
        buildkit.daemon.wait_until(|| {
            let mut command = workers.command();
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })?;
        Ok(buildkit)
    }

    pub(crate) fn describe(&self) -> (Result<String, String>, String) {
        let version = version(&self.client().arg("--version"));
        let settings = "`buildctl build --frontend dockerfile.v0` with a warm `buildkitd`: \
                        overlayfs snapshots, runc, the host's network";
        (version, settings.to_owned())
    }

    fn client(&self) -> Invocation {
        let client = Invocation::new(&self.client).args(["--addr", &self.address]);
        Invocation {
            daemon: Some(self.daemon.id()),
            ..client
        }
    }

    pub(crate) fn build(&self, job: &Job<'_>) -> Invocation {
        let folder = job.context.display();
        let mut command = self
            .client()
            .args(["build", "--frontend", "dockerfile.v0"])
            .args(["--local", &format!("context={folder}")])
            .args(["--local", &format!("dockerfile={folder}")]);
        if job.no_cache {
            command = command.arg("--no-cache");
        }
        if let Some(name) = job.cache_to {
            let spec = format!("type=registry,ref={name},mode=max,registry.insecure=true");
            command = command.arg("--export-cache").arg(spec);
        }
        if let Some(name) = job.cache_from {
            let spec = format!("type=registry,ref={name},registry.insecure=true");
            command = command.arg("--import-cache").arg(spec);
        }
        let push = if job.push {
            ",push=true,registry.insecure=true"
        } else {
            ""
        };
        command
            .arg("--output")
            .arg(format!("type=image,name={}{push}", job.name))
    }

    pub(crate) fn reset(&self, scratch: &Path) -> Result<(), String> {
        let prune = self.client().args(["prune", "--all"]);
        measure::run(&prune, scratch).map(drop)
    }
}
