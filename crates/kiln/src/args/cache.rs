//! `kiln cache`: the cache mounts of RUN steps.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{ByteSize, ReportFormat, Span};

const EXAMPLES: &str = "\
Examples:
  kiln cache ls                               what RUN --mount=type=cache keeps
  kiln cache export go-build -o go.tar.zst    … as an archive, for the next CI run
  kiln cache import go.tar.zst                … and back
  kiln cache prune --until 7d                 remove what was not used for a week

ID is the mount's `id`, or its target where it has none; `@7` is the directory number 7 of `ls`.";

/// Look after the cache mounts of RUN steps
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CacheCommandArgs {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

/// What to do with cache mounts.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List cache mounts
    #[command(visible_alias = "list")]
    Ls {
        /// Print numbers only
        #[arg(short, long, conflicts_with = "format")]
        quiet: bool,

        /// table, json
        #[arg(
            long,
            value_name = "FORMAT",
            default_value = "table",
            hide_default_value = true
        )]
        format: ReportFormat,
    },
    /// Remove cache mounts
    Rm {
        /// Which ones
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Remove cache mounts that no build uses
    Prune(CachePruneArgs),
    /// Write what is in a cache mount as a tar archive
    Export {
        /// Which one
        #[arg(value_name = "ID")]
        id: String,

        /// The file; its name says how it is compressed: .tar, .tar.gz, .tar.zst
        /// [default: standard output, not compressed]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Put an archive in the place of what a cache mount holds
    Import {
        /// The archive, compressed or not; `-` for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// Which one [default: the one that was exported]
        #[arg(long, value_name = "ID")]
        id: Option<String>,

        /// The namespace, as in `BUILDKIT_CACHE_MOUNT_NS` [default: the one that was exported]
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,

        /// A missing file is no error: the first run of a CI job has none
        #[arg(long)]
        if_exists: bool,
    },
}

/// `kiln cache prune`.
#[derive(Debug, Args)]
pub(crate) struct CachePruneArgs {
    /// Only these
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<String>,

    /// Only what was not used for this long, as in `24h`
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Span>,

    /// Keep this much, the most recently used first
    #[arg(long, value_name = "SIZE")]
    pub(crate) keep: Option<ByteSize>,
}
