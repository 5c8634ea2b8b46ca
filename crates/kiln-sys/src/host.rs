//! Facts about the machine: name, processors, memory, kernel.
//!
//! JUSTIFICATION for `unsafe`: the C library's allocator is told by a call how it is to work.

mod native;

use std::num::NonZeroUsize;
use std::os::fd::AsFd;

pub use native::{Foreign, has_x86_level, runs_natively};

/// The host name, `localhost` where it is not text.
pub fn hostname() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().unwrap_or("localhost").to_owned()
}

/// The kernel's release, for example `6.1.0-18-amd64`.
pub fn kernel_release() -> String {
    let name = rustix::system::uname();
    name.release().to_str().unwrap_or("unknown").to_owned()
}

/// Major and minor number of the running kernel; `(0, 0)` where the release can't be read.
pub fn kernel_version() -> (u32, u32) {
    parse_version(&kernel_release()).unwrap_or((0, 0))
}

/// How many threads of work the machine can run at once: the smaller of the processors this process
/// may use (affinity) and its control group's processor quota.
pub fn parallelism() -> NonZeroUsize {
    // The standard library reads both the affinity mask and the cgroup quota (v1 and v2).
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Sets up the C library's allocator for short programs with short threads.
///
/// It keeps memory in few places instead of one for each thread: making one takes longer than a short
/// thread lives, and what is free in one is of no use to the others. It keeps some megabytes of what
/// was freed, and asks for memory less often: the buffers of a layer come and go, and while the system
/// maps or takes back memory for one thread the others wait that want some as well, perhaps in the
/// middle of a write to the store.
///
/// Does nothing where the allocator has no such settings. To be called before any thread is started.
pub fn set_up_allocator() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [
        (libc::M_ARENA_MAX, 2),
        (libc::M_MMAP_THRESHOLD, 8 << 20),
        (libc::M_TRIM_THRESHOLD, 16 << 20),
        (libc::M_TOP_PAD, 1 << 20),
    ] {
        // SAFETY: numbers that the allocator looks at when a thread next asks for memory.
        unsafe {
            libc::mallopt(setting, value);
        }
    }
}

/// The user id this process acts with, as its own user namespace names it.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The calling thread as the kernel numbers it.
pub fn thread_id() -> u64 {
    u64::from(
        rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs(),
    )
}

/// Columns and rows of a terminal; `None` for what is no terminal, or one that does not know.
pub fn terminal_size(terminal: &impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Physical memory in bytes, or the control group's limit where it is lower.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let physical = info.totalram.saturating_mul(u64::from(info.mem_unit));
    crate::cgroup::memory_limit().map_or(physical, |limit| limit.min(physical))
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_kernel_releases() {
        assert_eq!(parse_version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(
            parse_version("5.15.167.4-microsoft-standard-WSL2"),
            Some((5, 15))
        );
        assert_eq!(parse_version("7"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn this_machine_has_memory_and_a_kernel() {
        assert!(memory_bytes() > 1 << 20);
        assert!(kernel_version() > (3, 0));
        assert!(!hostname().is_empty());
    }
}
