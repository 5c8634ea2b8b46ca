//! `kiln-init`: process 1 of a machine. The library of this crate says what it does.

mod console;
mod end;
mod files;
mod initrd;
mod mounts;
mod network;
mod program;
mod supervise;
mod unit;
mod verity;

use std::path::Path;
use std::process::ExitCode;

use kiln_init::cmdline::{self, CommandLine};
use kiln_init::config::{self, Config, End, Root};
use kiln_init::report::Report;
use kiln_sys::machine::SignalQueue;
use kiln_sys::process::Ended;

use crate::console::say;

/// Why the program does not run, with the exit code that says so.
#[derive(Debug)]
struct Failure {
    code: i32,
    message: String,
}

impl Failure {
    /// The machine could not be prepared.
    fn machine(message: impl Into<String>) -> Self {
        Self {
            code: 125,
            message: message.into(),
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    match arguments.next().as_deref() {
        Some("ready") => return unit::ready(),
        Some("exit") => return unit::exit(),
        _ => {}
    }
    if std::process::id() != 1 {
        say(&Report::Failed {
            code: 125,
            message: "this is the first process of a machine, and was started as another".into(),
        });
        return ExitCode::from(125);
    }
    let mut end = default_end(&name);
    let result = if initrd::is_here(&name) {
        initrd::start(&mut end).map(|never| match never {})
    } else {
        run(&mut end)
    };
    let ended = result.unwrap_or_else(|Failure { code, message }| {
        say(&Report::Failed { code, message });
        Ended::Exited(code)
    });
    end::finish(end, ended)
}

/// Everything from the first mount to the end of the program.
fn run(end: &mut Option<End>) -> Result<Ended, Failure> {
    let mut signals = SignalQueue::new()
        .map_err(|error| Failure::machine(format!("signals can't be queued: {error}")))?;
    mounts::mount_proc()?;
    let line = command_line();
    *end = line.end.or(*end);
    verity::require(line.verity.as_ref())?;
    let config = line.apply(read_config()?);
    *end = config.end.or(*end);
    if config.root == Root::Overlay {
        mounts::enter_overlay()?;
    }
    mounts::mount_all(&config)?;
    console::open_if_none();
    if let Err(error) = kiln_sys::machine::catch_ctrl_alt_del() {
        // A pid namespace that is not a machine's has no such key.
        if !matches!(error.kind(), std::io::ErrorKind::InvalidInput) {
            warn(format!(
                "Ctrl-Alt-Del restarts the machine at once: {error}"
            ));
        }
    }
    if let Some(name) = &config.hostname {
        kiln_sys::machine::set_hostname(name)
            .map_err(|error| Failure::machine(format!("the name `{name}` is refused: {error}")))?;
    }
    let nameservers = network::bring_up(config.network.as_ref(), &line)?;
    files::write(&config, &nameservers)?;
    mounts::mount_volumes(&config)?;
    let started = program::start(&config)?;
    say(&Report::Ready(started.clone()));
    supervise::supervise(&mut signals, started.pid, &config.program, line.port)
        .map_err(|error| Failure::machine(format!("the program can't be waited for: {error}")))
}

/// builderd's machines are Firecracker's, where a restart is the way to end.
fn default_end(name: &str) -> Option<End> {
    let is_builderd = Path::new(name).file_name() == Some("metald-init".as_ref());
    is_builderd.then_some(End::Restart)
}

pub(crate) fn command_line() -> CommandLine {
    // Bytes that are no text are in nothing that is understood here.
    let bytes = std::fs::read(cmdline::PATH).unwrap_or_default();
    cmdline::parse(&String::from_utf8_lossy(&bytes))
}

fn read_config() -> Result<Config, Failure> {
    let bytes = std::fs::read(config::PATH)
        .map_err(|error| Failure::machine(format!("`{}`: {error}", config::PATH)))?;
    Config::from_json(&bytes).map_err(|error| Failure::machine(error.to_string()))
}

/// Says what is not as it should be; the machine goes on.
fn warn(message: impl Into<String>) {
    say(&Report::Warning {
        message: message.into(),
    });
}
