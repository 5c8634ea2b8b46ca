//! Overlay mounts of snapshots.
//!
//! The mount is made with the new mount API, one `lowerdir+` per layer (Linux 6.8), and never
//! attached here. Two limits of the kernel shape the code: a string option holds 255 bytes, so longer
//! paths go in as `/proc/self/fd/N`; and kernels without `lowerdir+` take all layers in the single
//! page of `mount(2)`'s data, so the fall-back names them through a directory of short symlinks and
//! a thread with a working directory of its own.
//!
//! A stack needs no overlay when it has one layer only: that is a bind mount, read-only when it is a
//! lower layer.
//!
//! JUSTIFICATION for `unsafe`: a thread stops sharing its working directory; the type system can't see
//! that nothing else stops being shared.
//!
//! Deliberately absent: metacopy, redirects and indexes. They are switched off where the kernel would
//! default to them, because a layer has to mean the same on every machine.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::bind::{Recursion, bind, set_attributes};

/// The kernel's limit on the layers of one overlay.
pub const MAX_LOWERS: usize = 500;

/// Longest string that `fsconfig` takes.
const MAX_STRING: usize = 255;

/// A stack of directories to be seen as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The read-only layers, top first; absolute paths.
    pub lowers: Vec<PathBuf>,
    /// Where changes go; `None` for a read-only view.
    pub upper: Option<Upper>,
    /// Whether the layers keep overlay's marks in `user.*` attributes ([`crate::namespace::Grade`]).
    pub userxattr: bool,
}

/// The writable part of an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// Gets the changes, in overlay's own format.
    pub upper: PathBuf,
    /// An empty directory on the same file system, for the kernel's use.
    pub work: PathBuf,
    /// What `fsync` inside the mount does.
    pub durability: Durability,
}

/// What a program's `fsync` on an overlay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// What the program asks for.
    Sync,
    /// Nothing: right for a snapshot that is thrown away if the machine fails before it is committed.
    /// The kernel marks the work directory, and mounts the pair of directories only once.
    Volatile,
}

/// How to hand the layers to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayMethod {
    /// One option per layer (Linux 6.8).
    LayerByLayer,
    /// All in one page, by short names.
    OnePage,
}

/// An overlay could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// There is nothing to show.
    #[error("an overlay needs at least one layer")]
    NoLayer,
    /// More than [`MAX_LOWERS`].
    #[error("{0} layers are more than the {MAX_LOWERS} that the kernel can stack")]
    TooManyLayers(usize),
    /// A layer is not a directory that can be opened.
    #[error("could not open the layer `{path}`")]
    Layer {
        /// The layer.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The kernel refused.
    #[error("could not {action}")]
    Kernel {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

fn kernel<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> OverlayError {
    move |cause| OverlayError::Kernel {
        action,
        cause: cause.into(),
    }
}

impl Overlay {
    /// Mounts the stack, attached nowhere. The mount is gone when the descriptor is closed.
    pub fn mount_detached(&self) -> Result<OwnedFd, OverlayError> {
        match self.mount_detached_by(OverlayMethod::LayerByLayer) {
            Err(OverlayError::Kernel { action, .. }) if action == SET_LOWER => {
                self.mount_detached_by(OverlayMethod::OnePage)
            }
            result => result,
        }
    }

    /// [`Overlay::mount_detached`] with a chosen method and no fall-back.
    pub fn mount_detached_by(&self, method: OverlayMethod) -> Result<OwnedFd, OverlayError> {
        if self.lowers.len() > MAX_LOWERS {
            return Err(OverlayError::TooManyLayers(self.lowers.len()));
        }
        match (self.lowers.as_slice(), &self.upper) {
            ([], None) => Err(OverlayError::NoLayer),
            ([], Some(upper)) => bind_layer(&upper.upper),
            ([only], None) => {
                let mount = bind_layer(only)?;
                set_attributes(
                    mount.as_fd(),
                    MountAttrFlags::MOUNT_ATTR_RDONLY,
                    Recursion::This,
                )
                .map_err(kernel("make the layer read-only"))?;
                Ok(mount)
            }
            _ => match method {
                OverlayMethod::LayerByLayer => self.layer_by_layer(),
                OverlayMethod::OnePage => self.one_page(),
            },
        }
    }

    fn layer_by_layer(&self) -> Result<OwnedFd, OverlayError> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(kernel("open an overlay context"))?;
        fsconfig_set_string(&context, "source", "overlay").map_err(kernel("name the overlay"))?;
        // Long paths are named through descriptors, which have to stay open until the mount is made.
        let mut held = Vec::new();
        for lower in &self.lowers {
            let value = option_value(lower, &mut held)?;
            fsconfig_set_string(&context, "lowerdir+", value).map_err(|errno| match errno {
                Errno::INVAL => kernel(SET_LOWER)(errno),
                _ => OverlayError::Layer {
                    path: lower.clone(),
                    cause: errno.into(),
                },
            })?;
        }
        if let Some(upper) = &self.upper {
            for (key, path) in [("upperdir", &upper.upper), ("workdir", &upper.work)] {
                let value = option_value(path, &mut held)?;
                fsconfig_set_string(&context, key, value)
                    .map_err(kernel("set the overlay's upper directory"))?;
            }
        }
        for option in self.switches() {
            let result = match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(&context, key, value),
                None => fsconfig_set_flag(&context, option),
            };
            result.map_err(kernel("set an overlay option"))?;
        }
        fsconfig_create(&context).map_err(kernel("make the overlay"))?;
        fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
        .map_err(kernel("mount the overlay"))
    }

    /// The options that make a layer mean the same everywhere.
    fn switches(&self) -> Vec<&'static str> {
        let mut options = vec!["index=off"];
        if self.userxattr {
            // Implies that redirects and metacopy are off.
            options.push("userxattr");
        } else {
            options.extend(["redirect_dir=nofollow", "metacopy=off"]);
        }
        if matches!(&self.upper, Some(upper) if upper.durability == Durability::Volatile) {
            options.push("volatile");
        }
        options
    }

    fn one_page(&self) -> Result<OwnedFd, OverlayError> {
        let names = ShortNames::create(self)?;
        let options = names.options(&self.switches());
        let dir = names.dir.clone();
        // The working directory belongs to the whole process, unless a thread asks for its own.
        let mounted = std::thread::scope(|scope| {
            scope
                .spawn(move || mount_with_short_names(&dir, &options))
                .join()
        });
        mounted.unwrap_or_else(|_| Err(kernel("mount the overlay")(Errno::IO)))
    }
}

const SET_LOWER: &str = "add a layer to the overlay";

fn bind_layer(path: &Path) -> Result<OwnedFd, OverlayError> {
    bind(path, Recursion::This).map_err(|cause| OverlayError::Layer {
        path: path.to_owned(),
        cause,
    })
}

fn option_value(path: &Path, held: &mut Vec<OwnedFd>) -> Result<PathBuf, OverlayError> {
    if path.as_os_str().len() <= MAX_STRING {
        return Ok(path.to_owned());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, path, flags, Mode::empty());
    let directory = opened.map_err(|errno| OverlayError::Layer {
        path: path.to_owned(),
        cause: errno.into(),
    })?;
    let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
    held.push(directory);
    Ok(name.into())
}

/// A temporary directory of symlinks with the shortest names there are.
struct ShortNames {
    dir: PathBuf,
    lowers: Vec<String>,
    has_upper: bool,
}

impl ShortNames {
    fn create(overlay: &Overlay) -> Result<Self, OverlayError> {
        let dir = temporary_dir().map_err(kernel("make a directory for short layer names"))?;
        let mut names = Self {
            dir,
            lowers: Vec::with_capacity(overlay.lowers.len()),
            has_upper: overlay.upper.is_some(),
        };
        for (index, lower) in overlay.lowers.iter().enumerate() {
            let name = format!("{index:x}");
            names.link(lower, &name)?;
            names.lowers.push(name);
        }
        if let Some(upper) = &overlay.upper {
            names.link(&upper.upper, "u")?;
            names.link(&upper.work, "w")?;
        }
        std::fs::create_dir(names.dir.join(MOUNT_POINT))
            .map_err(kernel("make a directory to mount on"))?;
        Ok(names)
    }

    fn link(&self, layer: &Path, name: &str) -> Result<(), OverlayError> {
        std::os::unix::fs::symlink(layer, self.dir.join(name)).map_err(kernel("name a layer"))
    }

    fn options(&self, switches: &[&str]) -> String {
        let mut options = format!("lowerdir={}", self.lowers.join(":"));
        if self.has_upper {
            options.push_str(",upperdir=u,workdir=w");
        }
        for switch in switches {
            options.push(',');
            options.push_str(switch);
        }
        options
    }
}

impl Drop for ShortNames {
    fn drop(&mut self) {
        // Only symlinks and the empty mount point are in it; what can't be removed is left to the
        // system's own cleaning of temporary files.
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name() == MOUNT_POINT {
                let _ = std::fs::remove_dir(entry.path());
            } else {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let _ = std::fs::remove_dir(&self.dir);
    }
}

const MOUNT_POINT: &str = "m";

fn mount_with_short_names(dir: &Path, options: &str) -> Result<OwnedFd, OverlayError> {
    // SAFETY: only the working directory and the umask stop being shared with the other threads; no
    // descriptor is touched.
    unsafe { unshare_unsafe(UnshareFlags::FS) }.map_err(kernel("leave the working directory"))?;
    rustix::process::chdir(dir).map_err(kernel("enter the directory of layer names"))?;
    let data = CString::new(options).map_err(|_| kernel("mount the overlay")(Errno::INVAL))?;
    mount(
        "overlay",
        MOUNT_POINT,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    )
    .map_err(kernel("mount the overlay"))?;
    let copy = bind(Path::new(MOUNT_POINT), Recursion::This);
    unmount(MOUNT_POINT, UnmountFlags::DETACH).map_err(kernel("detach the overlay"))?;
    copy.map_err(kernel("detach the overlay"))
}

/// A new directory that only this user can enter.
fn temporary_dir() -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    for _ in 0..16 {
        let mut random = [0_u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let process = std::process::id();
        let name = format!("kiln-overlay-{process}-{:016x}", u64::from_ne_bytes(random));
        let dir = std::env::temp_dir().join(name);
        match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(dir),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(lowers: usize) -> Overlay {
        Overlay {
            lowers: vec![PathBuf::from("/"); lowers],
            upper: None,
            userxattr: true,
        }
    }

    #[test]
    fn refuses_what_the_kernel_would() {
        assert!(matches!(
            overlay(0).mount_detached(),
            Err(OverlayError::NoLayer)
        ));
        assert!(matches!(
            overlay(501).mount_detached(),
            Err(OverlayError::TooManyLayers(501))
        ));
    }

    #[test]
    fn five_hundred_short_names_fit_in_a_page() {
        let names = ShortNames {
            dir: PathBuf::from("/nonexistent"),
            lowers: (0..MAX_LOWERS).map(|index| format!("{index:x}")).collect(),
            has_upper: true,
        };
        let options = names.options(&["index=off", "userxattr", "volatile"]);
        assert!(options.len() < 4096, "{}", options.len());
    }

    #[test]
    fn long_paths_are_named_by_descriptor() {
        let mut held = Vec::new();
        let value = option_value(Path::new("/etc"), &mut held).unwrap();
        assert_eq!(value, Path::new("/etc"));
        let long = format!("/{}etc", "./".repeat(200));
        let value = option_value(Path::new(&long), &mut held).unwrap();
        assert!(value.starts_with("/proc/self/fd"), "{}", value.display());
        assert_eq!(held.len(), 1);
    }
}
