//! Keeping the processor for a moment.
//!
//! Deliberately absent: anything that lasts. Which threads are worth more than others is the
//! system's to say.

use std::marker::PhantomData;

use crate::raw;

/// While this lives, the calling thread is not taken off its processor for ordinary threads, and has
/// one at once when it wakes up: for the tenths of a millisecond in which many wait for what it holds.
///
/// It is the lowest real-time priority (`SCHED_FIFO`, see sched(7)), which children don't inherit.
#[derive(Debug)]
pub struct Undisturbed {
    /// The policy is the thread's, so the value stays there.
    thread: PhantomData<*const ()>,
}

impl Undisturbed {
    /// `None` where it is not allowed, which takes `CAP_SYS_NICE` or an `RLIMIT_RTPRIO`, or where somebody gave the thread
    /// another policy than the usual one.
    #[must_use]
    pub fn begin() -> Option<Self> {
        if !raw::is_ordinary_thread() {
            return None;
        }
        raw::begin_real_time().ok().map(|()| Self {
            thread: PhantomData,
        })
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        // What was allowed is allowed to be taken back.
        let _ = raw::end_real_time();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_value() {
        let Some(undisturbed) = Undisturbed::begin() else {
            eprintln!("skipped: it_ends_with_the_value: no real-time priority here");
            return;
        };
        assert!(!raw::is_ordinary_thread());
        assert!(Undisturbed::begin().is_none());
        let child = std::thread::spawn(raw::is_ordinary_thread);
        assert!(child.join().unwrap());
        drop(undisturbed);
        assert!(raw::is_ordinary_thread());
    }
}
