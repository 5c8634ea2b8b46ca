//! Running other programs: the one place in xtask that starts a process.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// What a command of xtask ends in: nothing, or the message to print.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// A command that runs at the top of the repository.
#[expect(
    clippy::disallowed_methods,
    reason = "xtask does not link kiln-sys, and this wrapper sets the working directory"
)]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// `cargo`, the one that runs this program, with colour only where it would have it itself.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments);
    cargo
}

/// The top folder of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The command as a person would type it.
pub(crate) fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// Runs a command with this program's own terminal, and fails unless it exits with 0.
pub(crate) fn run(command: &mut Command) -> Outcome {
    eprintln!("$ {}", display(command));
    let status = command.status().map_err(|error| failed(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}` failed ({status})", display(command)))
    }
}

/// Runs a command in the place of this program; returns only if it can't be started.
pub(crate) fn replace_by(command: &mut Command) -> Outcome {
    eprintln!("$ {}", display(command));
    let error = command.exec();
    Err(failed(command, &error))
}

/// Runs a command and gives what it wrote to its standard output.
pub(crate) fn read(command: &mut Command) -> Outcome<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(command, &error))?;
    if !output.status.success() {
        return Err(format!("`{}` failed ({})", display(command), output.status));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| format!("`{}` wrote something that is not UTF-8", display(command)))
}

/// Whether a command can be started and exits with 0; what it writes is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs a command, passes both of its outputs through line by line, and shows `look` each line.
///
/// Returns whether it exited with 0.
pub(crate) fn watch(command: &mut Command, mut look: impl FnMut(&str)) -> Outcome<bool> {
    eprintln!("$ {}", display(command));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(command, &error))?;
    let (sender, lines) = std::sync::mpsc::channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    for output in outputs.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    for line in lines {
        println!("{line}");
        look(&line);
    }
    let status = child.wait().map_err(|error| failed(command, &error))?;
    Ok(status.success())
}

/// The folders of `PATH`, and those where Debian keeps programs for the administrator.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    read(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn failed(command: &Command, error: &std::io::Error) -> String {
    format!("could not run `{}`: {error}", display(command))
}
