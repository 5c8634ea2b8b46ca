//! Decides which steps of a graph have to run, and runs those: keys, cache look-up, schedule,
//! cancel. It knows no containers; a [`Driver`] says what a step is.
//!
//! ```text
//!            keys, sources first                  outputs, only where wanted
//!   fast key ──look up──> hit                     target missing ──wants──> its inputs' outputs
//!      └─ miss ─(outputs of some inputs)─> slow key ──look up──> hit        └─ all there ──> run
//! ```
//!
//! * **Keys flow forward.** A step's fast key is made from its definition and the keys of its
//!   inputs, so a whole chain of keys is known before anything has run.
//! * **Outputs are wanted backward.** Only a step whose output is wanted and not stored runs. A
//!   step is wanted by the caller, by a child that has to run, or by a child whose slow key is made
//!   from its content. An intermediate below a cache hit therefore never runs, even when its own
//!   record is gone.
//! * **Lowest index first.** Steps start in the order in which they were declared, at most `jobs`
//!   at a time. The calling thread works too, and more threads are started only while there is
//!   more than one thing to do: a build that is fully cached costs microseconds here.
//! * **One failure ends all.** The first error cancels what runs and is returned when everything
//!   has stopped. A panic in the driver is carried to the caller the same way.
//!
//! Deliberately absent: events (the driver's business), retries, priorities, and any merging of
//! steps. Equal steps are one step before they come here; work that has begun is never joined,
//! split or given to another parent.

mod board;
mod dag;
mod driver;
mod pool;

pub use dag::{Dag, DagError};
pub use driver::{Driver, FastKey, Input, Keys, LookUp, Resolved};
pub use pool::{SolveError, Solved, solve};
