//! Copies whose files no later step reads: only their blob is kept.
//!
//! The last `COPY` of an image is usually its largest layer, and all that is wanted of it is the
//! blob. So its files are made without their contents, compared with what is below them as any
//! layer is, and packed from where they were copied from: what is read once is written once, in its
//! compressed form. The layer is the same, byte for byte.
//!
//! Should a later build put a step on top, or somebody want to run the image, the files are unpacked
//! from the blob. Their times are whole seconds then, as in every layer that was pulled.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_base::CancelToken;
use kiln_graph::{Graph, Op};
use kiln_layer::{Elsewhere, UnpackTimes};
use kiln_store::{LayerRecord, SnapshotId};
use kiln_sys::fs::Dir;
use kiln_tree::{CopyError, Sources};

use crate::Engine;
use crate::copy::Selected;
use crate::error::{LayerError, RootError, StepError};
use crate::layers::LayerFormat;
use crate::plan::PlannedBuild;
use crate::request::Output;

/// Which steps' files are read by other steps or by outputs, by number.
pub(crate) fn read_steps(graph: &Graph, builds: &[PlannedBuild<'_>]) -> Vec<bool> {
    let mut read = vec![false; graph.steps().len()];
    for build in builds {
        let reads = |output: &Output| match output {
            Output::Store { unpack, .. } => *unpack,
            Output::Tar { .. } | Output::Local { .. } => true,
            Output::Push { .. }
            | Output::Archive { .. }
            | Output::Layout { .. }
            | Output::Load { .. }
            | Output::CacheOnly => false,
        };
        if build.request.outputs.iter().any(reads) || build.request.attest.sbom.is_some() {
            for result in &build.results {
                read[result.target.as_usize()] = true;
            }
        }
    }
    // Inputs have lower numbers than what they are inputs of.
    for (index, step) in graph.steps().iter().enumerate().rev() {
        // A merge only names layers.
        let reads = !matches!(step.op, Op::Merge) || read[index];
        for input in &step.inputs {
            read[input.as_usize()] |= reads;
        }
    }
    read
}

/// The files that a copy left where they are, for whoever packs it.
#[derive(Debug)]
pub(crate) struct LeftContents {
    pub(crate) selected: Arc<Selected>,
    pub(crate) sources: Sources,
}

impl Elsewhere for LeftContents {
    fn open(&self, path: &Path) -> io::Result<Option<File>> {
        let opened = self.sources.open(self.selected.selection(), path);
        opened.map_err(io::Error::other)
    }

    fn check(&self, path: &Path, file: &File) -> io::Result<()> {
        let checked = self.sources.check(self.selected.selection(), path, file);
        checked.map_err(io::Error::other)
    }
}

/// The error of a copy that was packed at once, as the copy would have told it.
pub(crate) fn step_error(error: LayerError) -> StepError {
    let cause = match error {
        LayerError::Cancelled(cancelled)
        | LayerError::Diff(kiln_layer::DiffError::Cancelled(cancelled))
        | LayerError::Write(kiln_layer::WriteError::Cancelled(cancelled)) => {
            return cancelled.into();
        }
        LayerError::Diff(kiln_layer::DiffError::Read { path, cause }) => {
            match cause.downcast::<CopyError>() {
                Ok(error) => return error.into(),
                Err(cause) => LayerError::Diff(kiln_layer::DiffError::Read { path, cause }),
            }
        }
        LayerError::Write(kiln_layer::WriteError::Read { path, cause }) => {
            match cause.downcast::<CopyError>() {
                Ok(error) => return error.into(),
                Err(cause) => LayerError::Write(kiln_layer::WriteError::Read { path, cause }),
            }
        }
        error => error,
    };
    StepError::Layer(Box::new(cause))
}

/// Where a layer's files are.
pub(crate) enum Place {
    /// In this directory.
    Files(PathBuf),
    /// In a blob that the store has.
    Blob,
    /// Nowhere.
    Nowhere,
}

/// Snapshots that were found to be packed, and whose blobs are in use from then on.
pub(crate) type KnownPacked = HashSet<SnapshotId>;

impl Engine {
    /// The layer that a packed snapshot's files can be unpacked from.
    pub(crate) fn packed_layer(&self, id: &SnapshotId) -> Result<Option<LayerRecord>, RootError> {
        let mut layers = self.store.layers_of(id)?;
        // Any will do, but one whose times were cut says less.
        let best = layers
            .iter()
            .position(|(options, _)| LayerFormat::is_unclamped(options));
        Ok((!layers.is_empty()).then(|| layers.swap_remove(best.unwrap_or(0)).1))
    }

    /// The directory of a layer; unpacks it first if there is only its blob.
    pub(crate) fn filled_layer(
        &self,
        id: &SnapshotId,
        cancel: &CancelToken,
    ) -> Result<PathBuf, RootError> {
        loop {
            match self.find_layer(id)? {
                Place::Files(path) => return Ok(path),
                Place::Nowhere => return Err(RootError::LayerGone(id.clone())),
                Place::Blob => {}
            }
            let _lock = self.store.lock_snapshot(id, cancel)?;
            if matches!(self.find_layer(id)?, Place::Blob) {
                self.tracer
                    .within("unpack a copy", || self.fill(id, cancel))?;
            }
        }
    }

    /// The same, open, with the owners that kiln holds its files to have.
    pub(crate) fn filled_dir(
        &self,
        id: &SnapshotId,
        cancel: &CancelToken,
    ) -> Result<Dir, RootError> {
        let path = self.filled_layer(id, cancel)?;
        Ok(self.machine.tree(Dir::open(path)?))
    }

    fn fill(&self, id: &SnapshotId, cancel: &CancelToken) -> Result<(), RootError> {
        let gone = || RootError::LayerGone(id.clone());
        let layer = self.packed_layer(id)?.ok_or_else(gone)?;
        let snapshot = self.store.snapshot(id)?.ok_or_else(gone)?;
        let mut below = match &snapshot.parent {
            Some(parent) => self.store.snapshot_chain(parent)?,
            None => Vec::new(),
        };
        below.reverse();
        let below = below.into_iter().map(|snapshot| snapshot.id).collect();
        let lowers = self.lower_dirs_of(below, cancel)?;
        let digest = &layer.descriptor.digest;
        let blob = self.store.open_blob(digest)?;
        let blob = blob.ok_or_else(|| RootError::BlobGone(digest.clone()))?;
        let unpacked = self.unpack_blob(
            Box::new(blob),
            (&layer.descriptor, &layer.diff_id),
            (&UnpackTimes::of(&self.tracer), cancel),
        )?;
        let into = self.machine.tree(Dir::open(unpacked.snapshot.upper())?);
        self.resolve(&unpacked, &into, &lowers)?;
        Ok(unpacked.snapshot.fill(id)?)
    }
}
