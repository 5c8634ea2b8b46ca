//! What a program needs to start, and whether a changed tree still has it.
//!
//! From the command on: the file itself, the interpreter of a script (through `env` and `PATH`, too),
//! the ELF interpreter, and every library, found as the loader finds it. Files that the command names
//! count as well. Compared are two trees: what could be found before and can't be found after is a
//! loss, and the optimisation that caused it is refused.
//!
//! Commands that a shell script obviously runs are followed too, but a loss there is only a note:
//! reading shell is no proof, in either direction.
//!
//! Deliberately absent: what a program opens while it runs (plugins, modules of interpreted
//! languages, data). For that there is a boot.

mod compare;
mod conf;
mod error;
mod explore;
mod loader;
mod script;

use kiln_disk::{Contents, Tree};
use kiln_oci::Platform;

pub use compare::{Losses, Lost, compare};
pub use error::ReachError;

/// How a machine starts what the image is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where it starts, from the root.
    pub directory: Vec<u8>,
    /// What the image says it is for.
    pub platform: Platform,
}

/// What something is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The command's program.
    Program,
    /// A file that an argument of the command names.
    Argument,
    /// What runs a script, or the loader of an ELF file.
    Interpreter,
    /// What a loader has to find.
    Library,
    /// What a shell script seems to run.
    ScriptCommand,
}

/// Something that has to be found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    /// The file that needs it, from the root without links; empty for the command.
    pub by: Vec<u8>,
    /// What it is to that file.
    pub kind: Kind,
    /// What is looked for: a path, or a name that is searched.
    pub name: Vec<u8>,
}

/// A need, and what satisfies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What is needed.
    pub need: Need,
    /// Where it is, from the root without links; `None` if it isn't there.
    pub found: Option<Vec<u8>>,
    /// The links on the way there.
    pub links: Vec<Vec<u8>>,
    /// Whether the program needs it; else a script only seems to.
    pub is_proven: bool,
}

/// All that a program needs to start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// What is needed, in the order in which it is found out: what something needs comes after it.
    pub facts: Vec<Fact>,
    /// What is strange, but stops nothing.
    pub notes: Vec<String>,
}

/// Finds what `command` needs in `tree`.
///
/// # Errors
///
/// If the program can't start in this tree: see [`ReachError`].
pub fn trace(tree: &Tree, contents: &dyn Contents, command: &Command) -> Result<Reach, ReachError> {
    let (reach, error) = explore::explore(tree, contents, command);
    match error {
        Some(error) => Err(error),
        None => Ok(reach),
    }
}

/// The same for a tree in which the program may not start any more: what is found is told.
pub fn trace_anyway(tree: &Tree, contents: &dyn Contents, command: &Command) -> Reach {
    explore::explore(tree, contents, command).0
}

impl Command {
    /// A variable of the environment; the last of several counts.
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        let mut variables = self.environment.iter().rev();
        let found = variables.find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// Where programs are searched.
    pub fn path(&self) -> &[u8] {
        let default = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        self.variable("PATH").unwrap_or(default)
    }
}
