//! Ctrl-C and its like: the first asks the work to stop, the second ends kiln at once.
//!
//! At once is safe: a step's processes die with kiln, mounts are in kiln's own namespace, and the
//! store forgets what was never committed.

use std::io;

use kiln_base::CancelToken;
use kiln_sys::signal::{self, STOP, Watch};

use crate::error::Exit;

/// Watches until the value is dropped. `note` tells the user what was understood.
pub(crate) fn watch(
    cancel: CancelToken,
    note: impl Fn(&str) + Send + 'static,
) -> io::Result<Watch> {
    signal::watch(&STOP, move |_signal| {
        if cancel.is_cancelled() {
            end_now();
        }
        note("cancelling… (once more to stop at once)");
        cancel.cancel();
    })
}

#[expect(
    clippy::exit,
    reason = "the user asked twice; nothing is left to wait for"
)]
fn end_now() {
    std::process::exit(Exit::Cancelled.code().into());
}
