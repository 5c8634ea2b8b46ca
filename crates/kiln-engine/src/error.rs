//! What can go wrong, one enum for each kind of work.
//!
//! Messages say what was attempted and on what; the cause is the source. Which exit code an error
//! means, and what the user can do about it, is decided by the program from these types.

use std::io;
use std::path::PathBuf;

use kiln_base::Cancelled;
use kiln_dockerfile::{Diagnostic, Span};
use kiln_exec::{ExecError, ExitStatus};
use kiln_oci::{Digest, MediaType, Platform, Reference};
use kiln_store::{BlobError, SnapshotError, SnapshotId, StoreError};
use kiln_sys::fs::FsError;

pub use crate::assemble::AssembleError;

/// A layer's blob could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A root without layers has no topmost layer; a defect here.
    #[error("a root without layers has no layer to pack")]
    Empty,
    /// A base image has something among its layers that is none.
    #[error("`{0}` is not the media type of a layer")]
    NotALayer(MediaType),
    /// Docker's media types know no zstd.
    #[error(
        "a base image's layer is compressed with zstd, which Docker's media types can't say: use \
         `oci-mediatypes=true`, or `compression=gzip,force-compression=true`"
    )]
    ZstdInDocker,
    /// A layer's directory could not be opened.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The changes could not be found.
    #[error("could not compare the step's files with those below")]
    Diff(#[from] kiln_layer::DiffError),
    /// The blob could not be written.
    #[error("could not pack the layer")]
    Write(#[from] kiln_layer::WriteError),
    /// A base image's layer could not be compressed anew.
    #[error("could not compress a base image's layer anew")]
    Recompress(#[from] kiln_layer::RecompressError),
    /// A base image's layer is not in the store any more.
    #[error("the layer `{0}` is no longer in the store")]
    MissingBlob(kiln_oci::Digest),
    /// The blob could not be stored.
    #[error("could not store the layer")]
    Blob(#[from] BlobError),
    /// The layer could not be recorded.
    #[error("could not record the layer")]
    Snapshot(#[from] SnapshotError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A root could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The kernel could not stack the layers.
    #[error("could not stack the layers")]
    Overlay(#[from] kiln_sys::mount::OverlayError),
    /// A handle could not be made.
    #[error("could not open the root")]
    Handle(#[source] io::Error),
    /// A layer that was there a moment ago is not any more.
    #[error("the layer `{0}` is no longer in the store")]
    LayerGone(SnapshotId),
    /// A blob that was there a moment ago is not any more.
    #[error("the blob `{0}` is no longer in the store")]
    BlobGone(Digest),
    /// An image's layer could not be unpacked.
    #[error("could not unpack the layer `{layer}`")]
    Unpack {
        /// The layer's digest.
        layer: Digest,
        /// Why.
        source: kiln_layer::UnpackError,
    },
    /// Layers could not be made one, to be mounted as one.
    #[error("could not flatten layers")]
    Flatten(#[source] kiln_layer::FlattenError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A snapshot could not be kept.
    #[error("could not keep the layer")]
    Snapshot(#[from] SnapshotError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An image that a build begins with could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The manifest and the configuration do not agree.
    #[error("the image's configuration names {diff_ids} layers, its manifest {layers}")]
    Layers {
        /// In the configuration.
        diff_ids: usize,
        /// In the manifest.
        layers: usize,
    },
    /// No named context is a layout of this name; a defect here.
    #[error("no named context `{0}` is an OCI layout")]
    NoLayout(String),
    /// The layout can't be read.
    #[error(transparent)]
    Layout(#[from] kiln_image::LayoutError),
    /// A blob of the layout can't be read.
    #[error("could not read a blob of the OCI layout `{}`", path.display())]
    ReadLayout {
        /// The layout's directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The layout has no such image.
    #[error("the OCI layout `{}` has no image `{wanted}`", path.display())]
    NotInLayout {
        /// The layout's directory.
        path: PathBuf,
        /// Tag or digest.
        wanted: String,
    },
    /// A blob could not be taken into the store.
    #[error("could not store the blob `{digest}`")]
    Blob {
        /// Its digest.
        digest: Digest,
        /// Why.
        source: BlobError,
    },
    /// The image's documents can't be read.
    #[error(transparent)]
    Image(#[from] kiln_image::ImageError),
    /// The registry did not give it.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// What is unpacked of it could not be looked up.
    #[error(transparent)]
    Root(#[from] RootError),
    /// What is unpacked of it could not be noted.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An image could not be moved between a registry and the store.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The registry refused, or could not be reached.
    #[error(transparent)]
    Registry(#[from] kiln_registry::RegistryError),
    /// The name leads to something that is no image for this platform.
    #[error("`{reference}` has no image for {platform}")]
    Platform {
        /// The name.
        reference: Reference,
        /// What was wanted.
        platform: Platform,
    },
    /// A document could not be read.
    #[error("`{reference}` is not an image that kiln can use")]
    Document {
        /// The name.
        reference: Reference,
        /// Why.
        source: kiln_oci::DocumentError,
    },
    /// The documents do not fit together.
    #[error(transparent)]
    Image(#[from] kiln_image::ImageError),
    /// What came is not what was promised.
    #[error("could not store what `{reference}` gave")]
    Blob {
        /// The name.
        reference: Reference,
        /// Why.
        source: BlobError,
    },
    /// The image could not be recorded.
    #[error("could not record the image")]
    Record(#[from] kiln_store::ImageError),
    /// A part of the image is not in the store.
    #[error("the blob `{0}` is not in the store")]
    MissingBlob(Digest),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Something that is fetched from elsewhere could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A repository.
    #[error(transparent)]
    Git(#[from] kiln_fetch::git::GitError),
    /// A file.
    #[error(transparent)]
    Http(#[from] kiln_fetch::http::HttpError),
    /// A server said that nothing has changed though it was not asked that.
    #[error("`{0}` answers that it has not changed, but there is nothing older")]
    NotAsked(String),
    /// The address of a repository can't be read.
    #[error(transparent)]
    GitRef(#[from] kiln_dockerfile::gitref::GitRefError),
    /// The address is not a repository's.
    #[error("`{0}` is not the address of a git repository")]
    NotGit(String),
    /// A secret that is no credential.
    #[error(transparent)]
    Secret(#[from] kiln_fetch::git::SecretError),
    /// git talks to an agent only.
    #[error("`{0}` needs an SSH agent: keys from files can't be used for git")]
    KeysForGit(String),
    /// A text was expected.
    #[error("`{0}` is not a Dockerfile: it is not UTF-8 text of up to 4 MiB")]
    NotText(String),
    /// An archive that can't be unpacked.
    #[error("could not unpack the context `{name}`")]
    Archive {
        /// Where it came from.
        name: String,
        /// Why.
        source: kiln_layer::MergeError,
    },
    /// A download that was there a moment ago is not any more.
    #[error("the download `{0}` is no longer in the store")]
    BlobGone(Digest),
    /// A download could not be written.
    #[error("could not write a download")]
    Write(#[source] io::Error),
    /// A download could not be kept.
    #[error("could not keep a download")]
    Blob(#[from] BlobError),
    /// The root could not be made or kept.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A snapshot could not be kept.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The process ran and said that it failed.
    #[error("`{}` failed: {status}", shown(command))]
    Process {
        /// Program and arguments.
        command: Vec<String>,
        /// How it ended.
        status: ExitStatus,
    },
    /// The process could not be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A user or group is not known in the root.
    #[error(transparent)]
    User(#[from] kiln_tree::users::UserError),
    /// A copy's sources could not be found.
    #[error(transparent)]
    Select(#[from] kiln_tree::SelectError),
    /// A copy's sources could not be read.
    #[error(transparent)]
    Digest(#[from] kiln_tree::DigestError),
    /// Files could not be copied.
    #[error(transparent)]
    Copy(#[from] kiln_tree::CopyError),
    /// An `--exclude` pattern can't be read.
    #[error(transparent)]
    Exclude(#[from] kiln_dockerfile::ignore::PatternError),
    /// A `--chmod` can't be read.
    #[error(transparent)]
    Mode(#[from] kiln_dockerfile::mode::ModeError),
    /// A step of the graph names an image that was not resolved; a defect here.
    #[error("the image `{0}` was not resolved")]
    UnknownBase(Digest),
    /// An archive could not be unpacked.
    #[error("could not unpack `{path}`")]
    Archive {
        /// The archive, as the Dockerfile names it.
        path: String,
        /// Why.
        source: kiln_layer::MergeError,
    },
    /// The image's certificate authorities could not be read.
    #[error("could not read the image's `/{path}`")]
    ReadBundle {
        /// The file in the image.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The build has no context, but the step needs files of it.
    #[error("the build has no context to copy files from")]
    NoContext,
    /// A context could not be opened.
    #[error(transparent)]
    Context(Box<BuildError>),
    /// A source could not be fetched.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What a mount names is not there.
    #[error("could not mount `{source_path}` at `{target}`")]
    Mount {
        /// The path in the stage or context.
        source_path: String,
        /// Where it was to appear.
        target: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The first content of a cache could not be copied.
    #[error("could not fill the new cache")]
    FillCache(#[source] kiln_layer::ExportError),
    /// Programs of the stage's platform can't be run here.
    #[error(transparent)]
    Platform(#[from] kiln_exec::WhyNot),
    /// A limit that a control group can't have.
    #[error("`{name}={value}` is not a limit of a control group")]
    Resource {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A layer of an imported cache could not be had.
    #[error(transparent)]
    Cache(#[from] kiln_cache::CacheError),
    /// A layer of an imported cache could not be kept.
    #[error(transparent)]
    Layer(Box<LayerError>),
    /// A required secret was not given.
    #[error("the step needs the secret `{0}`, which the build was not given")]
    NoSecret(String),
    /// A secret that is to be a variable, but can't be one.
    #[error("the secret `{0}` can't be a variable: it is not UTF-8 text, or has a NUL byte")]
    SecretVariable(String),
    /// A required agent was not given.
    #[error("the step needs the SSH agent `{0}`, which the build was not given")]
    NoAgent(String),
    /// An agent can't be used.
    #[error("could not use the SSH agent `{id}`")]
    Agent {
        /// Its name.
        id: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The root could not be made or kept.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A base image's layers could not be had.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The result could not be recorded.
    #[error("could not record the step's result")]
    Snapshot(#[from] SnapshotError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The context can't be used.
    #[error("could not open the build context `{}`", path.display())]
    Context {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: FsError,
    },
    /// There is no Dockerfile, or it can't be read.
    #[error("could not read the Dockerfile")]
    ReadDockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// Why; names the file.
        source: FsError,
    },
    /// The Dockerfile is not UTF-8, or larger than 4 MiB.
    #[error("`{}` is not a Dockerfile: {reason}", path.display())]
    NotADockerfile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An ignore file has a pattern that can't be read.
    #[error("could not use the ignore file `{}`", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The Dockerfile has errors.
    #[error("the Dockerfile can't be built")]
    Dockerfile(Box<DockerfileErrors>),
    /// A base image can't be had.
    #[error("could not get the image `{reference}`")]
    Base {
        /// The image, as messages call it.
        reference: String,
        /// Where the Dockerfile asks for it.
        at: Option<Box<SourcePlace>>,
        /// Why.
        source: BaseError,
    },
    /// A source of `ADD` can't be had.
    #[error("could not fetch a source")]
    Source {
        /// Where the Dockerfile asks for it.
        at: Box<SourcePlace>,
        /// Why.
        source: SourceError,
    },
    /// A context or a Dockerfile could not be fetched.
    #[error("could not fetch what the build is made from")]
    Fetch(#[source] SourceError),
    /// A time that is neither a number nor a context that has one.
    #[error(
        "`SOURCE_DATE_EPOCH={0}` is neither a number of seconds nor a context that is a git \
         repository, a URL or an archive"
    )]
    Epoch(String),
    /// A build's contexts lead back to itself.
    #[error("the build `{0}` needs its own result")]
    NeedsItself(String),
    /// A step failed.
    #[error("{step}")]
    Step {
        /// The step, as progress calls it.
        step: String,
        /// Where it stands.
        at: Option<Box<SourcePlace>>,
        /// Why.
        source: StepError,
    },
    /// A layer could not be made.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The image could not be noted as unpacked.
    #[error(transparent)]
    Note(#[from] BaseError),
    /// The image could not be put together.
    #[error("could not put the image together")]
    Assemble(#[from] AssembleError),
    /// The frontend made a graph that can't be worked off; a defect.
    #[error("the build graph is not usable: {0}")]
    Graph(String),
    /// The image could not be handed over.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A cache could not be written.
    #[error("could not export the cache")]
    Cache(#[from] kiln_cache::CacheError),
    /// A configuration can't hold a cache.
    #[error("could not put the cache into the image")]
    InlineCache(#[from] kiln_cache::inline::InlineError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A root could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The user stopped the build.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A Dockerfile and what is wrong with it.
#[derive(Debug)]
pub struct DockerfileErrors {
    /// What the file is called.
    pub file: String,
    /// Its text.
    pub text: String,
    /// At least one of them is an error.
    pub diagnostics: Vec<Diagnostic>,
}

/// A place in a Dockerfile.
#[derive(Debug)]
pub struct SourcePlace {
    /// What the file is called.
    pub file: String,
    /// The file's text.
    pub text: String,
    /// What is meant of it.
    pub span: Span,
}

/// A result could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A file could not be written.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Standard output could not be written.
    #[error("could not write to standard output")]
    Stdout(#[source] io::Error),
    /// The archive could not be written.
    #[error("could not write the archive")]
    Archive(#[from] kiln_image::WriteError),
    /// The layout could not be written.
    #[error("could not write the OCI layout")]
    Layout(#[from] kiln_image::LayoutError),
    /// The image's documents can't be read.
    #[error(transparent)]
    Image(#[from] kiln_image::ImageError),
    /// Docker's media types can't say it.
    #[error(transparent)]
    Convert(#[from] kiln_image::ConvertError),
    /// The files could not be exported.
    #[error("could not export the files")]
    Export(#[from] kiln_layer::ExportError),
    /// The registry refused, or could not be reached.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// An output needs a name and there is none.
    #[error("{0} needs a name")]
    NoName(&'static str),
    /// A prefix that makes no name with a digest behind it.
    #[error("`dangling-name-prefix={0}` is not the name of a repository")]
    DanglingPrefix(String),
    /// There is no such image in the store.
    #[error("no image `{0}` in the local store")]
    NoSuchImage(String),
    /// Several images begin like this.
    #[error("more than one image has a digest that begins with `{0}`")]
    Ambiguous(String),
    /// A scan that kiln does not do.
    #[error("`{0}` can't be honoured: kiln scans the result only")]
    FurtherScan(&'static str),
    /// The root could not be scanned.
    #[error("could not make the bill of materials")]
    Scan(#[from] kiln_attest::ScanError),
    /// Provenance can't be given.
    #[error("could not make the provenance")]
    Provenance(#[from] kiln_attest::ProvenanceError),
    /// The image could not be unpacked in the store.
    #[error("could not unpack the image")]
    Unpack(#[source] Box<BaseError>),
    /// An output for one image only, of a build for several platforms.
    #[error("{0} takes one platform only: use `type=oci`, or build each platform by itself")]
    ManyPlatforms(&'static str),
    /// Docker's media types can't say it.
    #[error("Docker's media types have no {0}: use `oci-mediatypes=true`")]
    DockerWords(&'static str),
    /// An annotation for a platform that is not built.
    #[error("the annotation `{key}` is for `{platform}`, which is not built")]
    AnnotationPlatform {
        /// The annotation.
        key: String,
        /// Its platform.
        platform: kiln_oci::Platform,
    },
    /// An annotation of an index where there is none.
    #[error("the annotation `{0}` is for an index, but one platform without attestations has none")]
    AnnotationWithoutIndex(String),
    /// Two platforms have a file of the same name for one folder.
    #[error(
        "`{}` is in the results of several platforms: leave out `platform-split=false`",
        path.display()
    )]
    SamePath {
        /// The file.
        path: PathBuf,
    },
    /// A container engine did not take the image.
    #[error("`{}` did not take the image: {reason}", socket.display())]
    Load {
        /// The engine's socket.
        socket: PathBuf,
        /// What it said, or why it could not be asked.
        reason: String,
    },
    /// A root could not be mounted.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The image could not be recorded.
    #[error("could not record the image")]
    Record(#[from] kiln_store::ImageError),
    /// A document could not be stored.
    #[error("could not store the image's documents")]
    Blob(#[from] BlobError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// An archive could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive can't be read.
    #[error("could not load the archive")]
    Archive(#[from] kiln_image::ArchiveError),
    /// An image could not be recorded.
    #[error("could not record the image")]
    Record(#[from] kiln_store::ImageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A container could not be run. A process that ran and failed is no error.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The image's name can't be read.
    #[error("`{name}` is not the name of an image")]
    Name {
        /// As typed.
        name: String,
        /// Why.
        source: kiln_oci::ReferenceError,
    },
    /// The image can't be had.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The image can't be read.
    #[error(transparent)]
    Image(#[from] OutputError),
    /// A volume's path on this machine can't be used.
    #[error("could not use the volume `{}`", path.display())]
    Volume {
        /// On this machine.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The root could not be made.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The extra certificate authorities could not be provided.
    #[error(transparent)]
    Trust(#[from] StepError),
    /// The user is not known in the image.
    #[error(transparent)]
    User(#[from] kiln_tree::users::UserError),
    /// The process could not be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

/// A command as people write it.
fn shown(command: &[String]) -> String {
    match command {
        [shell, flag, script] if flag == "-c" && shell.ends_with("sh") => script.clone(),
        other => other.join(" "),
    }
}

/// An error with its causes on one line.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
