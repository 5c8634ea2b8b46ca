//! Telling a stream's compression from its first bytes.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use kiln_oci::Compression;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// A zstd stream may begin with a skippable frame, whose magic's first byte varies in its low half.
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
const LONGEST_MAGIC: usize = 4;

/// The largest window a zstd stream may ask for, as a power of two: 128 MiB, what `zstd` itself
/// accepts without being told otherwise.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A stream together with the bytes that were read ahead of it.
pub(crate) type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// What the first bytes say.
pub(crate) fn sniff(start: &[u8]) -> Compression {
    let is_skippable = start.first().is_some_and(|first| first >> 4 == 5)
        && start.get(1..4) == Some(ZSTD_SKIPPABLE);
    if start.starts_with(GZIP_MAGIC) {
        Compression::Gzip
    } else if start.starts_with(ZSTD_MAGIC) || is_skippable {
        Compression::Zstd
    } else {
        Compression::None
    }
}

/// Reads just enough to tell the compression, and gives the whole stream back.
pub(crate) fn peek<R: Read>(mut reader: R) -> io::Result<(Compression, Peeked<R>)> {
    let mut start = Vec::with_capacity(LONGEST_MAGIC);
    reader
        .by_ref()
        .take(LONGEST_MAGIC as u64)
        .read_to_end(&mut start)?;
    Ok((sniff(&start), Cursor::new(start).chain(reader)))
}

/// The uncompressed content of a stream that is gzip, zstd or neither, by its first bytes.
///
/// Concatenated gzip members and zstd frames are read to the end of the stream.
pub fn decoder<'a>(reader: impl Read + Send + 'a) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    let (compression, reader) = peek(reader)?;
    Ok(match compression {
        Compression::None => Box::new(BufReader::new(reader)),
        Compression::Gzip => {
            let decoder = flate2::bufread::MultiGzDecoder::new(BufReader::new(reader));
            Box::new(BufReader::new(decoder))
        }
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::new(reader)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(BufReader::new(decoder))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn decode(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut decoder = decoder(bytes).expect("a decoder");
        decoder.read_to_end(&mut out).expect("content");
        out
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("finished")
    }

    #[test]
    fn every_wrapping_is_seen_through() {
        assert_eq!(decode(b""), b"");
        assert_eq!(decode(b"x"), b"x");
        assert_eq!(decode(&gzip(b"one")), b"one");
        assert_eq!(decode(&[gzip(b"one"), gzip(b"two")].concat()), b"onetwo");
        let frame = zstd::encode_all(&b"three"[..], 1).expect("a frame");
        assert_eq!(decode(&frame), b"three");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9], frame.as_slice()].concat();
        assert_eq!(decode(&skippable), b"three");
    }
}
