//! Cancellation as a value: one token per build, observed by everything the build started.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Callback = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    next_id: AtomicU64,
    callbacks: Mutex<Vec<(u64, Callback)>>,
}

/// Tells running work to stop. Clones share one state; a token never becomes un-cancelled.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<State>);

/// The work was told to stop before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Keeps a callback registered; dropping it removes the callback.
#[must_use = "the callback is removed when the guard is dropped"]
pub struct CancelGuard {
    state: Arc<State>,
    id: u64,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks the token and calls each registered callback once. Further calls do nothing.
    pub fn cancel(&self) {
        // The flag is set before the callbacks are taken, and `on_cancel` looks at it after it
        // has put its callback in: one of the two always sees the other.
        if self.0.cancelled.swap(true, Ordering::SeqCst) {
            return;
        }
        for (_, callback) in std::mem::take(&mut *self.0.lock()) {
            callback();
        }
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// `Err` once the token is cancelled, for use with `?` inside loops.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }

    /// Calls `callback` when the token is cancelled, at once if it already is.
    ///
    /// The callback runs on the cancelling thread and has to be short: it kills a process or wakes
    /// a waiter, no more.
    pub fn on_cancel(&self, callback: impl Fn() + Send + Sync + 'static) -> CancelGuard {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        self.0.lock().push((id, Box::new(callback)));
        if self.is_cancelled() {
            let mut callbacks = self.0.lock();
            let mine = callbacks.iter().position(|(known, _)| *known == id);
            let mine = mine.map(|index| callbacks.swap_remove(index));
            drop(callbacks);
            if let Some((_, callback)) = mine {
                callback();
            }
        }
        CancelGuard {
            state: Arc::clone(&self.0),
            id,
        }
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Callback)>> {
        self.callbacks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.state.lock().retain(|(id, _)| *id != self.id);
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken")
            .field(&self.is_cancelled())
            .finish()
    }
}

impl fmt::Debug for CancelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelGuard")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn counter() -> (Arc<AtomicUsize>, impl Fn() + Send + Sync + 'static) {
        let count = Arc::new(AtomicUsize::new(0));
        let in_callback = Arc::clone(&count);
        (count, move || {
            in_callback.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[test]
    fn a_callback_runs_once() {
        let token = CancelToken::new();
        let (count, callback) = counter();
        let _guard = token.on_cancel(callback);
        assert_eq!(token.check(), Ok(()));
        token.cancel();
        token.cancel();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert_eq!(token.check(), Err(Cancelled));
    }

    #[test]
    fn a_dropped_guard_removes_its_callback() {
        let token = CancelToken::new();
        let (count, callback) = counter();
        drop(token.on_cancel(callback));
        token.cancel();
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_callback_on_a_cancelled_token_runs_at_once() {
        let token = CancelToken::new();
        token.cancel();
        let (count, callback) = counter();
        let _guard = token.on_cancel(callback);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
