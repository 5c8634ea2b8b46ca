//! Builds and graphs drawn for people: text for a terminal, DOT for Graphviz, SVG and HTML for a
//! browser, and the trace of a build for a trace viewer.
//!
//! Everything here is a function from a value to a text, and equal values give equal texts. What
//! a build prints is a stranger's: every text is freed of escape sequences and control characters
//! and then escaped, and what a browser opens needs nothing from elsewhere and runs no script.
//!
//! Deliberately absent: reading and writing files, and knowing how a build works. [`BuildRecord`]
//! is filled in by whoever keeps a history.

mod escape;
mod graph;
mod timeline;
mod trace;

pub use graph::{Drawing, Node};
pub use timeline::{
    BuildFailure, BuildRecord, BuildStatus, SourceLine, StepRecord, StepStatus, html, table,
};
pub use trace::chrome_trace;
