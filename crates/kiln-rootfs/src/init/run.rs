//! What is to run, decided.

use std::collections::BTreeSet;

use kiln_init::config::{Network, Root};
use kiln_oci::ImageConfig;
use kiln_sys::fs::FileTime;

use crate::request::Overrides;

/// What runs in a machine, and what the machine is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunConfig {
    /// The machines that the image is for, as images name them.
    pub architecture: String,
    /// The program and its arguments: entry point and command.
    pub args: Vec<String>,
    /// The environment, `NAME=value` each; the later of two of one name counts.
    pub env: Vec<String>,
    /// `user` or `user:group`, each a name or a number; empty for root.
    pub user: String,
    /// Supplementary groups beside those that `/etc/group` lists the user in.
    pub groups: Vec<String>,
    /// The directory to start in; empty for `/`.
    pub working_dir: String,
    /// Directories that can be written to, whatever the root is.
    pub volumes: BTreeSet<String>,
    /// Ports that the program listens on, as `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// The signal that asks the program to end, by name or number; `None` for `SIGTERM`.
    pub stop_signal: Option<String>,
    /// The permission bits that new files don't get.
    pub umask: u32,
    /// The machine's name; `None` to leave what the kernel says.
    pub hostname: Option<String>,
    /// The text of `/etc/hosts`; `None` to leave the image's, or have one with `localhost` where it
    /// has none.
    pub hosts: Option<String>,
    /// The text of `/etc/resolv.conf`; `None` to leave the image's.
    pub resolv_conf: Option<String>,
    /// The network; `None` for what the kernel's `ip=` says, if anything.
    pub network: Option<Network>,
    /// What happens to the root file system.
    pub root: Root,
    /// Whether `/tmp` is in memory.
    pub tmp: bool,
    /// The time that added files have.
    pub time: FileTime,
}

impl RunConfig {
    /// What an image says, with what the caller wants instead.
    pub fn new(image: &ImageConfig, overrides: &Overrides) -> Self {
        let runtime = &image.runtime;
        let own = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let mut args = match &overrides.entrypoint {
            Some(entrypoint) => entrypoint.clone(),
            None => own(&runtime.entrypoint),
        };
        // Another entry point would not understand the image's arguments.
        args.extend(match (&overrides.cmd, &overrides.entrypoint) {
            (Some(cmd), _) => cmd.clone(),
            (None, Some(_)) => Vec::new(),
            (None, None) => own(&runtime.cmd),
        });
        let mut env = runtime.env.clone();
        let more = overrides.env.iter();
        env.extend(more.map(|(name, value)| format!("{name}={value}")));
        let mut exposed_ports = runtime.exposed_ports.clone();
        exposed_ports.extend(overrides.exposed_ports.iter().cloned());
        let or = |own: &String, other: &Option<String>| other.as_ref().unwrap_or(own).clone();
        Self {
            architecture: image.platform.architecture.clone(),
            args,
            env,
            user: or(&runtime.user, &overrides.user),
            groups: Vec::new(),
            working_dir: or(&runtime.working_dir, &overrides.working_dir),
            volumes: runtime.volumes.clone(),
            exposed_ports,
            stop_signal: runtime.stop_signal.clone(),
            umask: 0o022,
            hostname: overrides.hostname.clone(),
            hosts: None,
            resolv_conf: None,
            network: None,
            root: Root::ReadWrite,
            tmp: false,
            time: FileTime::from_seconds(0),
        }
    }

    /// The value of a variable; of two, the later.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let mut variables = self.env.iter().rev();
        variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
    }
}
