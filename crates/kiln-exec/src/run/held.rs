//! What only kiln and the step may see: secrets and agents' sockets, in a file system in memory.
//!
//! A ramfs has no backing store and its pages are never swapped out. It is mounted nowhere but in the
//! step's own mount namespace, below the root, and dies with the last descriptor; the contents are
//! overwritten before that.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kiln_base::Secret;
use kiln_sys::mount::{Attributes, Filesystem, mount_filesystem};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, openat};

use crate::ssh_agent::{Listening, serve};
use crate::{ExecError, MountKind, StepMount};

/// The file system of one step. Dropping it overwrites the secrets and ends the agents.
#[derive(Debug, Default)]
pub(super) struct Held {
    directory: Option<OwnedFd>,
    secrets: Vec<(File, usize)>,
    agents: Vec<Listening>,
}

/// The name of the file for the mount with this index.
pub(super) fn name(index: usize) -> String {
    index.to_string()
}

impl Held {
    /// Makes the files and sockets that the mounts ask for; nothing if there are none.
    pub(super) fn fill(mounts: &[StepMount<'_>]) -> Result<Self, ExecError> {
        let mut held = Self::default();
        for (index, mount) in mounts.iter().enumerate() {
            let added = match &mount.kind {
                MountKind::Secret {
                    content,
                    uid,
                    gid,
                    mode,
                } => held.add_secret(&name(index), content, (*uid, *gid), *mode),
                MountKind::Agent {
                    agent,
                    uid,
                    gid,
                    mode,
                } => held.open_directory().and_then(|directory| {
                    serve(
                        agent,
                        (directory.as_fd(), &name(index)),
                        (*uid, *gid),
                        *mode,
                    )
                    .map(|listening| held.agents.push(listening))
                }),
                _ => Ok(()),
            };
            added.map_err(|cause| ExecError::Mount {
                target: mount.target.clone(),
                cause,
            })?;
        }
        Ok(held)
    }

    pub(super) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }

    fn open_directory(&mut self) -> io::Result<OwnedFd> {
        if self.directory.is_none() {
            let attributes = Attributes::MOUNT_ATTR_NOSUID
                | Attributes::MOUNT_ATTR_NODEV
                | Attributes::MOUNT_ATTR_NOEXEC;
            self.directory = Some(mount_filesystem(
                Filesystem::Ramfs { mode: 0o700 },
                attributes,
            )?);
        }
        let directory = self.directory.as_ref().ok_or(io::ErrorKind::NotFound)?;
        directory.try_clone()
    }

    fn add_secret(
        &mut self,
        name: &str,
        content: &Secret<Vec<u8>>,
        (uid, gid): (u32, u32),
        mode: u32,
    ) -> io::Result<()> {
        let directory = self.open_directory()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(openat(&directory, name, flags, Mode::from_raw_mode(0o600))?);
        let content = content.expose();
        file.write_all(content)?;
        fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        fchmod(&file, Mode::from_raw_mode(mode))?;
        self.secrets.push((file, content.len()));
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (file, length) in &mut self.secrets {
            // Writing to memory that is there already; the file system goes in the next moment.
            let _ = file
                .rewind()
                .and_then(|()| file.write_all(&vec![0; *length]));
        }
    }
}
