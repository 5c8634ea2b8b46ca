//! Hands a build's result to one of its outputs.

use std::sync::Arc;

use kiln_base::CancelToken;
use kiln_base::events::StepNumber;
use kiln_image::{Image, NamedImage};
use kiln_oci::{Descriptor, Reference};

use crate::Engine;
use crate::chain::Chain;
use crate::early::{Destination, EarlyUploads};
use crate::error::{BaseError, BuildError, OutputError};
use crate::export::packing::names;
use crate::export::{Attester, Made};
use crate::plan::PlannedResult;
use crate::reporter::Reporter;
use crate::request::{ArchiveKind, BuildRequest, ImageOptions, LoadTarget, Output};
use crate::transfer::PushTo;

/// A result on its way to an output.
pub(crate) struct Delivery<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) request: &'a BuildRequest,
    /// The image as the output wants it; there where it wants one.
    pub(crate) made: Option<&'a Made>,
    /// The results, one for each platform, and their files.
    pub(crate) results: &'a [PlannedResult],
    pub(crate) chains: &'a [Chain],
    /// What can be said of them, where that is asked for.
    pub(crate) attester: Option<&'a Attester<'a, 'a>>,
    /// What was sent of it already.
    pub(crate) early: &'a EarlyUploads,
    pub(crate) progress: (&'a Reporter<'a>, StepNumber),
    pub(crate) cancel: &'a CancelToken,
}

impl Delivery<'_> {
    pub(crate) fn deliver(&self, output: &Output) -> Result<(), BuildError> {
        let made = match (output, self.made) {
            (Output::Tar { dest, split }, _) => return self.write_tar(dest, *split),
            (Output::Local { dest, split, mode }, _) => {
                return self.write_local(dest, *split, *mode);
            }
            // Each other output asked for the image.
            (Output::CacheOnly, _) | (_, None) => return Ok(()),
            (_, Some(made)) => made,
        };
        match output {
            Output::Store { image, unpack } => self.keep(made, image, *unpack)?,
            Output::Push {
                image,
                by_digest,
                insecure,
            } => self.push(made, image, (*by_digest, *insecure))?,
            Output::Archive { kind, image, dest } => {
                let named = self.named(made, image);
                self.engine
                    .write_archive(*kind, &[named], dest, self.cancel)?;
            }
            Output::Layout { image, dest } => {
                let named = self.named(made, image);
                self.engine.write_layout(named, dest, self.cancel)?;
            }
            Output::Load {
                image,
                target: LoadTarget::Socket(socket),
            } => {
                let named = self.named(made, image);
                self.engine.load_into(socket, &named, self.cancel)?;
            }
            Output::Tar { .. } | Output::Local { .. } | Output::CacheOnly => {}
        }
        Ok(())
    }

    /// The names of a result: the output's, or else the request's; one that has none may get one
    /// from its digest.
    fn names(&self, target: &Descriptor, options: &ImageOptions) -> Vec<Reference> {
        let names = names(self.request, options);
        match &options.dangling_prefix {
            Some(prefix) if names.is_empty() => {
                let text = format!("{prefix}@{}", target.digest);
                text.parse().into_iter().collect()
            }
            _ => names.to_vec(),
        }
    }

    fn named(&self, made: &Made, options: &ImageOptions) -> NamedImage {
        NamedImage {
            descriptor: made.target.clone(),
            names: self.names(&made.target, options),
        }
    }

    /// Keeps the image in the store under its names.
    fn keep(&self, made: &Made, options: &ImageOptions, unpack: bool) -> Result<(), OutputError> {
        let engine = self.engine;
        let now = engine.now();
        let mut names = self.names(&made.target, options);
        if options.name_canonical {
            let canonical = |name: &Reference| name.with_digest(made.target.digest.clone());
            let canonical: Vec<Reference> = names.iter().map(canonical).collect();
            names.extend(canonical);
        }
        for name in &names {
            engine.store.tag(name, &made.target, now)?;
        }
        if names.is_empty() {
            engine.store.keep_unnamed(&made.target, now)?;
        }
        if unpack {
            for image in &made.images {
                self.unpack(&image.image)
                    .map_err(|error| OutputError::Unpack(Box::new(error)))?;
            }
        }
        Ok(())
    }

    /// Unpacks the layers that the store has no files of.
    fn unpack(&self, image: &Image) -> Result<(), BaseError> {
        let chain = self.engine.image_chain(image)?;
        if !self.engine.is_unpacked(&chain)? {
            self.engine
                .unpack_chain(&chain, self.progress, self.cancel)?;
        }
        Ok(())
    }

    fn push(
        &self,
        made: &Made,
        options: &ImageOptions,
        (by_digest, insecure): (bool, bool),
    ) -> Result<(), OutputError> {
        let names = self.names(&made.target, options);
        if names.is_empty() {
            return Err(OutputError::NoName("pushing"));
        }
        let mut also_in = Vec::new();
        for name in &names {
            let name = if by_digest {
                name.with_digest(made.target.digest.clone())
            } else {
                name.clone()
            };
            let to = PushTo {
                registry: &self.engine.client_for(&name, insecure),
                name: &name,
                early: Some(self.early),
                also_in: &also_in,
            };
            let (progress, cancel) = (self.progress, self.cancel);
            self.engine.push_image(&made.target, to, progress, cancel)?;
            also_in.push(name);
        }
        Ok(())
    }
}

impl Engine {
    /// Where the layers of an output's image go early: the names that are known before it is made.
    pub(crate) fn destinations(
        &self,
        request: &BuildRequest,
        output: &Output,
    ) -> Vec<Arc<Destination>> {
        let Output::Push {
            image, insecure, ..
        } = output
        else {
            return Vec::new();
        };
        let destination = |name: &Reference| {
            Arc::new(Destination {
                client: self.client_for(name, *insecure),
                name: name.clone(),
            })
        };
        let mut all = Vec::new();
        for name in names(request, image) {
            destination(name).add_to(&mut all);
        }
        all
    }

    fn client_for(&self, name: &Reference, insecure: bool) -> Arc<kiln_registry::Client> {
        if insecure {
            Arc::new(self.insecure_client(name))
        } else {
            Arc::clone(&self.registry)
        }
    }

    /// A client that a registry's any certificate, or none, is enough for.
    fn insecure_client(&self, name: &Reference) -> kiln_registry::Client {
        let mut config = self.registry.config().clone();
        let host = config.hosts.entry(name.registry().to_owned());
        let host = host.or_default();
        host.plain_http = true;
        host.skip_verify = true;
        kiln_registry::Client::new(config)
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
