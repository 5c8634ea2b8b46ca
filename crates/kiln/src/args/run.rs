//! `kiln run`.

use clap::Args;

use super::values::{Assignment, HostEntry, NetworkName, VolumeSpec};

/// Run a command in an image
///
/// The image's files are seen through a layer that is thrown away at the end. The exit code is the
/// command's own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln run app                        what the image's ENTRYPOINT and CMD say
  kiln run -it debian:bookworm bash   a shell on this terminal
  kiln run -v ./src:/src:ro -w /src app make test")]
pub(crate) struct RunArgs {
    /// The name, ID or digest of an image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// What to run instead of the image's CMD
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<String>,

    /// Pass standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,

    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// Throw the container away at the end; kiln always does
    #[arg(long)]
    pub(crate) rm: bool,

    /// A variable; without `=VALUE` it is taken from the environment
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Assignment>,

    /// Show a file or directory of the host inside
    #[arg(short, long = "volume", value_name = "HOST_PATH:PATH[:ro]")]
    pub(crate) volumes: Vec<VolumeSpec>,

    /// The working directory inside
    #[arg(short, long, value_name = "PATH")]
    pub(crate) workdir: Option<String>,

    /// The user, as `NAME|ID[:GROUP|ID]`
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// What to run instead of the image's ENTRYPOINT
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,

    /// The network: default, host, none
    #[arg(long, value_name = "NETWORK", hide_possible_values = true)]
    pub(crate) network: Option<NetworkName>,

    /// The host name inside
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,

    /// A line for /etc/hosts, as `HOST:IP` or `HOST=IP`
    #[arg(long = "add-host", value_name = "HOST:IP")]
    pub(crate) add_hosts: Vec<HostEntry>,

    /// Which platform's image, where a name has several
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Trust the host's additional certificate authorities inside, or those in FILE
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) trust_host_cas: Option<String>,
}
