//! Cancels what takes longer than a second, as a user would.
//!
//! Some work is long by right, such as hashing the holes of a sparse file. It must be cancellable,
//! which is what this shows: a target that goes on is ended by libFuzzer's own limit, as a finding.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use kiln_base::CancelToken;

const LIMIT: Duration = Duration::from_secs(1);

static RUNNING: Mutex<Option<(Instant, CancelToken)>> = Mutex::new(None);

/// Runs `work` with a token that is cancelled after a second.
pub fn with_limit<T>(work: impl FnOnce(&CancelToken) -> T) -> T {
    static WATCHER: OnceLock<()> = OnceLock::new();
    WATCHER.get_or_init(|| {
        std::thread::spawn(watch);
    });
    let token = CancelToken::new();
    set(Some((Instant::now(), token.clone())));
    let result = work(&token);
    set(None);
    result
}

fn set(running: Option<(Instant, CancelToken)>) {
    *RUNNING.lock().expect("no holder of the lock panics") = running;
}

fn watch() {
    loop {
        std::thread::sleep(LIMIT / 4);
        let running = RUNNING.lock().expect("no holder of the lock panics");
        if let Some((started, token)) = running.as_ref()
            && started.elapsed() > LIMIT
        {
            token.cancel();
        }
    }
}
