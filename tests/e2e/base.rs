//! The base image that tests build on: made once, by kiln itself.

use std::sync::{Mutex, OnceLock, PoisonError};

use testkit::{Absent, Kiln, Who};

/// The base image's name.
pub(crate) const BASE: &str = "debian:bookworm";

/// kiln with a store that has [`BASE`], shared by all tests that run as this user.
pub(crate) fn with_base(who: Who) -> Result<Kiln, Absent> {
    // Two at once would only wait for the same two processors.
    static TURN: Mutex<()> = Mutex::new(());
    static STORES: [OnceLock<Result<Kiln, Absent>>; 2] = [OnceLock::new(), OnceLock::new()];
    let index = match who {
        Who::Root => 0,
        Who::User => 1,
    };
    let store = STORES[index].get_or_init(|| {
        testkit::find_program("mmdebstrap")?;
        let kiln = Kiln::new(who, "shared")?;
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        kiln.ok(&["bootstrap", BASE]);
        drop(turn);
        kiln.ok(&["tag", BASE, "debian:bookworm-slim"]);
        Ok(kiln)
    });
    store.clone()
}

/// Runs a test's body, or says loudly why it can't run.
pub(crate) fn run(test: &str, body: impl FnOnce() -> Result<(), Absent>) {
    if let Err(absent) = body() {
        testkit::skip(test, &absent);
    }
}
