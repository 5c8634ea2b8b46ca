//! What a disk's first process is, and how it knows what to run.
//!
//! | strategy | process 1 | what tells it |
//! |---|---|---|
//! | [`Strategy::Direct`] | `kiln-init` ([`INIT`]) at [`INIT_PATH`] | [`config::PATH`], readable by root |
//! | [`Strategy::Systemd`] | the image's systemd | a unit, and an environment file readable by root |
//! | [`Strategy::Custom`] | a script of the user's | itself |
//!
//! Every disk also gets builderd's `/container.cmd` (a JSON array) and `/container.env`
//! (`{"working_dir":…,"env":{…},"exposed_ports":[…]}`), and, if `kiln-init` is on it, a link to it at
//! `/usr/bin/metald-init`, which is what builderd's machines start.
//!
//! What would keep a machine from running its program is an error here and not at its first start:
//! no command, a program or an interpreter that is not in the tree, a user that nobody knows.
//!
//! Deliberately absent: what a running program would need beyond that (the reachability check), and
//! starting the machine ([`crate::boot`]).

mod check;
mod custom;
mod direct;
mod error;
mod place;
mod run;
mod signal;
mod systemd;

#[cfg(test)]
mod tests;

use kiln_disk::{Contents, Tree};

pub use error::InitError;
pub use kiln_init::{config, initrd, report};
pub use run::RunConfig;

/// `kiln-init` for [`ARCHITECTURE`], linked statically.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kiln-init"));

/// The machines that [`INIT`] runs on, as images name them.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

/// Where `kiln-init` is on a disk.
pub const INIT_PATH: &str = "/usr/lib/kiln/init";

/// What the first process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// `kiln-init`, which runs the image's program and ends the machine with it.
    Direct,
    /// The image's systemd, with a unit for the image's program.
    Systemd,
    /// A program of the user's own.
    Custom {
        /// Where it is in the tree.
        path: String,
        /// Its bytes; `None` where the image has it.
        script: Option<Vec<u8>>,
    },
}

/// What a disk has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The path of the first process.
    pub init: String,
    /// What the kernel command line needs for this disk, whatever machine it is in: `init=…`, and
    /// `rw` or `ro`. Where the disk and the console are is the machine's part ([`crate::vmm`]).
    pub kernel_arguments: Vec<String>,
    /// Whether the machine says on its console how it goes ([`report`]).
    pub has_reports: bool,
    /// Whether the first process is systemd, and so the machine runs on when the program has ended.
    pub has_systemd: bool,
    /// The paths of what was added or replaced, sorted.
    pub added: Vec<String>,
    /// What is not as it was asked for.
    pub warnings: Vec<String>,
}

/// Makes a tree that starts as the strategy says.
///
/// `contents` has the bytes of the tree's files: `/etc/passwd` and the beginning of what is to be
/// started are read.
///
/// # Errors
///
/// See [`InitError`]. The tree may then have some of what was to be added.
pub fn install(
    tree: &mut Tree,
    contents: &dyn Contents,
    run: &RunConfig,
    strategy: &Strategy,
) -> Result<Installed, InitError> {
    let mut disk = place::Disk::new(tree, contents, run.time);
    disk.install_common(run)?;
    let (init, has_reports) = match strategy {
        Strategy::Direct => (direct::install(&mut disk, run)?, true),
        Strategy::Systemd => (systemd::install(&mut disk, run)?, true),
        Strategy::Custom { path, script } => {
            custom::install(&mut disk, path, script.as_deref())?;
            (path.clone(), false)
        }
    };
    let mode = match run.root {
        config::Root::ReadWrite => "rw",
        config::Root::ReadOnly | config::Root::Overlay => "ro",
    };
    let mut kernel_arguments = vec![format!("init={init}"), mode.to_owned()];
    if run.root == config::Root::Overlay && *strategy != Strategy::Direct {
        // kiln-init does it itself; others need an initial file system that does.
        kernel_arguments.push("kiln.root=overlay".to_owned());
    }
    let (added, warnings) = disk.finish();
    Ok(Installed {
        kernel_arguments,
        init,
        has_reports,
        has_systemd: *strategy == Strategy::Systemd,
        added,
        warnings,
    })
}
