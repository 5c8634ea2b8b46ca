//! Undoing the compression on a thread of its own, so that it runs while files are written. The
//! same thread hashes: on two cores that is about as much work as writing files is.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use kiln_base::trace::Stopwatch;
use kiln_oci::{Compression, Digester};

use super::{BlobFormat, ExpectedBlob, UnpackError};
use crate::decode::{ArchiveFormat, DecodeError, Source};
use crate::times::UnpackTimes;

const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that may wait to be taken.
const WAITING: usize = 4;

/// What is known of a blob, and what is to be known of what is in it.
pub(crate) struct Decoding<'a> {
    pub(crate) format: BlobFormat,
    pub(crate) expected: Option<&'a ExpectedBlob>,
    /// Takes the decoded bytes.
    pub(crate) digester: Option<Digester>,
    pub(crate) times: &'a UnpackTimes,
}

/// Lets `work` read the decoded blob. Afterwards the blob is compared with what was promised,
/// which is why `work` has to read to the end. Also gives the digester back.
pub(crate) fn with_decoded<T>(
    blob: impl Read + Send,
    decoding: Decoding<'_>,
    work: impl FnOnce(&mut dyn BufRead) -> Result<T, UnpackError>,
) -> Result<(T, Option<Digester>), UnpackError> {
    let (send, receive) = sync_channel(WAITING);
    let (give_back, used) = channel();
    let times = decoding.times;
    std::thread::scope(|scope| {
        let decoder = scope.spawn(move || decode(blob, decoding, &send, &used));
        let mut chunks = Chunks {
            receive,
            give_back,
            current: Vec::new(),
            position: 0,
            starved: &times.starved,
        };
        let worked = work(&mut chunks);
        // Stops the decoder if it is not done.
        drop(chunks);
        let whole = decoder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What is wrong with the blob as a whole is the reason for what came of its beginning.
        let digester = whole?;
        Ok((worked?, digester))
    })
}

/// Sends the decoded blob in chunks, until it ends or nobody takes them any more.
fn decode(
    blob: impl Read,
    mut decoding: Decoding<'_>,
    send: &SyncSender<io::Result<Vec<u8>>>,
    used: &Receiver<Vec<u8>>,
) -> Result<Option<Digester>, UnpackError> {
    let expected = decoding.expected;
    let mut blob = Hashed {
        source: blob,
        digester: expected.map(|expected| Digester::new(expected.digest.algorithm())),
    };
    let mut source = Source::new(&mut blob);
    let found = source.detect().map_err(DecodeError::Read)?;
    check_format(decoding.format, found)?;
    let mut decoder = source.decode(found).map_err(DecodeError::Read)?;
    loop {
        let mut chunk = used.try_recv().unwrap_or_default();
        chunk.resize(CHUNK_BYTES, 0);
        let (filled, ended) = (decoding.times.inflate).time(|| fill(&mut decoder, &mut chunk));
        chunk.truncate(filled);
        if let Some(digester) = &mut decoding.digester {
            decoding.times.hash_tar.time(|| digester.update(&chunk));
        }
        if filled > 0 && send.send(Ok(chunk)).is_err() {
            return Ok(decoding.digester);
        }
        match ended {
            None => {}
            Some(Ok(())) => break,
            Some(Err(error)) => {
                // Nobody waits any more: their error counts.
                let _ = send.send(Err(error));
                return Ok(decoding.digester);
            }
        }
    }
    drop(decoder);
    blob.check(expected)?;
    Ok(decoding.digester)
}

/// Fills the buffer; how far, and how the source ended if it did.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Result<()>>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => return (filled, Some(Ok(()))),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(Err(error))),
        }
    }
    (filled, None)
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
struct Chunks<'a> {
    receive: Receiver<io::Result<Vec<u8>>>,
    /// Takes chunks that were read: a new one costs more than its content.
    give_back: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    starved: &'a Stopwatch,
}

impl BufRead for Chunks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len() {
            let Ok(chunk) = self.starved.time(|| self.receive.recv()) else {
                return Ok(&[]);
            };
            let read = std::mem::replace(&mut self.current, chunk?);
            self.position = 0;
            // At the end nobody takes them.
            let _ = self.give_back.send(read);
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut there = self.fill_buf()?;
        let count = there.read(buffer)?;
        self.consume(count);
        Ok(count)
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
