//! What lowering has to be told about the world, and asks for as data.

use std::fmt;

use kiln_base::Timestamp;
use kiln_dockerfile::Span;
use kiln_dockerfile::gitref::GitRef;
use kiln_graph::StepIndex;
use kiln_oci::{Digest, ImageConfig, Platform, Reference};

use crate::IgnoreList;

/// How an image is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageName {
    /// In the local store or its registry.
    Reference(Reference),
    /// In an OCI layout that the caller knows as the named context of this name.
    Layout(String),
    /// As the result of another build that shares the graph.
    Build(usize),
}

/// What has to be known before lowering can go on.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Images.
    pub bases: Vec<BaseRequest>,
    /// Sources that are fetched.
    pub sources: Vec<SourceRequest>,
}

/// An image that the Dockerfile begins with or copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRequest {
    /// Its name.
    pub image: ImageName,
    /// The platform it is wanted for.
    pub platform: Platform,
    /// Where the Dockerfile asks for it.
    pub span: Span,
}

/// What the frontend has to know of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFacts {
    /// Where its files are.
    pub root: BaseRoot,
    /// Its configuration.
    pub config: ImageConfig,
}

/// Where the files of a base are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseRoot {
    /// In the image with this manifest (never an index).
    Manifest(Digest),
    /// In the output of a step of the graph that is being built: the result of another build.
    Step {
        /// The step.
        step: StepIndex,
        /// How many entries of the history are from that build's own base, and have their times.
        base_history: usize,
    },
}

/// A source of `ADD` that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRequest {
    /// What it is.
    pub source: RemoteSource,
    /// Where the Dockerfile asks for it.
    pub span: Span,
}

/// Something that is fetched from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteSource {
    /// A file.
    Http {
        /// Its URL.
        url: String,
        /// `--checksum`.
        checksum: Option<Digest>,
    },
    /// A commit.
    Git(GitRef),
}

/// What is known of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFacts {
    /// A file that was downloaded.
    Http {
        /// The digest of its bytes.
        digest: Digest,
        /// What it is called.
        name: String,
        /// `Last-Modified`.
        modified: Option<Timestamp>,
    },
    /// The commit that the reference leads to.
    Git {
        /// In hexadecimal.
        commit: String,
        /// The full name of the branch, tag or other reference; `None` where a commit was asked
        /// for.
        reference: Option<String>,
        /// The hash of the annotated tag that names the commit, where one does.
        tag: Option<String>,
    },
}

/// What is known so far.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    bases: Vec<(ImageName, Platform, BaseFacts)>,
    sources: Vec<(RemoteSource, SourceFacts)>,
    ignore: Option<IgnoreList>,
}

impl Facts {
    /// Adds what was found for a request.
    pub fn insert(&mut self, request: &BaseRequest, facts: BaseFacts) {
        let key = (request.image.clone(), request.platform.clone());
        self.bases.push((key.0, key.1, facts));
    }

    /// Adds what was found for a source.
    pub fn insert_source(&mut self, request: &SourceRequest, facts: SourceFacts) {
        self.sources.push((request.source.clone(), facts));
    }

    /// Says what the main context's ignore file excludes, for the check of what is copied.
    pub fn set_ignore(&mut self, ignore: IgnoreList) {
        self.ignore = Some(ignore);
    }

    /// What the main context's ignore file excludes, where that is known.
    pub fn ignore(&self) -> Option<&IgnoreList> {
        self.ignore.as_ref()
    }

    /// What is known of an image for a platform.
    pub fn get(&self, image: &ImageName, platform: &Platform) -> Option<&BaseFacts> {
        let found = self
            .bases
            .iter()
            .find(|(known, for_platform, _)| known == image && for_platform == platform);
        found.map(|(_, _, facts)| facts)
    }

    /// What is known of a source.
    pub fn source(&self, source: &RemoteSource) -> Option<&SourceFacts> {
        let found = self.sources.iter().find(|(known, _)| known == source);
        found.map(|(_, facts)| facts)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(reference) => reference.fmt(f),
            Self::Layout(name) => write!(f, "{name} (OCI layout)"),
            Self::Build(number) => write!(f, "build {number}"),
        }
    }
}
