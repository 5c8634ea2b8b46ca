//! Reading a blob while it grows.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Reads a blob from its beginning while it is being downloaded or written, waiting for what is not
/// there yet. A clone goes on from where this one is.
///
/// The end of the blob is only told once its digest is known to be right, or, of one that is made
/// here, known at all. What was read before that is to be thrown away when this ends in an error.
#[derive(Debug, Clone)]
pub struct ArrivingBlob {
    file: Arc<File>,
    position: u64,
    growth: Arc<Growth>,
}

/// How far a blob is, for those who read along.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    state: Mutex<GrowthState>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct GrowthState {
    length: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All bytes are there, and are the right ones.
    Verified,
    /// There will be no more of them, or they are wrong.
    Broken,
}

impl Growth {
    pub(crate) fn reach(&self, length: u64) {
        self.state().length = length;
        self.changed.notify_all();
    }

    /// Tells how it ended; the first word counts.
    pub(crate) fn end(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Waits until there are bytes beyond `position` or there will be none; how many bytes there
    /// are then.
    fn wait_beyond(&self, position: u64) -> io::Result<u64> {
        let waited = self.changed.wait_while(self.state(), |state| {
            state.end.is_none() && state.length <= position
        });
        let state = *waited.unwrap_or_else(PoisonError::into_inner);
        match state.end {
            Some(End::Broken) => Err(io::Error::other("the blob was not completed")),
            Some(End::Verified) | None => Ok(state.length),
        }
    }

    fn state(&self) -> MutexGuard<'_, GrowthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArrivingBlob {
    /// A reader of a file that nobody else moves in: bytes are read from their places.
    pub(crate) fn new(file: File, growth: &Arc<Growth>) -> Self {
        Self {
            file: Arc::new(file),
            position: 0,
            growth: Arc::clone(growth),
        }
    }
}

impl Read for ArrivingBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = self.growth.wait_beyond(self.position)? - self.position;
        if left == 0 {
            return Ok(0);
        }
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.file.read_at(&mut buffer[..length], self.position)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}
