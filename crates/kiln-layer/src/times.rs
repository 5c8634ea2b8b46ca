//! Where the time of writing and unpacking a layer goes: sums over all its files and blocks.

use std::io::{self, Write};

use kiln_base::trace::{Span, Stopwatch, Tracer};

/// The parts of writing a layer, which several threads do at the same time: together they may take
/// longer than the whole.
#[derive(Debug, Default)]
pub struct WriteTimes {
    /// Opening and reading files.
    pub(crate) read: Stopwatch,
    /// Hashing the tar stream.
    pub(crate) hash_tar: Stopwatch,
    /// Compressing blocks, on all threads.
    pub(crate) compress: Stopwatch,
    /// What the sink does with the blob.
    pub(crate) sink: Stopwatch,
}

impl WriteTimes {
    /// Takes no times.
    pub const fn off() -> Self {
        Self {
            read: Stopwatch::off(),
            hash_tar: Stopwatch::off(),
            compress: Stopwatch::off(),
            sink: Stopwatch::off(),
        }
    }

    /// Takes times where the tracer is on.
    pub fn of(tracer: &Tracer) -> Self {
        Self {
            read: tracer.stopwatch(),
            hash_tar: tracer.stopwatch(),
            compress: tracer.stopwatch(),
            sink: tracer.stopwatch(),
        }
    }

    /// Says in the span of the whole what the parts came to.
    pub fn note(&self, span: &mut Span) {
        span.number("reads", self.read.count());
        span.time("read", &self.read);
        span.time("hash_tar", &self.hash_tar);
        span.number("blocks", self.hash_tar.count());
        span.time("compress", &self.compress);
        span.time("store", &self.sink);
    }
}

/// The parts of unpacking a layer, done by two threads: one undoes the compression and hashes, and
/// one writes the files, which is the whole without the time that it waited for the other.
#[derive(Debug, Default)]
pub struct UnpackTimes {
    /// Reading the blob and undoing its compression.
    pub(crate) inflate: Stopwatch,
    /// Hashing the tar stream.
    pub(crate) hash_tar: Stopwatch,
    /// What the writer of files waited for the rest.
    pub(crate) starved: Stopwatch,
}

impl UnpackTimes {
    /// Takes no times.
    pub const fn off() -> Self {
        Self {
            inflate: Stopwatch::off(),
            hash_tar: Stopwatch::off(),
            starved: Stopwatch::off(),
        }
    }

    /// Takes times where the tracer is on.
    pub fn of(tracer: &Tracer) -> Self {
        Self {
            inflate: tracer.stopwatch(),
            hash_tar: tracer.stopwatch(),
            starved: tracer.stopwatch(),
        }
    }

    /// Says in the span of the whole what the parts came to.
    pub fn note(&self, span: &mut Span) {
        span.time("inflate", &self.inflate);
        span.time("hash_tar", &self.hash_tar);
        span.time("starved", &self.starved);
    }
}

/// A sink whose time is taken.
pub(crate) struct Timed<'a, W> {
    pub(crate) sink: W,
    pub(crate) time: &'a Stopwatch,
}

impl<W: Write> Write for Timed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sink = &mut self.sink;
        self.time.time(|| sink.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
