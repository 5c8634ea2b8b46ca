//! Finding out how an archive is compressed, and undoing it.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use crate::reader::TarReader;

const READ_BYTES: usize = 128 * 1024;
/// The longest mark of a format.
const MAGIC_BYTES: usize = 6;
/// What decoding one xz stream may take: enough for level 9.
const XZ_MEMORY: u64 = 128 * 1024 * 1024;
/// The largest window a Zstandard frame may ask for, as a power of two: 128 MiB, the format's
/// recommended limit.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveFormat {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

/// Why an archive's compression could not be undone.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first bytes are those of another format.
    #[error("expected {expected} but found {found}")]
    Unexpected {
        /// What was promised.
        expected: ArchiveFormat,
        /// What the first bytes say.
        found: ArchiveFormat,
    },
    /// The source failed.
    #[error("could not read the archive")]
    Read(#[source] io::Error),
}

impl std::fmt::Display for ArchiveFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "no compression",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// What the first bytes (six suffice) say. Plain tar has no mark there, so that is `None`, too.
pub fn detect_archive(start: &[u8]) -> Option<ArchiveFormat> {
    match start {
        [0x1f, 0x8b, 8, ..] => Some(ArchiveFormat::Gzip),
        [b'B', b'Z', b'h', ..] => Some(ArchiveFormat::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(ArchiveFormat::Xz),
        // A frame, or a skippable frame before it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Some(ArchiveFormat::Zstd)
        }
        _ => None,
    }
}

/// Whether `ADD` unpacks this file: a tar archive with at least one valid header, in any of the
/// formats of [`ArchiveFormat`].
pub fn is_archive(file: impl Read) -> bool {
    let mut source = Source::new(file);
    let Ok(format) = source.detect() else {
        return false;
    };
    let Ok(decoder) = source.decode(format) else {
        return false;
    };
    matches!(TarReader::new(decoder).next_entry(), Ok(Some(_)))
}

/// What is in a compressed file, by what its first bytes say; one without a mark is as it is.
pub fn decompressed<'a>(file: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = Source::new(file);
    let format = source.detect()?;
    source.decode(format)
}

/// An archive whose beginning can be looked at before it is decoded.
pub(crate) struct Source<R> {
    start: io::Cursor<Vec<u8>>,
    rest: R,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(archive: R) -> Self {
        Self {
            start: io::Cursor::default(),
            rest: archive,
        }
    }

    /// What the first bytes say; what has no mark counts as plain tar.
    pub(crate) fn detect(&mut self) -> io::Result<ArchiveFormat> {
        let mut start = Vec::with_capacity(MAGIC_BYTES);
        let mut limited = (&mut self.rest).take(MAGIC_BYTES as u64);
        limited.read_to_end(&mut start)?;
        let format = detect_archive(&start).unwrap_or(ArchiveFormat::Plain);
        self.start = io::Cursor::new(start);
        Ok(format)
    }

    /// The bytes with the compression undone. All members or frames are read.
    pub(crate) fn decode<'a>(self, format: ArchiveFormat) -> io::Result<Box<dyn Read + 'a>>
    where
        R: 'a,
    {
        let all = BufReader::with_capacity(READ_BYTES, self.start.chain(self.rest));
        Ok(match format {
            ArchiveFormat::Plain => Box::new(all),
            ArchiveFormat::Gzip => Box::new(MultiGzDecoder::new(all)),
            ArchiveFormat::Bzip2 => Box::new(MultiBzDecoder::new(all)),
            ArchiveFormat::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
                Box::new(XzDecoder::new_stream(all, stream))
            }
            ArchiveFormat::Zstd => Box::new(zstd_decoder(all)?),
        })
    }
}

fn zstd_decoder<'a, R: BufRead + 'a>(all: R) -> io::Result<zstd::Decoder<'a, R>> {
    let mut decoder = zstd::Decoder::with_buffer(all)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}
