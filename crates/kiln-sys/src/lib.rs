//! The only door to the operating system, and the only crate with unsafe code.
//!
//! Everything above works with open handles and values; this crate turns them into system calls.
//! It has two halves. Files: [`fs`] (rooted access by directory handle, safe in hostile trees),
//! [`xattr`] and [`files`] (trusted paths, errors that name the path). The machine: [`namespace`]
//! (what is allowed here, and entering it), [`mount`], [`idmap`], [`process`], [`processor`], [`signal`], [`lock`],
//! [`binfmt`] (running programs of other machines),
//! [`sandbox`] (the raw calls a step's helper makes on its way to `exec`), [`machine`] (what a
//! machine's first process does), [`pty`] and [`host`].
//!
//! Deliberately absent: policy. Which paths a sandbox masks or which calls it forbids is decided in
//! `kiln-exec`; where the store lives is decided by the binary. Nothing here is global, prints, or
//! reads a configuration.

pub mod binfmt;
pub mod files;
pub mod fs;
pub mod host;
pub mod idmap;
pub mod lock;
pub mod machine;
pub mod mapper;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod processor;
pub mod pty;
pub mod sandbox;
pub mod signal;
pub mod xattr;

mod cgroup;
mod raw;
