//! Kaniko's executor.
//!
//! It unpacks its base over the root folder it finds, so it gets one of its own that has nothing
//! but the executor: mounts that end with the command, and `chroot`. Its cache is a repository.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Job, need_root, version, which};
use crate::measure::Invocation;

/// Makes the root folder `$1` a world for the executor, with the context `$2`, and runs it there.
const ENTER: &str = r#"
root=$1 context=$2
shift 2
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
for device in "null 3" "zero 5" "full 7" "random 8" "urandom 9"; do
    mknod -m 666 "$root/dev/${device% *}" c 1 "${device#* }"
done
for file in etc/resolv.conf etc/hosts; do mount --bind "/$file" "$root/$file"; done
mount --bind "$context" "$root/workspace"
mount -o remount,bind,ro "$root/workspace"
exec chroot "$root" /kaniko/executor "$@"
"#;

/// Kaniko with a root folder.
#[derive(Debug)]
pub(crate) struct Kaniko {
    executor: PathBuf,
    root: PathBuf,
}

impl Kaniko {
    pub(crate) fn find(scratch: &Path) -> Result<Self, String> {
        let executor = which("executor")?;
        which("unshare")?;
        need_root()?;
        Ok(Self {
            executor,
            root: scratch.join("kaniko"),
        })
    }

    pub(crate) fn describe(&self) -> (Result<String, String>, String) {
        let version = version(&Invocation::new(&self.executor).arg("version"));
        let settings = "`executor`, as root, in a mount namespace with an empty root folder; \
                        its cache, where there is one, in the registry";
        (
            version.map(|line| format!("Kaniko {line}")),
            settings.to_owned(),
        )
    }

    /// The command for a build. The root folder is made here, outside the time, since each run
    /// leaves its image's files in it.
    pub(crate) fn build(&self, job: &Job<'_>) -> Result<Invocation, String> {
        self.reset()?;
        let mut command = Invocation::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "/bin/sh",
                "-ec",
                ENTER,
                "kaniko",
            ])
            .arg(&self.root)
            .arg(job.context)
            .args([
                "--force",
                "--context=dir:///workspace",
                "--dockerfile=Dockerfile",
            ])
            .args([
                "--skip-unused-stages",
                "--snapshot-mode=redo",
                "--insecure",
                "--insecure-pull",
            ])
            .args(["--skip-tls-verify", "--skip-tls-verify-pull"]);
        command = match job.cache_from.or(job.cache_to).filter(|_| !job.no_cache) {
            Some(name) => command
                .args(["--cache=true", "--cache-copy-layers"])
                .arg(format!("--cache-repo={name}")),
            None => command.arg("--cache=false"),
        };
        Ok(if job.push {
            command.arg(format!("--destination={}", job.name))
        } else {
            command.arg("--no-push")
        })
    }

    /// A root folder with the executor alone.
    pub(crate) fn reset(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("`{}`: {error}", self.root.display());
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        for folder in ["kaniko", "workspace", "proc", "dev", "tmp", "etc/ssl/certs"] {
            fs::create_dir_all(self.root.join(folder)).map_err(failed)?;
        }
        let open = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(self.root.join("tmp"), open).map_err(failed)?;
        // The host's are mounted over these, so that the base's don't take their place.
        for file in ["etc/resolv.conf", "etc/hosts"] {
            fs::write(self.root.join(file), "").map_err(failed)?;
        }
        let certificates = "etc/ssl/certs/ca-certificates.crt";
        // What the host lacks, the executor does without.
        let _ = fs::copy(
            Path::new("/").join(certificates),
            self.root.join(certificates),
        );
        fs::copy(&self.executor, self.root.join("kaniko/executor")).map_err(failed)?;
        Ok(())
    }
}
