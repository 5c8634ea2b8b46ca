//! `kiln buildx …`: buildx's own names for kiln's commands, so that scripts written for it run.
//!
//! Hidden from the help, since each is a second name. Commands for builder instances are absent:
//! there are none.

use clap::{Args, Subcommand};

use super::{BakeArgs, BuildArgs, Command, DuArgs, PruneArgs, VersionArgs};

/// The commands of `docker buildx` that kiln has, too
#[derive(Debug, Args)]
pub(crate) struct BuildxArgs {
    #[command(subcommand)]
    command: BuildxCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum BuildxCommand {
    #[command(visible_alias = "b")]
    Build(Box<BuildArgs>),
    #[command(visible_alias = "f")]
    Bake(Box<BakeArgs>),
    Du(DuArgs),
    Prune(PruneArgs),
    Version(VersionArgs),
}

impl From<BuildxArgs> for Command {
    fn from(args: BuildxArgs) -> Self {
        match args.command {
            BuildxCommand::Build(args) => Self::Build(args),
            BuildxCommand::Bake(args) => Self::Bake(args),
            BuildxCommand::Du(args) => Self::Du(args),
            BuildxCommand::Prune(args) => Self::Prune(args),
            BuildxCommand::Version(args) => Self::Version(args),
        }
    }
}
