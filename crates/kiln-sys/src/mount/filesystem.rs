//! New instances of the kernel's own file systems.

use std::io;
use std::os::fd::OwnedFd;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// A file system that the kernel makes from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    /// Processes of the caller's pid namespace.
    Proc,
    /// Devices and drivers as the caller's network namespace shows them.
    Sysfs,
    /// Control groups, version 2.
    Cgroup2,
    /// A private set of pseudo terminals.
    Devpts {
        /// The group that owns terminals; `None` where it does not exist in the user namespace.
        group: Option<u32>,
    },
    /// POSIX message queues of the caller's ipc namespace.
    Mqueue,
    /// Files in memory.
    Tmpfs {
        /// Upper limit in bytes; `None` for the kernel's default, half the memory.
        size: Option<u64>,
        /// Mode of its root directory.
        mode: u32,
    },
    /// Files in memory that is never swapped out; without a limit of size.
    Ramfs {
        /// Mode of its root directory.
        mode: u32,
    },
    /// Handlers for foreign program formats, private to the caller's user namespace (Linux 6.7).
    BinfmtMisc,
}

impl Filesystem {
    const fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
            Self::Cgroup2 => "cgroup2",
            Self::Devpts { .. } => "devpts",
            Self::Mqueue => "mqueue",
            Self::Tmpfs { .. } => "tmpfs",
            Self::Ramfs { .. } => "ramfs",
            Self::BinfmtMisc => "binfmt_misc",
        }
    }

    fn strings(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Devpts { group } => {
                let mut options =
                    vec![("ptmxmode", "0666".to_owned()), ("mode", "0620".to_owned())];
                options.extend(group.map(|group| ("gid", group.to_string())));
                options
            }
            Self::Tmpfs { size, mode } => {
                let mut options = vec![("mode", format!("{mode:o}"))];
                options.extend(size.map(|size| ("size", size.to_string())));
                options
            }
            Self::Ramfs { mode } => vec![("mode", format!("{mode:o}"))],
            _ => Vec::new(),
        }
    }
}

/// Makes a detached mount of a new file system.
pub fn mount_filesystem(kind: Filesystem, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind.name(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", kind.name())?;
    if let Filesystem::Devpts { .. } = kind {
        fsconfig_set_flag(&context, "newinstance")?;
    }
    for (key, value) in kind.strings() {
        fsconfig_set_string(&context, key, value)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}
