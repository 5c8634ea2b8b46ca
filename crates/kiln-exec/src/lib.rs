//! One process in one root: the sandbox that a RUN step, and `kiln run`, execute in.
//!
//! An [`Executor`] starts the binary again as a fork server (`__step`). Each step gets a helper forked
//! from it, which makes the namespaces, puts the mounts in place, drops what Docker drops, and
//! becomes the program. What the program may do equals
//! Docker's defaults: [`capabilities`], [`seccomp`], masked paths, device nodes. Mount points that the
//! root lacked are made for the step and taken away again ([`stubs`]), so that they are in no layer.
//!
//! ```text
//!  kiln ──spec (memfd), mounts (fds)──> fork server ──fork──> helper ──fork, new pid namespace──> program (its pid 1)
//!    <───────── socket: started, failed at stage, ended; EOF either way means the other is dead
//! ```
//!
//! Deliberately absent: where the root came from and where the changes go (kiln-store), users by name
//! (kiln-tree), any policy on what to run.

pub mod capabilities;
mod cgroup;
mod confinement;
mod emulation;
mod error;
mod helper;
mod network;
mod run;
pub mod seccomp;
mod spec;
mod ssh_agent;
pub mod stubs;
mod terminal;
mod wire;

pub use confinement::{Confinement, Resources, Security, Ulimit, UlimitError};
pub use emulation::{Emulation, WhyNot, supports};
pub use error::{ExecError, Stage};
pub use helper::helper_main;
pub use network::{hosts_file, resolv_conf};
pub use run::{Executor, ExitStatus, run, run_controlled};
pub use spec::{
    Access, DEFAULT_HOSTNAME, DEFAULT_PATH, MountKind, Network, Stdio, StepMount, StepSpec, User,
};
pub use ssh_agent::{SshAgent, SshAgentError};
pub use terminal::Control;
