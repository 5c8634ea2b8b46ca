//! Running the host's programs: apt to ask it, mmdebstrap to do the work.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_base::CancelToken;
use kiln_sys::{binfmt, files, process};

use crate::error::BootstrapError;

/// Where programs are looked for, whatever the caller's own `PATH` is.
const FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// How many lines of a failed helper's output an error repeats.
const LAST_LINES: usize = 30;

/// What the host's programs are run with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    /// Proxy variables.
    pub(crate) proxies: &'a [(String, String)],
    /// A folder for temporary files, removed with the snapshot it belongs to.
    pub(crate) scratch: &'a Path,
}

/// What a short program said.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program<'_> {
    /// A command with a small, fixed environment.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = process::command(program, Path::new("/"));
        command.env("PATH", FOLDERS.join(":"));
        command.env("HOME", "/root");
        command.env("LC_ALL", "C.UTF-8");
        command.env("TMPDIR", self.scratch);
        for (name, value) in self.proxies {
            command.env(name, value);
        }
        command.stdin(Stdio::null());
        command
    }
}

/// Whether a program is installed.
pub(crate) fn is_installed(program: &str) -> bool {
    FOLDERS
        .iter()
        .any(|folder| files::exists(Path::new(folder).join(program)))
}

/// Runs a program that ends by itself soon, and collects what it writes. A program that is not
/// there said nothing.
pub(crate) fn capture(
    programs: &Program<'_>,
    program: &Path,
    arguments: &[&str],
) -> Result<Captured, BootstrapError> {
    match programs.command(program).args(arguments).output() {
        Ok(output) => Ok(Captured {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Captured {
            success: false,
            stdout: String::new(),
            stderr: String::new(),
        }),
        Err(cause) => Err(not_run(program.as_os_str(), cause)),
    }
}

/// Wraps a program so that it and everything it starts end when kiln does, or when it is told to
/// stop: a process namespace of its own, whose first process dies with its parent. What it mounts
/// is in a mount namespace of its own and goes with it, so that nobody who removes its folder
/// reaches the host's files through a mount that was left.
pub(crate) fn leashed(programs: &Program<'_>, arguments: &[String]) -> Command {
    let mut command = programs.command(Path::new("/usr/bin/setpriv"));
    command.args(["--pdeathsig", "KILL", "--"]);
    command.args([
        "/usr/bin/unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--",
    ]);
    command.args(arguments);
    command
}

/// Runs a command to its end and gives each piece of its output, standard output and error
/// together, to `output`.
///
/// With a handler, it runs in a user namespace of its own in which the handler is registered.
pub(crate) fn run(
    mut command: Command,
    handler: Option<&binfmt::Handler>,
    cancel: &CancelToken,
    output: &mut dyn FnMut(&[u8]),
) -> Result<(), BootstrapError> {
    cancel.check()?;
    let program = command.get_program().to_owned();
    let failed = |cause| not_run(&program, cause);
    let (reader, writer) = io::pipe().map_err(failed)?;
    command
        .stdout(writer.try_clone().map_err(failed)?)
        .stderr(writer);
    let child = match handler {
        None => {
            let child = command.spawn();
            // The command holds the pipe's other end, and would keep it open.
            drop(command);
            child.map_err(failed)?
        }
        Some(handler) => binfmt::spawn_private(command, std::slice::from_ref(handler))
            .map_err(BootstrapError::Emulation)?,
    };
    let child = Arc::new(Mutex::new(child));
    let in_callback = Arc::clone(&child);
    let guard = cancel.on_cancel(move || {
        // It may have ended meanwhile; then there is nothing to kill.
        let _ = lock(&in_callback).kill();
    });
    let last = read_lines(reader, output).map_err(failed)?;
    let status = lock(&child).wait().map_err(failed)?;
    drop(guard);
    cancel.check()?;
    if status.success() {
        return Ok(());
    }
    Err(BootstrapError::Helper {
        status: describe(status),
        output: last.into_iter().collect::<Vec<_>>().join("\n"),
    })
}

fn read_lines(
    reader: io::PipeReader,
    output: &mut dyn FnMut(&[u8]),
) -> io::Result<VecDeque<String>> {
    let mut reader = BufReader::new(reader);
    let mut last = VecDeque::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        output(&line);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
    Ok(last)
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

fn not_run(program: &OsStr, cause: io::Error) -> BootstrapError {
    BootstrapError::Run {
        program: program.to_string_lossy().into_owned(),
        cause,
    }
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Program<'static> {
        Program {
            proxies: &[],
            scratch: Path::new("/tmp"),
        }
    }

    fn shell(script: &str) -> Command {
        let mut command = programs().command(Path::new("/bin/sh"));
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_passed_on_and_errors_repeat_its_end() {
        let mut seen = Vec::new();
        let result = run(
            shell("echo one; echo two >&2; exit 3"),
            None,
            &CancelToken::new(),
            &mut |piece| seen.extend_from_slice(piece),
        );
        assert_eq!(seen, b"one\ntwo\n");
        let message = result.map_err(|error| error.to_string());
        assert_eq!(
            message,
            Err("mmdebstrap failed (exit code 3):\none\ntwo".to_owned())
        );
    }

    #[test]
    fn a_cancelled_helper_is_killed() {
        let cancel = CancelToken::new();
        let result = run(
            shell("echo started; exec sleep 1000"),
            None,
            &cancel,
            &mut |_| {
                cancel.cancel();
            },
        );
        assert!(
            matches!(result, Err(BootstrapError::Cancelled(_))),
            "{result:?}"
        );
    }
}
