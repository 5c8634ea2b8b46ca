//! What is fetched from elsewhere, named by its content.

use kiln_dockerfile::gitref::{GitMtime, GitRef};
use kiln_oci::Digest;

use crate::key::Part;

/// One file that was downloaded: a root that holds nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOp {
    /// Where it came from; not part of the key.
    pub url: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its name in the root.
    pub name: String,
    /// `Last-Modified` in seconds since 1970; zero where the server does not say.
    pub modified: i64,
}

/// The files of a commit: a root that holds nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitOp {
    /// The repository, and what is wanted of it.
    pub git: GitRef,
    /// The commit, in hexadecimal.
    pub commit: String,
    /// The full name of the branch, tag or other reference; `None` where a commit was asked for.
    pub reference: Option<String>,
    /// The hash of the annotated tag that names the commit, where one does.
    pub tag: Option<String>,
}

impl HttpOp {
    pub(super) fn parts(&self) -> Vec<Part> {
        vec![
            Part::new("download", self.digest.to_string()),
            Part::new("name", self.name.as_str()),
            Part::new("modified", self.modified.to_string()),
        ]
    }
}

impl GitOp {
    pub(super) fn parts(&self) -> Vec<Part> {
        let switch = |on: bool| if on { "on" } else { "off" };
        let keep = self.git.keep_git_dir.unwrap_or(false);
        let submodules = self.git.submodules.unwrap_or(true);
        let commit_times = self.git.mtime == GitMtime::Commit;
        let mut parts = vec![
            Part::new("commit", self.commit.as_str()),
            Part::new("folder", self.git.subdir.clone().unwrap_or_default()),
            Part::new("--keep-git-dir", switch(keep)),
            Part::new("submodules", switch(submodules)),
            Part::new("commit times", switch(commit_times)),
        ];
        // A kept `.git` says where it is from, and submodules may lie relative to it.
        if keep || submodules {
            parts.push(Part::new("repository", self.git.to_string()));
        }
        parts
    }
}
