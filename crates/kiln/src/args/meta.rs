//! `kiln config`, `completions`, `man` and `version`: kiln about itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Show the settings in force
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print each setting, its value and where the value came from
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln completions bash > ~/.local/share/bash-completion/completions/kiln
  kiln completions zsh > ~/.zfunc/_kiln
  kiln completions fish > ~/.config/fish/completions/kiln.fish")]
pub(crate) struct CompletionsArgs {
    /// bash, zsh, fish, elvish, powershell
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln man | man -l -                 read it
  kiln man build | man -l -           the page of one command
  kiln man --directory man1           write kiln.1, kiln-build.1, …")]
pub(crate) struct ManArgs {
    /// The page of this command
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    pub(crate) command: Option<String>,

    /// Write a page for kiln and each command into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// Print the version
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
