//! `kiln history`: past builds.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::values::ReportFormat;

const EXAMPLES: &str = "\
Examples:
  kiln history ls                     the latest builds
  kiln history ls --filter status=failed
  kiln history inspect                the latest build, step by step
  kiln history logs ^1                what the one before it printed
  kiln history report -o build.html   a page with a timeline
  kiln history trace -o build.json    … for https://ui.perfetto.dev

BUILD is an ID or the beginning of one; ^0 is the latest build, ^1 the one before.";

/// Look at past builds
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HistoryArgs {
    #[command(subcommand)]
    pub(crate) command: HistoryCommand,
}

/// What to do with past builds.
#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// List builds, the latest first
    #[command(visible_alias = "list")]
    Ls(HistoryLsArgs),
    /// Show a build: its steps, times and cache hits, what it was made from, why it failed
    Inspect {
        #[command(flatten)]
        build: BuildName,

        /// table, json
        #[arg(
            long,
            value_name = "FORMAT",
            default_value = "table",
            hide_default_value = true
        )]
        format: ReportFormat,
    },
    /// Print what a build printed
    Logs {
        #[command(flatten)]
        build: BuildName,

        /// plain, json
        #[arg(
            long,
            value_name = "HOW",
            default_value = "plain",
            hide_possible_values = true
        )]
        progress: LogFormat,
    },
    /// Forget builds
    Rm {
        /// Which builds
        #[arg(value_name = "BUILD", required_unless_present = "all")]
        builds: Vec<String>,

        /// All that don't run
        #[arg(short, long, conflicts_with = "builds")]
        all: bool,
    },
    /// Write a page about a build into the store, and print its path
    Open {
        #[command(flatten)]
        build: BuildName,
    },
    /// Write a page about a build: its steps on a timeline, their output, its error
    Report {
        #[command(flatten)]
        build: BuildName,

        /// The file; `-` for standard output [default: kiln-build-ID.html]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write a build's steps as trace events, which Perfetto and `chrome://tracing` show
    Trace {
        #[command(flatten)]
        build: BuildName,

        /// The file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write a build's record for another machine's `kiln history import`
    Export {
        #[command(flatten)]
        build: BuildName,

        /// The file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take in a build's record
    Import {
        /// The file; `-` for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Which build.
#[derive(Debug, Args)]
pub(crate) struct BuildName {
    /// Which build
    #[arg(value_name = "BUILD", default_value = "^0")]
    pub(crate) build: String,
}

/// `kiln history ls`.
#[derive(Debug, Args)]
pub(crate) struct HistoryLsArgs {
    /// Only builds with `status=running|completed|failed|cancelled|interrupted`, `name=IMAGE`, or
    /// begun `since=24h`; may be given several times
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    pub(crate) filters: Vec<String>,

    /// Only this many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Print IDs only
    #[arg(short, long, conflicts_with = "format")]
    pub(crate) quiet: bool,

    /// Print names and IDs in full
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// table, json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    pub(crate) format: ReportFormat,
}

/// How a log is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// As `--progress=plain` does
    Plain,
    /// As `--progress=json` does
    Json,
}
