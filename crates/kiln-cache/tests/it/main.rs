//! Caches written and read back, in every medium.

mod fake;
mod local;
mod options;
mod support;
