//! A Dockerfile and facts about its bases to a build graph.
//!
//! [`lower`] is a pure function. What it can't know from the text alone, the configurations of base
//! images and what a URL or a branch leads to, it asks for as data ([`Lowering::Needs`]); the caller
//! finds it out and calls again.
//!
//! [`lint()`] checks a file against the rules of style, [`outline()`] and [`targets()`] tell what can be
//! built and what builds can be given: pure functions, too.
//!
//! Deliberately absent: registries, files, and any knowledge of how a step is run.

mod add;
mod contexts;
mod copy;
mod facts;
mod go;
mod lint;
mod location;
mod lower;
mod mounts;
mod options;
mod outline;
mod paths;
mod ports;
mod run;
mod scope;
mod signals;
mod stage;
mod stages;
mod targets;
mod text;

pub use facts::{
    BaseFacts, BaseRequest, BaseRoot, Facts, ImageName, Needs, RemoteSource, SourceFacts,
    SourceRequest,
};
pub use lint::{IgnoreList, Lint, LintReport, ReportSource, lint, lint_build};
pub use lower::{Lowered, Lowering, lower};
pub use options::{Allow, LowerOptions, NamedContext, NoCache};

pub use outline::{Outline, OutlineArg, OutlineMount, outline};
pub use targets::{
    SUBREQUESTS, Subrequest, Target, subrequests_json, subrequests_text, targets, targets_json,
    targets_text,
};

#[cfg(test)]
mod tests;
