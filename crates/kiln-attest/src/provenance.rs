//! How an image was made, as SLSA provenance.
//!
//! The fields are those that BuildKit writes, under the same names (`buildkit_metadata`,
//! `llbDefinition`, …), so that tools which read its provenance read ours. Two things are kiln's
//! own: the build type, since the operations in the steps are kiln's, and the vocabulary of those
//! operations.
//!
//! Deliberately absent: the values of secrets. [`SecretUse`] has no place for them.

mod json;
mod predicate;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kiln_base::Timestamp;
use kiln_oci::{Descriptor, Digest, Platform, Reference};

pub use steps::steps_of;

/// Digests of one thing: algorithm to hexadecimal text. A git commit has `sha1` or `sha256`.
pub type DigestSet = BTreeMap<String, String>;

/// Everything that provenance can say of a build; the mode decides what it does say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Where the Dockerfile and its context came from.
    pub source: ConfigSource,
    /// What was asked for.
    pub request: Request,
    /// What came from elsewhere.
    pub materials: Vec<Material>,
    /// Whether `materials` are all inputs that have a digest, and nothing else came in but local
    /// folders (which [`Request::locals`] names).
    pub materials_complete: bool,
    /// Whether some step could use the network.
    pub network: bool,
    /// What kiln ran on.
    pub builder_platform: Platform,
    /// What the caller says of its version control: `source` and `revision`, most often.
    pub vcs: BTreeMap<String, String>,
    /// Names this build among all others; the same for every platform of one build.
    pub invocation_id: String,
    /// When the build began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// The steps, each after its inputs; the last makes the result.
    pub steps: Vec<BuildStep>,
    /// The files that [`BuildStep::lines`] speak of, most often one Dockerfile.
    pub sources: Vec<SourceFile>,
}

/// Where a Dockerfile and its context came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigSource {
    /// The URL of a remote context; `None` for a local one. Credentials in it are taken out.
    pub uri: Option<String>,
    /// What was at the URL.
    pub digest: DigestSet,
    /// The Dockerfile's path in the context.
    pub path: Option<String>,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The frontend, for example `dockerfile.v0`; empty where there was none.
    pub frontend: String,
    /// `--target`.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Other options of the frontend, by BuildKit's names: `no-cache`, `add-hosts`, …
    pub options: BTreeMap<String, String>,
    /// Secrets that were used.
    pub secrets: Vec<SecretUse>,
    /// SSH agents that were used.
    pub ssh: Vec<SecretUse>,
    /// Local folders that were used: `context`, `dockerfile`, the names of further contexts.
    pub locals: Vec<String>,
}

/// That a secret or an SSH agent was used, never its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretUse {
    /// The id by which the Dockerfile asks for it.
    pub id: String,
    /// The build goes on without it.
    pub optional: bool,
}

/// Something that came from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// An image from a registry.
    Image {
        /// The name as asked for.
        reference: Reference,
        /// The platform that was chosen.
        platform: Platform,
        /// The digest that was resolved.
        digest: Digest,
    },
    /// An image from an OCI layout or from the local store.
    LocalImage {
        /// The name as asked for.
        reference: Reference,
        /// The platform that was chosen.
        platform: Platform,
        /// The digest that was resolved.
        digest: Digest,
    },
    /// A git repository.
    Git {
        /// The URL with its fragment.
        url: String,
        /// The commit, 40 or 64 hexadecimal digits.
        commit: String,
    },
    /// A download.
    Http {
        /// The URL.
        url: String,
        /// The digest of what came.
        digest: Digest,
    },
}

/// One step of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildStep {
    /// A digest that names the step, for the mapping from digests to steps.
    pub digest: String,
    /// What progress called it.
    pub name: String,
    /// What it did.
    pub op: StepOp,
    /// Whose outputs it worked on.
    pub inputs: Vec<StepInput>,
    /// The lines it comes from.
    pub lines: Vec<LineRange>,
    /// The chains of layers that hold its output, where it was packed.
    pub layers: Vec<Vec<Descriptor>>,
}

/// The output of an earlier step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepInput {
    /// The step's place in [`Build::steps`].
    pub step: usize,
    /// Which of its outputs; 0 for all of kiln's own operations.
    pub output: usize,
}

/// Lines of a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineRange {
    /// The file's place in [`Build::sources`].
    pub source: usize,
    /// The first line; 1 is the first of the file.
    pub first: u32,
    /// The last line.
    pub last: u32,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOp {
    /// Brought something in: an image, a context, a repository, a download.
    Source {
        /// For example `docker-image://docker.io/library/alpine:3.20@sha256:…`,
        /// `local://context` or `scratch://`, the empty root.
        identifier: String,
        /// What else decides it.
        attributes: BTreeMap<String, String>,
    },
    /// Ran a process.
    Exec {
        /// The command line.
        args: Vec<String>,
        /// The environment, `NAME=value`.
        env: Vec<String>,
        /// The working directory.
        cwd: String,
        /// The user; empty is root.
        user: String,
        /// `sandbox`, `host` or `none`.
        network: &'static str,
        /// What was mounted, without the root.
        mounts: Vec<Mount>,
        /// Files that existed only while the process ran: the scripts of heredocs.
        files: Vec<FileAction>,
        /// What else decides it: `security`, `hostname`, extra hosts, …
        attributes: BTreeMap<String, String>,
    },
    /// Changed files.
    File {
        /// What, in order.
        actions: Vec<FileAction>,
    },
    /// Stacked its inputs.
    Merge,
}

/// Something mounted for a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `bind`, `cache`, `tmpfs`, `secret` or `ssh`.
    pub kind: String,
    /// Where; empty for a secret that is only a variable.
    pub dest: String,
    /// The id of a cache, a secret or an SSH agent.
    pub id: Option<String>,
    /// The input that is bound.
    pub input: Option<usize>,
    /// Whether the process can't write to it.
    pub readonly: bool,
    /// What else decides it: `source`, `env`, `sharing`, `size`, …
    pub attributes: BTreeMap<String, String>,
}

/// A change of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAction {
    /// Copied from an input.
    Copy {
        /// What; patterns as written.
        sources: Vec<String>,
        /// Where to.
        dest: String,
        /// What else decides it: `chown`, `chmod`, `exclude`, …
        attributes: BTreeMap<String, String>,
    },
    /// Wrote a file that stood in the Dockerfile.
    MakeFile {
        /// Where.
        path: String,
        /// Permission bits.
        mode: u32,
        /// The content.
        data: Vec<u8>,
    },
    /// Made a directory.
    MakeDir {
        /// Where.
        path: String,
    },
}

/// A file that steps come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name.
    pub filename: String,
    /// `Dockerfile`, for example.
    pub language: String,
    /// Its content.
    pub data: Vec<u8>,
}

/// Why provenance can't be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvenanceError {
    /// `complete-materials=true`, but something has no digest.
    #[error(
        "the materials are not complete, as `complete-materials=true` demands: {} ha{} no digest",
        list(.0), if .0.len() == 1 { "s" } else { "ve" }
    )]
    Incomplete(Vec<String>),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "some inputs".to_owned();
    }
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("the local source `{name}`"))
        .collect();
    quoted.join(", ")
}
