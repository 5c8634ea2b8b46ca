//! Rules that make a tree smaller, each of which can be turned on and off.
//!
//! A rule takes away only what is of no use to a program that runs: caches, documentation, files for
//! building. Directories that services expect stay where they are empty, licences stay, and what a
//! preserve pattern names stays whatever the rules say. Packages for development go with their rows
//! in the package manager's database, and only if nothing that stays needs them.
//!
//! Whether the program still starts is not known here: [`crate::reach`] compares before and after.
//!
//! Deliberately absent: compressing programs (UPX trades start-up time and shared pages for bytes
//! that the disk's own compression saves as well), and guessing by tracing what a program opens.

mod alternatives;
mod apk_db;
mod devel;
mod dpkg_db;
mod options;
mod report;
mod rules;
mod strip;
mod sweep;
mod table;
mod usage;

use kiln_base::{CancelToken, Cancelled};
use kiln_disk::{Contents, Tree, TreeError};

use crate::packages::DatabaseError;
use crate::paths::ReadError;
pub(crate) use options::compile;
pub use options::{Level, Options, OptionsError};
pub use report::{Changed, Gone, Note, RemovedPackage, Report, Totals};
pub use rules::{Rule, UnknownRule};
pub(crate) use table::{fits, homes};

/// Why a tree can't be optimised. The tree may have been changed in part: it is to be dropped.
#[derive(Debug, thiserror::Error)]
pub enum OptimiseError {
    /// Patterns or rules can't be read.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A package manager's database can't be read.
    #[error("could not tell which packages are for development")]
    Database(#[from] DatabaseError),
    /// A file can't be read.
    #[error("could not read `/{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: ReadError,
    },
    /// A file can't be put in its place.
    #[error("could not write `/{path}`")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: TreeError,
    },
    /// The build was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Applies the rules of `options` to `tree`. Applied again, they find nothing.
pub fn optimise(
    tree: &mut Tree,
    contents: &dyn Contents,
    options: &Options,
    cancel: &CancelToken,
) -> Result<Report, OptimiseError> {
    let patterns = options.patterns()?;
    let mut usage = usage::Usage::of(tree);
    let before = usage.totals();
    let mut report = Report::new(before);
    if options.rules.contains(&Rule::DevelopmentPackages) {
        cancel.check()?;
        devel::remove(tree, contents, &patterns, &mut usage, &mut report)?;
    }
    cancel.check()?;
    sweep::sweep(tree, contents, options, &patterns, &mut usage, &mut report)?;
    if options.rules.contains(&Rule::DebugSymbols) {
        let mut work = strip::Work {
            tree,
            contents,
            patterns: &patterns,
            usage: &mut usage,
            report: &mut report,
        };
        strip::strip(&mut work, options.memory, cancel)?;
    }
    report.after = usage.totals();
    Ok(report)
}
