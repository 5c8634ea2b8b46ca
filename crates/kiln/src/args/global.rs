//! Flags that every command takes, before or after its name.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Keep images, layers and the build cache in this directory
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// Read this configuration file instead of the system's and the user's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,

    /// Colour in messages: `auto` colours a terminal unless `NO_COLOR` is set
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true)]
    pub(crate) color: Option<ColorChoice>,

    /// How steps are kept apart from the machine: auto, rootless, single-id [default: auto]
    #[arg(long, global = true, value_name = "KIND", hide_possible_values = true)]
    pub(crate) sandbox: Option<SandboxChoice>,
}

/// Which sandbox to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SandboxChoice {
    /// The strongest that works here
    Auto,
    /// A user namespace with subordinate ids, even for root
    Rootless,
    /// A user namespace with the caller's id alone
    SingleId,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// How a build shows its progress, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressChoice {
    /// `tty` on a terminal, `plain` otherwise
    Auto,
    /// A live view
    Tty,
    /// Lines of text, for logs
    Plain,
    /// One JSON document a line, in kiln's format
    Json,
    /// One JSON document a line, in BuildKit's format
    Rawjson,
    /// Nothing but the image's ID
    Quiet,
    /// Nothing
    None,
}
