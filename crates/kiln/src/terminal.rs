//! The terminal and the standard streams: the only place that writes to standard output.

use std::io::{self, IsTerminal, Write};

use crate::args::{ColorChoice, ProgressChoice};
use crate::error::CliError;
use crate::render::{Mode, Size};
use crate::settings::Environment;
use crate::settings::env::{NO_COLOR, TERM};
use crate::style::Style;

/// Writes data to standard output.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    print_bytes(text.as_bytes())
}

/// Writes data that need not be text to standard output.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Whether somebody would see what goes to standard output.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes a message to standard error. Nobody is left to tell if that fails.
pub(crate) fn tell(text: &str) {
    _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The size of the terminal on standard error.
pub(crate) fn size() -> Size {
    let (columns, rows) = kiln_sys::host::terminal_size(&io::stderr()).unwrap_or((80, 24));
    Size {
        columns: columns.into(),
        rows: rows.into(),
    }
}

/// Whether messages are coloured.
pub(crate) fn style(choice: ColorChoice, environment: &Environment) -> Style {
    let wanted = match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => environment.get(&NO_COLOR).is_none() && is_capable(environment),
    };
    if wanted {
        Style::colored()
    } else {
        Style::plain()
    }
}

/// How progress is shown.
pub(crate) fn mode(choice: ProgressChoice, environment: &Environment) -> Mode {
    match choice {
        ProgressChoice::Auto if is_capable(environment) => Mode::Tty,
        ProgressChoice::Tty => Mode::Tty,
        ProgressChoice::Auto | ProgressChoice::Plain => Mode::Plain,
        ProgressChoice::Json => Mode::Json,
        ProgressChoice::Rawjson => Mode::RawJson,
        ProgressChoice::Quiet => Mode::Quiet,
        ProgressChoice::None => Mode::None,
    }
}

fn is_capable(environment: &Environment) -> bool {
    io::stderr().is_terminal() && environment.get(&TERM).is_some_and(|term| term != "dumb")
}
