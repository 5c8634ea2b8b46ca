//! Files with holes: GNU's old format and its three PAX formats.

use std::io::Read;

use super::fields::number;
use super::pax::{PaxRecords, decimal};
use super::{ArchiveError, Block, Kind, MAX_EXTENSION_BYTES, TarReader};
use crate::pax::BLOCK_BYTES;

/// A part of a sparse file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// More parts than this are not read: the longest map that fits into a header extension.
const MAX_SEGMENTS: usize = 256 * 1024;

impl<R: Read> TarReader<R> {
    /// What the file whose header was just read is; reads the map of a sparse one.
    pub(super) fn sparse_or_plain(
        &mut self,
        start: u64,
        block: &Block,
        pax: &PaxRecords,
        size: u64,
    ) -> Result<Kind, ArchiveError> {
        let header = tar::Header::from_byte_slice(block);
        let records = &pax.sparse;
        let (map, real_size) = if header.as_old().linkflag[0] == b'S' {
            let gnu = header.as_gnu().ok_or(bad(start))?;
            let real_size = number(&gnu.realsize).and_then(|size| u64::try_from(size).ok());
            let head = gnu.sparse.iter().map(|part| (&part.offset, &part.numbytes));
            let mut map = Vec::new();
            let mut is_extended = gnu.isextended[0] == 1 && put_parts(&mut map, head);
            while is_extended {
                is_extended = self.read_old_map(&mut map)?;
            }
            (map, real_size)
        } else if records.major == Some(1) && records.minor == Some(0) {
            (self.read_map(start)?, records.real_size)
        } else if let Some(map) = &records.map {
            (map.iter().copied().map(Some).collect(), records.real_size)
        } else {
            return Ok(Kind::File { size, sparse: None });
        };
        let real_size = real_size.ok_or(bad(start))?;
        let segments = segments(&map, real_size, self.remaining).ok_or(bad(start))?;
        Ok(Kind::File {
            size: real_size,
            sparse: Some(segments),
        })
    }

    /// Reads one more block of an old map; whether another follows.
    fn read_old_map(&mut self, map: &mut Vec<Option<u64>>) -> Result<bool, ArchiveError> {
        let start = self.offset;
        let mut block = [0; BLOCK_BYTES];
        if !self.read_block(&mut block)? {
            return Err(ArchiveError::Truncated { offset: start });
        }
        // 21 pairs of 12-byte fields, then the mark for one more block.
        let fields = block[..21 * 24].chunks_exact(24);
        let more = put_parts(map, fields.map(|pair| pair.split_at(12)));
        if map.len() > 2 * MAX_SEGMENTS {
            return Err(bad(start));
        }
        Ok(more && block[21 * 24] == 1)
    }

    /// Reads the map of the format 1.0: decimal lines at the beginning of the content, filled up
    /// to a block.
    fn read_map(&mut self, start: u64) -> Result<Vec<Option<u64>>, ArchiveError> {
        let mut text = Vec::new();
        let mut wanted = None;
        loop {
            let lines = text.split(|byte| *byte == b'\n').count() as u64 - 1;
            if wanted.is_none() && lines > 0 {
                let first = text.split(|byte| *byte == b'\n').next().and_then(decimal);
                wanted = Some(
                    first
                        .and_then(|count| count.checked_mul(2))
                        .ok_or(bad(start))?,
                );
            }
            if wanted.is_some_and(|wanted| lines > wanted) {
                break;
            }
            let mut block = [0; BLOCK_BYTES];
            self.read_exact(&mut block)
                .map_err(|error| self.read_error(error))?;
            text.extend_from_slice(&block);
            if text.len() as u64 > MAX_EXTENSION_BYTES {
                return Err(bad(start));
            }
        }
        let lines = text.split(|byte| *byte == b'\n').skip(1);
        let count = usize::try_from(wanted.unwrap_or(0)).map_err(|_| bad(start))?;
        Ok(lines.take(count).map(decimal).collect())
    }
}

/// Appends pairs up to the first empty one; whether there was none.
fn put_parts<T: AsRef<[u8]>>(
    map: &mut Vec<Option<u64>>,
    parts: impl Iterator<Item = (T, T)>,
) -> bool {
    for (offset, length) in parts {
        if offset.as_ref()[0] == 0 || length.as_ref()[0] == 0 {
            return false;
        }
        for field in [offset, length] {
            map.push(number(field.as_ref()).and_then(|value| u64::try_from(value).ok()));
        }
    }
    true
}

/// The map as segments that ascend, lie inside the file and together have `stored` bytes.
fn segments(map: &[Option<u64>], real_size: u64, stored: u64) -> Option<Vec<Segment>> {
    if !map.len().is_multiple_of(2)
        || map.len() > 2 * MAX_SEGMENTS
        || i64::try_from(real_size).is_err()
    {
        return None;
    }
    let (mut end, mut total) = (0_u64, 0_u64);
    let mut segments = Vec::new();
    for pair in map.chunks_exact(2) {
        let segment = Segment {
            offset: pair[0]?,
            length: pair[1]?,
        };
        if segment.offset < end {
            return None;
        }
        end = segment.offset.checked_add(segment.length)?;
        total = total.checked_add(segment.length)?;
        segments.push(segment);
    }
    (end <= real_size && total == stored).then_some(segments)
}

fn bad(offset: u64) -> ArchiveError {
    ArchiveError::Header {
        offset,
        reason: "a bad map of a sparse file",
    }
}
