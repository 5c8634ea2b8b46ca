//! The solver through its public door, with a toy driver.
#![expect(
    clippy::unwrap_used,
    reason = "a toy that can't go on is a failed test"
)]

mod behaviour;
mod random;
mod toy;
