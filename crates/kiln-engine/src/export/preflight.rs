//! What can be known of the outputs before anything is built, so that nobody waits for an error.

use std::path::Path;

use kiln_oci::{Digest, Reference};
use kiln_sys::files;

use crate::error::OutputError;
use crate::request::{BuildRequest, Dest, LoadTarget, Output};

use super::packing::Packing;
use super::queues::effective_outputs;

impl BuildRequest {
    /// Refuses outputs that can't come to anything.
    pub(crate) fn check_outputs(&self) -> Result<(), OutputError> {
        for output in effective_outputs(self) {
            if let Some(packing) = Packing::of(self, &output) {
                packing.check(self)?;
            }
            output.check(self)?;
            output.check_prefix()?;
        }
        Ok(())
    }

    /// What the outputs leave out though it was asked for.
    pub(crate) fn omissions(&self) -> Option<&'static str> {
        let outputs = effective_outputs(self);
        let omits = !self.attest.is_empty() && outputs.iter().any(Output::is_for_docker);
        omits.then_some("what is made for Docker has no attestations: it can't hold them")
    }
}

impl Output {
    fn check(&self, request: &BuildRequest) -> Result<(), OutputError> {
        let several = request.platforms.len() > 1;
        match self {
            Self::Archive { .. } if several && self.is_for_docker() => {
                Err(OutputError::ManyPlatforms("a Docker archive"))
            }
            Self::Load {
                target: LoadTarget::Socket(_),
                ..
            } if several => Err(OutputError::ManyPlatforms(
                "loading into a container engine",
            )),
            Self::Push { image, .. } if super::packing::names(request, image).is_empty() => {
                Err(OutputError::NoName("pushing"))
            }
            Self::Archive { dest, .. } | Self::Tar { dest, .. } => check_file(dest),
            Self::Layout { dest, .. } | Self::Local { dest, .. } => check_directory(dest),
            Self::Store { .. } | Self::Push { .. } | Self::Load { .. } | Self::CacheOnly => Ok(()),
        }
    }
}

impl Output {
    fn check_prefix(&self) -> Result<(), OutputError> {
        let prefix = self.image_options();
        let Some(prefix) = prefix.and_then(|options| options.dangling_prefix.as_ref()) else {
            return Ok(());
        };
        let name = format!("{prefix}@{}", Digest::sha256(b""));
        match name.parse::<Reference>() {
            Ok(_) => Ok(()),
            Err(_) => Err(OutputError::DanglingPrefix(prefix.clone())),
        }
    }
}

/// Whether the file can be made, found out by making its temporary form.
fn check_file(dest: &Dest) -> Result<(), OutputError> {
    match dest {
        Dest::File(path) if !crate::output::is_special(path) => {
            probe(path.parent().unwrap_or(Path::new("")))
        }
        // A pipe is opened once only, by who writes it.
        Dest::File(_) | Dest::Stdout => Ok(()),
    }
}

/// Whether files can be made in the directory, or in the nearest one above that exists.
fn check_directory(dest: &Path) -> Result<(), OutputError> {
    match dest.ancestors().find(|path| files::exists(path)) {
        Some(existing) if !existing.is_dir() => Err(OutputError::Write {
            path: existing.to_owned(),
            cause: std::io::ErrorKind::NotADirectory.into(),
        }),
        Some(existing) => probe(existing),
        None => probe(Path::new("")),
    }
}

fn probe(directory: &Path) -> Result<(), OutputError> {
    let path = directory.join(format!(".kiln-probe-{}", std::process::id()));
    drop(files::create(&path)?);
    Ok(files::remove_file(&path)?)
}
