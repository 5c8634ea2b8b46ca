//! A root that is verified, block by block, as it is read (the kernel's dm-verity).

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use kiln_init::cmdline::Verity;
use kiln_sys::mapper::{self, Target};

use crate::Failure;

/// The name of the device.
const NAME: &str = "kiln-root";

/// Bytes of a superblock as `veritysetup` and kiln write it.
const SUPERBLOCK: usize = 512;

/// What a superblock says. It need not be trusted: were it wrong, nothing would have the root hash.
#[derive(Debug, PartialEq, Eq)]
struct Superblock {
    kind: u32,
    algorithm: String,
    data_block: u32,
    hash_block: u32,
    blocks: u64,
    salt: String,
}

/// Makes the device of what is good on another one.
pub(crate) fn open(device: &Path, wanted: &Verity) -> Result<PathBuf, Failure> {
    let (root_hash, offset) = match wanted {
        Verity::Tree { root_hash, offset } => (root_hash, *offset),
        Verity::Unreadable(text) => return Err(unreadable(text)),
    };
    let failed = |error: io::Error| {
        let device = device.display();
        Failure::machine(format!("the root `{device}` can't be verified: {error}"))
    };
    let mut bytes = [0; SUPERBLOCK];
    let file = File::open(device).map_err(failed)?;
    file.read_exact_at(&mut bytes, offset).map_err(failed)?;
    let superblock = read(&bytes)
        .ok_or_else(|| failed(io::Error::other("there is no dm-verity tree at its place")))?;
    let target = Target {
        kind: "verity",
        parameters: &superblock.parameters(device, root_hash, offset),
        size: superblock
            .blocks
            .saturating_mul(superblock.data_block.into()),
    };
    mapper::create_read_only(NAME, &target).map_err(failed)
}

/// Fails if the root should be verified and is not: because the kernel was started without the
/// initial file system that does it.
pub(crate) fn require(wanted: Option<&Verity>) -> Result<(), Failure> {
    if wanted.is_none() {
        return Ok(());
    }
    let device = fs::metadata("/").map_or(0, |root| root.dev());
    let devices = fs::read_to_string("/proc/devices").unwrap_or_default();
    match mapper_number(&devices) {
        Some(number) if number == device >> 8 & 0xfff => Ok(()),
        _ => Err(Failure::machine(
            "the kernel command line has the root verified, and it is not: the machine has to be \
             started with the disk's initial file system",
        )),
    }
}

fn unreadable(text: &str) -> Failure {
    Failure::machine(format!(
        "`kiln.verity={text}` on the kernel command line is not a hash and a place"
    ))
}

/// The device mapper's number, of the kernel's list.
fn mapper_number(devices: &str) -> Option<u64> {
    let mut lines = devices.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| {
        let number = words.next()?.parse().ok()?;
        (words.next()? == "device-mapper").then_some(number)
    })
}

impl Superblock {
    /// As the kernel's `admin-guide/device-mapper/verity.rst` has them.
    fn parameters(&self, device: &Path, root_hash: &str, offset: u64) -> String {
        let device = device.display();
        // The superblock has the block at the offset, and the tree begins after it.
        let start = offset / u64::from(self.hash_block) + 1;
        let Self {
            kind,
            algorithm,
            data_block,
            hash_block,
            blocks,
            salt,
        } = self;
        format!(
            "{kind} {device} {device} {data_block} {hash_block} {blocks} {start} {algorithm} \
             {root_hash} {salt}"
        )
    }
}

fn read(bytes: &[u8; SUPERBLOCK]) -> Option<Superblock> {
    let number = |at: usize, length: usize| {
        let field = bytes[at..at + length].iter().rev();
        field.fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let small = |at: usize| u32::try_from(number(at, 4)).ok();
    let is_verity = bytes.starts_with(b"verity\0\0") && number(8, 4) == 1;
    let algorithm = bytes[32..64].split(|byte| *byte == 0).next()?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    if !is_verity || algorithm.is_empty() || !algorithm.iter().all(is_name) {
        return None;
    }
    let salt_length = usize::try_from(number(80, 2)).ok()?;
    let salt = bytes[88..].get(..salt_length.min(256))?;
    let mut digits = String::new();
    for byte in salt {
        // Writing to a string can't fail.
        let _ = write!(digits, "{byte:02x}");
    }
    Some(Superblock {
        kind: small(12)?,
        algorithm: String::from_utf8_lossy(algorithm).into_owned(),
        data_block: small(64)?,
        hash_block: small(68).filter(|size| *size > 0)?,
        blocks: number(72, 8),
        salt: if digits.is_empty() {
            "-".to_owned()
        } else {
            digits
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> [u8; SUPERBLOCK] {
        let mut bytes = [0; SUPERBLOCK];
        bytes[..8].copy_from_slice(b"verity\0\0");
        bytes[8] = 1;
        bytes[12] = 1;
        bytes[32..38].copy_from_slice(b"sha256");
        bytes[65] = 0x10;
        bytes[69] = 0x10;
        bytes[72] = 5;
        bytes[80] = 2;
        bytes[88] = 0xab;
        bytes[89] = 1;
        bytes
    }

    #[test]
    fn parameters_are_the_kernel_s() {
        let found = read(&superblock()).unwrap();
        assert_eq!(
            found.parameters(Path::new("/dev/vda"), "00ff", 5 * 4096),
            "1 /dev/vda /dev/vda 4096 4096 5 6 sha256 00ff ab01"
        );
    }

    #[test]
    fn other_bytes_are_no_superblock() {
        for at in [0, 8, 32, 69] {
            let mut bytes = superblock();
            bytes[at] = b' ';
            if at == 69 {
                bytes[at] = 0;
            }
            assert_eq!(read(&bytes), None);
        }
        assert_eq!(read(&[0; SUPERBLOCK]), None);
    }

    #[test]
    fn the_mapper_has_a_number() {
        let devices =
            "Character devices:\n  1 mem\n\nBlock devices:\n259 blkext\n253 device-mapper\n";
        assert_eq!(mapper_number(devices), Some(253));
        assert_eq!(mapper_number("253 mem\n"), None);
    }
}
