//! Whether many more processes use the store than there are processors.
//!
//! Then whoever writes to the index must not lose its processor meanwhile: a write takes a tenth of a
//! millisecond, but all others would wait for as long as everybody's turns take, which is a fifth of a
//! second for fifty builds on two processors. Where it is allowed (root outside of most containers) the
//! thread keeps its processor until the write is done; else the write is begun at the beginning of a
//! turn that the system gives the thread.
//!
//! Processes are counted by their leases. A dead one counts until it is reaped, which is when the next
//! process takes a lease.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_sys::processor::Undisturbed;

use crate::layout::Layout;
use crate::lease::names_in;

/// How long an answer holds: looking takes some microseconds.
const HOLDS: Duration = Duration::from_millis(20);

/// From how many processes for each processor on they are a crowd. Giving way costs a turn, which
/// is more than fewer of them ever wait for each other.
const MANY: usize = 8;

/// Looks for others now and then.
#[derive(Debug)]
pub(crate) struct Crowd {
    leases: PathBuf,
    many: usize,
    known: Mutex<Option<(Instant, bool)>>,
}

impl Crowd {
    pub(crate) fn new(layout: &Layout) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(layout.leases(), MANY * processors)
    }

    /// There is a crowd where there are more than `many` leases.
    fn of(leases: PathBuf, many: usize) -> Self {
        Self {
            leases,
            many,
            known: Mutex::new(None),
        }
    }

    /// To be called before a write, which is done while the value lives. If there are many, nobody
    /// takes the processor away until then where that is allowed; else others run first.
    pub(crate) fn begin_a_turn(&self) -> Option<Undisturbed> {
        if !self.is_here() {
            return None;
        }
        let undisturbed = Undisturbed::begin();
        if undisturbed.is_none() {
            std::thread::yield_now();
        }
        undisturbed
    }

    fn is_here(&self) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((since, answer)) = *known
            && now.duration_since(since) < HOLDS
        {
            return answer;
        }
        // A store that is being made has no leases yet.
        let leases = names_in(&self.leases).map_or(0, |names| names.len());
        let answer = leases > self.many;
        *known = Some((now, answer));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(leases: usize, many: usize, expected: bool) {
        let folder = tempfile::tempdir().unwrap();
        for lease in 0..leases {
            std::fs::write(folder.path().join(lease.to_string()), "").unwrap();
        }
        let crowd = Crowd::of(folder.path().to_owned(), many);
        assert_eq!(
            crowd.is_here(),
            expected,
            "{leases} leases, {many} are many"
        );
        // An answer that is known, and one that is looked for anew.
        assert_eq!(crowd.is_here(), expected);
        *crowd.known.lock().unwrap() = None;
        assert_eq!(crowd.is_here(), expected);
    }

    #[test]
    fn more_leases_than_many_are_a_crowd() {
        check(0, 2, false);
        check(2, 2, false);
        check(3, 2, true);
    }

    #[test]
    fn a_store_that_is_being_made_has_no_crowd() {
        let folder = tempfile::tempdir().unwrap();
        let crowd = Crowd::of(folder.path().join("leases"), 0);
        assert!(!crowd.is_here());
        assert!(crowd.begin_a_turn().is_none());
    }

    #[test]
    fn the_leases_of_a_store_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let many = Crowd::new(&layout).many;
        assert!(many >= MANY);
        std::fs::create_dir(layout.leases()).unwrap();
        for lease in 0..=many {
            assert!(!Crowd::new(&layout).is_here());
            std::fs::write(layout.lease(&lease.to_string()), "").unwrap();
        }
        assert!(Crowd::new(&layout).is_here());
    }
}
