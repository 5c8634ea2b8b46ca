//! Caches written and read back, in every medium.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod buildkit;
mod fake;
mod gha;
mod local;
mod options;
mod registry;
mod s3;
mod support;
