//! The `kiln` program: arguments to settings to command, rendering, exit codes.
//!
//! Only this crate prints, ends the process, or reads the environment and the home directory; the
//! crates below get values. The way of a command:
//!
//! 1. [`args`]: what was typed. 2. [`settings`]: what was decided, from files, environment and
//!    flags. 3. [`commands`]: one function each, calling the engine. 4. [`render`] shows the
//!    engine's events, [`error`] what went wrong.
//!
//! Nothing here knows how an image is built.

#![cfg_attr(
    test,
    expect(
        clippy::needless_raw_string_hashes,
        reason = "`expect!` rewrites its own texts"
    )
)]

mod args;
mod blame;
mod commands;
mod error;
mod interrupt;
mod plugin;
mod profile;
mod render;
mod settings;
mod spool;
mod style;
mod table;
mod terminal;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use args::ColorChoice;
use commands::Invocation;
use error::{CliError, Exit};
use plugin::Start;
use settings::Environment;
use style::Style;

/// How kiln starts itself as the helper of a step. It comes before everything else: a step's cost is
/// counted in milliseconds.
const STEP: &str = "__step";

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let [_, word, argument] = words.as_slice()
        && word == STEP
    {
        return kiln_exec::helper_main(argument);
    }
    kiln_sys::host::set_up_allocator();
    let (words, variables) = match plugin::start(words) {
        Start::Command { words, variables } => (words, variables),
        Start::Metadata => {
            return match terminal::print(&plugin::metadata()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => end(&error, Style::plain()),
            };
        }
        Start::Refused(reason) => return end(&CliError::usage(reason), Style::plain()),
    };
    let tracer = profile::tracer(&words);
    let cli = match tracer.within("arguments", || args::parse(words)) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let environment = match environment(variables) {
        Ok(environment) => environment,
        Err(error) => return end(&error, Style::plain()),
    };
    let color = cli.globals.color.unwrap_or(ColorChoice::Auto);
    let mut style = terminal::style(color, &environment);
    let result = commands::run_without_settings(&cli.command).unwrap_or_else(|| {
        let invocation = Invocation::decide(&cli, environment, tracer)?;
        style = invocation.style;
        commands::run(&cli.command, &invocation)
    });
    match result {
        Ok(code) => code,
        Err(error) => end(&error, style),
    }
}

/// The one place that asks the process what it was started with. What was said on the command
/// line instead of a variable is stronger.
fn environment(variables: Vec<(&'static str, OsString)>) -> Result<Environment, CliError> {
    let cwd = std::env::current_dir().map_err(|cause| {
        CliError::usage(cause).hint("the working directory was removed; change to another")
    })?;
    let said = variables
        .into_iter()
        .map(|(name, value)| (name.into(), value));
    let is_root = kiln_sys::host::effective_uid() == 0;
    Ok(Environment::new(
        std::env::vars_os().chain(said),
        cwd,
        is_root,
        kiln_sys::host::parallelism(),
    ))
}

/// Help and version go to standard output; a command line that can't be understood is an error.
fn explain(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        _ = error.print();
        return ExitCode::from(Exit::Usage.code());
    }
    let text = if std::io::stdout().is_terminal() {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    match terminal::print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&error, Style::plain()),
    }
}

fn end(error: &CliError, style: Style) -> ExitCode {
    terminal::tell(&error.render(style));
    ExitCode::from(error.exit.code())
}
