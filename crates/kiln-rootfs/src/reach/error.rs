//! Why a program can't start.

use std::fmt;

use crate::elf::{ElfError, Target};
use crate::paths::{LookupError, ReadError};

/// Why a program can't start in a tree. Paths are those inside.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// There is nothing to start.
    #[error("the image has no command; give one")]
    NoCommand,
    /// The program is not there.
    #[error("the image has no program `{name}`: it is in none of the directories `{path}`")]
    NotInPath {
        /// As the command says it.
        name: String,
        /// What was searched.
        path: String,
    },
    /// A path leads nowhere.
    #[error("the image's program `{name}` can't be found")]
    NotFound {
        /// As the command says it.
        name: String,
        /// Where it ends.
        #[source]
        cause: LookupError,
    },
    /// It is something else than a file.
    #[error("`/{path}` is not a file and can't be run")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// Its mode forbids it.
    #[error("`/{path}` is not executable: its mode is {mode:04o}")]
    NotExecutable {
        /// The file.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// Neither ELF nor `#!`.
    #[error("`/{path}` is neither an ELF program nor a script with `#!`")]
    UnknownFormat {
        /// The file.
        path: String,
    },
    /// An ELF file that is none.
    #[error("`/{path}` can't be run")]
    Broken {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        cause: ElfError,
    },
    /// It can't be read.
    #[error("could not read `/{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: ReadError,
    },
    /// For another processor.
    #[error("`/{path}` is a program for {found}, and the image is for {wanted}")]
    Architecture {
        /// The file.
        path: String,
        /// What it is for.
        found: Target,
        /// The platform's processor.
        wanted: String,
    },
    /// What runs it is not there.
    #[error("`/{path}` can't be run: its interpreter `{interpreter}` is not in the image")]
    NoInterpreter {
        /// The file that needs it.
        path: String,
        /// As the file says it.
        interpreter: String,
        /// Where its path ends.
        #[source]
        cause: LookupError,
    },
    /// What `env` should start for it is not there.
    #[error("`/{path}` can't be run: `env` would find no `{program}` in `PATH`")]
    NoProgramOfEnv {
        /// The script.
        path: String,
        /// As the script says it.
        program: String,
    },
    /// What runs it can't run.
    #[error("`/{path}` can't be run: its interpreter `{interpreter}` {problem}")]
    BadInterpreter {
        /// The file that needs it.
        path: String,
        /// As the file says it.
        interpreter: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A library is not there.
    #[error("`/{path}` can't be run: its library `{library}` is not in the image")]
    NoLibrary {
        /// The file that needs it.
        path: String,
        /// As the file says it.
        library: String,
    },
    /// Scripts that run scripts.
    #[error("`/{path}` can't be run: its interpreters are scripts themselves, too many of them")]
    TooDeep {
        /// The last.
        path: String,
    },
}

/// What is wrong with an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Not a regular file.
    NotAFile,
    /// Its mode forbids it.
    NotExecutable,
    /// Not an ELF file.
    NotElf,
    /// Broken as an ELF file.
    Broken,
    /// For another processor.
    Architecture(Target),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => f.write_str("is not a file"),
            Self::NotExecutable => f.write_str("is not executable"),
            Self::NotElf => f.write_str("is not an ELF file"),
            Self::Broken => f.write_str("is a broken ELF file"),
            Self::Architecture(target) => write!(f, "is for {target}"),
        }
    }
}
