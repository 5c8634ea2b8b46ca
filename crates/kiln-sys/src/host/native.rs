//! What the processor and the kernel run beside programs of the own architecture.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::process::{Ended, Stdio, spawn};

/// A 32-bit architecture that 64-bit machines may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// 32-bit x86.
    I386,
    /// 32-bit Arm.
    Arm,
}

impl Foreign {
    /// The machine's number in ELF headers, and a program that does nothing but exit with the code 0.
    const fn program(self) -> (u16, &'static [u8]) {
        match self {
            // mov $1, %eax; xor %ebx, %ebx; int $0x80
            Self::I386 => (3, &[0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80]),
            // mov r7, #1; mov r0, #0; svc 0
            Self::Arm => (
                40,
                &[
                    0x01, 0x70, 0xa0, 0xe3, 0x00, 0x00, 0xa0, 0xe3, 0x00, 0x00, 0x00, 0xef,
                ],
            ),
        }
    }
}

/// Whether programs of this architecture run without an emulator: starts one of a hundred bytes, once
/// in the life of this process.
pub fn runs_natively(foreign: Foreign) -> bool {
    static KNOWN: [OnceLock<bool>; 2] = [OnceLock::new(), OnceLock::new()];
    let known = &KNOWN[usize::from(foreign == Foreign::Arm)];
    *known.get_or_init(|| matches!(try_out(foreign), Ok(Ended::Exited(0))))
}

fn try_out(foreign: Foreign) -> io::Result<Ended> {
    let file = memory_file(&executable(foreign))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let nothing = Stdio {
        input: None,
        output: None,
        error: None,
    };
    spawn(
        Path::new(&path),
        &[OsStr::new("try")],
        nothing,
        &[file.as_fd()],
    )?
    .wait()
}

/// A file in memory that may be executed, and has no writer left.
fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    // MFD_EXEC (Linux 6.3): without it a setting of the machine may take away the right to execute.
    let executable = MemfdFlags::from_bits_retain(0x10);
    let file = memfd_create("kiln-try", MemfdFlags::CLOEXEC | executable)
        .or_else(|_| memfd_create("kiln-try", MemfdFlags::CLOEXEC))?;
    let mut file = std::fs::File::from(file);
    file.write_all(content)?;
    // The kernel does not execute what is open for writing.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(std::fs::File::open(path)?.into())
}

/// A 32-bit little-endian ELF file with one segment: elf(5).
fn executable(foreign: Foreign) -> Vec<u8> {
    const BASE: u32 = 0x0800_0000;
    const HEADERS: u32 = 52 + 32;
    let (machine, code) = foreign.program();
    let size = HEADERS + u32::try_from(code.len()).unwrap_or_default();
    // EF_ARM_EABI_VER5; other machines have no flags.
    let flags: u32 = if foreign == Foreign::Arm {
        0x0500_0000
    } else {
        0
    };
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 1, 1, 1];
    bytes.resize(16, 0);
    for half in [2, machine] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [1, BASE + HEADERS, 52, 0, flags] {
        bytes.extend(word.to_le_bytes());
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    // One loaded segment, readable and executable.
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        bytes.extend(u32::to_le_bytes(word));
    }
    bytes.extend_from_slice(code);
    bytes
}

/// Whether the processor has the instructions of this level (1 to 4) of the x86-64 psABI.
pub fn has_x86_level(level: u8) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::is_x86_feature_detected as has;
        let second = || has!("sse4.2") && has!("ssse3") && has!("popcnt") && has!("cmpxchg16b");
        let third = || {
            has!("avx2")
                && has!("bmi1")
                && has!("bmi2")
                && has!("f16c")
                && has!("fma")
                && has!("lzcnt")
                && has!("movbe")
        };
        let fourth = || {
            has!("avx512f")
                && has!("avx512bw")
                && has!("avx512cd")
                && has!("avx512dq")
                && has!("avx512vl")
        };
        (1..=4).contains(&level)
            && (level < 2 || second())
            && (level < 3 || third())
            && (level < 4 || fourth())
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_are_nested() {
        let levels: Vec<bool> = (1..=4).map(has_x86_level).collect();
        assert!(levels.is_sorted_by(|lower, higher| lower >= higher));
        assert_eq!(levels[0], cfg!(target_arch = "x86_64"));
        assert!(!has_x86_level(9));
    }

    #[test]
    fn a_program_that_no_machine_here_runs_is_noticed() {
        // One of the two is never native: no machine runs both.
        let both = [Foreign::I386, Foreign::Arm].map(|foreign| executable(foreign).len());
        assert_eq!(both, [93, 96]);
        assert!(!(runs_natively(Foreign::I386) && runs_natively(Foreign::Arm)));
    }
}
