//! End-to-end tests: the kiln binary beside its peers, on real input.
//!
//! They need what `cargo xtask test` installs, and skip loudly what this machine can't do. All share
//! one process, and with it one base image for each kind of user, one Docker daemon and one
//! registry; every test has names and ports of its own.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod after;
mod bake;
mod base;
mod boots;
mod bootstrap;
mod caches;
mod compat;
mod corpus;
mod differential;
mod disks;
mod early;
mod exchange;
mod expected;
mod hostile;
mod initrds;
mod keys;
mod many_steps;
mod outputs;
mod packed;
mod platforms;
mod profile;
mod refuse;
mod reproduce;
mod rootfs;
mod rootfs_documents;
mod rootfs_sources;
mod secrets;
mod stop;
