//! What a program finds mounted: the kernel's file systems as Docker shows them, and the mounts that
//! the step asks for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use kiln_sys::mount::{
    Attributes, Filesystem, Recursion, attach, attach_on_root, bind, bind_fd, create_in_root,
    mount_filesystem, open_in_root, set_attributes,
};
use rustix::fs::{
    FileType, Mode, OFlags, fchmod, fstat, makedev, mkdirat, mknodat, openat, symlinkat,
};
use rustix::io::Errno;

use super::{Mount, MountKind, StageError, Step, at};
use crate::Stage;
use crate::wire::{Failure, WireGrade, errno_of};

const NOSUID: Attributes = Attributes::MOUNT_ATTR_NOSUID;
const NODEV: Attributes = Attributes::MOUNT_ATTR_NODEV;
const NOEXEC: Attributes = Attributes::MOUNT_ATTR_NOEXEC;
const RDONLY: Attributes = Attributes::MOUNT_ATTR_RDONLY;
const STRICTATIME: Attributes = Attributes::MOUNT_ATTR_STRICTATIME;

const SAFE: Attributes = NOSUID.union(NODEV).union(NOEXEC);

/// Device nodes of a container: name, major, minor. All are character devices of mode 0666.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const DEVICE_LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Kernel interfaces that say too much about the host, below `/proc` and `/sys`: an empty directory
/// or `/dev/null` is mounted over them.
const MASKED_PROC: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
const MASKED_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];

/// Kernel interfaces below `/proc` that change the host when written to.
const READ_ONLY_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Docker's size of `/dev/shm`.
const SHM_BYTES: u64 = 64 << 20;
const DEV_BYTES: u64 = 64 << 20;

/// The group `tty` of every distribution, which owns terminals.
const TTY_GROUP: u32 = 5;

impl Step {
    /// Attaches the root on top of `/`, where it can be pivoted to. Paths that begin with `/` still
    /// mean the host's.
    ///
    /// Below it goes a memory file system for the files that come as content, if there are any: they
    /// can be bound from there, and it goes away with the old root. So does the one that kiln holds.
    pub(super) fn attach_root(&self) -> Result<Option<OwnedFd>, StageError> {
        let files = self.attach_files().map_err(at(Stage::Root))?;
        if let Some(held) = &self.held {
            attach_on_root(held.as_fd()).map_err(at(Stage::Root))?;
        }
        attach_on_root(self.root.as_fd()).map_err(at(Stage::Root))?;
        Ok(files)
    }

    fn attach_files(&self) -> io::Result<Option<OwnedFd>> {
        let is_file = |mount: &Mount| matches!(mount.kind, MountKind::File { .. });
        if !self.mounts.iter().any(is_file) {
            return Ok(None);
        }
        let tmpfs = Filesystem::Tmpfs {
            size: None,
            mode: 0o700,
        };
        // A script is one of the files; those that are none are bound without the right to run.
        let files = mount_filesystem(tmpfs, NOSUID.union(NODEV))?;
        attach_on_root(files.as_fd())?;
        Ok(Some(files))
    }

    pub(super) fn mount_kernel_filesystems(&self) -> Result<(), StageError> {
        mount_filesystem(Filesystem::Proc, SAFE)
            .and_then(|proc| self.attach_at(&proc, "/proc"))
            .map_err(at(Stage::Proc))?;
        self.mount_dev().map_err(at(Stage::Dev))?;
        self.mount_sys().map_err(at(Stage::Sys))
    }

    fn attach_at(&self, mount: &OwnedFd, path: &str) -> io::Result<()> {
        let target = open_in_root(self.root.as_fd(), Path::new(path))?;
        attach(mount.as_fd(), target.as_fd())
    }

    fn mount_dev(&self) -> io::Result<()> {
        let tmpfs = Filesystem::Tmpfs {
            size: Some(DEV_BYTES),
            mode: 0o755,
        };
        let dev = mount_filesystem(tmpfs, NOSUID.union(STRICTATIME))?;
        self.attach_at(&dev, "/dev")?;
        for (name, major, minor) in DEVICES {
            self.make_device(&dev, name, major, minor)?;
        }
        for (name, target) in DEVICE_LINKS {
            symlinkat(target, &dev, name)?;
        }
        let group = (self.wire.grade != WireGrade::RootlessSingle).then_some(TTY_GROUP);
        let shm = Filesystem::Tmpfs {
            size: Some(self.wire.shm_bytes.unwrap_or(SHM_BYTES)),
            mode: 0o1777,
        };
        for (name, filesystem, attributes) in [
            ("pts", Filesystem::Devpts { group }, NOSUID.union(NOEXEC)),
            ("shm", shm, SAFE),
            ("mqueue", Filesystem::Mqueue, SAFE),
        ] {
            mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
            let mount = mount_filesystem(filesystem, attributes)?;
            attach_below(&mount, &dev, name)?;
        }
        if self.wire.insecure {
            super::devices::make_more(&dev, self.wire.grade == WireGrade::Root)?;
        }
        Ok(())
    }

    /// What `/sys` and the control groups are mounted with.
    fn kernel_attributes(&self) -> Attributes {
        if self.wire.insecure {
            SAFE
        } else {
            SAFE.union(RDONLY)
        }
    }

    /// Makes a node, or binds the host's where making one is forbidden.
    fn make_device(&self, dev: &OwnedFd, name: &str, major: u32, minor: u32) -> io::Result<()> {
        if self.wire.grade == WireGrade::Root {
            let mode = Mode::from_raw_mode(0o666);
            let node = FileType::CharacterDevice;
            return Ok(mknodat(dev, name, node, mode, makedev(major, minor))?);
        }
        let target = create_in_root(dev.as_fd(), Path::new(name), false)?;
        let device = bind(&Path::new("/dev").join(name), Recursion::This)?;
        attach(device.as_fd(), target.as_fd())
    }

    fn mount_sys(&self) -> io::Result<()> {
        let attributes = self.kernel_attributes();
        let sys = match mount_filesystem(Filesystem::Sysfs, attributes) {
            Ok(sys) => {
                self.attach_at(&sys, "/sys")?;
                sys
            }
            // It shows the network namespace, so only who owns that may mount it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let sys = bind(Path::new("/sys"), Recursion::Below)?;
                set_attributes(sys.as_fd(), attributes, Recursion::Below)?;
                return self.attach_at(&sys, "/sys");
            }
            Err(error) => return Err(error),
        };
        match open_beneath(&sys, "fs/cgroup") {
            Ok(target) => mount_control_groups(target.as_fd(), &self.control_groups, attributes),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn mount_requested(&self, files: Option<&OwnedFd>) -> Result<(), Failure> {
        for (index, mount) in self.mounts.iter().enumerate() {
            self.mount_one(index, mount, files)
                .map_err(|cause| Failure::Mount {
                    target: mount.target.clone(),
                    errno: errno_of(&cause),
                })?;
        }
        Ok(())
    }

    fn mount_one(&self, index: usize, mount: &Mount, files: Option<&OwnedFd>) -> io::Result<()> {
        let (detached, directory) = match &mount.kind {
            MountKind::Attach { mount, directory } => (mount.try_clone()?, *directory),
            MountKind::Tmpfs { size, mode } => {
                let tmpfs = Filesystem::Tmpfs {
                    size: *size,
                    mode: *mode,
                };
                (mount_filesystem(tmpfs, NOSUID.union(NODEV))?, true)
            }
            MountKind::File { content, mode } => {
                let files = files.ok_or(Errno::INVAL)?;
                let file = write_file(files, &index.to_string(), content, *mode)?;
                let detached = bind_fd(file.as_fd(), Recursion::This)?;
                let runs = *mode & 0o111 != 0;
                let attributes = if runs { NOSUID.union(NODEV) } else { SAFE };
                set_attributes(detached.as_fd(), attributes.union(RDONLY), Recursion::This)?;
                (detached, false)
            }
            MountKind::Held { name } => {
                let held = self.held.as_ref().ok_or(Errno::INVAL)?;
                let file = open_beneath(held, name)?;
                let detached = bind_fd(file.as_fd(), Recursion::This)?;
                set_attributes(detached.as_fd(), SAFE.union(RDONLY), Recursion::This)?;
                (detached, false)
            }
        };
        let target = self.open_or_make(Path::new(&mount.target), directory)?;
        attach(detached.as_fd(), target.as_fd())
    }

    /// Opens a mount point. Those of the root exist by now; one inside another mount may not.
    fn open_or_make(&self, path: &Path, directory: bool) -> io::Result<OwnedFd> {
        match open_in_root(self.root.as_fd(), path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::NOENT.into());
        };
        let parent = self.open_or_make(parent, true)?;
        create_in_root(parent.as_fd(), Path::new(name), directory)
    }

    pub(super) fn hide_kernel_interfaces(&self) -> Result<(), StageError> {
        if self.wire.insecure {
            return Ok(());
        }
        self.hide().map_err(at(Stage::Mask))
    }

    fn hide(&self) -> io::Result<()> {
        let root = self.root.as_fd();
        let proc = open_in_root(root, Path::new("/proc"))?;
        let sys = open_in_root(root, Path::new("/sys"))?;
        for name in READ_ONLY_PROC {
            if let Ok(target) = open_beneath(&proc, name) {
                let copy = bind_fd(target.as_fd(), Recursion::Below)?;
                set_attributes(copy.as_fd(), SAFE.union(RDONLY), Recursion::Below)?;
                attach(copy.as_fd(), target.as_fd())?;
            }
        }
        let null = open_in_root(root, Path::new("/dev/null"))?;
        let mut empty = None;
        let masked_proc = MASKED_PROC.iter().map(|name| (&proc, name));
        let masked_sys = MASKED_SYS.iter().map(|name| (&sys, name));
        for (base, name) in masked_proc.chain(masked_sys) {
            if let Ok(target) = open_beneath(base, name) {
                mask(target.as_fd(), null.as_fd(), &mut empty)?;
            }
        }
        Ok(())
    }
}

/// Covers a directory with an empty one, and a file with `/dev/null`. `empty` holds the empty
/// directory once there is one.
fn mask(
    target: BorrowedFd<'_>,
    null: BorrowedFd<'_>,
    empty: &mut Option<OwnedFd>,
) -> io::Result<()> {
    if FileType::from_raw_mode(fstat(target)?.st_mode) != FileType::Directory {
        return attach(bind_fd(null, Recursion::This)?.as_fd(), target);
    }
    let Some(attached) = empty else {
        let tmpfs = Filesystem::Tmpfs {
            size: Some(0),
            mode: 0o755,
        };
        let first = empty.insert(mount_filesystem(tmpfs, SAFE.union(RDONLY))?);
        return attach(first.as_fd(), target);
    };
    let copy = bind_fd(attached.as_fd(), Recursion::This)?;
    attach(copy.as_fd(), target)
}

fn open_beneath(directory: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(directory, path, flags, Mode::empty())?)
}

fn attach_below(mount: &OwnedFd, directory: &OwnedFd, name: &str) -> io::Result<()> {
    attach(mount.as_fd(), open_beneath(directory, name)?.as_fd())
}

fn write_file(files: &OwnedFd, name: &str, content: &OwnedFd, mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(files, name, flags, Mode::from_raw_mode(0o600))?;
    fchmod(&file, Mode::from_raw_mode(mode))?;
    let mut from = std::fs::File::from(content.try_clone()?);
    io::Seek::rewind(&mut from)?;
    let mut file = std::fs::File::from(file);
    io::copy(&mut from, &mut file)?;
    Ok(file.into())
}

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// How the host's control groups are laid out.
pub(super) enum ControlGroups {
    /// Version 2.
    Unified,
    /// Version 1: each hierarchy's directory and this process's group in it.
    Legacy(Vec<(String, PathBuf)>),
}

impl ControlGroups {
    /// To be asked before the process gets a cgroup namespace, in which its own group is `/`.
    pub(super) fn of_host() -> Self {
        if Path::new(CONTROL_GROUPS)
            .join("cgroup.controllers")
            .exists()
        {
            return Self::Unified;
        }
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::Legacy(hierarchies(&groups))
    }
}

/// Shows the step its own control group: version 2 as it is mounted everywhere today, or version 1
/// with one directory per hierarchy.
fn mount_control_groups(
    target: BorrowedFd<'_>,
    groups: &ControlGroups,
    attributes: Attributes,
) -> io::Result<()> {
    let ControlGroups::Legacy(hierarchies) = groups else {
        return match mount_filesystem(Filesystem::Cgroup2, attributes) {
            Ok(groups) => attach(groups.as_fd(), target),
            // Without a cgroup namespace of its own the step sees none.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error),
        };
    };
    if hierarchies.is_empty() {
        return Ok(());
    }
    let tmpfs = Filesystem::Tmpfs {
        size: None,
        mode: 0o755,
    };
    let directory = mount_filesystem(tmpfs, SAFE)?;
    attach(directory.as_fd(), target)?;
    for (name, path) in hierarchies {
        let group = Path::new(CONTROL_GROUPS).join(name).join(path);
        let Ok(group) = bind(&group, Recursion::This) else {
            continue;
        };
        mkdirat(&directory, name, Mode::from_raw_mode(0o755))?;
        attach_below(&group, &directory, name)?;
    }
    set_attributes(directory.as_fd(), attributes, Recursion::Below)
}

/// The directory of each hierarchy below `/sys/fs/cgroup` and this process's group in it, from the
/// text of `/proc/self/cgroup` (cgroups(7)).
fn hierarchies(groups: &str) -> Vec<(String, PathBuf)> {
    let parse = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let path = fields.next()?.trim_start_matches('/');
        let name = match controllers {
            "" => "unified",
            named => named.strip_prefix("name=").unwrap_or(named),
        };
        Some((name.to_owned(), PathBuf::from(path)))
    };
    groups.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_control_groups() {
        let text = "3:cpu,cpuacct:/a/b\n1:name=systemd:/\n0::/c\nrubbish\n";
        let expected = [("cpu,cpuacct", "a/b"), ("systemd", ""), ("unified", "c")]
            .map(|(name, path)| (name.to_owned(), PathBuf::from(path)));
        assert_eq!(hierarchies(text), expected);
    }
}
