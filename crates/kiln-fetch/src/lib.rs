//! Git repositories and HTTP downloads as build inputs.
//!
//! [`git`] resolves a reference to a commit and checks it out, [`http`] downloads a file. Both get
//! everything as values: proxies, certificate authorities and credentials come from the caller,
//! nothing is read from the environment or from a home. What they are given in secret appears
//! neither in an error nor in an argument of a program.
//!
//! Deliberately absent: deciding what is cached under which key, unpacking archives
//! (`kiln_layer::is_archive` tells a downloaded one), and reading Dockerfiles. What counts as a git
//! address is `kiln_dockerfile::gitref`.

pub mod git;
pub mod http;
mod network;

pub use network::Network;
