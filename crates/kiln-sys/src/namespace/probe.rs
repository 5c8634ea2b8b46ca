//! What the machine allows, found by trying it.

use super::{EnterError, Grade};

/// What was found out about the machine.
#[derive(Debug)]
pub struct Probe {
    /// The grade that [`super::enter`] would choose.
    pub grade: Result<Grade, EnterError>,
    /// One line each for `kiln doctor`, in a fixed order.
    pub checks: Vec<Check>,
}

/// One thing kiln can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, for example `user namespaces`.
    pub name: &'static str,
    /// What was found.
    pub answer: Answer,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It works.
    Yes {
        /// What exactly was found; may be empty.
        detail: String,
    },
    /// It does not.
    No {
        /// Why.
        reason: String,
        /// How to get it.
        remedy: Option<String>,
    },
}

/// Looks at the machine. Forks children that try things out; the process has to be single-threaded.
pub fn probe() -> Result<Probe, EnterError> {
    unimplemented!()
}
