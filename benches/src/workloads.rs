//! What is measured: each workload makes its inputs once, and lets each program build them in turn.

mod large;
mod small;
mod steps;
mod unchanged;

use crate::bench::Bench;
use crate::model::Table;

/// One table of the report.
pub(crate) struct Workload {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// Makes the inputs and measures.
    pub(crate) run: fn(&Bench) -> Result<Table, String>,
}

/// In the order of the report.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: "steps",
        run: steps::steps,
    },
    Workload {
        name: "nothing-changed",
        run: unchanged::steps,
    },
    Workload {
        name: "nothing-changed-20k",
        run: unchanged::files_20k,
    },
    Workload {
        name: "nothing-changed-100k",
        run: unchanged::files_100k,
    },
    Workload {
        name: "small-files",
        run: small::small,
    },
    Workload {
        name: "large-layer",
        run: large::large,
    },
];

/// The names of all workloads.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|workload| workload.name)
}
