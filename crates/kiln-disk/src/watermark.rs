//! How far a disk that is being written is final.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How much of the beginning of a file will stay as it is, told by who writes the file to who reads
/// it meanwhile, for example to hash it.
#[derive(Debug, Default)]
pub struct Watermark {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes from the file's beginning.
    level: u64,
    is_closed: bool,
}

/// Ends what is told when it is dropped.
#[must_use = "the watermark is closed when this is dropped"]
#[derive(Debug)]
pub struct Closing<'a>(&'a Watermark);

impl Watermark {
    /// So many bytes from the beginning are final. A level below the last one changes nothing.
    pub fn raise(&self, level: u64) {
        let mut state = self.lock();
        if level > state.level {
            state.level = level;
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits until more than so many bytes are final, and says how many; `None` if nothing more
    /// will be told.
    pub fn above(&self, level: u64) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.level > level {
                return Some(state.level);
            }
            if state.is_closed {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more is told once the returned value is dropped, be it by a panic.
    pub const fn close_on_drop(&self) -> Closing<'_> {
        Closing(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_follows_to_the_end() {
        let mark = Watermark::default();
        let seen = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut level = 0;
                while let Some(next) = mark.above(level) {
                    assert!(next > level);
                    level = next;
                }
                level
            });
            let closing = mark.close_on_drop();
            for level in [3, 2, 7] {
                mark.raise(level);
            }
            drop(closing);
            reader.join().unwrap()
        });
        assert_eq!(seen, 7);
    }
}
