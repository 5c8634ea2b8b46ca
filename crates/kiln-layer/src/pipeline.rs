//! Compressing blocks on several threads and writing them in order.
//!
//! One thread makes the tar stream, some compress its blocks, and the caller's thread writes the
//! results in the order of the blocks. A block is a gzip member or Zstandard frame of its own, so
//! the bytes don't depend on how many threads there are. As many blocks are under way as there are
//! threads, and two more: that bounds the memory.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use kiln_base::trace::Stopwatch;
use kiln_base::{CancelToken, Timestamp};
use libdeflater::{CompressionLvl, Compressor};

use crate::changes::Changes;
use crate::options::{GzipLevel, ZstdLevel};
use crate::stream::{self, BlockSink, TarSummary};
use crate::times::WriteTimes;
use crate::write::WriteError;

/// How much tar one gzip member or Zstandard frame holds.
pub(crate) const BLOCK_BYTES: usize = 1024 * 1024;

/// What turns a block into a member or frame.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BlockCodec {
    Gzip(GzipLevel),
    Zstd(ZstdLevel),
}

enum Encoder {
    Gzip(Box<Compressor>),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

type Compressed = io::Result<Vec<u8>>;

/// A block to compress, and where the result is waited for.
struct Job {
    block: Vec<u8>,
    filled: usize,
    result: SyncSender<Compressed>,
}

/// Buffers of blocks that were compressed, for the next ones.
#[derive(Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

/// The end of the pipeline that takes the tar stream's blocks.
struct Dispatch<'a> {
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<Compressed>>,
    pool: &'a Pool,
}

/// Below this much content a layer is written by the calling thread alone: starting threads would
/// cost more than they save. Most `RUN` steps leave less.
const SMALL: u64 = 256 * 1024;

/// Compresses each block where it is made.
struct Inline<'a> {
    encoder: Encoder,
    scratch: Vec<u8>,
    sink: &'a mut dyn Write,
    times: &'a WriteTimes,
}

impl BlockSink for Inline<'_> {
    fn put(&mut self, block: Vec<u8>, filled: usize) -> Result<Vec<u8>, WriteError> {
        let (encoder, scratch) = (&mut self.encoder, &mut self.scratch);
        self.times
            .compress
            .time(|| encoder.compress(&block[..filled], scratch))
            .and_then(|bytes| self.sink.write_all(&bytes))
            .map_err(WriteError::Sink)?;
        Ok(block)
    }
}

/// Writes the changes as compressed blocks to `sink`.
pub(crate) fn write_blocks(
    changes: &Changes,
    clamp_mtime: Option<Timestamp>,
    codec: BlockCodec,
    threads: NonZeroUsize,
    sink: &mut dyn Write,
    (times, cancel): (&WriteTimes, &CancelToken),
) -> Result<TarSummary, WriteError> {
    if changes.content_size() < SMALL {
        let encoder = codec.encoder().map_err(WriteError::Sink)?;
        let mut inline = Inline {
            encoder,
            scratch: Vec::new(),
            sink,
            times,
        };
        let block = vec![0; BLOCK_BYTES];
        return stream::write_tar(changes, clamp_mtime, block, &mut inline, (times, cancel));
    }
    let produce = |sink: &mut dyn BlockSink| {
        let block = vec![0; BLOCK_BYTES];
        stream::write_tar(changes, clamp_mtime, block, sink, (times, cancel))
    };
    in_parallel(produce, codec, threads, sink, times)
}

/// Compresses the blocks of a stream on several threads, and writes them in order.
pub(crate) fn in_parallel<E: From<WriteError> + Send>(
    produce: impl FnOnce(&mut dyn BlockSink) -> Result<TarSummary, E> + Send,
    codec: BlockCodec,
    threads: NonZeroUsize,
    sink: &mut dyn Write,
    times: &WriteTimes,
) -> Result<TarSummary, E> {
    let under_way = threads.get() + 1;
    let pool = Pool::default();
    let (jobs, waiting) = sync_channel::<Job>(under_way);
    let (order, results) = sync_channel(under_way);
    let waiting = Mutex::new(waiting);
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| compress_all(&waiting, &pool, codec, &times.compress));
        }
        let mut dispatch = Dispatch {
            jobs,
            order,
            pool: &pool,
        };
        let producer = scope.spawn(move || produce(&mut dispatch));
        let written = write_in_order(results, sink);
        let made = producer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A sink that failed also stops the producer, which then knows no better reason.
        written?;
        made
    })
}

impl BlockSink for Dispatch<'_> {
    fn put(&mut self, block: Vec<u8>, filled: usize) -> Result<Vec<u8>, WriteError> {
        let (result, pending) = sync_channel(1);
        let stopped = || WriteError::Sink(io::ErrorKind::BrokenPipe.into());
        // The order first: its bound is the bound of what is under way.
        self.order.send(pending).map_err(|_| stopped())?;
        let job = Job {
            block,
            filled,
            result,
        };
        self.jobs.send(job).map_err(|_| stopped())?;
        Ok(self.pool.take().unwrap_or_else(|| vec![0; BLOCK_BYTES]))
    }
}

impl Pool {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, buffer: Vec<u8>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(buffer);
    }
}

fn write_in_order(
    results: Receiver<Receiver<Compressed>>,
    sink: &mut dyn Write,
) -> Result<(), WriteError> {
    for pending in results {
        let stopped = || WriteError::Sink(io::ErrorKind::BrokenPipe.into());
        let compressed = pending.recv().map_err(|_| stopped())?;
        compressed
            .and_then(|bytes| sink.write_all(&bytes))
            .map_err(WriteError::Sink)?;
    }
    Ok(())
}

/// Compresses blocks until there are no more.
fn compress_all(waiting: &Mutex<Receiver<Job>>, pool: &Pool, codec: BlockCodec, time: &Stopwatch) {
    let mut encoder = codec.encoder();
    let mut scratch = Vec::new();
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(job) = next else {
            return;
        };
        let compressed = match &mut encoder {
            Ok(encoder) => {
                let block = &job.block[..job.filled];
                time.time(|| encoder.compress(block, &mut scratch))
            }
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        pool.give(job.block);
        // Nobody waits any more once the sink has failed.
        let _ = job.result.send(compressed);
    }
}

impl BlockCodec {
    fn encoder(self) -> io::Result<Encoder> {
        match self {
            Self::Gzip(level) => {
                let level = CompressionLvl::new(level.get().into())
                    .map_err(|error| io::Error::other(format!("{error:?}")))?;
                Ok(Encoder::Gzip(Box::new(Compressor::new(level))))
            }
            Self::Zstd(level) => {
                let compressor = zstd::bulk::Compressor::new(level.get().into())?;
                Ok(Encoder::Zstd(Box::new(compressor)))
            }
        }
    }
}

impl Encoder {
    fn compress(&mut self, block: &[u8], scratch: &mut Vec<u8>) -> Compressed {
        match self {
            // The library writes a header with no time, no name and the unknown system, 255.
            Self::Gzip(compressor) => {
                scratch.resize(compressor.gzip_compress_bound(block.len()), 0);
                let length = compressor
                    .gzip_compress(block, scratch)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                Ok(scratch[..length].to_vec())
            }
            Self::Zstd(compressor) => compressor.compress(block),
        }
    }
}
