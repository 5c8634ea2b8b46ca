//! Content-addressed build steps: what is to be done, as a value.
//!
//! A [`Graph`] is a list of [`Step`]s in topological order. A [`StepId`] is the digest of an
//! operation and of the ids of its inputs: it covers all that changes the step's output *by
//! definition*, and nothing else. Names, progress groups and "ignore the cache" are in
//! [`StepMeta`], outside the digest. Two steps with the same id are one step: [`GraphBuilder`]
//! joins them while the graph is built, so nothing has to be merged while work runs.
//!
//! Deliberately absent: input and output, async, and any knowledge of how a step is run or where
//! results are kept. The *content* of a build context or of another stage's files is not known
//! here; the engine adds it when it makes cache keys from [`Op::parts`].

mod graph;
mod key;
mod op;

pub use graph::{Graph, GraphBuilder, Sharing, Step, StepIndex, StepMeta};
pub use key::{KeyHasher, Part, StepId};
pub use op::{
    CacheMount, CacheSharing, ContextOp, CopyFrom, CopyOp, CopySource, FileOwner, GitOp, HttpOp,
    ImageOp, InlineFile, Network, Op, RunMount, RunOp, Security, Unpack, WorkdirOp,
};
