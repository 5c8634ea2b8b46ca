//! Headers and the tables they point to.

use super::{ElfError, Kind, MAGIC, Target, bytes_at};
use crate::paths::ReadAt;

/// Programs have about a dozen segments.
const MAX_SEGMENTS: u64 = 4096;
/// Programs have a few dozen sections; only object files have thousands.
pub(crate) const MAX_SECTIONS: u64 = 16_384;

/// How numbers are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) target: Target,
}

/// The file's own header.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) format: Format,
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    pub(crate) segments_at: u64,
    pub(crate) segment_count: u64,
    pub(crate) sections_at: u64,
    pub(crate) section_count: u64,
    pub(crate) names_section: usize,
}

/// A part of the file that is loaded, or says how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) kind: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    /// In the file.
    pub(crate) size: u64,
}

/// A part of the file by its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) align: u64,
    pub(crate) entry_size: u64,
}

impl Format {
    /// Bytes of an address.
    pub(crate) fn word(self) -> u64 {
        if self.target.is_64 { 8 } else { 4 }
    }

    pub(crate) fn header_size(self) -> usize {
        if self.target.is_64 { 64 } else { 52 }
    }

    pub(crate) fn section_size(self) -> usize {
        if self.target.is_64 { 64 } else { 40 }
    }

    fn segment_size(self) -> usize {
        if self.target.is_64 { 56 } else { 32 }
    }

    /// The number of `LENGTH` bytes at `at`, which the caller knows to be there.
    fn number<const LENGTH: usize>(self, bytes: &[u8], at: usize) -> u64 {
        let bytes = bytes[at..at + LENGTH].iter();
        let join = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        if self.target.is_little {
            bytes.rev().fold(0, join)
        } else {
            bytes.fold(0, join)
        }
    }

    pub(crate) fn half(self, bytes: &[u8], at: usize) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "made of two bytes")]
        let half = self.number::<2>(bytes, at) as u16;
        half
    }

    pub(crate) fn int(self, bytes: &[u8], at: usize) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "made of four bytes")]
        let int = self.number::<4>(bytes, at) as u32;
        int
    }

    /// A number of the file's word.
    pub(crate) fn address(self, bytes: &[u8], at: usize) -> u64 {
        if self.target.is_64 {
            self.number::<8>(bytes, at)
        } else {
            self.number::<4>(bytes, at)
        }
    }

    /// Writes the lowest `length` bytes of a number.
    pub(crate) fn put(self, out: &mut Vec<u8>, number: u64, length: usize) {
        if self.target.is_little {
            out.extend_from_slice(&number.to_le_bytes()[..length]);
        } else {
            out.extend_from_slice(&number.to_be_bytes()[8 - length..]);
        }
    }

    fn put_word(self, out: &mut Vec<u8>, number: u64) {
        self.put(out, number, if self.target.is_64 { 8 } else { 4 });
    }
}

impl Header {
    /// `None` if the file is no ELF file.
    pub(crate) fn read(file: &(impl ReadAt + ?Sized)) -> Result<Option<Self>, ElfError> {
        let start = bytes_at(file, 0, file.size().min(64), "its header")?;
        if !start.starts_with(MAGIC) {
            return Ok(None);
        }
        if start.len() < 20 {
            return Err(ElfError::Cut("its header"));
        }
        let is_64 = match start[4] {
            1 => false,
            2 => true,
            _ => return Err(ElfError::Broken("it has neither 32 nor 64 bits")),
        };
        let is_little = match start[5] {
            1 => true,
            2 => false,
            _ => return Err(ElfError::Broken("its byte order is unknown")),
        };
        let mut format = Format {
            target: Target {
                is_64,
                is_little,
                machine: 0,
            },
        };
        format.target.machine = format.half(&start, 18);
        let size = format.header_size();
        let bytes = start.get(..size).ok_or(ElfError::Cut("its header"))?;
        Ok(Some(Self::parse(format, bytes.to_vec())))
    }

    fn parse(format: Format, bytes: Vec<u8>) -> Self {
        let word = if format.target.is_64 { 8 } else { 4 };
        // What follows the three addresses and the flags.
        let counts = 24 + 3 * word + 4;
        Self {
            format,
            kind: match format.half(&bytes, 16) {
                1 => Kind::Relocatable,
                2 => Kind::Executable,
                3 => Kind::Shared,
                other => Kind::Other(other),
            },
            segments_at: format.address(&bytes, 24 + word),
            sections_at: format.address(&bytes, 24 + 2 * word),
            segment_count: u64::from(format.half(&bytes, counts + 4)),
            section_count: u64::from(format.half(&bytes, counts + 8)),
            names_section: usize::from(format.half(&bytes, counts + 10)),
            bytes,
        }
    }

    /// Of the rows of the tables of segments and of sections.
    fn entry_sizes(&self) -> (usize, usize) {
        let word = if self.format.target.is_64 { 8 } else { 4 };
        let counts = 24 + 3 * word + 4;
        let half = |at: usize| usize::from(self.format.half(&self.bytes, counts + at));
        (half(2), half(6))
    }

    /// The header for another table of sections.
    pub(crate) fn with_sections(&self, at: u64, count: u16, names: u16) -> Vec<u8> {
        let word = if self.format.target.is_64 { 8 } else { 4 };
        let counts = 24 + 3 * word + 4;
        let mut out = self.bytes[..24 + 2 * word].to_vec();
        self.format.put_word(&mut out, at);
        out.extend_from_slice(&self.bytes[24 + 3 * word..counts + 8]);
        self.format.put(&mut out, u64::from(count), 2);
        self.format.put(&mut out, u64::from(names), 2);
        out
    }

    pub(crate) fn segments(&self, file: &(impl ReadAt + ?Sized)) -> Result<Vec<Segment>, ElfError> {
        if self.segment_count > MAX_SEGMENTS {
            return Err(ElfError::Broken("it has more than 4096 segments"));
        }
        let (format, size) = (self.format, self.format.segment_size());
        let is_usual = self.entry_sizes().0 == size;
        if self.segment_count > 0 && !is_usual {
            return Err(ElfError::Broken("its segments have an unknown size"));
        }
        let length = self.segment_count * size as u64;
        let table = bytes_at(file, self.segments_at, length, "its table of segments")?;
        let word = if format.target.is_64 { 8 } else { 4 };
        // The flags are second in files of 64 bits, and nearly last in those of 32.
        let first = word;
        let segments = table.chunks_exact(size).map(|bytes| Segment {
            kind: format.int(bytes, 0),
            offset: format.address(bytes, first),
            address: format.address(bytes, first + word),
            size: format.address(bytes, first + 3 * word),
        });
        Ok(segments.collect())
    }

    pub(crate) fn sections(&self, file: &(impl ReadAt + ?Sized)) -> Result<Vec<Section>, ElfError> {
        if self.section_count > MAX_SECTIONS {
            return Err(ElfError::Broken("it has more than 16384 sections"));
        }
        let size = self.format.section_size();
        if self.section_count > 0 && self.entry_sizes().1 != size {
            return Err(ElfError::Broken("its sections have an unknown size"));
        }
        let length = self.section_count * size as u64;
        let table = bytes_at(file, self.sections_at, length, "its table of sections")?;
        let sections = table.chunks_exact(size);
        Ok(sections
            .map(|bytes| Section::parse(self.format, bytes))
            .collect())
    }
}

impl Section {
    /// A section that is not there.
    pub(crate) const NULL: Self = Self {
        name: 0,
        kind: 0,
        flags: 0,
        address: 0,
        offset: 0,
        size: 0,
        link: 0,
        info: 0,
        align: 0,
        entry_size: 0,
    };

    fn parse(format: Format, bytes: &[u8]) -> Self {
        let word = if format.target.is_64 { 8 } else { 4 };
        Self {
            name: format.int(bytes, 0),
            kind: format.int(bytes, 4),
            flags: format.address(bytes, 8),
            address: format.address(bytes, 8 + word),
            offset: format.address(bytes, 8 + 2 * word),
            size: format.address(bytes, 8 + 3 * word),
            link: format.int(bytes, 8 + 4 * word),
            info: format.int(bytes, 12 + 4 * word),
            align: format.address(bytes, 16 + 4 * word),
            entry_size: format.address(bytes, 16 + 5 * word),
        }
    }

    pub(crate) fn write(&self, format: Format, out: &mut Vec<u8>) {
        format.put(out, u64::from(self.name), 4);
        format.put(out, u64::from(self.kind), 4);
        for word in [self.flags, self.address, self.offset, self.size] {
            format.put_word(out, word);
        }
        format.put(out, u64::from(self.link), 4);
        format.put(out, u64::from(self.info), 4);
        format.put_word(out, self.align);
        format.put_word(out, self.entry_size);
    }
}
