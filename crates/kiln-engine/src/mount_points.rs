//! The places where every step mounts something, as a layer below all others.
//!
//! `/proc`, `/sys`, `/dev`, `/etc/hosts` and `/etc/resolv.conf` have to exist to be mounted on, and
//! small images lack them. Making them in the step's own layer and removing them afterwards costs a
//! step more than its mounts do; a layer that has them, below all layers of the image, costs nothing,
//! and whatever the image has hides it. It is in no image: layers are compared with the image's own.
//!
//! Deliberately absent: places that only some steps mount on. Those are made in the root
//! (`kiln_exec::stubs`).

use std::path::{Path, PathBuf};

use kiln_sys::files;
use kiln_sys::fs::Dir;

use crate::Engine;
use crate::chain::Chain;
use crate::error::RootError;

const DIRECTORIES: [&str; 4] = ["proc", "sys", "dev", "etc"];
const FILES: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];

impl Engine {
    /// The layer's directory, made if it is not there.
    pub(crate) fn mount_points(&self) -> Result<PathBuf, RootError> {
        let path = self.store.root().join("mount-points");
        // The last that is made: once it is there, everything is.
        if files::try_read(path.join(FILES[1]))?.is_some() {
            return Ok(path);
        }
        files::create_dir_all(&path, 0o755)?;
        let layer = self.machine.tree(Dir::open(&path)?);
        for directory in DIRECTORIES {
            files::create_dir_all(path.join(directory), 0o755)?;
            // The process's umask may have taken bits away, and steps see these.
            layer.set_mode(directory, 0o755)?;
        }
        for file in FILES {
            // Not "new": another process may be making the same.
            files::write(path.join(file), b"")?;
        }
        Ok(path)
    }

    /// Takes the empty directories out of a step's layer that are there only because it changed
    /// something that it then took back, in a directory which no layer of the image has.
    pub(crate) fn drop_mount_points(&self, upper: &Path, below: &Chain) -> Result<(), RootError> {
        let upper = self.machine.tree(Dir::open(upper)?);
        for name in DIRECTORIES {
            let Some(found) = upper.try_metadata(name)? else {
                continue;
            };
            if found.is_dir()
                && upper.open_dir(name)?.entries()?.is_empty()
                && !self.is_in(name, below)?
            {
                let mtime = upper.metadata(Dir::ITSELF)?.mtime;
                upper.remove_dir(name)?;
                upper.set_times(Dir::ITSELF, mtime)?;
            }
        }
        Ok(())
    }

    fn is_in(&self, name: &str, chain: &Chain) -> Result<bool, RootError> {
        for layer in chain.down().filter_map(Chain::top) {
            if self
                .layer_dir(&layer.snapshot)?
                .try_metadata(name)?
                .is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
