//! Compressors, made once for each thread that needs one at a time.

use std::sync::{Mutex, PoisonError};

use super::Compression;

/// Compressors that are free.
pub(super) struct Codecs {
    compression: Compression,
    free: Mutex<Vec<Codec>>,
}

enum Codec {
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Codecs {
    pub(super) fn new(compression: Compression) -> Self {
        Self {
            compression,
            free: Mutex::new(Vec::new()),
        }
    }

    /// Appends the bytes to `out`, compressed if that is shorter, and tells whether it was.
    pub(super) fn pack(&self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let codec = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut codec = codec.unwrap_or_else(|| Codec::new(self.compression));
        let before = out.len();
        out.resize(before + bytes.len().saturating_sub(1), 0);
        let packed = codec.pack(bytes, &mut out[before..]);
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(codec);
        match packed {
            Some(length) => out.truncate(before + length),
            None => {
                out.truncate(before);
                out.extend_from_slice(bytes);
            }
        }
        packed.is_some()
    }
}

impl Codec {
    fn new(compression: Compression) -> Self {
        match compression {
            Compression::Gzip(level) => {
                let level = libdeflater::CompressionLvl::new(i32::from(level));
                Self::Gzip(libdeflater::Compressor::new(level.unwrap_or_default()))
            }
            Compression::Zstd(level) => {
                Self::Zstd(zstd::bulk::Compressor::new(i32::from(level)).unwrap_or_default())
            }
        }
    }

    /// How many bytes it has become; none if they don't fit.
    fn pack(&mut self, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Gzip(codec) => codec.zlib_compress(bytes, out).ok(),
            Self::Zstd(codec) => codec.compress_to_buffer(bytes, out).ok(),
        }
    }
}
