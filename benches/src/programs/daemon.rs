//! A daemon of our own: in a process group of its own, stopped when dropped, and by the janitor of
//! [`testkit::Scratch`] when this process is interrupted.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use testkit::Scratch;

use crate::interrupt;
use crate::measure::Invocation;

/// How long a daemon may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; what it says goes to a file named after it in the folder.
    pub(crate) fn start(
        name: &str,
        invocation: &Invocation,
        folder: &Path,
    ) -> Result<Self, String> {
        let log = folder.join(format!("{name}.log"));
        let failed = |error: std::io::Error| format!("`{name}`: {error}");
        let file = fs::File::create(&log).map_err(failed)?;
        let mut command = invocation.command();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(failed)?)
            .stderr(file)
            .process_group(0);
        let child = command.spawn().map_err(failed)?;
        Scratch::stop_at_end(name, child.id());
        Ok(Self { child, log })
    }

    /// Waits until it answers.
    pub(crate) fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<(), String> {
        let began = Instant::now();
        while !ready() {
            interrupt::check()?;
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || began.elapsed() > PATIENCE {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("its daemon does not start here: {last}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // A signal that lets it end, so that it unmounts what it mounted.
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
