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
        let said = version(&self.client().arg("--version"));
        let version = said.map(|said| {
            let binary = fs::read(&self.client).unwrap_or_default();
            // A build by hand doesn't say what it is, but Go's linker does.
            match module_version(&binary).filter(|_| said.contains("unknown")) {
                Some(version) => format!("BuildKit {version}"),
                None => said,
            }
        });
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

/// The version that Go's linker wrote into a program of BuildKit's.
fn module_version(binary: &[u8]) -> Option<String> {
    const BEFORE: &[u8] = b"mod\tgithub.com/moby/buildkit\t";
    let found = binary
        .windows(BEFORE.len())
        .position(|window| window == BEFORE)?;
    let rest = binary.get(found + BEFORE.len()..)?;
    let word = rest.split(u8::is_ascii_whitespace).next()?;
    let word = std::str::from_utf8(word).ok()?;
    (!word.is_empty() && word.len() < 80).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_programs() {
        let binary = b"\xffx\nmod\tgithub.com/moby/buildkit\tv0.32.1\t\ndep\ta\tv1";
        assert_eq!(module_version(binary), Some("v0.32.1".to_owned()));
        assert_eq!(module_version(b"mod\tgithub.com/moby/moby\tv1"), None);
    }
}
