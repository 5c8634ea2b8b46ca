//! Changes to blob.

use std::io::{self, Write};
use std::path::PathBuf;

use kiln_base::{CancelToken, Cancelled};
use kiln_sys::fs::FsError;

use crate::changes::Changes;
use crate::options::{LayerOptions, LayerSummary};

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file of the layer could not be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file of the layer could not be read to its end.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// A file got shorter or longer after it was compared.
    #[error("`{}` changed while the layer was written", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The sink refused the bytes.
    #[error("could not write the layer")]
    Sink(#[source] io::Error),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Writes the layer's blob to `sink` in one pass; both digests are computed on the way.
pub fn write_layer(
    changes: &Changes,
    sink: impl Write,
    options: &LayerOptions,
    cancel: &CancelToken,
) -> Result<LayerSummary, WriteError> {
    let _ = (changes, sink, options, cancel);
    unimplemented!()
}
