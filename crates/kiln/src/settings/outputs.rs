//! From `-o`, `--push` and `--load` to outputs: which attributes a type knows, and what they come
//! to.
//!
//! An attribute that a type doesn't know, or whose value kiln can't honour, is an error. What an
//! output leaves open is decided by the settings, once for the whole build ([`Packing`]).

mod attributes;
mod image;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use kiln_engine::{ArchiveKind, Dest, FileTimes, LoadTarget, LocalMode, Output};
use kiln_layer::LayerCompression;
use kiln_oci::{Family, Reference};

use attributes::Attributes;
use image::Wish;

use crate::args::{FormatName, OutputSpec, OutputType, ParseOutputError};

use super::annotation::AnnotationError;
use super::locate::engine_sockets;
use super::{Environment, Settings};

/// Why an output can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputsError {
    #[error("could not use the output `{text}`")]
    Spec {
        text: String,
        #[source]
        cause: ParseOutputError,
    },
    #[error("the output type `{kind}` has no attribute `{name}`")]
    Unknown { kind: &'static str, name: String },
    #[error("`{name}={value}` is not possible: {reason}")]
    Value {
        name: &'static str,
        value: String,
        reason: &'static str,
    },
    #[error("the output type `{0}` needs `dest=PATH`")]
    NoDest(&'static str),
    #[error("only one output can go to standard output")]
    StdoutTwice,
    #[error("`{}` is a directory: an archive needs a file", .0.display())]
    DestIsDirectory(PathBuf),
    #[error("`{}` is not a directory", .0.display())]
    DestIsFile(PathBuf),
    #[error("files that are in `{}` would be removed, and it is not below the working directory", .0.display())]
    Delete(PathBuf),
    #[error("an image that is neither stored nor pushed goes nowhere")]
    Nowhere,
    #[error("{kind} levels are {range}, not {level}")]
    Level {
        kind: &'static str,
        range: &'static str,
        level: u8,
    },
    #[error("Docker's media types have no zstd layers")]
    ZstdInDocker,
    #[error("kiln can't write eStargz layers; every reader of those reads gzip, too")]
    Estargz,
    #[error("`{text}` is not a name for an image")]
    Name {
        text: String,
        #[source]
        cause: kiln_oci::ReferenceError,
    },
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    #[error("neither Docker nor Podman runs here: none of their sockets exists")]
    NoEngine,
    #[error("kiln can load images through Unix sockets only, but {0}")]
    RemoteEngine(String),
}

/// How layers and documents are written where an output does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) format: Family,
    pub(crate) compression: LayerCompression,
    pub(crate) file_times: FileTimes,
}

/// What the flags ask for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// `-o`.
    pub(crate) specs: &'a [String],
    /// `--push`.
    pub(crate) push: bool,
    /// `--load`.
    pub(crate) load: bool,
    /// `--rewrite-timestamp`.
    pub(crate) rewrite_timestamp: Option<bool>,
    /// Whether the build has tags.
    pub(crate) tagged: bool,
}

/// The outputs, decided.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) list: Vec<Output>,
    pub(crate) packing: Packing,
    /// What the user should know, each a line.
    pub(crate) notes: Vec<String>,
}

/// Decides the outputs of a build.
pub(crate) fn resolve(
    asked: Asked<'_>,
    settings: &Settings,
    environment: &Environment,
) -> Result<Outputs, OutputsError> {
    let base = Wish::of(settings, asked.rewrite_timestamp);
    let mut list = Vec::new();
    let mut notes = Vec::new();
    for spec in specs(asked)? {
        let mut attributes = Attributes::new(&spec);
        if asked.tagged && attributes.drop_names() {
            let kind = attributes.type_name();
            notes.push(format!(
                "`name` of the output type `{kind}` is not used: `-t` names the image"
            ));
        }
        outputs_of(&mut attributes, base, environment, &mut list)?;
        attributes.finish()?;
    }
    if list.iter().filter(|output| is_stdout(output)).count() > 1 {
        return Err(OutputsError::StdoutTwice);
    }
    Ok(Outputs {
        list,
        packing: base.packing()?,
        notes,
    })
}

/// The outputs as if each had been written out. `--push` and `--load` alone keep the image in the
/// store, too, so that it can be run or be the next build's base.
fn specs(asked: Asked<'_>) -> Result<Vec<OutputSpec>, OutputsError> {
    let mut specs = Vec::new();
    for text in asked.specs.iter().filter(|text| !text.is_empty()) {
        specs.push(text.parse().map_err(|cause| OutputsError::Spec {
            text: text.clone(),
            cause,
        })?);
    }
    if (asked.push || asked.load) && specs.is_empty() {
        specs.push(OutputSpec::bare(OutputType::Image));
    }
    if asked.push {
        let mut pushed = false;
        for spec in &mut specs {
            if matches!(spec.kind, OutputType::Image | OutputType::Registry) {
                let push = ("push".to_owned(), "true".to_owned());
                spec.attributes.extend([push]);
                pushed = true;
            }
        }
        if !pushed {
            specs.push(OutputSpec::bare(OutputType::Registry));
        }
    }
    let loads = |spec: &OutputSpec| {
        spec.kind == OutputType::Docker && !spec.attributes.contains_key("dest")
    };
    if asked.load && !specs.iter().any(loads) {
        specs.push(OutputSpec::bare(OutputType::Docker));
    }
    Ok(specs)
}

/// Whether an output goes to standard output.
pub(crate) const fn is_stdout(output: &Output) -> bool {
    matches!(
        output,
        Output::Tar {
            dest: Dest::Stdout,
            ..
        } | Output::Archive {
            dest: Dest::Stdout,
            ..
        }
    )
}

/// The engine's word for a family of media types.
pub(crate) const fn family(format: FormatName) -> Family {
    match format {
        FormatName::Oci => Family::Oci,
        FormatName::Docker => Family::Docker,
    }
}

fn outputs_of(
    attributes: &mut Attributes,
    base: Wish,
    environment: &Environment,
    list: &mut Vec<Output>,
) -> Result<(), OutputsError> {
    match attributes.kind() {
        OutputType::Oci => list.push(archive(attributes, base, ArchiveKind::Oci, environment)?),
        OutputType::Docker if !attributes.has("dest") => {
            attributes.only(
                "context",
                "default",
                "kiln loads into the engine whose socket `DOCKER_HOST` names",
            )?;
            list.push(Output::Load {
                image: attributes.image_options(base)?,
                target: load_target(environment)?,
            });
        }
        OutputType::Docker => {
            list.push(archive(attributes, base, ArchiveKind::Docker, environment)?);
        }
        OutputType::Tar => list.push(Output::Tar {
            dest: attributes.dest(environment)?.unwrap_or(Dest::Stdout),
            split: attributes.switch("platform-split")?,
        }),
        OutputType::Local => list.push(Output::Local {
            dest: attributes.directory(environment)?,
            split: attributes.switch("platform-split")?,
            mode: local_mode(attributes)?,
        }),
        OutputType::Image | OutputType::Registry => image(attributes, base, list)?,
        OutputType::CacheOnly => list.push(Output::CacheOnly),
    }
    Ok(())
}

/// `type=image` and `type=registry`: the store, a registry, or both.
fn image(
    attributes: &mut Attributes,
    base: Wish,
    list: &mut Vec<Output>,
) -> Result<(), OutputsError> {
    const NOTHING_PUSHED: &str = "nothing is pushed: add `push=true`";
    let image = attributes.image_options(base)?;
    let in_registry_only = attributes.kind() == OutputType::Registry;
    let store = attributes.switch("store")?.unwrap_or(true) && !in_registry_only;
    let push = attributes.switch("push")?.unwrap_or(in_registry_only);
    let unpack = attributes.switch("unpack")?.unwrap_or(false);
    let by_digest = attributes.switch("push-by-digest")?.unwrap_or(false);
    let insecure = attributes.switch("registry.insecure")?.unwrap_or(false);
    let wrong = |name, reason| {
        Err(OutputsError::Value {
            name,
            value: "true".to_owned(),
            reason,
        })
    };
    if in_registry_only && !push {
        return Err(OutputsError::Value {
            name: "push",
            value: "false".to_owned(),
            reason: "a registry is reached by pushing: use `type=image`",
        });
    }
    if unpack && !store {
        return wrong(
            "unpack",
            "only an image in the store is unpacked: use `type=image`",
        );
    }
    if by_digest && !push {
        return wrong("push-by-digest", NOTHING_PUSHED);
    }
    if insecure && !push {
        return wrong("registry.insecure", NOTHING_PUSHED);
    }
    if !store && !push {
        return Err(OutputsError::Nowhere);
    }
    if store {
        list.push(Output::Store {
            image: image.clone(),
            unpack,
        });
    }
    if push {
        list.push(Output::Push {
            image,
            by_digest,
            insecure,
        });
    }
    Ok(())
}

fn archive(
    attributes: &mut Attributes,
    base: Wish,
    kind: ArchiveKind,
    environment: &Environment,
) -> Result<Output, OutputsError> {
    let image = attributes.image_options(base)?;
    if attributes.switch("tar")? == Some(false) {
        let dest = attributes.directory(environment)?;
        return Ok(Output::Layout { image, dest });
    }
    let dest = attributes.dest(environment)?.unwrap_or(Dest::Stdout);
    Ok(Output::Archive { kind, image, dest })
}

fn local_mode(attributes: &mut Attributes) -> Result<LocalMode, OutputsError> {
    match attributes.take("mode").as_deref() {
        None | Some("" | "copy") => Ok(LocalMode::Copy),
        Some("delete") => Ok(LocalMode::Delete),
        Some(other) => Err(OutputsError::Value {
            name: "mode",
            value: other.to_owned(),
            reason: "expected `copy` or `delete`",
        }),
    }
}

/// Refuses to remove files outside of the working directory, unless that was allowed.
pub(crate) fn check_deletes(
    outputs: &[Output],
    environment: &Environment,
) -> Result<(), OutputsError> {
    let here = real_path(&environment.cwd);
    for output in outputs {
        if let Output::Local {
            dest,
            mode: LocalMode::Delete,
            ..
        } = output
        {
            let real = real_path(dest);
            if real == here || !real.starts_with(&here) {
                return Err(OutputsError::Delete(dest.clone()));
            }
        }
    }
    Ok(())
}

/// A path without links and `..`, as far as it exists.
pub(super) fn real_path(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = std::fs::canonicalize(ancestor) {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return rest.components().fold(real, |mut real, part| {
                match part {
                    std::path::Component::ParentDir => _ = real.pop(),
                    part => real.push(part),
                }
                real
            });
        }
    }
    path.to_owned()
}

/// A name for an image, as `-t` takes it.
pub(crate) fn parse_name(text: &str) -> Result<Reference, OutputsError> {
    text.parse().map_err(|cause| OutputsError::Name {
        text: text.to_owned(),
        cause,
    })
}

/// The socket of the Docker or Podman that runs here.
fn load_target(environment: &Environment) -> Result<LoadTarget, OutputsError> {
    let sockets = engine_sockets(environment).map_err(OutputsError::RemoteEngine)?;
    let existing = sockets
        .into_iter()
        .find(|socket| kiln_sys::files::exists(socket));
    existing
        .map(LoadTarget::Socket)
        .ok_or(OutputsError::NoEngine)
}
