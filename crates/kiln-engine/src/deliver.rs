//! Hands a build's result to one of its outputs.

use kiln_base::CancelToken;
use kiln_base::events::StepNumber;
use kiln_image::Image;
use kiln_layer::ExportOptions;
use kiln_oci::Reference;

use crate::Engine;
use crate::chain::Chain;
use crate::error::OutputError;
use crate::reporter::Reporter;
use crate::request::{ArchiveKind, BuildRequest, FileTimes, LoadTarget, Output};

/// A result on its way to an output.
pub(crate) struct Delivery<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) request: &'a BuildRequest,
    /// The image; there where any output needs one.
    pub(crate) image: Option<&'a Image>,
    /// The files.
    pub(crate) chain: &'a Chain,
    pub(crate) progress: (&'a Reporter<'a>, StepNumber),
    pub(crate) cancel: &'a CancelToken,
}

impl Delivery<'_> {
    pub(crate) fn deliver(&self, output: &Output) -> Result<(), OutputError> {
        let Self {
            engine,
            chain,
            cancel,
            ..
        } = *self;
        match (output, self.image) {
            (Output::Tar { dest, .. }, _) => engine.write_tar(chain, &self.export(), dest, cancel),
            (Output::Local { dest, .. }, _) => {
                engine.write_local(chain, &self.export(), dest, cancel)
            }
            // Each other output asked for the image.
            (Output::CacheOnly, _) | (_, None) => Ok(()),
            (Output::Store { .. }, Some(image)) => engine.keep(image, &self.request.tags),
            (Output::Push { image: options, .. }, Some(image)) => {
                self.push(image, self.or_tags(&options.names))
            }
            (
                Output::Archive {
                    kind,
                    image: options,
                    dest,
                },
                Some(image),
            ) => {
                let names = self.or_tags(&options.names).to_vec();
                engine.write_archive(*kind, &[(image.clone(), names)], dest)
            }
            (
                Output::Layout {
                    image: options,
                    dest,
                },
                Some(image),
            ) => engine.write_layout(image, self.or_tags(&options.names), dest),
            (
                Output::Load {
                    target: LoadTarget::Socket(socket),
                    ..
                },
                Some(image),
            ) => engine.load_into(socket, image, &self.request.tags),
        }
    }

    fn push(&self, image: &Image, names: &[Reference]) -> Result<(), OutputError> {
        if names.is_empty() {
            return Err(OutputError::NoName("pushing"));
        }
        self.engine.keep(image, &self.request.tags)?;
        names.iter().try_for_each(|name| {
            let target = image.descriptor();
            Ok(self
                .engine
                .push_image(target, name, self.progress, self.cancel)?)
        })
    }

    /// The output's own names, or else the request's.
    fn or_tags<'b>(&'b self, names: &'b [Reference]) -> &'b [Reference] {
        if names.is_empty() {
            &self.request.tags
        } else {
            names
        }
    }

    fn export(&self) -> ExportOptions {
        ExportOptions {
            clamp_mtime: match self.request.file_times {
                FileTimes::Clamp => self.request.source_date_epoch,
                FileTimes::Keep => None,
            },
        }
    }
}

impl Engine {
    /// Keeps an image in the store under its names.
    pub(crate) fn keep(&self, image: &Image, names: &[Reference]) -> Result<(), OutputError> {
        let now = self.now();
        for name in names {
            self.store.tag(name, image.descriptor(), now)?;
        }
        if names.is_empty() {
            self.store.keep_unnamed(image.descriptor(), now)?;
        }
        Ok(())
    }
}

impl Output {
    /// What progress calls it.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Store { .. } => "store the image".to_owned(),
            Self::Push { .. } => "push the image".to_owned(),
            Self::Archive {
                kind: ArchiveKind::Oci,
                ..
            } => "write an OCI archive".to_owned(),
            Self::Archive {
                kind: ArchiveKind::Docker,
                ..
            } => "write a Docker archive".to_owned(),
            Self::Layout { dest, .. } => format!("write the OCI layout {}", dest.display()),
            Self::Tar { .. } => "write the files as tar".to_owned(),
            Self::Local { dest, .. } => format!("copy the files to {}", dest.display()),
            Self::Load {
                target: LoadTarget::Socket(socket),
                ..
            } => {
                format!("load the image into {}", socket.display())
            }
            Self::CacheOnly => "keep the result in the cache".to_owned(),
        }
    }
}
