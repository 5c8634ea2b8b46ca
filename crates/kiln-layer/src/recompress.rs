//! The same layer with another compression: the tar stream, and so the diff ID, stays as it is.

use std::io::{self, Read, Write};

use kiln_base::{CancelToken, Cancelled};
use kiln_oci::{Digest, Digester};
use kiln_sys::files::read_up_to;

use crate::decode::Source;
use crate::options::{LayerCompression, LayerOptions, LayerSummary};
use crate::pipeline::{BLOCK_BYTES, BlockCodec, in_parallel};
use crate::stream::{BlockSink, TarSummary};
use crate::times::WriteTimes;
use crate::write::{Output, Plain, WriteError};

/// Why a layer could not be compressed anew.
#[derive(Debug, thiserror::Error)]
pub enum RecompressError {
    /// The old blob can't be read, or its compression is damaged.
    #[error("could not read the layer")]
    Read(#[source] io::Error),
    /// The old blob does not hold the tar stream that its image says.
    #[error("the layer's diff id is `{found}`, but its image says `{expected}`")]
    DiffId {
        /// In the image's configuration.
        expected: Digest,
        /// Of the stream that was read.
        found: Digest,
    },
    /// The new blob could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Writes the layer in `blob`, however it is compressed, to `sink` as `options` say.
///
/// The tar stream is taken as it is, so [`LayerOptions::clamp_mtime`] does nothing. What was written
/// is worth nothing when an error is returned, also when only the diff ID was wrong.
pub fn recompress(
    blob: impl Read + Send,
    diff_id: &Digest,
    sink: impl Write,
    options: &LayerOptions,
    cancel: &CancelToken,
) -> Result<LayerSummary, RecompressError> {
    let mut source = Source::new(blob);
    let format = source.detect().map_err(RecompressError::Read)?;
    let mut output = Output::new(sink);
    let produce = |sink: &mut dyn BlockSink| {
        // Decoders can't be sent to another thread, so it is made where it is used.
        let tar = source.decode(format).map_err(RecompressError::Read)?;
        cut(tar, sink, cancel)
    };
    let tar = match options.compression {
        LayerCompression::Gzip(level) => in_parallel(
            produce,
            BlockCodec::Gzip(level),
            options.threads,
            &mut output,
            &WriteTimes::off(),
        )?,
        LayerCompression::Zstd(level) => in_parallel(
            produce,
            BlockCodec::Zstd(level),
            options.threads,
            &mut output,
            &WriteTimes::off(),
        )?,
        LayerCompression::GzipSingle(level) => {
            let level = flate2::Compression::new(u32::from(level.get()));
            let mut gzip = flate2::GzBuilder::new()
                .mtime(0)
                .operating_system(255)
                .write(&mut output, level);
            let tar = produce(&mut Plain(&mut gzip))?;
            gzip.finish().map_err(WriteError::Sink)?;
            tar
        }
        LayerCompression::None => produce(&mut Plain(&mut output))?,
    };
    if tar.diff_id != *diff_id {
        return Err(RecompressError::DiffId {
            expected: diff_id.clone(),
            found: tar.diff_id,
        });
    }
    Ok(output.finish(tar)?)
}

/// Cuts a stream into blocks, and hashes it.
fn cut(
    mut tar: impl Read,
    sink: &mut dyn BlockSink,
    cancel: &CancelToken,
) -> Result<TarSummary, RecompressError> {
    let mut digester = Digester::sha256();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        cancel.check()?;
        let filled = read_up_to(&mut tar, &mut block).map_err(RecompressError::Read)?;
        if filled == 0 {
            break;
        }
        digester.update(&block[..filled]);
        block = sink.put(block, filled)?;
        if filled < BLOCK_BYTES {
            break;
        }
    }
    Ok(TarSummary {
        size: digester.length(),
        diff_id: digester.finish(),
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::{GzipLevel, ZstdLevel};

    /// A stream of a little more than two blocks.
    fn stream() -> Vec<u8> {
        let line = |number: u32| format!("line {number}\n").into_bytes();
        let mut stream: Vec<u8> = (0..220_000).flat_map(line).collect();
        stream.truncate(2 * BLOCK_BYTES + 512);
        stream
    }

    fn write(
        blob: &[u8],
        diff_id: &Digest,
        compression: LayerCompression,
        threads: usize,
    ) -> Result<(LayerSummary, Vec<u8>), RecompressError> {
        let options = LayerOptions {
            compression,
            clamp_mtime: None,
            threads: NonZeroUsize::new(threads).unwrap(),
        };
        let mut sink = Vec::new();
        let summary = recompress(blob, diff_id, &mut sink, &options, &CancelToken::new())?;
        Ok((summary, sink))
    }

    #[test]
    fn each_compression_holds_the_same_stream() {
        let gzip = GzipLevel::DEFAULT;
        let all = [
            LayerCompression::None,
            LayerCompression::Gzip(gzip),
            LayerCompression::GzipSingle(gzip),
            LayerCompression::Zstd(ZstdLevel::DEFAULT),
        ];
        let diff_id = Digest::sha256(&stream());
        let mut blob = stream();
        for compression in all {
            let (summary, made) = write(&blob, &diff_id, compression, 3).unwrap();
            assert_eq!(summary.digest, Digest::sha256(&made));
            assert_eq!(summary.size, made.len() as u64);
            assert_eq!(summary.diff_id, diff_id);
            assert_eq!(summary.uncompressed_size, stream().len() as u64);
            let (_, alone) = write(&blob, &diff_id, compression, 1).unwrap();
            assert_eq!(alone, made);
            blob = made;
        }
        let (_, plain) = write(&blob, &diff_id, LayerCompression::None, 1).unwrap();
        assert_eq!(plain, stream());
    }

    #[test]
    fn a_stream_that_is_another_is_refused() {
        let expected = Digest::sha256(b"another");
        let error = write(&stream(), &expected, LayerCompression::None, 1).unwrap_err();
        assert!(matches!(error, RecompressError::DiffId { .. }), "{error}");
    }

    #[test]
    fn a_damaged_blob_is_refused() {
        let diff_id = Digest::sha256(&stream());
        let gzip = LayerCompression::Gzip(GzipLevel::DEFAULT);
        let (_, mut blob) = write(&stream(), &diff_id, gzip, 1).unwrap();
        blob.truncate(blob.len() / 2);
        let error = write(&blob, &diff_id, LayerCompression::None, 1).unwrap_err();
        assert!(matches!(error, RecompressError::Read(_)), "{error}");
    }
}
