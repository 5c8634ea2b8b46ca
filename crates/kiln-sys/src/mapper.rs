//! The kernel's device mapper: one read-only block device made of another.
//!
//! JUSTIFICATION for `unsafe`: the ioctls of `/dev/mapper/control` have no safe wrapper; they are in
//! `raw`. Their documents are laid out here, as bytes.
//!
//! Deliberately absent: everything that changes or lists devices.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::raw::{self, MapperCommand};

const CONTROL: &str = "/dev/mapper/control";

/// Bytes of `struct dm_ioctl` and of `struct dm_target_spec`.
const HEADER: usize = 312;
const SPEC: usize = 40;

/// `DM_READONLY_FLAG`.
const READ_ONLY: u32 = 1;

/// Bytes of a sector, as the device mapper counts them.
const SECTOR: u64 = 512;

/// A device of one target: `kind` and `parameters` as the kernel documents them.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// `verity`.
    pub kind: &'a str,
    /// What the target is told.
    pub parameters: &'a str,
    /// Bytes of the device; rounded down to sectors of 512.
    pub size: u64,
}

/// Makes a device that can't be written to, and returns its path in `/dev`, where a `devtmpfs` has to
/// be mounted.
///
/// # Errors
///
/// Where the kernel has no device mapper or not this target, or refuses the parameters.
pub fn create_read_only(name: &str, target: &Target<'_>) -> io::Result<PathBuf> {
    let control = File::options().read(true).write(true).open(CONTROL)?;
    let ask = |command, more: &[u8], targets| {
        let mut document = document(name, more, targets)?;
        raw::device_mapper(control.as_fd(), command, &mut document)?;
        Ok::<_, io::Error>(document)
    };
    let answer = ask(MapperCommand::Create, &[], 0)?;
    ask(MapperCommand::LoadTable, &specification(target)?, 1)?;
    // A device begins suspended; this is what has it use its table.
    ask(MapperCommand::Suspend, &[], 0)?;
    let device = answer.get(40..44).map_or([0; 4], |bytes| {
        let mut number = [0; 4];
        number.copy_from_slice(bytes);
        number
    });
    Ok(Path::new("/dev").join(format!("dm-{}", minor(u32::from_ne_bytes(device)))))
}

/// The lower half of the number of a device, as the kernel packs it.
const fn minor(device: u32) -> u32 {
    device & 0xff | device >> 12 & 0xf_ff00
}

/// `struct dm_ioctl`, with what follows it.
fn document(name: &str, more: &[u8], targets: u32) -> io::Result<Vec<u8>> {
    const NAME: std::ops::Range<usize> = 48..176;
    let mut bytes = vec![0; HEADER];
    let size = u32::try_from(HEADER + more.len()).map_err(io::Error::other)?;
    let start = u32::try_from(HEADER).map_err(io::Error::other)?;
    // The version of the interface, 4.0.0, and the sizes.
    for (at, value) in [
        (0, 4),
        (12, size),
        (16, start),
        (20, targets),
        (28, READ_ONLY),
    ] {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    // With a zero at the end.
    if name.is_empty() || name.len() >= NAME.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    bytes[NAME.start..NAME.start + name.len()].copy_from_slice(name.as_bytes());
    bytes.extend_from_slice(more);
    Ok(bytes)
}

/// `struct dm_target_spec`, with the parameters.
fn specification(target: &Target<'_>) -> io::Result<Vec<u8>> {
    const KIND: std::ops::Range<usize> = 24..40;
    let mut bytes = vec![0; SPEC];
    bytes[8..16].copy_from_slice(&(target.size / SECTOR).to_ne_bytes());
    if target.kind.len() >= KIND.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    bytes[KIND.start..KIND.start + target.kind.len()].copy_from_slice(target.kind.as_bytes());
    bytes.extend_from_slice(target.parameters.as_bytes());
    bytes.push(0);
    // To a multiple of 8; `next` says where another target would be.
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let next = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    bytes[20..24].copy_from_slice(&next.to_ne_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_kernel_s_form() {
        let target = Target {
            kind: "verity",
            parameters: "1 a b",
            size: 8192,
        };
        let spec = specification(&target).unwrap();
        assert_eq!(spec.len(), 48);
        assert_eq!(spec[8], 16);
        assert_eq!(&spec[24..31], b"verity\0");
        assert_eq!(&spec[40..], b"1 a b\0\0\0");
        let bytes = document("root", &spec, 1).unwrap();
        assert_eq!(bytes.len(), 360);
        assert_eq!(bytes[12..16], 360_u32.to_ne_bytes());
        assert_eq!(bytes[16..20], 312_u32.to_ne_bytes());
        assert_eq!(&bytes[48..53], b"root\0");
        assert!(document(&"x".repeat(128), &[], 0).is_err());
        assert!(document("", &[], 0).is_err());
    }

    #[test]
    fn numbers_of_devices_are_unpacked() {
        assert_eq!(minor(253 << 8), 0);
        assert_eq!(minor(253 << 8 | 7), 7);
        assert_eq!(minor(1 << 20 | 253 << 8 | 1), 257);
    }
}
