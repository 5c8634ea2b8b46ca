//! Files with holes: GNU's old format and its three PAX formats.

use std::io::Read;

use super::fields::number;
use super::pax::{PaxRecords, decimal};
use super::{ArchiveError, Block, Kind, TarReader};
use crate::pax::BLOCK_BYTES;

/// A part of a sparse file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// More parts than this are not read; their map takes 8 MiB.
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
            put_parts(&mut map, head);
            let mut is_extended = gnu.isextended[0] != 0;
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
        put_parts(map, fields.map(|pair| pair.split_at(12)));
        if map.len() > 2 * MAX_SEGMENTS {
            return Err(bad(start));
        }
        Ok(block[21 * 24] != 0)
    }

    /// Reads the map of the format 1.0: decimal lines at the beginning of the content, the first of
    /// which is the number of segments, filled up to a block.
    fn read_map(&mut self, start: u64) -> Result<Vec<Option<u64>>, ArchiveError> {
        let mut map = Vec::new();
        let mut line = Vec::new();
        let mut left: Option<u64> = None;
        while left != Some(0) {
            let mut block = [0; BLOCK_BYTES];
            self.read_exact(&mut block)
                .map_err(|error| self.read_error(error))?;
            for byte in block {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let number = decimal(&line);
                line.clear();
                left = Some(match left {
                    None => number
                        .and_then(|count| count.checked_mul(2))
                        .ok_or(bad(start))?,
                    // What fills the last block.
                    Some(0) => 0,
                    Some(left) => {
                        map.push(number);
                        left - 1
                    }
                });
            }
            if line.len() > BLOCK_BYTES || map.len() > 2 * MAX_SEGMENTS {
                return Err(bad(start));
            }
        }
        Ok(map)
    }
}

/// Appends pairs up to the first empty one.
fn put_parts<T: AsRef<[u8]>>(map: &mut Vec<Option<u64>>, parts: impl Iterator<Item = (T, T)>) {
    for (offset, length) in parts.take_while(|(offset, _)| offset.as_ref()[0] != 0) {
        for field in [offset, length] {
            map.push(number(field.as_ref()).and_then(|value| u64::try_from(value).ok()));
        }
    }
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
