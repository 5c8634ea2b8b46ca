//! The helper's own program file, out of reach of what it starts.
//!
//! The helper is this binary, and the process that becomes the program in the sandbox still is this
//! binary while the kernel looks for what to execute: an image whose entry point is `/proc/self/exe`,
//! or a script with that as its interpreter, gets hold of it, and as root could write into the host's
//! file (CVE-2019-5736 was that). So the helper is started from a read-only mount of the file that is
//! visible nowhere; where that is not possible, from a sealed copy in memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kiln_sys::mount::{Attributes, Recursion, bind, set_attributes};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create, stat};

const OWN: &str = "/proc/self/exe";

/// This binary, in a form that can be executed but not written to.
pub(super) fn protected() -> io::Result<OwnedFd> {
    match read_only_mount() {
        Ok(Some(program)) => Ok(program),
        Ok(None) | Err(_) => sealed_copy(),
    }
}

/// `None` if the file's name means another file by now, as after an upgrade.
fn read_only_mount() -> io::Result<Option<OwnedFd>> {
    // By name, since the running file belongs to the mount namespace that kiln was started in.
    let path = std::fs::read_link(OWN)?;
    let mount = bind(&path, Recursion::This)?;
    set_attributes(
        mount.as_fd(),
        Attributes::MOUNT_ATTR_RDONLY,
        Recursion::This,
    )?;
    let (running, named) = (stat(Path::new(OWN))?, fstat(&mount)?);
    let same = running.st_dev == named.st_dev && running.st_ino == named.st_ino;
    Ok(same.then_some(mount))
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(memfd_create("kiln", flags)?);
    io::copy(&mut File::open(OWN)?, &mut copy)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_sealed_copy_is_equal_and_stays_so() {
        let mut copy = File::from(sealed_copy().unwrap());
        assert!(copy.write_all(b"x").is_err());
        io::Seek::rewind(&mut copy).unwrap();
        let mut bytes = Vec::new();
        copy.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, std::fs::read(OWN).unwrap());
    }
}
