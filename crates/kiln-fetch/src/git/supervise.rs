//! A program that runs until it ends, is cancelled, or takes too long.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_base::CancelToken;
use rustix::process::{Pid, Signal, kill_process_group};

/// How much of what a program writes is read, in bytes: a listing of some million files.
const MAX_OUTPUT: u64 = 512 * 1024 * 1024;
/// How much of its messages is kept, in bytes.
const MAX_MESSAGES: usize = 16 * 1024;

/// How a program ended, and what it wrote.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
    pub(super) messages: Vec<u8>,
    /// It was killed because its time was up.
    pub(super) timed_out: bool,
}

/// A running program, which is the first of a process group of its own. It is not reaped before
/// nobody can kill it any more, so that its number means it.
struct Running {
    child: Child,
    is_reaped: bool,
}

impl Running {
    fn kill(&self) {
        if self.is_reaped {
            return;
        }
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended meanwhile; then there is nothing to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a program to its end, or until it is cancelled or takes too long: then it and all it has
/// started are killed.
pub(super) fn supervise(
    command: &mut Command,
    timeout: Duration,
    cancel: &CancelToken,
) -> io::Result<Ended> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn()?;
    let (output, messages) = (child.stdout.take(), child.stderr.take());
    let running = Arc::new(Mutex::new(Running {
        child,
        is_reaped: false,
    }));
    let in_callback = Arc::clone(&running);
    let guard = cancel.on_cancel(move || lock(&in_callback).kill());
    let watchdog = Watchdog::start(Arc::clone(&running), timeout);
    let messages = std::thread::spawn(move || read_end(messages));
    let output = read_all(output);
    if output.is_err() {
        lock(&running).kill();
    }
    let messages = messages.join();
    let timed_out = watchdog.stop();
    // A cancellation from here on finds a program that has closed its output: it is at its end.
    let status = {
        let mut running = lock(&running);
        let status = running.child.wait();
        running.is_reaped = true;
        status
    };
    drop(guard);
    Ok(Ended {
        status: status?,
        output: output?,
        messages: messages.map_err(|_| io::Error::other("a thread panicked"))??,
        timed_out,
    })
}

fn read_all(source: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        source.take(MAX_OUTPUT + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MAX_OUTPUT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it wrote more than {MAX_OUTPUT} bytes"),
        ));
    }
    Ok(bytes)
}

/// Reads to the end and keeps the last bytes.
fn read_end(source: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut end = Vec::new();
    let Some(mut source) = source else {
        return Ok(end);
    };
    let mut buffer = [0; 4096];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(end),
            Ok(length) => end.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if end.len() > 2 * MAX_MESSAGES {
            end.drain(..end.len() - MAX_MESSAGES);
        }
    }
}

/// Kills a program that is not done in time.
struct Watchdog {
    state: Arc<(Mutex<bool>, Condvar)>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    fn start(running: Arc<Mutex<Running>>, timeout: Duration) -> Self {
        let state = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let (is_done, changed) = &*shared;
            let is_done = is_done.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = changed.wait_timeout_while(is_done, timeout, |is_done| !*is_done);
            let (is_done, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if *is_done {
                return false;
            }
            lock(&running).kill();
            true
        });
        Self { state, thread }
    }

    /// Ends the watch; whether the time was up before.
    fn stop(self) -> bool {
        let (is_done, changed) = &*self.state;
        *is_done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        self.thread.join().unwrap_or(false)
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kiln_sys::process;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = process::command("/bin/sh", Path::new("/"));
        command.args(["-c", script]).env("PATH", "/usr/bin:/bin");
        command
    }

    fn run(script: &str, timeout: Duration) -> (Option<i32>, String, String, bool) {
        let ended = supervise(&mut shell(script), timeout, &CancelToken::new()).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (output, messages) = (text(ended.output), text(ended.messages));
        (ended.status.code(), output, messages, ended.timed_out)
    }

    #[test]
    fn output_and_messages_are_apart() {
        let minute = Duration::from_mins(1);
        let (code, output, messages, timed_out) = run("echo a; echo b >&2; exit 3", minute);
        assert_eq!((code, timed_out), (Some(3), false));
        assert_eq!((output.as_str(), messages.as_str()), ("a\n", "b\n"));
    }

    #[test]
    fn the_end_of_long_messages_is_kept() {
        let script = "i=0; while [ $i -lt 9000 ]; do echo line $i; i=$((i+1)); done >&2";
        let (_, _, messages, _) = run(script, Duration::from_mins(1));
        assert!(messages.len() <= 2 * MAX_MESSAGES && messages.ends_with("line 8999\n"));
    }

    #[test]
    fn what_takes_too_long_is_killed_with_its_children() {
        // The grandchild keeps the pipe open: only killing the whole group ends the reading.
        let (code, _, _, timed_out) = run("sleep 1000 & wait", Duration::from_millis(50));
        assert_eq!((code, timed_out), (None, true));
    }

    #[test]
    fn what_is_cancelled_is_killed_with_its_children() {
        let cancel = CancelToken::new();
        cancel.cancel();
        let hour = Duration::from_hours(1);
        let ended = supervise(&mut shell("sleep 1000 & wait"), hour, &cancel).unwrap();
        assert_eq!((ended.status.code(), ended.timed_out), (None, false));
    }
}
