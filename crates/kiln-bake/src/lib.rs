//! Bake files: HCL, JSON and compose, to resolved targets.
//!
//! [`read`] takes the texts of the files and everything else that has a say (overrides, environment,
//! time, randomness) as values, and returns the targets that were asked for, ready to be built in
//! [`Bake::build_order`]. What the words mean is `docker buildx bake` 0.36; [`Bake::print_json`] and the
//! lists are what it prints.
//!
//! An attribute that is not known is ignored as by buildx, with a warning; a block is an error. Deliberately absent: reading files or the environment, fetching remote definitions,
//! parsing the values of flags such as outputs, and building.

mod bake;
mod compose;
mod config;
mod csv;
mod entitlement;
mod entry;
mod error;
mod eval;
mod functions;
mod input;
mod overrides;
mod path;
mod print;
mod resolve;
mod source;
mod syntax;
mod target;
mod value;

pub use bake::{Bake, Listing, list, read};
pub use config::Variable;
pub use entitlement::Entitlement;
pub use entry::{Entry, Policy, Resources, Secret, Ssh};
pub use error::{BakeError, FileError};
pub use input::{BakeFile, BakeInput, Clock, DEFAULT_FILES};
pub use target::{Group, Target};
