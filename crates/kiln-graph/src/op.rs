//! The closed set of operations a step can be.

use kiln_oci::{Digest, Platform};

use crate::key::Part;

mod fetch;
mod run;

pub use fetch::{GitOp, HttpOp};
pub use run::{CacheMount, CacheSharing, FileOwner, Network, RunMount, RunOp, Security};

/// What a step does. Which input is which is said at each variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The empty root. No inputs.
    Scratch,
    /// The root file system of a resolved image. No inputs.
    Image(ImageOp),
    /// Files of a build context. No inputs.
    Context(ContextOp),
    /// One file that was downloaded. No inputs.
    Http(HttpOp),
    /// The files of a commit. No inputs.
    Git(GitOp),
    /// A process in a root. Input 0 is the root; mounts name the others.
    Run(RunOp),
    /// Files copied into a root. Input 0 is the root; see [`CopyFrom`] for the others.
    Copy(CopyOp),
    /// A directory that has to exist. Input 0 is the root.
    Workdir(WorkdirOp),
    /// The layers that the second input adds to the empty root, put on top of the first input:
    /// what `COPY --link` is made of.
    Merge,
}

/// An image by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOp {
    /// What it was asked for by, for messages; not part of the key.
    pub name: String,
    /// The platform that was chosen.
    pub platform: Platform,
    /// The digest of the image's manifest (never of an index).
    pub manifest: Digest,
}

/// A build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextOp {
    /// The number under which the caller holds the context.
    pub id: usize,
}

/// A small file whose content stands in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// For a copy the file's name; for a process the absolute path at which it appears.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub content: Vec<u8>,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path or a pattern in [`CopyOp::from`].
    Path(String),
    /// A heredoc.
    Inline(InlineFile),
}

/// Where the paths of a copy are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFrom {
    /// There are only inline sources; the step has one input.
    Nothing,
    /// Input 1 is a context: its ignore rules apply.
    Context,
    /// Input 1 is the root of a stage or of an image.
    Root,
}

/// What becomes of sources that are archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// Copied as they are: `COPY`, and `ADD --unpack=false`.
    Never,
    /// A file that is an archive by its first bytes is unpacked: `ADD`.
    Archives,
}

/// Files copied into a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOp {
    /// What is copied, in the order written; variables are expanded.
    pub sources: Vec<CopySource>,
    /// Where paths are looked up.
    pub from: CopyFrom,
    /// The absolute destination. A trailing slash means "into this directory".
    pub dest: String,
    /// `--chown` as written after expansion. Names are looked up in the input that
    /// [`CopyOp::owners`] says.
    pub chown: Option<String>,
    /// Which of the step's inputs holds the `/etc/passwd` for [`CopyOp::chown`]: 0 unless the copy
    /// is made for `--link`, whose input 0 is empty.
    pub owners: usize,
    /// `--chmod` as written after expansion: octal or symbolic, already checked.
    pub chmod: Option<String>,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// What becomes of archives.
    pub unpack: Unpack,
    /// The copy is made for `--link`: its root is empty, so there are no symbolic links in the
    /// destination that it could follow.
    pub link: bool,
}

/// A directory that has to exist: `WORKDIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkdirOp {
    /// Absolute and clean.
    pub path: String,
    /// `USER` in force, who owns what is created; empty means root.
    pub user: String,
}

impl Op {
    /// The operation's kind, as it stands in keys and in machine-readable output.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Image(_) => "image",
            Self::Context(_) => "context",
            Self::Http(_) => "http",
            Self::Git(_) => "git",
            Self::Run(_) => "run",
            Self::Copy(_) => "copy",
            Self::Workdir(_) => "workdir",
            Self::Merge => "merge",
        }
    }

    /// Whether it is given a secret or an SSH agent.
    pub fn takes_secrets(&self) -> bool {
        match self {
            Self::Run(run) => run
                .mounts
                .iter()
                .any(|mount| matches!(mount, RunMount::Secret { .. } | RunMount::Ssh { .. })),
            _ => false,
        }
    }

    /// Everything in this operation that changes its output: the one source of the step's id, of
    /// its cache key and of what `--explain` compares.
    pub fn parts(&self) -> Vec<Part> {
        match self {
            Self::Scratch | Self::Merge => Vec::new(),
            Self::Image(image) => vec![Part::new("image", image.manifest.to_string())],
            Self::Context(context) => vec![Part::new("context", context.id.to_string())],
            Self::Http(http) => http.parts(),
            Self::Git(git) => git.parts(),
            Self::Run(run) => run.parts(),
            Self::Copy(copy) => copy.parts(),
            Self::Workdir(workdir) => vec![
                Part::new("directory", workdir.path.as_str()),
                Part::new("user", workdir.user.as_str()),
            ],
        }
    }
}

impl CopyOp {
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            parts.push(match source {
                CopySource::Path(path) => Part::new(format!("source {}", index + 1), path.as_str()),
                CopySource::Inline(file) => file.part(),
            });
        }
        let from = match self.from {
            CopyFrom::Nothing => "nothing",
            CopyFrom::Context => "context",
            CopyFrom::Root => "root",
        };
        parts.push(Part::new("from", from));
        parts.push(Part::new("destination", self.dest.as_str()));
        parts.push(Part::new("--chown", optional(self.chown.as_deref())));
        parts.push(Part::new("--chmod", optional(self.chmod.as_deref())));
        parts.push(Part::new("--exclude", list(&self.exclude)));
        let switches = [
            ("--parents", self.parents),
            ("unpack", self.unpack == Unpack::Archives),
            ("--link", self.link),
        ];
        for (label, on) in switches {
            parts.push(Part::new(label, if on { "on" } else { "off" }));
        }
        parts
    }
}

impl InlineFile {
    fn part(&self) -> Part {
        let mut value = self.mode.to_le_bytes().to_vec();
        value.extend_from_slice(&self.content);
        Part::new(format!("heredoc `{}`", self.path), value)
    }
}

/// Joins texts so that no two lists give the same bytes.
fn list(items: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        bytes.extend_from_slice(&(item.len() as u64).to_le_bytes());
        bytes.extend_from_slice(item.as_bytes());
    }
    bytes
}

/// Tells an absent text from an empty one.
fn optional(value: Option<&str>) -> Vec<u8> {
    value.map_or_else(Vec::new, |value| format!("={value}").into_bytes())
}
