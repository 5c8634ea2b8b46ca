//! Ctrl-C and its like: the first asks the work to stop, the second ends kiln at once.
//!
//! At once is safe: a step's processes die with kiln, mounts are in kiln's own namespace, and the
//! store forgets what was never committed.

use std::io;
use std::time::{Duration, Instant};

use kiln_base::CancelToken;
use kiln_engine::Control;
use kiln_sys::signal::{self, STOP, Signal, Watch};

use crate::error::Exit;

/// Watches until the value is dropped. `note` tells the user what was understood.
pub(crate) fn watch(
    cancel: CancelToken,
    note: impl Fn(&str) + Send + 'static,
) -> io::Result<Watch> {
    let mut first: Option<Instant> = None;
    signal::watch(&STOP, move |_signal| match first {
        None => {
            first = Some(Instant::now());
            note("cancelling… (once more to stop at once)");
            cancel.cancel();
        }
        Some(first) if first.elapsed() < ECHO => {}
        Some(_) => end_now(),
    })
}

/// `timeout` and service managers signal a process and then its whole group: what follows this soon
/// is the same request.
const ECHO: Duration = Duration::from_millis(300);

/// How often the user has to ask before a container that does not listen is killed, as with
/// Docker.
const PATIENCE: usize = 3;

/// Passes signals on to a container until the value is dropped.
pub(crate) fn forward(control: Control, cancel: CancelToken) -> io::Result<Watch> {
    let passed_on = [
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::WINCH,
    ];
    let mut asked = 0;
    signal::watch(&passed_on, move |signal| {
        control.signal(signal);
        if signal == Signal::INT || signal == Signal::TERM {
            asked += 1;
            if asked == PATIENCE {
                cancel.cancel();
            }
        }
    })
}

#[expect(
    clippy::exit,
    reason = "the user asked twice; nothing is left to wait for"
)]
fn end_now() {
    std::process::exit(Exit::Cancelled.code().into());
}
