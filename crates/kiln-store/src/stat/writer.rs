//! Writing a table.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::FileStamp;
use super::table::{BLOCK, BlockInfo, MAGIC, RECORD, Record, VERSION, checksum};
use crate::ContextId;

/// Writes at a place of a file, and goes on from there.
pub(super) struct At<'a>(pub(super) &'a File, pub(super) u64);

/// Writes a table.
pub(super) struct TableWriter<W> {
    file: W,
    offset: u64,
    key: [u8; 32],
    blocks: Vec<BlockInfo>,
    count: usize,
    records: Vec<u8>,
    paths: Vec<u8>,
    first_path: Box<[u8]>,
}

impl<W: Write> TableWriter<W> {
    /// Begins a table at this offset of the file, to which `file` writes.
    pub(super) fn new(file: W, offset: u64, context: ContextId) -> Self {
        Self {
            file,
            offset,
            key: context.0,
            blocks: Vec::new(),
            count: 0,
            records: Vec::with_capacity(BLOCK + BLOCK / 2),
            paths: Vec::with_capacity(BLOCK / 2),
            first_path: Box::default(),
        }
    }

    /// Adds a record whose path is after all others.
    pub(super) fn push(&mut self, record: &Record<'_>) -> io::Result<()> {
        if self.records.is_empty() {
            self.first_path = record.path.into();
        }
        let start = u32::try_from(self.paths.len()).map_err(too_large)?;
        let length = u32::try_from(record.path.len()).map_err(too_large)?;
        self.records
            .extend_from_slice(&record.to_bytes(start, length));
        self.paths.extend_from_slice(record.path);
        if self.records.len() + self.paths.len() >= BLOCK {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let count = self.records.len() / RECORD;
        self.records.append(&mut self.paths);
        self.file.write_all(&self.records)?;
        self.blocks.push(BlockInfo {
            offset: self.offset,
            length: self.records.len(),
            count,
            before: self.count,
            checksum: checksum(&self.key, &self.records),
            first_path: std::mem::take(&mut self.first_path),
        });
        self.offset += self.records.len() as u64;
        self.count += count;
        self.records.clear();
        Ok(())
    }

    /// The blocks, and where the last ends: a table whose index stays in memory.
    pub(super) fn finish(mut self) -> io::Result<(Vec<BlockInfo>, u64)> {
        self.end_block()?;
        Ok((self.blocks, self.offset))
    }

    /// Writes the index: a file that can be opened.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.end_block()?;
        let mut index = Vec::new();
        for block in &self.blocks {
            index.extend_from_slice(&block.offset.to_le_bytes());
            for number in [block.length, block.count] {
                let number = u32::try_from(number).map_err(too_large)?;
                index.extend_from_slice(&number.to_le_bytes());
            }
            index.extend_from_slice(&block.checksum);
            let length = u32::try_from(block.first_path.len()).map_err(too_large)?;
            index.extend_from_slice(&length.to_le_bytes());
            index.extend_from_slice(&block.first_path);
        }
        let length = u32::try_from(index.len()).map_err(too_large)?;
        index.extend_from_slice(&self.offset.to_le_bytes());
        index.extend_from_slice(&length.to_le_bytes());
        index.extend_from_slice(&VERSION.to_le_bytes());
        index.extend_from_slice(MAGIC);
        let checksum = checksum(&self.key, &index);
        index.extend_from_slice(&checksum);
        self.file.write_all(&index)?;
        self.file.flush()
    }
}

fn too_large(_: std::num::TryFromIntError) -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

impl Write for At<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write_at(bytes, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Record<'_> {
    fn to_bytes(&self, start: u32, length: u32) -> [u8; RECORD] {
        let FileStamp {
            dev,
            ino,
            size,
            mtime,
            ctime,
        } = self.stamp;
        let mut bytes = [0; RECORD];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&start.to_le_bytes());
        put(&length.to_le_bytes());
        for number in [dev, ino, size] {
            put(&number.to_le_bytes());
        }
        for seconds in [mtime.seconds(), ctime.seconds()] {
            put(&seconds.to_le_bytes());
        }
        for number in [mtime.nanoseconds(), ctime.nanoseconds(), self.age] {
            put(&number.to_le_bytes());
        }
        put(&self.digest);
        bytes
    }
}
