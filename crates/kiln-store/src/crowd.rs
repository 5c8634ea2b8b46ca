//! Whether many more processes use the store than there are processors.
//!
//! Then whoever writes to the index does so at the beginning of the turn that the system gives its
//! thread. A write takes a tenth of a millisecond and a turn some milliseconds; but who is at the end of
//! a turn would lose the processor in the middle of the write, and all others would wait for as long as
//! everybody's turns take.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
        Self {
            leases: layout.leases(),
            many: MANY * std::thread::available_parallelism().map_or(1, usize::from),
            known: Mutex::new(None),
        }
    }

    /// Lets others run first, if there are many.
    pub(crate) fn begin_a_turn(&self) {
        if self.is_here() {
            std::thread::yield_now();
        }
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
        let living = names_in(&self.leases).map_or(0, |names| names.len());
        let answer = living > self.many;
        *known = Some((now, answer));
        answer
    }
}
