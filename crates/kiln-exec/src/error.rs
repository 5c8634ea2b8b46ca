//! Why a program could not be run in its root.

use std::io;
use std::path::PathBuf;

use kiln_sys::namespace::Grade;

/// A program could not be started, or not be watched until its end. A program that ran and failed is
/// no error: that is an [`crate::ExitStatus`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The token was cancelled; the program is dead.
    #[error("cancelled")]
    Cancelled,
    /// No program to run.
    #[error("there is no command to run")]
    NoCommand,
    /// The program is not in the root.
    #[error("`{program}` was not found in the image")]
    NotFound {
        /// As given, before the search in `PATH`.
        program: String,
    },
    /// The program is there, but the kernel does not run it.
    #[error("`{program}` could not be executed")]
    NotExecutable {
        /// As found.
        program: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The working directory can't be entered.
    #[error("could not enter the working directory `{path}`")]
    WorkingDirectory {
        /// The directory in the image.
        path: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The user or one of its groups does not exist in the user namespace.
    #[error("{kind} id {id} does not exist in this {} build", grade.name())]
    IdNotMapped {
        /// `user` or `group`.
        kind: &'static str,
        /// The id.
        id: u32,
        /// The grade of this build.
        grade: Grade,
    },
    /// A mount can't be put at its target.
    #[error("could not mount on `{target}`")]
    Mount {
        /// The path in the image.
        target: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A resource limit can't be set.
    #[error("could not set the resource limit `{limit}`")]
    Ulimit {
        /// `name=soft:hard`.
        limit: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The control groups of this machine can't hold the step to its limits.
    #[error("could not limit the step's {what}: {reason}")]
    NoControlGroup {
        /// `memory`, `cpu`, …
        what: &'static str,
        /// What is missing.
        reason: String,
    },
    /// A control group was not made, set up, joined or removed.
    #[error("could not {action} the control group `{path}`", path = path.display())]
    ControlGroup {
        /// `make`, `write to`, …
        action: &'static str,
        /// Its directory or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The emulator of a foreign architecture can't be registered for the step.
    #[error("could not register the emulator `{program}` for the step", program = program.display())]
    Emulator {
        /// The host's program.
        program: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// One of the steps of building the sandbox failed.
    #[error("could not {stage}")]
    Setup {
        /// Which one.
        stage: Stage,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The helper process could not be started or talked to.
    #[error("could not {action} the sandbox helper")]
    Helper {
        /// `start`, `talk to`, …
        action: &'static str,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The helper ended without saying why.
    #[error("the sandbox helper died: {0}")]
    HelperDied(String),
}

/// The stages of building a sandbox, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading the specification.
    Specification,
    /// `unshare`.
    Namespaces,
    /// The ids of a user namespace.
    Ids,
    /// Making the program's process.
    Fork,
    /// Network set-up.
    Network,
    /// Host name.
    Hostname,
    /// Attaching the root.
    Root,
    /// `/proc`.
    Proc,
    /// `/sys`.
    Sys,
    /// `/dev`.
    Dev,
    /// Masked and read-only paths.
    Mask,
    /// `pivot_root`.
    Pivot,
    /// Session, terminal, standard streams.
    Streams,
    /// Seccomp.
    Seccomp,
    /// User, groups, capabilities.
    Credentials,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Specification => "read the step's specification",
            Self::Namespaces => "make namespaces",
            Self::Ids => "map user and group ids for the step",
            Self::Fork => "make the step's process",
            Self::Network => "set up the step's network",
            Self::Hostname => "set the host name",
            Self::Root => "attach the root file system",
            Self::Proc => "mount `/proc`",
            Self::Sys => "mount `/sys`",
            Self::Dev => "set up `/dev`",
            Self::Mask => "hide kernel interfaces",
            Self::Pivot => "change to the root file system",
            Self::Streams => "set up the standard streams",
            Self::Seccomp => "install the system call filter",
            Self::Credentials => "change to the step's user",
        })
    }
}

impl ExecError {
    /// What the user can do, where something is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { program } if program == "/bin/sh" => Some(
                "the image has no shell: use the JSON form `RUN [\"program\", \"argument\"]`, or a \
                 base image with a shell"
                    .to_owned(),
            ),
            Self::NotFound { .. } => Some("check the spelling and the `PATH` of the image".to_owned()),
            Self::NotExecutable { cause, .. } if cause.raw_os_error() == Some(8) => Some(
                "the program was built for another architecture, or is a script without a `#!` line"
                    .to_owned(),
            ),
            Self::NotExecutable { cause, .. }
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("give it the executable bit, for example with `COPY --chmod=755`".to_owned())
            }
            Self::IdNotMapped { grade: Grade::RootlessSingle, .. } => Some(
                "give your user subordinate ids in `/etc/subuid` and `/etc/subgid`, or build as root"
                    .to_owned(),
            ),
            Self::IdNotMapped { grade: Grade::RootlessMapped, .. } => Some(
                "give your user more subordinate ids in `/etc/subuid` and `/etc/subgid`".to_owned(),
            ),
            Self::Ulimit { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => Some(
                "a limit above kiln's own hard limit (`ulimit -H -a`) needs root".to_owned(),
            ),
            Self::NoControlGroup { .. } | Self::ControlGroup { .. } => Some(
                "build as root, or in a delegated group: `systemd-run --user --scope -p Delegate=yes \
                 kiln build …`"
                    .to_owned(),
            ),
            Self::Emulator { .. } => Some(
                "install the package `qemu-user-static`; it needs Linux 6.7, or qemu's handlers \
                 registered on the host"
                    .to_owned(),
            ),
            Self::Setup { stage: Stage::Proc, .. } => Some(
                "inside a container, `/proc` must not be masked: run it with \
                 `--security-opt systempaths=unconfined`"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The code that a shell would give: 127 for a missing program, 126 for one that can't be run.
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::NotFound { .. } => Some(127),
            Self::NotExecutable { .. } => Some(126),
            _ => None,
        }
    }
}
