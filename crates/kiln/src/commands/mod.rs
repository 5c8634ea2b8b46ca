//! One function per command: decided values in, an exit code out.

mod meta;

use std::process::ExitCode;

use crate::args::{Cli, Command};
use crate::error::CliError;
use crate::settings::{self, Environment, Layer, Settings};
use crate::style::Style;
use crate::terminal;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) environment: Environment,
    pub(crate) settings: Settings,
    /// Where the settings came from.
    pub(crate) layer: Layer,
    pub(crate) style: Style,
}

impl Invocation {
    /// Decides the settings for a command line.
    pub(crate) fn decide(cli: &Cli, environment: Environment) -> Result<Self, CliError> {
        let files = settings::read_files(cli.globals.config.as_deref(), &environment)?;
        let layer = files
            .layer
            .under(Layer::from_environment(&environment))
            .under(settings::from_flags(cli));
        let settings = Settings::resolve(&layer, files.registries, &environment)?;
        let style = terminal::style(settings.color, &environment);
        Ok(Self {
            environment,
            settings,
            layer,
            style,
        })
    }
}

/// Runs a command.
pub(crate) fn run(command: Command, invocation: &Invocation) -> Result<ExitCode, CliError> {
    match command {
        Command::Config(args) => meta::config(&args, invocation),
        Command::Completions(args) => meta::completions(&args),
        Command::Man(args) => meta::man(&args),
        Command::Version(args) => meta::version(&args),
        _ => unimplemented!(),
    }
}
