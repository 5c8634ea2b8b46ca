//! The client against registries on loopback: one in this process that fails in chosen ways, and
//! Debian's own.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "they are as expect-test writes them"
)]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod fake;
mod faults;
mod real;
mod support;
mod uploads;
