//! Changes to blob: tar, hash, compress, hash, in one pass with flat memory.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use kiln_base::{CancelToken, Cancelled};
use kiln_oci::Digester;
use kiln_sys::fs::FsError;

use crate::changes::Changes;
use crate::options::{LayerCompression, LayerOptions, LayerSummary};
use crate::pipeline::{self, BLOCK_BYTES, BlockCodec};
use crate::stream::{self, BlockSink, TarSummary};
use crate::times::{Timed, WriteTimes};

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
    /// An extended attribute whose name a tar header can't hold.
    #[error("`{}` has the extended attribute `{}`, which a layer can't hold", path.display(), name.display())]
    XattrName {
        /// The file.
        path: PathBuf,
        /// The attribute.
        name: OsString,
    },
    /// The sink refused the bytes, or a block could not be compressed.
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
    let mut output = Output::new(sink);
    let progress = (&WriteTimes::off(), cancel);
    let tar = write_tar_blocks(changes, &mut output, options, progress)?;
    output.finish(tar)
}

/// Writes the layer's blob to a `sink` that hashes what it gets itself, as a store does: the same
/// as [`write_layer`] without the blob's own digest. `times` says where the time went.
pub fn write_hashed_layer(
    changes: &Changes,
    sink: impl Write,
    options: &LayerOptions,
    (times, cancel): (&WriteTimes, &CancelToken),
) -> Result<TarSummary, WriteError> {
    let time = &times.sink;
    let mut sink = Timed { sink, time };
    let tar = write_tar_blocks(changes, &mut sink, options, (times, cancel))?;
    sink.flush().map_err(WriteError::Sink)?;
    Ok(tar)
}

fn write_tar_blocks(
    changes: &Changes,
    output: &mut dyn Write,
    options: &LayerOptions,
    progress: (&WriteTimes, &CancelToken),
) -> Result<TarSummary, WriteError> {
    let clamp = options.clamp_mtime;
    let codec = match options.compression {
        LayerCompression::Gzip(level) => BlockCodec::Gzip(level),
        LayerCompression::Zstd(level) => BlockCodec::Zstd(level),
        LayerCompression::GzipSingle(level) => {
            let level = flate2::Compression::new(u32::from(level.get()));
            // 255 is the format's word for an unknown system, as in the other gzip layers.
            let mut gzip = flate2::GzBuilder::new()
                .mtime(0)
                .operating_system(255)
                .write(output, level);
            let tar = write_plain(changes, options, &mut gzip, progress)?;
            gzip.finish().map_err(WriteError::Sink)?;
            return Ok(tar);
        }
        LayerCompression::None => return write_plain(changes, options, output, progress),
    };
    pipeline::write_blocks(changes, clamp, codec, options.threads, output, progress)
}

/// Writes the tar stream as it comes, on the calling thread.
fn write_plain(
    changes: &Changes,
    options: &LayerOptions,
    sink: &mut dyn Write,
    progress: (&WriteTimes, &CancelToken),
) -> Result<TarSummary, WriteError> {
    let block = vec![0; BLOCK_BYTES];
    stream::write_tar(
        changes,
        options.clamp_mtime,
        block,
        &mut Plain(sink),
        progress,
    )
}

/// Takes blocks of tar as they are.
pub(crate) struct Plain<'a>(pub(crate) &'a mut dyn Write);

impl BlockSink for Plain<'_> {
    fn put(&mut self, block: Vec<u8>, filled: usize) -> Result<Vec<u8>, WriteError> {
        self.0
            .write_all(&block[..filled])
            .map_err(WriteError::Sink)?;
        Ok(block)
    }
}

/// Where the blob goes, with its digest.
pub(crate) struct Output<W> {
    sink: W,
    digester: Digester,
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.digester.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl<W: Write> Output<W> {
    pub(crate) fn new(sink: W) -> Self {
        Self {
            sink,
            digester: Digester::sha256(),
        }
    }

    pub(crate) fn finish(mut self, tar: TarSummary) -> Result<LayerSummary, WriteError> {
        self.sink.flush().map_err(WriteError::Sink)?;
        let size = self.digester.length();
        Ok(LayerSummary {
            diff_id: tar.diff_id,
            digest: self.digester.finish(),
            size,
            uncompressed_size: tar.size,
        })
    }
}
