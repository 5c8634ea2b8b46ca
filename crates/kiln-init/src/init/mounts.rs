//! What is mounted where.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use kiln_init::config::{Config, Root};
use kiln_sys::machine::{self, MountFlags};

use crate::{Failure, warn};

/// A file system of the kernel's own, with its place.
struct Place {
    target: &'static str,
    kind: &'static str,
    flags: MountFlags,
    options: &'static str,
    need: Need,
}

/// What it means that a file system can't be mounted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Programs can't run without it.
    Required,
    /// Kernels may lack it.
    Wanted,
}

const PLAIN: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);
const DATA: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

const fn place(
    target: &'static str,
    kind: &'static str,
    flags: MountFlags,
    options: &'static str,
    need: Need,
) -> Place {
    Place {
        target,
        kind,
        flags,
        options,
        need,
    }
}

const PROC: Place = place("/proc", "proc", PLAIN, "", Need::Required);

/// In the order of mounting.
const PLACES: &[Place] = &[
    PROC,
    place("/sys", "sysfs", PLAIN, "", Need::Wanted),
    place("/sys/fs/cgroup", "cgroup2", PLAIN, "", Need::Wanted),
    place(
        "/dev",
        "devtmpfs",
        MountFlags::NOSUID,
        "mode=0755",
        Need::Required,
    ),
    place(
        "/dev/pts",
        "devpts",
        MountFlags::NOSUID.union(MountFlags::NOEXEC),
        "gid=5,mode=0620,ptmxmode=0666",
        Need::Wanted,
    ),
    place("/dev/shm", "tmpfs", DATA, "mode=1777", Need::Wanted),
    place("/dev/mqueue", "mqueue", PLAIN, "", Need::Wanted),
];

/// Names that programs expect in `/dev`.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Mounts `/proc`, which everything else needs.
pub(crate) fn mount_proc() -> Result<(), Failure> {
    mount(&PROC)
}

/// Mounts what an initial file system needs.
pub(crate) fn mount_for_initrd() -> Result<(), Failure> {
    let mut needed = PLACES.iter().filter(|place| place.need == Need::Required);
    needed.try_for_each(mount)
}

/// Mounts everything that a program expects, and makes the root what it should be.
pub(crate) fn mount_all(config: &Config) -> Result<(), Failure> {
    prepare_root(config.root)?;
    PLACES.iter().try_for_each(mount)?;
    for (link, target) in LINKS {
        // What is there already is right.
        let _ = symlink(target, link);
    }
    keep_in_memory(Path::new("/run"))?;
    if config.tmp {
        keep_in_memory(Path::new("/tmp"))?;
    }
    Ok(())
}

/// Makes the image's volumes directories that can be written to.
pub(crate) fn mount_volumes(config: &Config) -> Result<(), Failure> {
    for volume in &config.volumes {
        let path = Path::new(volume);
        if config.root == Root::ReadOnly {
            keep_in_memory(path)?;
        } else {
            fs::create_dir_all(path).map_err(failed("the volume", path))?;
        }
    }
    Ok(())
}

/// Puts a directory in memory over the root and goes on there.
pub(crate) fn enter_overlay() -> Result<(), Failure> {
    // The one directory that is surely there, and is mounted again afterwards. What is below it
    // stays, hidden.
    let root = overlay(Path::new("/"), Path::new("/proc"))?;
    machine::switch_root(&root)
        .map_err(|error| Failure::machine(format!("entering the overlay: {error}")))
}

/// Mounts memory at `base`, and below it an overlay of that over `lower`, whose place is returned.
pub(crate) fn overlay(lower: &Path, base: &Path) -> Result<PathBuf, Failure> {
    let step = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| {
            Failure::machine(format!("the overlay on the root: {what}: {error}"))
        }
    };
    let _ = machine::remount(lower, remount_flags(MountFlags::RDONLY));
    machine::mount_at("tmpfs", base, "tmpfs", DATA, "mode=0755").map_err(step("memory"))?;
    let (upper, work, root) = (base.join("upper"), base.join("work"), base.join("root"));
    for directory in [&upper, &work, &root] {
        fs::create_dir(directory).map_err(step("a directory"))?;
    }
    // The root directory itself gets the attributes that the disk's has.
    copy_attributes(lower, &upper).map_err(step("the root directory"))?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    machine::mount_at("overlay", &root, "overlay", MountFlags::empty(), &options)
        .map_err(step("the kernel can't mount overlayfs"))?;
    Ok(root)
}

fn prepare_root(root: Root) -> Result<(), Failure> {
    let path = Path::new("/");
    let is_read_only = machine::is_read_only(path).unwrap_or(false);
    let result = match root {
        Root::ReadWrite if is_read_only => {
            machine::remount(path, remount_flags(MountFlags::empty()))
        }
        Root::ReadOnly if !is_read_only => {
            machine::remount(path, remount_flags(MountFlags::RDONLY))
        }
        _ => return Ok(()),
    };
    match (root, result) {
        (_, Ok(())) => Ok(()),
        // erofs and squashfs can't be written to, and many programs don't mind.
        (Root::ReadWrite, Err(error)) => {
            warn(format!("the root stays read-only: {error}"));
            Ok(())
        }
        (_, Err(error)) => Err(Failure::machine(format!(
            "the root can't be made read-only: {error}"
        ))),
    }
}

/// Whether this process is a machine's first, and not a pid namespace's: then the file systems are its
/// own, and nobody else's.
pub(crate) fn is_machine() -> bool {
    /// The kernel's own number for the first namespace.
    const FIRST: u64 = 0xEFFF_FFFC;
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == FIRST)
}

/// A container's root may be a part of a file system that others use, too: there the mount alone is
/// changed.
fn remount_flags(flags: MountFlags) -> MountFlags {
    if is_machine() {
        flags
    } else {
        flags | MountFlags::BIND
    }
}

fn mount(place: &Place) -> Result<(), Failure> {
    let path = Path::new(place.target);
    // A kernel may have mounted `/dev`; a container's runtime, any of them.
    if is_mount_point(path) {
        return Ok(());
    }
    // Where it can't be made, mounting says so.
    let _ = fs::create_dir_all(path);
    let mounted = machine::mount_at(place.kind, path, place.kind, place.flags, place.options);
    match (mounted, place.need) {
        (Ok(()), _) => Ok(()),
        (Err(error), Need::Required) => Err(failed("mounting", path)(error)),
        (Err(error), Need::Wanted) => {
            warn(format!("`{}` is not mounted: {error}", path.display()));
            Ok(())
        }
    }
}

fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).map(|found| found.dev());
    match (device(path), device(&path.join(".."))) {
        (Ok(own), Ok(above)) => own != above,
        _ => false,
    }
}

/// Mounts memory at a directory, with the attributes and the content that the disk has there.
fn keep_in_memory(path: &Path) -> Result<(), Failure> {
    let failed = |error| failed("memory for", path)(error);
    let _ = fs::create_dir_all(path);
    if is_mount_point(path) {
        return Ok(());
    }
    // The descriptor goes on leading to the disk's directory.
    let below = File::open(path).map_err(failed)?;
    machine::mount_at("tmpfs", path, "tmpfs", DATA, "mode=0755").map_err(failed)?;
    let below = PathBuf::from(format!("/proc/self/fd/{}", below.as_raw_fd()));
    // The path ends in a link that only the kernel can follow, hence the `.`.
    copy_directory(&below.join("."), path).map_err(failed)
}

/// Copies a directory's content and attributes onto a directory. Does not recurse, since a disk may
/// be as deep as it likes.
fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    let mut pending = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = pending.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                fs::create_dir(&target)?;
                pending.push((source, target));
            } else if kind.is_symlink() {
                symlink(fs::read_link(&source)?, &target)?;
            } else if kind.is_file() {
                fs::copy(&source, &target)?;
                copy_attributes(&source, &target)?;
            } else {
                warn(format!("`{}` is not kept in memory", target.display()));
            }
        }
        copy_attributes(&from, &to)?;
    }
    Ok(())
}

fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::metadata(from)?;
    chown(to, Some(found.uid()), Some(found.gid()))?;
    fs::set_permissions(to, Permissions::from_mode(found.mode() & 0o7777))
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let message = format!("{what} `{}`", path.display());
    move |error| Failure::machine(format!("{message}: {error}"))
}
