//! `kiln bootstrap` and `kiln doctor`: what the host's packages and its kernel give.

use clap::Args;

/// Make a base image from a distribution's packages, without a registry
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln bootstrap debian:bookworm                       so that `FROM debian:bookworm` works
  kiln bootstrap --platform linux/arm64 debian:bookworm
  kiln bootstrap debian:bookworm-slim                  without documentation
  kiln bootstrap --suite sid team/base:1               any name
  kiln bootstrap --mirror https://mirror.example/debian debian:trixie

The packages come from the host's own apt configuration unless --mirror (or `bootstrap-mirror` in
the configuration) names another. Same packages, same bytes.")]
pub(crate) struct BootstrapArgs {
    /// The image's name; says the distribution and its release, as in `debian:bookworm`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Which platform [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Where packages come from [default: the host's apt configuration]
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,

    /// The release, where the name doesn't say it, as in `bookworm`
    #[arg(long, value_name = "SUITE")]
    pub(crate) suite: Option<String>,

    /// How much is installed: essential, apt, minbase, important, buildd [default: minbase]
    #[arg(long, value_name = "VARIANT")]
    pub(crate) variant: Option<String>,

    /// Parts of the archive, separated by commas [default: main]
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    pub(crate) components: Vec<String>,

    /// More packages; may be given several times, or separated by commas
    #[arg(long = "include", value_name = "PACKAGE", value_delimiter = ',')]
    pub(crate) include: Vec<String>,

    /// Print nothing but the image's digest
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Say what this machine allows, and how to get what is missing
///
/// The exit code is 0 if a build could run.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
