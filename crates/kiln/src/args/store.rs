//! `kiln du` and `kiln prune`: the disk space of the local store.

use clap::Args;

use super::values::{ByteSize, ReportFormat, Span};

/// Show what takes space in the local store
#[derive(Debug, Args)]
pub(crate) struct DuArgs {
    /// List each record of the build cache
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// table, json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    pub(crate) format: ReportFormat,
}

/// Remove what no image and no running build needs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln prune                          remove build cache that no image uses
  kiln prune --until 7d               … that was not used for a week
  kiln prune --keep 10GB              … the longest unused first, until 10 GB are left
  kiln prune --all                    … and every image, too")]
pub(crate) struct PruneArgs {
    /// Remove every image, too
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only what was not used for this long, as in `24h`
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Span>,

    /// Keep this much build cache
    #[arg(long, value_name = "SIZE", visible_aliases = ["max-used-space", "keep-storage"])]
    pub(crate) keep: Option<ByteSize>,

    /// Do not ask; kiln never asks
    #[arg(short, long, hide = true)]
    pub(crate) force: bool,
}
