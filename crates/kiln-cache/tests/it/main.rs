//! Caches written and read back, in every medium.

mod fake;
mod gha;
mod local;
mod options;
mod registry;
mod s3;
mod support;
