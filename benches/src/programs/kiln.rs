//! kiln itself, as root and as an ordinary user, each with a store of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::{DiskFormat, DiskJob, Job, version};
use crate::measure::{Invocation, User};

/// The ordinary user of the rootless rows; `cargo xtask bench` makes it.
const USER: &str = "kiln-test";

/// kiln with a store.
#[derive(Debug, Clone)]
pub(crate) struct Kiln {
    binary: PathBuf,
    /// Holds the store, and is the user's home.
    home: PathBuf,
    user: Option<User>,
}

impl Kiln {
    /// The program beside this one, copied to where every user can run it.
    pub(crate) fn find(scratch: &Path, home: &str) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let built = own.with_file_name("kiln");
        let failed = |error: std::io::Error| {
            let hint = "run `cargo build --release --package kiln`";
            format!("`{}`: {error}; {hint}", built.display())
        };
        let binary = scratch.join("bin").join("kiln");
        copy_program(&built, &binary).map_err(failed)?;
        let kiln = Self {
            binary,
            home: scratch.join(home),
            user: None,
        };
        kiln.reset()?;
        Ok(kiln)
    }

    /// The same program as the ordinary user.
    pub(crate) fn rootless(&self, scratch: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("this run is an ordinary user's already".to_owned());
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = find_user(&users, USER).ok_or_else(|| format!("there is no user `{USER}`"))?;
        let kiln = Self {
            binary: self.binary.clone(),
            home: scratch.join("kiln-home-rootless"),
            user: Some(user),
        };
        kiln.reset()?;
        Ok(kiln)
    }

    /// Version and settings, for the report.
    pub(crate) fn describe(&self) -> (Result<String, String>, String) {
        let settings = match self.user {
            None => "no daemon; `kiln build` or `kiln rootfs`, as root",
            Some(_) => {
                "no daemon; `kiln build` or `kiln rootfs`, as an ordinary user with subordinate ids"
            }
        };
        let version = version(&Invocation::new(&self.binary).arg("--version"));
        (version, settings.to_owned())
    }

    /// A command of kiln on this store; the caller adds the subcommand.
    pub(crate) fn invocation(&self) -> Invocation {
        Invocation {
            user: self.user,
            ..Invocation::new(&self.binary)
        }
        .env("HOME", &self.home)
        .arg("--root")
        .arg(self.home.join("store"))
    }

    /// The command for a build.
    pub(crate) fn build(&self, job: &Job<'_>) -> Invocation {
        let mut command = self.invocation().args(["build", "--tag", job.name]);
        if job.no_cache {
            command = command.arg("--no-cache");
        }
        if job.push {
            command = command.arg("--push");
        }
        if let Some(name) = job.cache_to {
            let spec = format!("type=registry,ref={name},mode=max");
            command = command.arg("--cache-to").arg(spec);
        }
        if let Some(name) = job.cache_from {
            let spec = format!("type=registry,ref={name}");
            command = command.arg("--cache-from").arg(spec);
        }
        command.arg(job.context)
    }

    /// The command for a disk; the store is asked for the image first, and then its registry.
    pub(crate) fn disk(&self, job: &DiskJob<'_>) -> Invocation {
        let compression: &[&str] = match job.format {
            DiskFormat::Ext4 | DiskFormat::Erofs => &[],
            DiskFormat::ErofsLz4 => &["--compression", "lz4"],
            DiskFormat::Squashfs => &["--compression", "zstd"],
        };
        let mut command = self.invocation().args(["rootfs", "--format"]);
        command = command.arg(job.format.name()).args(compression);
        if job.is_files_only {
            command = command.args(["--init", "none", "--no-manifest"]);
        }
        command.arg("--output").arg(job.path()).arg(job.image)
    }

    /// An empty home with no store.
    pub(crate) fn reset(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("`{}`: {error}", self.home.display());
        match fs::remove_dir_all(&self.home) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => fs::create_dir_all(&self.home).map_err(failed),
        }?;
        if let Some(User { uid, gid }) = self.user {
            chown(&self.home, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(())
    }
}

/// Copies a program to where every user can run it.
pub(crate) fn copy_program(from: &Path, to: &Path) -> std::io::Result<()> {
    if to.exists() {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
}

/// The ids of a user in the text of `/etc/passwd`.
fn find_user(users: &str, name: &str) -> Option<User> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        Some(User {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nkiln:x:7:8::/:/bin/sh\n";
        assert_eq!(find_user(users, "kiln"), Some(User { uid: 7, gid: 8 }));
        assert_eq!(find_user(users, "kil"), None);
    }
}
