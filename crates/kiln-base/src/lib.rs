//! What every crate may speak of: build events, secrets that can't be printed, time and cancellation
//! as values, and values packed into few bytes.
//!
//! Deliberately absent: any input or output, any clock, any global state. A [`Timestamp`] is handed
//! in by whoever is allowed to read the clock, and so is the clock of a [`trace::Tracer`]; a
//! [`CancelToken`] is set by whoever is allowed to catch signals.

mod cancel;
pub mod events;
pub mod packed;
mod secret;
mod time;
pub mod trace;

pub use cancel::{CancelGuard, CancelToken, Cancelled};
pub use secret::Secret;
pub use time::{ParseTimestampError, Timestamp};
