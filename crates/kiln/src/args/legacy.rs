//! Flags that `docker buildx build` keeps for those who came from `docker build`, and flags that
//! only a daemon gives a meaning.
//!
//! None is shown in the help. What each comes to is decided in [`crate::settings::build`]: some are
//! other words for a flag that is shown, some say what kiln does anyway, the rest is told to the
//! user in one line.

use clap::{ArgAction, Args};

use super::values::parse_switch;

/// The old flags, and those for daemons.
#[derive(Debug, Default, Clone, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that stands for itself"
)]
pub(crate) struct LegacyArgs {
    /// The builder instance; kiln has none
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) builder: Option<String>,

    /// Rego policies; kiln has none
    #[arg(long = "policy", hide = true, value_name = "SPEC")]
    pub(crate) policy: Vec<String>,

    /// An old name of `--call`
    #[arg(long, hide = true, value_name = "METHOD")]
    pub(crate) print: Option<String>,

    /// Short for `--resource memory=…`
    #[arg(short, long, hide = true, value_name = "SIZE")]
    pub(crate) memory: Option<String>,

    /// Short for `--resource memory-swap=…`
    #[arg(long, hide = true, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,

    /// Short for `--resource cpu-shares=…`
    #[arg(short = 'c', long, hide = true, value_name = "N")]
    pub(crate) cpu_shares: Option<String>,

    /// Short for `--resource cpu-period=…`
    #[arg(long, hide = true, value_name = "MICROSECONDS")]
    pub(crate) cpu_period: Option<String>,

    /// Short for `--resource cpu-quota=…`
    #[arg(
        long,
        hide = true,
        value_name = "MICROSECONDS",
        allow_hyphen_values = true
    )]
    pub(crate) cpu_quota: Option<String>,

    /// Short for `--resource cpuset-cpus=…`
    #[arg(long, hide = true, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,

    /// Short for `--resource cpuset-mems=…`
    #[arg(long, hide = true, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,

    /// Compress the context on its way to the daemon; there is no way
    #[arg(long, hide = true, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        value_parser = parse_switch)]
    pub(crate) compress: bool,

    /// How containers are kept apart on Windows
    #[arg(long, hide = true, value_name = "KIND")]
    pub(crate) isolation: Option<String>,

    /// Security options of steps
    #[arg(long = "security-opt", hide = true, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,

    /// Make one layer of all new ones
    #[arg(long, hide = true, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        value_parser = parse_switch)]
    pub(crate) squash: bool,

    /// Remove intermediate containers; kiln never leaves any
    #[arg(long, hide = true, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "true", default_missing_value = "true",
        value_parser = parse_switch)]
    pub(crate) rm: bool,

    /// Remove intermediate containers; kiln never leaves any
    #[arg(long, hide = true, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        value_parser = parse_switch)]
    pub(crate) force_rm: bool,
}
