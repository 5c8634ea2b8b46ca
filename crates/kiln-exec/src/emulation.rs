//! Programs of other machines: which this one runs, and how.
//!
//! In order of preference: the processor itself; qemu's user mode emulation, registered in a
//! `binfmt_misc` that only the step sees (Linux 6.7), so that nothing of the host changes; a handler
//! that the host's administrator registered.
//!
//! Deliberately absent: what a platform's name means to an image, and virtual machines.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kiln_sys::binfmt::{Handler, host_handler, qemu_handler};
use kiln_sys::host::{Foreign, has_x86_level, kernel_version, runs_natively};

/// How the programs of a step are run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Emulation {
    /// By the processor.
    #[default]
    Native,
    /// By an emulator that is registered for the step alone.
    Private(Handler),
    /// By an emulator that is registered on the host.
    Host {
        /// Its name in `/proc/sys/fs/binfmt_misc`.
        handler: String,
    },
}

/// Why programs of a platform can't be run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// Neither this machine nor qemu as kiln knows it runs them.
    #[error("programs for `{platform}` can't be run on this machine")]
    Unknown {
        /// `linux/arch[/variant]`.
        platform: String,
    },
    /// The emulator is not installed.
    #[error("programs for `{platform}` need `{program}`, which is not installed", program = program.display())]
    NoEmulator {
        /// `linux/arch[/variant]`.
        platform: String,
        /// The program that was looked for.
        program: PathBuf,
    },
    /// The emulator is there, but the kernel keeps a list of handlers only for the whole machine, and it
    /// is not in that.
    #[error(
        "programs for `{platform}` need a handler in `binfmt_misc`, and this kernel has none per build"
    )]
    OldKernel {
        /// `linux/arch[/variant]`.
        platform: String,
    },
    /// The processor lacks instructions of this variant, and emulation of the own architecture is not
    /// done.
    #[error("this processor lacks instructions that `{platform}` needs")]
    Variant {
        /// `linux/arch/variant`.
        platform: String,
    },
}

impl WhyNot {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } | Self::Variant { .. } => None,
            Self::NoEmulator { .. } => Some("install the package `qemu-user-static`".to_owned()),
            Self::OldKernel { .. } => Some(
                "use Linux 6.7 or newer, or have an administrator register qemu's handlers on the host \
                 (package `qemu-user-binfmt`)"
                    .to_owned(),
            ),
        }
    }
}

/// How programs for `linux/<architecture>/<variant>` are run here (OCI's names; the variant may be
/// empty). Cheap, so that a build can be refused before it begins; asks the kernel once and remembers.
pub fn supports(architecture: &str, variant: &str) -> Result<Emulation, WhyNot> {
    let platform = match variant {
        "" => format!("linux/{architecture}"),
        variant => format!("linux/{architecture}/{variant}"),
    };
    match native(architecture, variant) {
        Some(true) => return Ok(Emulation::Native),
        Some(false) => return Err(WhyNot::Variant { platform }),
        None => {}
    }
    let Some(handler) = qemu_handler(architecture) else {
        return match host_handler(architecture) {
            Some(handler) => Ok(Emulation::Host { handler }),
            None => Err(WhyNot::Unknown { platform }),
        };
    };
    let handler = handler.found();
    let is_there = kiln_sys::files::exists(&handler.interpreter);
    let is_private = kernel_version() >= PRIVATE_SINCE && has_binfmt();
    if is_there && is_private {
        return Ok(Emulation::Private(handler));
    }
    match host_handler(architecture) {
        Some(handler) => Ok(Emulation::Host { handler }),
        None if is_there => Err(WhyNot::OldKernel { platform }),
        None => Err(WhyNot::NoEmulator {
            platform,
            program: handler.interpreter,
        }),
    }
}

/// The first kernel with `binfmt_misc` per user namespace.
const PRIVATE_SINCE: (u32, u32) = (6, 7);

/// Whether the kernel has the file system; one that is a module is not listed before it is loaded, which
/// only an administrator can have done.
fn has_binfmt() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let list = kiln_sys::files::read_to_string(Path::new("/proc/filesystems"));
        list.is_ok_and(|list| {
            list.lines()
                .any(|line| line.trim_end().ends_with("binfmt_misc"))
        })
    })
}

/// Whether the processor runs them. `Some(false)`: it is the same architecture, but too old.
fn native(architecture: &str, variant: &str) -> Option<bool> {
    match (std::env::consts::ARCH, architecture) {
        ("x86_64", "amd64") => Some(x86_level(variant).is_some_and(has_x86_level)),
        ("aarch64", "arm64") => Some(matches!(variant, "" | "v8")),
        ("x86_64", "386") => runs_natively(Foreign::I386).then_some(true),
        ("aarch64", "arm") => runs_natively(Foreign::Arm).then_some(true),
        ("riscv64", "riscv64")
        | ("s390x", "s390x")
        | ("powerpc64", "ppc64le")
        | ("loongarch64", "loong64")
        | ("x86", "386") => Some(true),
        ("arm", "arm") => Some(arm_level(variant) <= ARM_LEVEL),
        _ => None,
    }
}

/// What a 32-bit Arm build of kiln needs itself.
const ARM_LEVEL: u8 = 7;

fn arm_level(variant: &str) -> u8 {
    match variant {
        "v5" => 5,
        "v6" => 6,
        "v8" => 8,
        _ => 7,
    }
}

/// The level of the x86-64 psABI; `None` for one that is not defined.
fn x86_level(variant: &str) -> Option<u8> {
    match variant {
        "" | "v1" => Some(1),
        "v2" => Some(2),
        "v3" => Some(3),
        "v4" => Some(4),
        _ => None,
    }
}
