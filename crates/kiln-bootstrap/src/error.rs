//! Why a base image could not be made, and what the user can do about it.

use std::io;

use kiln_base::Cancelled;
use kiln_layer::{DiffError, WriteError};
use kiln_oci::DocumentError;
use kiln_store::{BlobError, ImageError, StoreError};
use kiln_sys::fs::FsError;

use crate::Distribution;

/// Why a base image could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Neither the name nor an option says what to install.
    #[error("`{name}` does not say which suite to install")]
    NoSuite {
        /// The image's name.
        name: String,
    },
    /// The suite has characters that no suite has.
    #[error("`{suite}` is not a suite")]
    SuiteForm {
        /// The word.
        suite: String,
    },
    /// A mirror is neither an address nor a line of `sources.list`.
    #[error("`{mirror}` is neither an address nor a `deb` line")]
    MirrorForm {
        /// The word.
        mirror: String,
    },
    /// The distribution has no port for the platform.
    #[error("there is no port of {distribution} for `{platform}`")]
    NoPort {
        /// The distribution.
        distribution: Distribution,
        /// The platform.
        platform: String,
    },
    /// The suite has no packages for the platform.
    #[error("suite `{suite}` has no packages for `{platform}`")]
    NoPackages {
        /// The suite.
        suite: String,
        /// The platform.
        platform: String,
    },
    /// A program that does the work is not installed.
    #[error("`{program}` is not installed")]
    MissingProgram {
        /// The program.
        program: String,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// The keys that the packages are signed with are not installed.
    #[error("the keys of {distribution}'s packages are not installed at `{path}`")]
    MissingKeyring {
        /// The distribution.
        distribution: Distribution,
        /// Where they are expected.
        path: &'static str,
    },
    /// The host's apt knows no archive of the distribution.
    #[error("apt on this host has no source of {distribution} packages")]
    NoSources {
        /// The distribution.
        distribution: Distribution,
    },
    /// The archive has no such suite.
    #[error("there is no suite `{suite}` at `{url}`")]
    UnknownSuite {
        /// The suite.
        suite: String,
        /// The address that was asked.
        url: String,
    },
    /// The archive did not answer, or not with a Release file.
    #[error("could not read `{url}`: {reason}")]
    Unreachable {
        /// The address that was asked.
        url: String,
        /// What apt said.
        reason: String,
    },
    /// Only one id is mapped; packages have files of several owners.
    #[error("a base image has files of several owners, and this user has no subordinate ids")]
    SingleId,
    /// The helper ended with an error.
    #[error("mmdebstrap failed ({status}):\n{output}")]
    Helper {
        /// How it ended.
        status: String,
        /// The last lines of its output.
        output: String,
    },
    /// A program could not be started or watched.
    #[error("could not run `{program}`")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The kernel does not let programs of another architecture run in a namespace of our own.
    #[error("programs of another architecture can't run here")]
    Emulation(#[source] io::Error),
    /// A file of the host could not be read, or one for the helper not be written.
    #[error(transparent)]
    Files(#[from] FsError),
    /// The layer could not be read from the tree.
    #[error("could not read the new system's files")]
    Diff(#[from] DiffError),
    /// The layer could not be written.
    #[error("could not write the layer")]
    Layer(#[from] WriteError),
    /// A blob could not be stored.
    #[error("could not store the image")]
    Blob(#[from] BlobError),
    /// The image could not be named.
    #[error("could not name the image")]
    Image(#[from] ImageError),
    /// The store failed.
    #[error("could not use the store")]
    Store(#[from] StoreError),
    /// What the name stood for before can't be read.
    #[error("could not read what `{name}` now stands for")]
    Previous {
        /// The name.
        name: String,
        /// What is wrong with it.
        #[source]
        cause: DocumentError,
    },
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl BootstrapError {
    /// What the user can do, as a command or an option where there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSuite { .. } => "name it as in `debian:bookworm`, or add `--suite`".to_owned(),
            Self::MissingProgram { package, .. } => format!("apt-get install {package}"),
            Self::MissingKeyring { distribution, .. } => {
                format!("apt-get install {}", distribution.keyring_package())
            }
            Self::NoSources { .. } => "add `--mirror` with the address of an archive".to_owned(),
            Self::UnknownSuite { .. } => {
                "suites have code names such as `bookworm`; add `--mirror` if another archive has it"
                    .to_owned()
            }
            Self::Unreachable { .. } => {
                "look at the proxy in apt's configuration, or add `--mirror`".to_owned()
            }
            Self::SingleId => "apt-get install uidmap, and give the user ids: \
                 usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
                .to_owned(),
            Self::Emulation(_) => "a `binfmt_misc` in a user namespace needs Linux 6.7; before, make \
                 the image on a machine of its own architecture"
                .to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}
