//! Undoing the compression on a thread of its own, so that it runs while files are written.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use kiln_oci::{Compression, Digester};

use super::{BlobFormat, ExpectedBlob, UnpackError};
use crate::decode::{ArchiveFormat, DecodeError, Source};

const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that may wait to be taken.
const WAITING: usize = 4;

/// Lets `work` read the decoded blob. Afterwards the blob is compared with what was promised,
/// which is why `work` has to read to the end.
pub(crate) fn with_decoded<T>(
    blob: impl Read + Send,
    format: BlobFormat,
    expected: Option<&ExpectedBlob>,
    work: impl FnOnce(&mut dyn Read) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    let (send, receive) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let decoder = scope.spawn(move || decode(blob, format, expected, &send));
        let mut chunks = Chunks {
            receive,
            current: io::Cursor::default(),
        };
        let worked = work(&mut chunks);
        // Stops the decoder if it is not done.
        drop(chunks);
        let whole = decoder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What is wrong with the blob as a whole is the reason for what came of its beginning.
        whole?;
        worked
    })
}

/// Sends the decoded blob in chunks, until it ends or nobody takes them any more.
fn decode(
    blob: impl Read,
    format: BlobFormat,
    expected: Option<&ExpectedBlob>,
    send: &SyncSender<io::Result<Vec<u8>>>,
) -> Result<(), UnpackError> {
    let mut blob = Hashed {
        source: blob,
        digester: expected.map(|expected| Digester::new(expected.digest.algorithm())),
    };
    let mut source = Source::new(&mut blob);
    let found = source.detect().map_err(DecodeError::Read)?;
    check_format(format, found)?;
    let mut decoder = source.decode(found).map_err(DecodeError::Read)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut decoder)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk);
        let is_last = read.as_ref().map_or(true, |length| *length == 0);
        let is_failed = read.is_err();
        if !chunk.is_empty() && send.send(Ok(chunk)).is_err() {
            return Ok(());
        }
        if let Err(error) = read {
            // Nobody waits any more: their error counts.
            let _ = send.send(Err(error));
        }
        if is_failed {
            return Ok(());
        }
        if is_last {
            break;
        }
    }
    drop(decoder);
    blob.check(expected)
}

fn check_format(format: BlobFormat, found: ArchiveFormat) -> Result<(), DecodeError> {
    let expected = match format {
        // A layer is never bzip2 or xz.
        BlobFormat::Detect if matches!(found, ArchiveFormat::Bzip2 | ArchiveFormat::Xz) => {
            ArchiveFormat::Plain
        }
        BlobFormat::Detect => return Ok(()),
        BlobFormat::Is(Compression::None) => ArchiveFormat::Plain,
        BlobFormat::Is(Compression::Gzip) => ArchiveFormat::Gzip,
        BlobFormat::Is(Compression::Zstd) => ArchiveFormat::Zstd,
    };
    if expected == found {
        Ok(())
    } else {
        Err(DecodeError::Unexpected { expected, found })
    }
}

/// The decoded blob at the taking end.
struct Chunks {
    receive: Receiver<io::Result<Vec<u8>>>,
    current: io::Cursor<Vec<u8>>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.receive.recv() {
                Ok(chunk) => self.current = io::Cursor::new(chunk?),
                Err(_) => return Ok(0),
            }
        }
    }
}

/// Hashes what it reads, where somebody wants to know.
struct Hashed<R> {
    source: R,
    digester: Option<Digester>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..read]);
        }
        Ok(read)
    }
}

impl<R: Read> Hashed<R> {
    fn check(mut self, expected: Option<&ExpectedBlob>) -> Result<(), UnpackError> {
        // A decoder may leave bytes behind that belong to the blob all the same.
        io::copy(&mut self, &mut io::sink()).map_err(DecodeError::Read)?;
        let (Some(expected), Some(digester)) = (expected, self.digester) else {
            return Ok(());
        };
        let size = digester.length();
        super::check_equal("size", &expected.size, &size)?;
        super::check_equal("digest", &expected.digest, &digester.finish())
    }
}
