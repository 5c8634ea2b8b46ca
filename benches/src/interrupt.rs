//! Ctrl-C and its like: the first ends the run in order, a further one at once.
//!
//! In order: the command under way is ended with all below it (see [`crate::measure`]), no workload
//! begins any more, daemons are stopped as at every end, and what was measured before is kept. At
//! once is safe, too: the command under way ends with this process, and the janitor of
//! [`testkit::Scratch`] stops the daemons and removes mounts and files.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use kiln_sys::signal::{self, STOP, Watch};

use crate::measure::complain;

/// The signal that came, or 0. A handler can reach nothing but statics.
static CAME: AtomicI32 = AtomicI32::new(0);

/// `timeout` signals a process and then its whole group: what follows this soon is the same request.
const ECHO: Duration = Duration::from_secs(1);

/// Watches until the value is dropped.
pub(crate) fn watch() -> Result<Watch, String> {
    let mut first: Option<Instant> = None;
    let watch = signal::watch(&STOP, move |signal| match first {
        None => {
            first = Some(Instant::now());
            CAME.store(signal.as_raw(), Ordering::Release);
            complain("ending what was started… (once more to stop at once)");
        }
        Some(first) if first.elapsed() < ECHO => {}
        Some(_) => end_now(code(signal.as_raw())),
    });
    watch.map_err(|error| format!("signals can't be watched: {error}"))
}

/// The exit code of a run that was interrupted: the shell's for the signal.
pub(crate) fn exit_code() -> Option<u8> {
    let signal = CAME.load(Ordering::Acquire);
    (signal != 0).then(|| code(signal))
}

/// Whether somebody asked for the end.
pub(crate) fn came() -> bool {
    exit_code().is_some()
}

/// An error if somebody asked for the end.
pub(crate) fn check() -> Result<(), String> {
    if came() {
        return Err("interrupted".to_owned());
    }
    Ok(())
}

fn code(signal: i32) -> u8 {
    u8::try_from(signal::exit_code(signal)).unwrap_or(u8::MAX)
}

#[expect(
    clippy::exit,
    reason = "the user asked twice; nothing is left to wait for"
)]
fn end_now(code: u8) {
    std::process::exit(code.into());
}
