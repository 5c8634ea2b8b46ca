//! A step in the form that crosses to the helper: numbers, texts and descriptors.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::LazyLock;

use kiln_sys::binfmt::Handler;
use kiln_sys::host::terminal_size;
use kiln_sys::mount::{Attributes, Recursion, bind_fd, set_attributes};
use kiln_sys::namespace::Grade;
use kiln_sys::sandbox::BpfInstruction;
use rustix::fs::{FileType, MemfdFlags, fstat, memfd_create};

use super::held::Held;
use crate::cgroup::Groups;
use crate::spec::Access;
use crate::wire::{
    WireEmulator, WireGrade, WireMount, WireMountKind, WireStep, WireStreams, WireUlimit,
    encode_step,
};
use crate::{
    Confinement, Emulation, ExecError, MountKind, Network, Security, Stdio, StepMount, StepSpec,
    Ulimit, capabilities, seccomp,
};

/// The default filter, the same for every step and compiled once.
static FILTER: LazyLock<Option<Vec<BpfInstruction>>> = LazyLock::new(|| {
    let family = seccomp::Family::host()?;
    Some(seccomp::filter(family, capabilities::DEFAULT))
});

/// A step in the form that the helper reads, with the descriptors that go with it.
pub(super) struct Packed<'a> {
    pub(super) wire: WireStep,
    borrowed: Vec<BorrowedFd<'a>>,
    made: Vec<OwnedFd>,
}

impl<'a> Packed<'a> {
    pub(super) fn new(
        (spec, confinement): (&StepSpec<'a>, &Confinement),
        (held, groups): (&'a Held, &Groups),
    ) -> Result<Self, ExecError> {
        // The root, and the held files if there are any, come before what is made here.
        let mut borrowed = vec![spec.root];
        borrowed.extend(held.directory());
        let mut made = Vec::new();
        let mounts = spec.mounts.iter().enumerate().map(|(index, mount)| {
            let kind = pack_mount(index, mount, borrowed.len(), &mut made);
            kind.map_err(|cause| ExecError::Mount {
                target: mount.target.clone(),
                cause,
            })
            .map(|kind| WireMount {
                target: mount.target.clone(),
                kind,
            })
        });
        let mounts = mounts.collect::<Result<_, _>>()?;
        let wire = WireStep {
            root: 0,
            grade: match (&confinement.emulation, spec.grade) {
                // In a user namespace of its own root is root of that only.
                (Emulation::Private(_), Grade::Root) => WireGrade::RootlessMapped,
                (_, grade) => grade.into(),
            },
            argv: spec.argv.clone(),
            env: environment(spec),
            cwd: spec.cwd.clone(),
            uid: spec.user.uid,
            gid: spec.user.gid,
            groups: spec.user.groups.clone(),
            hostname: spec.hostname.clone(),
            own_network: spec.network == Network::None,
            streams: match spec.stdio {
                Stdio::Captured => WireStreams::Pipes,
                Stdio::Inherited => WireStreams::Inherited,
                Stdio::Terminal => WireStreams::Terminal,
            },
            // The program may ask before kiln has joined the two terminals.
            window: match spec.stdio {
                Stdio::Terminal => terminal_size(&rustix::stdio::stdin()),
                Stdio::Captured | Stdio::Inherited => None,
            },
            mounts,
            held: held.directory().map(|_| 1),
            insecure: confinement.security == Security::Insecure,
            shm_bytes: confinement.shm_bytes,
            ulimits: confinement.ulimits.iter().map(pack_ulimit).collect(),
            groups_to_join: groups.to_join(),
            emulator: match &confinement.emulation {
                Emulation::Private(handler) => Some(pack_emulator(handler)),
                Emulation::Native | Emulation::Host { .. } => None,
            },
            tells_ready: false,
        };
        Ok(Self {
            wire,
            borrowed,
            made,
        })
    }

    /// What the places in the step mean.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let made = self.made.iter().map(AsFd::as_fd);
        self.borrowed.iter().copied().chain(made).collect()
    }

    pub(super) fn to_memory(&self) -> io::Result<OwnedFd> {
        // Without a table for this machine nothing is run: an open sandbox would be worse.
        let filter = FILTER.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        memory_file("kiln-step", &encode_step(&self.wire, filter)?)
    }
}

fn pack_ulimit(limit: &Ulimit) -> WireUlimit {
    WireUlimit {
        name: limit.name.clone(),
        soft: limit.soft,
        hard: limit.hard,
    }
}

fn pack_emulator(handler: &Handler) -> WireEmulator {
    WireEmulator {
        name: handler.name.clone(),
        magic: handler.magic.clone(),
        mask: handler.mask.clone(),
        interpreter: handler.interpreter.clone(),
    }
}

fn memory_file(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file.into())
}

fn pack_mount(
    index: usize,
    mount: &StepMount<'_>,
    before: usize,
    made: &mut Vec<OwnedFd>,
) -> io::Result<WireMountKind> {
    match &mount.kind {
        MountKind::Secret { .. } | MountKind::Agent { .. } => Ok(WireMountKind::Held {
            name: super::held::name(index),
        }),
        MountKind::Tmpfs { size, mode } => Ok(WireMountKind::Tmpfs {
            size: *size,
            mode: *mode,
        }),
        MountKind::File { content, mode } => {
            made.push(memory_file("kiln-file", content)?);
            Ok(WireMountKind::File {
                content: before + made.len() - 1,
                mode: *mode,
            })
        }
        MountKind::Bind { source, access } => {
            let directory = FileType::from_raw_mode(fstat(source)?.st_mode) == FileType::Directory;
            made.push(bind_source(*source, *access)?);
            Ok(WireMountKind::Attach {
                mount: before + made.len() - 1,
                directory,
            })
        }
    }
}

fn bind_source(source: BorrowedFd<'_>, access: Access) -> io::Result<OwnedFd> {
    let mount = match bind_fd(source, Recursion::Below) {
        // A detached mount, which only newer kernels copy, can be attached as it is.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => source.try_clone_to_owned()?,
        result => result?,
    };
    if access == Access::ReadOnly {
        let read_only = Attributes::MOUNT_ATTR_RDONLY;
        set_attributes(mount.as_fd(), read_only, Recursion::Below)?;
    }
    Ok(mount)
}

fn environment(spec: &StepSpec<'_>) -> Vec<String> {
    let has_home = spec
        .env
        .iter()
        .any(|(name, value)| name == "HOME" && !value.is_empty());
    let mut variables: Vec<String> = spec
        .env
        .iter()
        .filter(|(name, _)| has_home || name != "HOME")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !has_home {
        variables.push(format!("HOME={}", spec.user.home));
    }
    variables
}
