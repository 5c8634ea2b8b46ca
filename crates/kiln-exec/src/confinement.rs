//! How tightly a step is held, and on which machine it believes to be: what `RUN --security`, `--shm-size`,
//! `--ulimit`, `--memory`, `--cgroup-parent` and `--platform` decide. The default is a sandbox like
//! Docker's with no limits.

use std::fmt;
use std::str::FromStr;

use crate::Emulation;

/// What [`crate::Executor::run`] takes beside the step itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confinement {
    /// What the step may do.
    pub security: Security,
    /// Whose programs the step runs; what [`crate::supports`] returned.
    pub emulation: Emulation,
    /// Size of `/dev/shm` in bytes; `None` for Docker's 64 MiB.
    pub shm_bytes: Option<u64>,
    /// Resource limits of the step's processes.
    pub ulimits: Vec<Ulimit>,
    /// Limits of a control group made for the step.
    pub resources: Resources,
    /// The control group in which the step's own is made, from the hierarchy's root, for example
    /// `/builds`; made where it is missing. `None` for a place at or above kiln's own group.
    pub cgroup_parent: Option<String>,
}

/// What a step may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// What Docker allows.
    #[default]
    Sandbox,
    /// All capabilities that kiln's user namespace has, no system call filter, nothing hidden or
    /// read-only below `/proc` and `/sys`, and as root the nodes of more devices: for builds that make
    /// containers or mount things. As root this is root of the machine.
    Insecure,
}

/// One resource limit, as `ulimit` and setrlimit(2) have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Docker's name: `nofile`, `nproc`, `core`, …
    pub name: String,
    /// The limit in force; `None` for none. The unit depends on the name.
    pub soft: Option<u64>,
    /// How far the step may raise it; `None` for as far as it likes.
    pub hard: Option<u64>,
}

/// Limits of a control group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Memory and swap together in bytes, at least `memory`; -1 for any amount of swap.
    pub memory_swap: Option<i64>,
    /// Weight of processor time against other groups, 2 to 262144; 1024 is the usual.
    pub cpu_shares: Option<u64>,
    /// Length of a period of `cpu_quota` in microseconds, 1000 to 1000000; 100000 where it is not given.
    pub cpu_period: Option<u64>,
    /// Microseconds of processor time in each period; -1 for no limit.
    pub cpu_quota: Option<i64>,
    /// Processors, for example `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, likewise.
    pub cpuset_mems: Option<String>,
}

impl Resources {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    /// No such resource.
    #[error("there is no resource limit `{0}`; there are: {names}", names = NAMES.join(", "))]
    UnknownName(String),
    /// Not `name=soft[:hard]`.
    #[error("`{0}` is not a limit of the form `name=soft` or `name=soft:hard`")]
    Form(String),
    /// The soft limit is above the hard one.
    #[error("in `{0}` the soft limit is above the hard one")]
    Order(String),
}

/// Docker's names of resource limits.
pub(crate) const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl FromStr for Ulimit {
    type Err = UlimitError;

    /// `name=soft[:hard]`; -1 is no limit, and a missing hard limit is the soft one.
    fn from_str(text: &str) -> Result<Self, UlimitError> {
        let form = || UlimitError::Form(text.to_owned());
        let (name, limits) = text.split_once('=').ok_or_else(form)?;
        if !NAMES.contains(&name) {
            return Err(UlimitError::UnknownName(name.to_owned()));
        }
        let number = |text: &str| match text {
            "-1" => Ok(None),
            text => text.parse().map(Some).map_err(|_| form()),
        };
        let (soft, hard) = match limits.split_once(':') {
            Some((soft, hard)) => (number(soft)?, number(hard)?),
            None => (number(limits)?, number(limits)?),
        };
        let limit = Self {
            name: name.to_owned(),
            soft,
            hard,
        };
        if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
            return Err(UlimitError::Order(text.to_owned()));
        }
        Ok(limit)
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number =
            |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
        let Self { name, soft, hard } = self;
        write!(f, "{name}={}:{}", number(*soft), number(*hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let parsed = text.parse::<Ulimit>();
        let parsed = parsed.map_or_else(|error| error.to_string(), |limit| limit.to_string());
        assert_eq!(parsed, expected);
    }

    #[test]
    fn limits_are_dockers() {
        check("nofile=1024", "nofile=1024:1024");
        check("nofile=1024:2048", "nofile=1024:2048");
        check("core=0:-1", "core=0:-1");
        check("core=-1", "core=-1:-1");
        check(
            "core=-1:5",
            "in `core=-1:5` the soft limit is above the hard one",
        );
        check(
            "nofile=5:1",
            "in `nofile=5:1` the soft limit is above the hard one",
        );
        check(
            "nofile",
            "`nofile` is not a limit of the form `name=soft` or `name=soft:hard`",
        );
        check(
            "files=1",
            "there is no resource limit `files`; there are: core, cpu, data, fsize, locks, memlock, \
             msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack",
        );
    }
}
