//! From the tree to the graph.

use kiln_dockerfile::{Diagnostic, Dockerfile};
use kiln_graph::{Graph, StepIndex};
use kiln_oci::ImageConfig;

use crate::{BaseRequest, Facts, LowerOptions};

/// What lowering came to.
#[derive(Debug, Clone)]
pub enum Lowering {
    /// These images have to be known first.
    NeedBases(Vec<BaseRequest>),
    /// The graph is complete.
    Done(Box<Lowered>),
}

/// A lowered Dockerfile.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// All steps that the target needs.
    pub graph: Graph,
    /// The step whose output is the result's root file system.
    pub target: StepIndex,
    /// The result's configuration: its history is complete but for the times of new entries, and
    /// it has no diff ids.
    pub config: ImageConfig,
    /// How many entries at the beginning of the history come from the base.
    pub base_history: usize,
    /// What the author should look at.
    pub warnings: Vec<Diagnostic>,
}

/// Lowers a Dockerfile that has no errors.
///
/// # Errors
///
/// What keeps it from being built, with places; at least one is an error.
pub fn lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    facts: &Facts,
) -> Result<Lowering, Vec<Diagnostic>> {
    let _ = (dockerfile, options, facts);
    unimplemented!()
}
