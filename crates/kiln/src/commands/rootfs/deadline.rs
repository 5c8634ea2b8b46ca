//! A time limit: what is not done by then is cancelled, as an interrupt does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use kiln_base::CancelToken;

use crate::error::{Blame, CliError, Exit};

/// Ends when it is dropped.
pub(super) struct Deadline {
    seconds: u64,
    is_over: Arc<AtomicBool>,
    /// Its end tells the thread that nobody waits any more.
    _work: Sender<()>,
}

impl Deadline {
    /// Cancels when so much time is over.
    pub(super) fn begin(seconds: u64, cancel: &CancelToken) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (work, end) = channel::<()>();
        let (over, cancel) = (Arc::clone(&is_over), cancel.clone());
        std::thread::spawn(move || {
            let ended = end.recv_timeout(Duration::from_secs(seconds));
            if ended == Err(RecvTimeoutError::Timeout) {
                over.store(true, Ordering::SeqCst);
                cancel.cancel();
            }
        });
        Self {
            seconds,
            is_over,
            _work: work,
        }
    }

    /// The error that the user is told: what fails after it was told to stop did not fail by itself.
    pub(super) fn explain(&self, error: CliError) -> CliError {
        if self.is_over.load(Ordering::SeqCst) {
            let plural = if self.seconds == 1 { "" } else { "s" };
            let text = format!(
                "the disk was not made within {} second{plural}",
                self.seconds
            );
            return CliError::new(Blame::User, Exit::Timeout, text)
                .hint("allow more: `--timeout SECONDS`");
        }
        error
    }
}
