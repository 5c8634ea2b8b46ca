//! What package managers have installed, and what could be taken out again.
//!
//! dpkg's and apk's databases are read from a tree, within limits: a database that is too large or
//! is no text is an error, and what doesn't fit into the format is left alone. Both become the same
//! graph of [`Package`]s, on which [`removable`] decides.
//!
//! Deliberately absent: what a bill of materials wants to know (`kiln-attest`), and rpm's database,
//! which is a binary format of its own and has no rule here.

pub mod apk;
pub mod dpkg;
mod graph;
mod version;

pub use graph::{Atom, Clause, Operator, Package, Provision, Purpose, Reason, Removal, removable};
pub use version::compare as compare_versions;

use crate::paths::ReadError;

/// Databases may be this large, in bytes: Debian's largest installations have a tenth.
pub const MAX_DATABASE: u64 = 64 << 20;
/// Lists of one package's files may be this large, in bytes.
pub const MAX_LIST: u64 = 16 << 20;

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// One of its files can't be read.
    #[error("could not read `/{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: ReadError,
    },
    /// Something in it contradicts itself.
    #[error("`/{path}` is not a package database: {what}")]
    Broken {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
}
