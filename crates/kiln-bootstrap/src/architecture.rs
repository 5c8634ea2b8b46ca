//! Platforms as container images name them, architectures as Debian and QEMU name them.

use kiln_oci::Platform;

/// One architecture under its three names, and how the kernel recognises its programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// The platform's `architecture`, as Go names it.
    pub(crate) oci: &'static str,
    /// The platform's `variant`, where Debian has more than one port.
    pub(crate) variant: Option<&'static str>,
    /// Debian's name of the port.
    pub(crate) debian: &'static str,
    /// The middle of `qemu-…-static`.
    pub(crate) qemu: &'static str,
}

const fn port(
    oci: &'static str,
    variant: Option<&'static str>,
    debian: &'static str,
    qemu: &'static str,
) -> Architecture {
    Architecture {
        oci,
        variant,
        debian,
        qemu,
    }
}

const PORTS: &[Architecture] = &[
    port("amd64", None, "amd64", "x86_64"),
    port("386", None, "i386", "i386"),
    port("arm64", None, "arm64", "aarch64"),
    port("arm", Some("v7"), "armhf", "arm"),
    port("arm", Some("v5"), "armel", "arm"),
    port("arm", Some("v6"), "armel", "arm"),
    port("arm", None, "armhf", "arm"),
    port("ppc64le", None, "ppc64el", "ppc64le"),
    port("s390x", None, "s390x", "s390x"),
    port("riscv64", None, "riscv64", "riscv64"),
    port("mips64le", None, "mips64el", "mips64el"),
];

impl Architecture {
    /// The port for a platform; `None` where Debian has none.
    pub(crate) fn of(platform: &Platform) -> Option<Self> {
        if platform.os != "linux" {
            return None;
        }
        let variant = platform.variant.as_deref();
        let found = PORTS.iter().find(|port| {
            port.oci == platform.architecture && (port.variant.is_none() || port.variant == variant)
        });
        found.copied()
    }

    /// Whether a processor of the host's architecture runs this one's programs by itself.
    pub(crate) fn runs_on(self, host: Self) -> bool {
        self == host || (host.debian == "amd64" && self.debian == "i386")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(platform: &str, expected: Option<&str>) {
        let platform: Platform = platform.parse().unwrap();
        assert_eq!(
            Architecture::of(&platform).map(|port| port.debian),
            expected
        );
    }

    #[test]
    fn platforms_have_ports() {
        check("linux/amd64", Some("amd64"));
        check("linux/arm64", Some("arm64"));
        check("linux/arm64/v8", Some("arm64"));
        check("linux/arm/v7", Some("armhf"));
        check("linux/arm/v6", Some("armel"));
        check("linux/386", Some("i386"));
        check("linux/ppc64le", Some("ppc64el"));
        check("linux/loong64", None);
        check("windows/amd64", None);
    }
}
