//! What a store promises, seen from outside.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests are not known to be tests"
)]
#![expect(
    clippy::needless_raw_string_hashes,
    reason = "the form in which expectations are written when they are updated"
)]

mod blobs;
mod cache;
mod history;
mod images;
mod mounts;
mod opening;
mod processes;
mod pruning;
mod script;
mod snapshots;
mod support;
mod usage;
