//! The threads that work a [`Board`] off.

use std::any::Any;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use kiln_base::{CancelToken, Cancelled};

use crate::board::{Board, Outcome, Task, Work};
use crate::dag::{Dag, DagError};
use crate::driver::{Driver, FastKey, Keys, Resolved};

/// The results of the targets, in the order in which they were asked for.
pub type Solved<D> = Vec<Resolved<<D as Driver>::Key, <D as Driver>::Output>>;

/// What came of one task.
type Performed<D> =
    Result<Outcome<<D as Driver>::Key, <D as Driver>::Output>, <D as Driver>::Error>;

/// Why the targets could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SolveError<E> {
    /// A step failed; the driver's error is kept as it is.
    #[error("step {step} failed")]
    Failed {
        /// The step.
        step: usize,
        /// Why.
        #[source]
        error: E,
        /// Steps that were in work at that moment and were cancelled, ascending.
        cancelled: Vec<usize>,
    },
    /// The caller cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A target does not exist.
    #[error(transparent)]
    Dag(#[from] DagError),
}

/// Finds or makes the results of `targets`, in their order, with up to `jobs` steps at a time.
///
/// Returns when nothing runs any more. The token that the driver sees is set when `cancel` is, and
/// when a step failed.
///
/// # Panics
///
/// A panic in the driver cancels what runs, and then goes on in the caller.
pub fn solve<D: Driver>(
    driver: &D,
    dag: &Dag,
    targets: &[usize],
    jobs: NonZeroUsize,
    cancel: &CancelToken,
) -> Result<Solved<D>, SolveError<D::Error>> {
    let stop = CancelToken::new();
    let _link = {
        let stop = stop.clone();
        cancel.on_cancel(move || stop.cancel())
    };
    let pool = Pool {
        driver,
        stop,
        jobs: jobs.get(),
        shared: Mutex::new(Shared {
            board: Board::new(dag, targets)?,
            end: None,
            threads: 1,
            idle: 0,
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| pool.work(scope));
    let shared = pool
        .shared
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match shared.end {
        Some(End::Panicked(payload)) => resume_unwind(payload),
        // What a step says after the caller cancelled is an effect of that.
        Some(End::Failed { .. }) if cancel.is_cancelled() => Err(Cancelled.into()),
        Some(End::Failed {
            step,
            error,
            cancelled,
        }) => Err(SolveError::Failed {
            step,
            error,
            cancelled,
        }),
        None => shared.board.results().ok_or_else(|| Cancelled.into()),
    }
}

struct Pool<'a, D: Driver> {
    driver: &'a D,
    stop: CancelToken,
    jobs: usize,
    shared: Mutex<Shared<'a, D>>,
    changed: Condvar,
}

struct Shared<'a, D: Driver> {
    board: Board<'a, D::Key, D::Output>,
    end: Option<End<D::Error>>,
    threads: usize,
    idle: usize,
}

/// The first thing that went wrong.
enum End<E> {
    Failed {
        step: usize,
        error: E,
        cancelled: Vec<usize>,
    },
    Panicked(Box<dyn Any + Send>),
}

impl<'a, D: Driver> Pool<'a, D> {
    /// What each thread does until nothing is left to be done.
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut shared = self.lock();
        loop {
            if shared.end.is_some() || self.stop.is_cancelled() || shared.board.is_finished() {
                break;
            }
            let task = shared.board.take();
            for step in shared.board.take_ready() {
                self.driver.ready(step);
            }
            if let Some(task) = task {
                self.invite_help(scope, &mut shared);
                drop(shared);
                let step = task.step;
                let outcome = catch_unwind(AssertUnwindSafe(|| self.perform(task)));
                shared = self.lock();
                self.take_in(&mut shared, step, outcome);
            } else if shared.board.in_hand().is_empty() {
                break;
            } else {
                shared.idle += 1;
                shared = self
                    .changed
                    .wait(shared)
                    .unwrap_or_else(PoisonError::into_inner);
                shared.idle -= 1;
            }
        }
        self.changed.notify_all();
    }

    /// Wakes or starts another thread when there is more to do than this thread has taken.
    fn invite_help<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        shared: &mut Shared<'_, D>,
    ) {
        if !shared.board.has_task() {
            return;
        }
        if shared.idle > 0 {
            self.changed.notify_one();
        } else if shared.threads < self.jobs {
            let helper = thread::Builder::new().spawn_scoped(scope, || self.work(scope));
            // Where the system gives no thread, the ones that exist do the work.
            shared.threads += usize::from(helper.is_ok());
        }
    }

    fn take_in(
        &self,
        shared: &mut Shared<'_, D>,
        step: usize,
        outcome: thread::Result<Performed<D>>,
    ) {
        let end = match outcome {
            Ok(Ok(outcome)) => {
                shared.board.report(step, outcome);
                return;
            }
            Ok(Err(error)) => {
                let others = shared.board.in_hand().iter().copied();
                End::Failed {
                    step,
                    error,
                    cancelled: others.filter(|&other| other != step).collect(),
                }
            }
            Err(payload) => End::Panicked(payload),
        };
        // Later ones are effects of the first, except that a panic must not be lost.
        if shared.end.is_none() || matches!(end, End::Panicked(_)) {
            shared.end = Some(end);
        }
        self.stop.cancel();
    }

    fn perform(&self, task: Task<D::Key, D::Output>) -> Performed<D> {
        let Self { driver, stop, .. } = self;
        let Task { step, work } = task;
        Ok(match work {
            Work::FastKey(inputs) => {
                let fast = driver.fast_key(step, &inputs)?;
                if let FastKey::Tentative { content_of, .. } | FastKey::FromContent { content_of } =
                    &fast
                {
                    let positions_exist = content_of.iter().all(|&input| input < inputs.len());
                    assert!(positions_exist, "step {step} asks for an input it has not");
                }
                let found = match &fast {
                    FastKey::Known(key) | FastKey::Tentative { key, .. } => {
                        Some(driver.look_up(step, &Keys::Fast(key.clone()), stop)?)
                    }
                    FastKey::FromContent { .. } => None,
                };
                Outcome::FastKey(fast, found)
            }
            Work::SlowKey { fast, inputs } => {
                let slow = driver.slow_key(step, &inputs, stop)?;
                let keys = Keys::Slow { slow, fast };
                let found = driver.look_up(step, &keys, stop)?;
                Outcome::SlowKey(keys, found)
            }
            Work::Fetch(keys) => {
                let output = driver.fetch(step, &keys, stop)?;
                Outcome::Fetched(keys, output)
            }
            Work::Run { keys, inputs } => Outcome::Ran(driver.run(step, &keys, inputs, stop)?),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shared<'a, D>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
