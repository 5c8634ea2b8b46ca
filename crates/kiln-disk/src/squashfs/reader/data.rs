//! The contents of files.

use std::sync::Arc;

use super::Reader;
use super::inode::{Kind, RawFile, wrong};
use super::tables::NO_ENTRY;
use crate::read::fields::at32;
use crate::read::{Budget, Segments, damaged};
use crate::squashfs::data::PLAIN;
use crate::{DiskSource, ReadError};

/// The sizes of so many blocks are read at a time.
const AT_ONCE: u64 = 2048;

/// Every so many blocks it is kept where they are.
const STEP: usize = 256;

/// So many blocks that files share are kept.
const FRAGMENTS: usize = 4;

/// A file that was found: where its data is, and the block of it that was read last.
#[derive(Debug)]
pub struct OpenFile {
    reference: u64,
    file: RawFile,
    /// What each of its blocks takes.
    sizes: Vec<u32>,
    /// Where each 256th begins.
    places: Vec<u64>,
    recent: Option<(u64, Vec<u8>)>,
}

impl<D: DiskSource> Reader<D> {
    /// Finds a file by the key that [`Reader::tree`] gave it.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open_file(&self, key: u64) -> Result<OpenFile, ReadError> {
        let Kind::File(file) = self.inode(key)?.kind else {
            return Err(wrong(key, "it is no file"));
        };
        let mut sizes = Vec::new();
        let mut places = Vec::new();
        let mut place = file.start;
        // As large a list as any tree may have holes.
        self.blocks(&file, &mut Budget::new(self.disk.size()), |size| {
            if sizes.len().is_multiple_of(STEP) {
                places.push(place);
            }
            place = place.saturating_add(u64::from(size & (PLAIN - 1)));
            sizes.push(size);
        })?;
        Ok(OpenFile {
            reference: key,
            file,
            sizes,
            places,
            recent: None,
        })
    }

    /// Gives what each block of a file takes, in order.
    fn blocks(
        &self,
        file: &RawFile,
        budget: &mut Budget,
        mut give: impl FnMut(u32),
    ) -> Result<(), ReadError> {
        let block_size = u64::from(self.facts.block_size);
        let mut left = if file.fragment.0 == NO_ENTRY {
            file.size.div_ceil(block_size)
        } else {
            file.size / block_size
        };
        budget.records(left)?;
        let mut cursor = file.sizes;
        while left > 0 {
            let count = left.min(AT_ONCE);
            let bytes = self.take(&mut cursor, count as usize * 4)?;
            bytes.chunks(4).for_each(|raw| give(at32(raw, 0)));
            left -= count;
        }
        Ok(())
    }

    /// The parts of a file that have data.
    pub(super) fn segments(
        &self,
        file: &RawFile,
        budget: &mut Budget,
    ) -> Result<Segments, ReadError> {
        let block_size = u64::from(self.facts.block_size);
        let mut segments = Segments::default();
        let mut at = 0_u64;
        self.blocks(file, budget, |size| {
            let end = file.size.min(at.saturating_add(block_size));
            if size != 0 {
                segments.add(&(at..end));
            }
            at = end;
        })?;
        segments.add(&(at..file.size));
        Ok(segments)
    }

    /// Reads what is at `offset`, and returns how many bytes: 0 at the end, and perhaps fewer than
    /// there is room for before it. Holes are zeros.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn read_at(
        &self,
        file: &mut OpenFile,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        let size = file.file.size;
        if offset >= size || buffer.is_empty() {
            return Ok(0);
        }
        let block_size = u64::from(self.facts.block_size);
        let (number, within) = (offset / block_size, offset % block_size);
        let there = block_size.min(size - number * block_size);
        let length = (there - within).min(buffer.len() as u64) as usize;
        let within = within as usize;
        if file.sizes.get(number as usize) == Some(&0) {
            buffer[..length].fill(0);
            return Ok(length);
        }
        if file
            .recent
            .as_ref()
            .is_none_or(|(known, _)| *known != number)
        {
            let bytes = self.block(file, number, there as usize)?;
            file.recent = Some((number, bytes));
        }
        if let Some((_, bytes)) = &file.recent {
            buffer[..length].copy_from_slice(&bytes[within..within + length]);
        }
        Ok(length)
    }

    /// A block of a file, of this length.
    fn block(&self, file: &OpenFile, number: u64, length: usize) -> Result<Vec<u8>, ReadError> {
        let short = || wrong(file.reference, "a block is not as long as it should be");
        let number = number as usize;
        let Some(&size) = file.sizes.get(number) else {
            let (fragment, offset) = file.file.fragment;
            let bytes = self.shared(fragment)?;
            let offset = offset as usize;
            let bytes = bytes.get(offset..offset.saturating_add(length));
            return Ok(bytes.ok_or_else(short)?.to_vec());
        };
        let first = number / STEP;
        let before = file.sizes[first * STEP..number].iter();
        let before: u64 = before.map(|size| u64::from(size & (PLAIN - 1))).sum();
        let place = file.places[first].saturating_add(before);
        let bytes = self.stored(place, size)?;
        if bytes.len() < length {
            return Err(short());
        }
        Ok(bytes)
    }

    /// A block that several files share, of which a few are kept.
    fn shared(&self, number: u32) -> Result<Arc<[u8]>, ReadError> {
        let mut kept = self.fragments.lock().expect("nothing panics with it");
        if let Some((_, bytes)) = kept.iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(bytes));
        }
        let fragment = self.fragment(number)?;
        let bytes: Arc<[u8]> = self.stored(fragment.start, fragment.packed)?.into();
        if kept.len() == FRAGMENTS {
            kept.remove(0);
        }
        kept.push((number, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// A block of data as the disk has it.
    fn stored(&self, place: u64, size: u32) -> Result<Vec<u8>, ReadError> {
        let length = size & (PLAIN - 1);
        if length == 0 || length > self.facts.block_size {
            let object = format!("the block at {place}");
            return Err(damaged(object, "its length is impossible"));
        }
        let raw = self.disk.read(place, length.into())?;
        if size & PLAIN != 0 {
            return Ok(raw);
        }
        self.unpack(&raw, self.facts.block_size as usize, place)
    }
}

impl OpenFile {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.file.size
    }
}
