//! The system call filter: Docker's default profile as our own table, compiled to classic BPF.
//!
//! The profile is an allow-list: a call that no rule allows fails with `EPERM`, and one that is newer
//! than the profile with `ENOSYS`, so that C libraries take their fall-backs instead of giving up.
//! Each architecture family that one kernel runs gets its own section: x86-64 with x32 and i386,
//! aarch64 with arm.
//!
//! A section is a binary search over ranges of call numbers, so a call costs seven or eight
//! comparisons, and none at all for calls that are always allowed, since the kernel caches those
//! (Linux 5.11).
//!
//! Deliberately absent: loading a profile from a file, and logging or tracing actions.

mod compile;
mod profile;
mod syscalls;
#[cfg(test)]
mod tests;

use kiln_sys::sandbox::BpfInstruction;

use crate::capabilities::CapabilitySet;

/// A system call interface that a kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit x86 with 32-bit pointers.
    X32,
    /// 32-bit x86.
    I386,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm.
    Arm,
}

/// Interfaces that one kernel serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// x86-64, x32 and i386.
    X86,
    /// aarch64 and arm.
    Arm,
}

impl Family {
    /// The family of the machine this program was built for; `None` where there is no table.
    pub const fn host() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Arm)
        } else {
            None
        }
    }
}

/// The filter for a program that has `capabilities`: some calls are allowed with a capability only.
pub fn filter(family: Family, capabilities: CapabilitySet) -> Vec<BpfInstruction> {
    compile::compile(family, capabilities)
}
