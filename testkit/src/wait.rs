//! Waiting for what another process does.

use std::time::{Duration, Instant};

/// Looks again and again until `done` says so, at most for a minute; `what` is for the message of the
/// failure.
#[track_caller]
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "waited for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
