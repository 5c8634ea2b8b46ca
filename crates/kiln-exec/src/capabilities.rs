//! Capabilities: the kernel's numbers, and the set that Docker leaves to a container.
//!
//! From capabilities(7) and Docker's documented default set. The kernel does the rest: a program that
//! runs as another user than root loses the effective ones at `exec`, and what is outside the
//! bounding set can't come back through a set-user-id program.

/// One capability, by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the kernel's: capabilities(7)")]
pub enum Capability {
    Chown = 0,
    DacOverride = 1,
    DacReadSearch = 2,
    Fowner = 3,
    Fsetid = 4,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    Setpcap = 8,
    NetBindService = 10,
    NetRaw = 13,
    SysModule = 16,
    SysRawio = 17,
    SysChroot = 18,
    SysPtrace = 19,
    SysPacct = 20,
    SysAdmin = 21,
    SysBoot = 22,
    SysNice = 23,
    SysTime = 25,
    SysTtyConfig = 26,
    Mknod = 27,
    AuditWrite = 29,
    Setfcap = 31,
    Syslog = 34,
    Perfmon = 38,
    Bpf = 39,
}

/// A set of capabilities, as `/proc/<pid>/status` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySet(u64);

/// What Docker and BuildKit leave to a process: 14 capabilities, `00000000a80425fb`.
pub const DEFAULT: CapabilitySet = CapabilitySet::of(&[
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::SysChroot,
    Capability::Mknod,
    Capability::AuditWrite,
    Capability::Setfcap,
]);

impl CapabilitySet {
    /// The set of these.
    pub const fn of(capabilities: &[Capability]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < capabilities.len() {
            bits |= 1 << capabilities[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// Whether `capability` is in the set.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    /// Bit `n` is the capability with the number `n`.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_dockers() {
        assert_eq!(format!("{:016x}", DEFAULT.bits()), "00000000a80425fb");
        assert!(DEFAULT.contains(Capability::Setuid));
        assert!(!DEFAULT.contains(Capability::SysAdmin));
    }
}
