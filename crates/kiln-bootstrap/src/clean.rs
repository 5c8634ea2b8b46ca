//! Taking out of a new system what belongs to the host it was made on, or to the moment.

use std::io::Write as _;
use std::path::Path;

use kiln_sys::fs::{Dir, FsError, LastLink, Result};

use crate::mmdebstrap::{APT_SETTINGS, APT_SETTINGS_FILE, TEMPORARY};

/// Emptied, because a container gets its own; made where they are missing.
const HOST_FILES: &[&str] = &["etc/hostname", "etc/resolv.conf"];

/// Emptied where it is: an empty machine id is what systemd fills at the first start.
const MACHINE_ID: &str = "etc/machine-id";

/// Folders of which only the folder stays. The helper empties `/run` and `/tmp` itself.
const EMPTIED: &[&str] = &[
    "dev",
    "var/cache/apt/archives",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/log/apt",
];

/// Files that differ from run to run, or only make sense where packages were just installed.
const REMOVED: &[&str] = &[
    "etc/apt/sources.list",
    "usr/bin/qemu-aarch64-static",
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    "var/lib/dbus/machine-id",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
];

/// Packages start their services while they are installed, which no build step wants.
const POLICY_RC_D: &str = "\
#!/bin/sh
# No service is started while an image is built. See deb-systemd-invoke(1) and invoke-rc.d(8).
exit 101
";

/// Cleans the system at `root`; `sources` is the list of archives it is to have, in deb822.
pub(crate) fn clean(root: &Dir, sources: &str) -> Result<()> {
    for path in EMPTIED {
        if let Some(folder) = open(root, path)? {
            folder.remove_contents()?;
        }
    }
    for path in TEMPORARY.iter().chain(REMOVED) {
        remove(root, path)?;
    }
    for path in HOST_FILES {
        replace(root, path, "", 0o644)?;
    }
    if is_there(root, MACHINE_ID)? {
        replace(root, MACHINE_ID, "", 0o444)?;
    }
    if let Some(parts) = open(root, "etc/apt/sources.list.d")? {
        parts.remove_contents()?;
        replace(
            root,
            "etc/apt/sources.list.d/debian.sources",
            sources,
            0o644,
        )?;
    }
    if open(root, "etc/apt/apt.conf.d")?.is_some() {
        replace(root, APT_SETTINGS_FILE, APT_SETTINGS, 0o644)?;
    }
    replace(root, "usr/sbin/policy-rc.d", POLICY_RC_D, 0o755)
}

/// Whether the system has `path`. Symbolic links are followed inside it.
pub(crate) fn is_there(root: &Dir, path: &str) -> Result<bool> {
    match root.resolve_in_root(path, LastLink::Follow) {
        Ok(location) => Ok(location.metadata.is_some()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(root: &Dir, path: &str) -> Result<Option<Dir>> {
    match root.open_dir_in_root(path) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(root: &Dir, path: &str) -> Result<()> {
    match root.resolve_in_root(path, LastLink::Keep) {
        Ok(location) if location.metadata.is_some() => location.dir.unlink(&location.name),
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Puts a file in the place of whatever is there. Its folder has to exist.
fn replace(root: &Dir, path: &str, text: &str, mode: u32) -> Result<()> {
    remove(root, path)?;
    let location = root.resolve_in_root(path, LastLink::Keep)?;
    let mut file = location.dir.create_file(&location.name, mode)?;
    file.write_all(text.as_bytes())
        .map_err(|error| FsError::new("write", Path::new(path), error))?;
    // The mode at creation is cut by the process's mask.
    location.dir.set_mode(&location.name, mode)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn listing(root: &Path) -> String {
        let mut lines = Vec::new();
        let mut pending = vec![root.to_owned()];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let shown = path.strip_prefix(root).unwrap().display().to_string();
                if path.is_dir() && !path.is_symlink() {
                    lines.push(format!("{shown}/"));
                    pending.push(path);
                } else if path.is_symlink() {
                    lines.push(shown);
                } else {
                    lines.push(format!("{shown} {}", fs::metadata(path).unwrap().len()));
                }
            }
        }
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn nothing_of_the_host_stays() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [
            "dev/pts",
            "etc/apt/apt.conf.d",
            "etc/apt/sources.list.d",
            "usr/sbin",
            "run/lock",
            "var/lib/apt/lists/partial",
            "var/log/apt",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in [
            "dev/null",
            "etc/hostname",
            "etc/machine-id",
            "etc/apt/apt.conf.d/00kiln-acquire",
            "etc/apt/apt.conf.d/70debconf",
            "etc/apt/sources.list.d/0000debian.sources",
            "var/lib/apt/lists/lock",
            "var/log/apt/term.log",
            "var/log/dpkg.log",
            "var/log/faillog",
        ] {
            fs::write(root.join(path), "host").unwrap();
        }
        // A link that leads out of the tree when it is followed from outside.
        symlink("/etc/passwd", root.join("etc/resolv.conf")).unwrap();

        clean(&Dir::open(root).unwrap(), "Types: deb\n").unwrap();

        expect_test::expect![[r"
            dev/
            etc/
            etc/apt/
            etc/apt/apt.conf.d/
            etc/apt/apt.conf.d/70debconf 4
            etc/apt/apt.conf.d/90container 233
            etc/apt/sources.list.d/
            etc/apt/sources.list.d/debian.sources 11
            etc/hostname 0
            etc/machine-id 0
            etc/resolv.conf 0
            run/
            run/lock/
            usr/
            usr/sbin/
            usr/sbin/policy-rc.d 114
            var/
            var/lib/
            var/lib/apt/
            var/lib/apt/lists/
            var/log/
            var/log/apt/
            var/log/faillog 4"]]
        .assert_eq(&listing(root));
    }
}
