//! Why a tree can't be made to start.

use kiln_disk::TreeError;
use kiln_init::users::UserError;

use super::ARCHITECTURE;
use crate::paths::{LookupError, ReadError};

/// Why a tree can't be made to start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// Neither the image nor the caller says what to run.
    #[error("the image has no command: it has neither ENTRYPOINT nor CMD, so say what to run")]
    NoCommand,
    /// The embedded `kiln-init` does not run there.
    #[error(
        "the image is for `{0}`, and this kiln carries an init for `{ARCHITECTURE}`; \
         use a kiln for `{0}`, or an init of your own"
    )]
    Architecture(String),
    /// `USER` can't be resolved.
    #[error(transparent)]
    User(#[from] UserError),
    /// The program is not there.
    #[error("the program `{0}` is not in the image")]
    NoProgram(String),
    /// No directory of `PATH` has the program.
    #[error("the program `{name}` is in no directory of the image's PATH, `{path}`")]
    NotOnPath {
        /// The program.
        name: String,
        /// The directories.
        path: String,
    },
    /// The program is something else.
    #[error("`{0}` is not an executable file")]
    NotExecutable(String),
    /// The program needs another to run it.
    #[error("the interpreter `{interpreter}` of `{program}` is not in the image")]
    NoInterpreter {
        /// The interpreter.
        interpreter: String,
        /// The program.
        program: String,
    },
    /// `STOPSIGNAL` names nothing.
    #[error("`{0}` is no signal")]
    Signal(String),
    /// A path that has to be absolute.
    #[error("`{0}` is not an absolute path")]
    Relative(String),
    /// The image has no systemd.
    #[error(
        "the image has no systemd: neither `/usr/lib/systemd/systemd` nor \
         `/lib/systemd/systemd` is in it; install it, or use the direct strategy"
    )]
    NoSystemd,
    /// A zero byte or the like, which no unit can say.
    #[error("systemd can't be told of {0}")]
    Unit(String),
    /// What is to be added can't be.
    #[error("`{path}` can't be added")]
    Add {
        /// What.
        path: String,
        /// Why.
        #[source]
        cause: TreeError,
    },
    /// A directory on the way to something that is to be added is no directory.
    #[error("`{path}` can't be added")]
    Way {
        /// What.
        path: String,
        /// Why.
        #[source]
        cause: LookupError,
    },
    /// A directory is where a file is to be.
    #[error("`{0}` is a directory of the image, and a file is to be there")]
    IsDirectory(String),
    /// A file can't be read.
    #[error("`{path}` can't be read")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: ReadError,
    },
}
