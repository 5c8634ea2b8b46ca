//! What to run, in which root, as whom.

use std::os::fd::BorrowedFd;

use kiln_base::Secret;
use kiln_sys::namespace::Grade;

use crate::SshAgent;

/// The host name that BuildKit gives to every step.
pub const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// `PATH` for images that set none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One program to be run in one root.
#[derive(Debug)]
pub struct StepSpec<'a> {
    /// The root file system: a detached mount ([`kiln_sys::mount::Overlay::mount_detached`], or
    /// [`kiln_sys::mount::bind`] of a directory). It is attached in the step's own namespace, so a
    /// mount serves one run; its descriptor stays good for file work afterwards.
    pub root: BorrowedFd<'a>,
    /// What the machine allows.
    pub grade: Grade,
    /// The program and its arguments; the program is searched in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment. `HOME` is added from `user` where it is missing or empty.
    pub env: Vec<(String, String)>,
    /// Absolute path; made (mode 0755, owned by root) where it is missing, as runc does.
    pub cwd: String,
    /// Whom to run as.
    pub user: User,
    /// See [`DEFAULT_HOSTNAME`].
    pub hostname: String,
    /// The step's network.
    pub network: Network,
    /// Mounts beside the system's own, attached in this order. `/etc/hosts` and `/etc/resolv.conf`
    /// are mounts of this kind ([`MountKind::File`]).
    pub mounts: Vec<StepMount<'a>>,
    /// The program's standard streams.
    pub stdio: Stdio,
}

/// A user as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Home directory in the image, `/` where the image's `passwd` has none.
    pub home: String,
}

impl User {
    /// uid 0 with its group and no other.
    pub fn root() -> Self {
        Self {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            home: "/root".to_owned(),
        }
    }
}

/// What a step sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The host's network.
    Host,
    /// A network of its own with a loopback interface and nothing else.
    None,
}

/// A mount to be put into the root.
#[derive(Debug)]
pub struct StepMount<'a> {
    /// Absolute path in the root; symlinks on the way, and at its end, are followed inside the root.
    pub target: String,
    /// What to mount.
    pub kind: MountKind<'a>,
}

/// What a [`StepMount`] shows.
#[derive(Debug)]
pub enum MountKind<'a> {
    /// A file or directory of the host, or of another root, with what is mounted below it.
    Bind {
        /// A descriptor of it that was opened in this process's mount namespace, or a detached
        /// mount, which serves one run. A part of a detached mount does from Linux 6.15 on; for
        /// older kernels attach the mount first ([`kiln_sys::mount::attach_at`]).
        source: BorrowedFd<'a>,
        /// Whether the step may write to it.
        access: Access,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Upper limit in bytes; `None` for half the machine's memory.
        size: Option<u64>,
        /// Mode of the directory, for example `0o1777`.
        mode: u32,
    },
    /// A read-only file with this content, owned by root.
    File {
        /// The content.
        content: Vec<u8>,
        /// Mode, for example `0o644`.
        mode: u32,
    },
    /// A read-only file with secret content. The content is only ever in memory that is not swapped
    /// out, and is overwritten there when the step has ended.
    Secret {
        /// The content.
        content: Secret<Vec<u8>>,
        /// Owner, as the step sees it.
        uid: u32,
        /// Group, as the step sees it.
        gid: u32,
        /// Mode, for example `0o400`.
        mode: u32,
    },
    /// The socket of an SSH agent, made for this step and gone with it.
    Agent {
        /// Who answers.
        agent: SshAgent,
        /// Owner of the socket, as the step sees it.
        uid: u32,
        /// Group of the socket, as the step sees it.
        gid: u32,
        /// Mode of the socket, for example `0o600`.
        mode: u32,
    },
}

/// Whether a mount can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only, also for what is mounted below.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Where the program's standard streams go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// Input is `/dev/null`; output and error come to `run`'s callback.
    Captured,
    /// This process's own streams.
    Inherited,
    /// A new terminal, joined to this process's terminal, which is put into raw mode meanwhile.
    Terminal,
}
