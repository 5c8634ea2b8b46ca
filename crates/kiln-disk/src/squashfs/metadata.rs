//! Metadata: a stream of bytes in blocks of 8 KiB, each compressed, with its length in front.

use super::codec::Codecs;

/// Bytes of a block.
pub(super) const METADATA: usize = 8192;

/// Marks a block that is as it is.
pub(super) const PLAIN: u16 = 1 << 15;

/// A place in a stream: where its block begins, and where it is in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) offset: u16,
}

impl Place {
    /// As inodes refer to others.
    pub(super) fn reference(self) -> u64 {
        self.block << 16 | u64::from(self.offset)
    }
}

/// A stream while it grows.
pub(super) struct Metadata<'a> {
    codecs: &'a Codecs,
    /// Less than a block.
    pending: Vec<u8>,
    /// Blocks that nobody has taken.
    done: Vec<u8>,
    taken: u64,
    /// Where each block begins.
    starts: Option<Vec<u64>>,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(codecs: &'a Codecs) -> Self {
        Self {
            codecs,
            pending: Vec::with_capacity(2 * METADATA),
            done: Vec::new(),
            taken: 0,
            starts: None,
        }
    }

    /// Where the next byte will be.
    pub(super) fn place(&self) -> Place {
        Place {
            block: self.taken + self.done.len() as u64,
            offset: self.pending.len() as u16,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        while self.pending.len() - at >= METADATA {
            let block = self.pending[at..at + METADATA].to_vec();
            self.block(&block);
            at += METADATA;
        }
        self.pending.drain(..at);
    }

    /// Bytes of blocks that nobody has taken.
    pub(super) fn pending(&self) -> usize {
        self.done.len()
    }

    /// The blocks since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.taken += self.done.len() as u64;
        std::mem::take(&mut self.done)
    }

    /// The last blocks.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.done
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let block = std::mem::take(&mut self.pending);
            self.block(&block);
        }
    }

    fn block(&mut self, bytes: &[u8]) {
        let start = self.done.len();
        if let Some(starts) = &mut self.starts {
            starts.push(start as u64);
        }
        self.done.extend_from_slice(&[0; 2]);
        let is_packed = self.codecs.pack(bytes, &mut self.done);
        let length = (self.done.len() - start - 2) as u16;
        let length = if is_packed { length } else { length | PLAIN };
        self.done[start..start + 2].copy_from_slice(&length.to_le_bytes());
    }
}

/// A table that will begin at `start`: its blocks, and then where each of them is. Also tells where
/// the latter begins.
pub(super) fn table(codecs: &Codecs, bytes: &[u8], start: u64) -> (Vec<u8>, u64) {
    let mut stream = Metadata {
        starts: Some(Vec::new()),
        ..Metadata::new(codecs)
    };
    stream.write(bytes);
    stream.flush();
    let mut table = stream.done;
    let places = start + table.len() as u64;
    for block in stream.starts.unwrap_or_default() {
        table.extend_from_slice(&(start + block).to_le_bytes());
    }
    (table, places)
}
