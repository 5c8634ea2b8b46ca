//! Git repositories: a reference to a commit, and a commit to files.
//!
//! The work is done by the host's `git` (2.31 or later), as BuildKit does it, with nothing of the
//! host's configuration: no system's and no user's, no hooks, no helpers for credentials, no
//! questions, and only the transports HTTP, HTTPS, SSH and git's own. Credentials reach it in its
//! environment, which only the same user can read; its arguments, which everybody can, have none.
//!
//! A folder keeps one bare repository for each remote, so that a second build fetches only what is
//! new. Processes share it by a lock for each.
//!
//! Differences from BuildKit, each on purpose: submodules come through the same folder and leave no
//! dangling `.git` file where no `.git` folder is kept; credentials in an address are handed over
//! as a header and not written into a kept `.git`; a server that redirects elsewhere does not get
//! them.

mod auth;
mod checkout;
mod error;
mod repository;
mod resolve;
mod run;
mod submodule;
mod supervise;

use std::path::Path;
use std::time::Duration;

use kiln_base::Timestamp;
use kiln_dockerfile::gitref::GitRef;

pub(crate) use auth::line;
pub use auth::{GitAuth, GitCredential, KnownHosts, SecretError, find_credential};
pub use checkout::checkout;
pub use error::{GitError, GitProblem};
pub use resolve::resolve;

use crate::Network;

/// What is asked for, and by which means.
#[derive(Debug, Clone, Copy)]
pub struct GitRequest<'a> {
    /// The repository, and what is wanted of it.
    pub git: &'a GitRef,
    /// What authorises it.
    pub auth: &'a GitAuth,
    /// Proxies and authorities.
    pub network: &'a Network,
    /// The folder of bare repositories, an absolute path. It is made where it is missing.
    pub cache_dir: &'a Path,
    /// How long one run of git may take.
    pub timeout: Duration,
}

/// What a reference means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCommit {
    /// The commit's whole hash. Where the reference was a whole hash it is that one, which has not
    /// been looked at yet and may be an annotated tag's.
    pub commit: String,
    /// The full name of the branch, tag or other reference, `refs/…`; `None` where a commit was
    /// asked for.
    pub reference: Option<String>,
    /// The hash of the annotated tag that names the commit, where one does. A kept `.git` has it.
    pub tag: Option<String>,
}

/// What a checkout knows of its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The commit that was checked out; never a tag's hash.
    pub commit: String,
    /// The committer's time.
    pub commit_time: Timestamp,
}
