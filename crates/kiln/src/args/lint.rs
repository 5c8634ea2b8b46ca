//! `kiln lint`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Look for mistakes in Dockerfiles
///
/// Ends with 0 if nothing was found, and with 2 if something was. docs/lint.md explains each check;
/// `# check=skip=NAME` in a file turns one off.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln lint                           check ./Dockerfile
  kiln lint a/Dockerfile b/Dockerfile
  kiln lint --format sarif > report.sarif")]
pub(crate) struct LintArgs {
    /// The Dockerfiles [default: ./Dockerfile]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// How findings are printed: text, json, sarif
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) format: LintFormat,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    /// For people
    Text,
    /// As BuildKit's `frontend.lint` answers
    Json,
    /// For code scanning services
    Sarif,
}
