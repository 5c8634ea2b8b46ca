//! A Dockerfile and facts about its bases to a build graph.
//!
//! [`lower`] is a pure function. What it can't know from the text alone, the configurations of base
//! images, it asks for as data ([`Lowering::NeedBases`]); the caller finds them and calls again.
//!
//! Deliberately absent: registries, files, and any knowledge of how a step is run.

mod copy;
mod facts;
mod go;
mod lower;
mod options;
mod paths;
mod ports;
mod run;
mod scope;
mod signals;
mod stage;
mod stages;
mod text;

pub use facts::{BaseFacts, BaseRequest, Facts};
pub use lower::{Lowered, Lowering, lower};
pub use options::{LowerOptions, NoCache};

#[cfg(test)]
mod tests;
