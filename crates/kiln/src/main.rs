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

mod args;
mod blame;
mod commands;
mod error;
mod render;
mod settings;
mod style;
mod table;
mod terminal;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use args::ColorChoice;
use commands::Invocation;
use error::{CliError, Exit};
use settings::Environment;
use style::Style;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let environment = match environment() {
        Ok(environment) => environment,
        Err(error) => return end(&error, Style::plain()),
    };
    let cli = match args::parse(words) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let style = terminal::style(cli.globals.color.unwrap_or(ColorChoice::Auto), &environment);
    let invocation = match Invocation::decide(&cli, environment) {
        Ok(invocation) => invocation,
        Err(error) => return end(&error, style),
    };
    match commands::run(cli.command, &invocation) {
        Ok(code) => code,
        Err(error) => end(&error, invocation.style),
    }
}

/// The one place that asks the process what it was started with.
fn environment() -> Result<Environment, CliError> {
    let cwd = std::env::current_dir().map_err(|cause| {
        CliError::usage(cause).hint("the working directory was removed; change to another")
    })?;
    let is_root = kiln_sys::host::effective_uid() == 0;
    Ok(Environment::new(
        std::env::vars_os(),
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
    let text = match std::io::stdout().is_terminal() {
        true => error.render().ansi().to_string(),
        false => error.render().to_string(),
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
