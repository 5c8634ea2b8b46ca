//! `--profile`, which several commands have.

use std::path::PathBuf;

use clap::Args;

/// Where the time of a command went.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct ProfileArgs {
    /// Write where the time went to this file, for a trace viewer such as ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
}
