//! Buildah with layers, the only way in which it has a cache.

use std::path::{Path, PathBuf};

use super::{Job, need_root, version, which};
use crate::measure::{self, Invocation};

/// Buildah with storage of its own.
#[derive(Debug)]
pub(crate) struct Buildah {
    binary: PathBuf,
    storage: PathBuf,
}

impl Buildah {
    pub(crate) fn find(scratch: &Path) -> Result<Self, String> {
        let binary = which("buildah")?;
        which("runc")?;
        need_root()?;
        Ok(Self {
            binary,
            storage: scratch.join("buildah"),
        })
    }

    pub(crate) fn describe(&self) -> (Result<String, String>, String) {
        let version = version(&Invocation::new(&self.binary).arg("--version"));
        let settings = "`buildah build --layers`, as root: overlay storage, runc, \
                        the host's network";
        (version, settings.to_owned())
    }

    fn invocation(&self) -> Invocation {
        Invocation::new(&self.binary)
            .arg("--root")
            .arg(self.storage.join("root"))
            .arg("--runroot")
            .arg(self.storage.join("run"))
            .args(["--storage-driver", "overlay"])
    }

    pub(crate) fn pull(&self, image: &str) -> Invocation {
        self.invocation()
            .args(["pull", "--tls-verify=false", image])
    }

    pub(crate) fn build(&self, job: &Job<'_>) -> Invocation {
        let mut command = self
            .invocation()
            .args(["build", "--layers", "--runtime", "runc", "--network=host"])
            .arg(format!("--jobs={}", crate::machine::cores()))
            .args(["--tls-verify=false", "--tag", job.name]);
        if job.no_cache {
            command = command.arg("--no-cache");
        }
        if let Some(name) = job.cache_to {
            command = command.args(["--cache-to", name]);
        }
        if let Some(name) = job.cache_from {
            command = command.args(["--cache-from", name]);
        }
        let command = command.arg(job.context);
        if job.push {
            let push = ["push", "--tls-verify=false", job.name];
            command.then(&self.invocation().args(push))
        } else {
            command
        }
    }

    pub(crate) fn reset(&self, scratch: &Path) -> Result<(), String> {
        let words: [&[&str]; 2] = [&["rm", "--all"], &["rmi", "--all", "--force"]];
        for words in words {
            measure::run(&self.invocation().args(words), scratch)?;
        }
        Ok(())
    }
}
