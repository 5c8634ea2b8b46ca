//! A program without its debug information and its table of symbols.
//!
//! All that any segment covers keeps its place and its bytes, but for the three fields of the header
//! that tell of sections. Only what follows the last segment is written anew: the sections that stay,
//! their names and their table. Sections before the last one that is loaded keep their numbers, since
//! dynamic symbols speak of them; where such a one goes, an empty row stays.
//!
//! What isn't fully understood isn't touched: bytes behind the last section (a payload that a program
//! finds by the file's end), sections that are neither loaded nor known, object files, and with them
//! kernel modules.

use super::header::{Header, Section};
use super::{ElfError, Kind, bytes_at};
use crate::paths::ReadAt;

const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_RELA: u32 = 4;
const SHT_NOTE: u32 = 7;
const SHT_NOBITS: u32 = 8;
const SHT_REL: u32 = 9;
const SHT_SYMTAB_SHNDX: u32 = 18;
const SHF_ALLOC: u64 = 2;
/// `sh_info` is a section's number.
const SHF_INFO_LINK: u64 = 0x40;

/// Tables of names may be this long.
const MAX_NAMES: u64 = 4 << 20;
/// Sections outside of segments are aligned to so many bytes at most.
const MAX_ALIGN: u64 = 4096;

/// How a file is stripped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// The header that replaces the file's first bytes.
    header: Vec<u8>,
    /// How many of the file's first bytes stay.
    keep: u64,
    /// What follows them: sections that stay, by their place in the file, and the tables.
    tail: Vec<Piece>,
    size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Zeros(u64),
    File { offset: u64, length: u64 },
    Bytes(Vec<u8>),
}

/// Why a file is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// Not a program or library.
    #[error("not a program or library")]
    NotAProgram,
    /// There is nothing to remove.
    #[error("has no debug information and no symbols")]
    Nothing,
    /// Something follows the last section, which the program may look for there.
    #[error("has data behind its last section")]
    Payload,
    /// It has a section of unknown use.
    #[error("has a section that is not known")]
    UnknownSection,
}

/// Decides how `file` is stripped, without reading what stays.
pub fn strip(file: &(impl ReadAt + ?Sized)) -> Result<Result<Strip, Skipped>, ElfError> {
    let Some(header) = Header::read(file)? else {
        return Ok(Err(Skipped::NotAProgram));
    };
    if !matches!(header.kind, Kind::Executable | Kind::Shared) {
        return Ok(Err(Skipped::NotAProgram));
    }
    if header.section_count == 0 || header.sections_at == 0 {
        return Ok(Err(Skipped::Nothing));
    }
    let sections = header.sections(file)?;
    let layout = Layout::of(file, header, sections)?;
    Ok(layout.plan())
}

impl Strip {
    /// How many bytes the stripped file has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The stripped file.
    ///
    /// # Errors
    ///
    /// If it could not be read.
    pub fn apply(&self, file: &(impl ReadAt + ?Sized)) -> Result<Vec<u8>, ElfError> {
        let mut out = bytes_at(file, 0, self.keep, "its segments")?;
        out[..self.header.len()].copy_from_slice(&self.header);
        for piece in &self.tail {
            match piece {
                Piece::Zeros(count) => {
                    let end = out.len() as u64 + count;
                    out.resize(usize::try_from(end).unwrap_or(out.len()), 0);
                }
                Piece::File { offset, length } => {
                    out.extend(bytes_at(file, *offset, *length, "a section")?);
                }
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            }
        }
        Ok(out)
    }
}

/// What a file has, and what of it goes.
struct Layout {
    header: Header,
    sections: Vec<Section>,
    names: Vec<Vec<u8>>,
    goes: Vec<bool>,
    /// Where the last segment ends.
    loaded_to: u64,
    file_size: u64,
}

impl Layout {
    fn of(
        file: &(impl ReadAt + ?Sized),
        header: Header,
        sections: Vec<Section>,
    ) -> Result<Self, ElfError> {
        let segments = header.segments(file)?;
        let tables = [
            header.format.header_size() as u64,
            header.segments_at
                + header.segment_count * if header.format.target.is_64 { 56 } else { 32 },
        ];
        let ends = segments
            .iter()
            .map(|segment| segment.offset.saturating_add(segment.size));
        let alloc = sections.iter().filter(|section| section.is_loaded());
        let ends = ends.chain(alloc.map(Section::end));
        let loaded_to = ends.chain(tables).max().unwrap_or(0);
        if loaded_to > file.size() {
            return Err(ElfError::Cut("a segment"));
        }
        let names = names(file, &header, &sections)?;
        let goes = sections
            .iter()
            .zip(&names)
            .map(|(section, name)| section.is_for_debuggers(name))
            .collect();
        let file_size = file.size();
        let mut layout = Self {
            header,
            sections,
            names,
            goes,
            loaded_to,
            file_size,
        };
        layout.remove_dependents();
        Ok(layout)
    }

    /// What is only about sections that go, goes too: names of symbols, kept relocations.
    fn remove_dependents(&mut self) {
        let mut tables = vec![false; self.sections.len()];
        for (section, goes) in self.sections.iter().zip(&self.goes) {
            if section.kind == SHT_SYMTAB && *goes {
                mark(&mut tables, section.link);
            }
        }
        for (section, goes) in self.sections.iter().zip(&self.goes) {
            if !goes && section.link != 0 {
                unmark(&mut tables, section.link);
            }
        }
        unmark_index(&mut tables, self.header.names_section);
        for (index, section) in self.sections.iter().enumerate() {
            let of_removed = usize::try_from(section.link)
                .is_ok_and(|link| self.goes.get(link).copied().unwrap_or(false));
            let is_table = matches!(section.kind, SHT_REL | SHT_RELA | SHT_SYMTAB_SHNDX);
            let is_loaded = section.flags & SHF_ALLOC != 0;
            if !is_loaded && (tables[index] || (is_table && of_removed)) {
                self.goes[index] = true;
            }
        }
    }

    fn plan(self) -> Result<Strip, Skipped> {
        if !self.goes.contains(&true) {
            return Err(Skipped::Nothing);
        }
        let ends = self.sections.iter().map(Section::end);
        let table = self.header.sections_at
            + self.sections.len() as u64 * self.header.format.section_size() as u64;
        // Some linkers fill the file up to a multiple of eight.
        let last = ends.chain([table, self.loaded_to]).max().unwrap_or(0);
        if last.saturating_add(16) < self.file_size {
            return Err(Skipped::Payload);
        }
        let known = self.sections.iter().zip(&self.names).zip(&self.goes);
        for ((section, name), goes) in known {
            let is_null = section.kind == 0;
            if !(*goes || is_null || section.flags & SHF_ALLOC != 0 || section.is_known(name)) {
                return Err(Skipped::UnknownSection);
            }
        }
        let file_size = self.file_size;
        let strip = self.build().ok_or(Skipped::UnknownSection)?;
        if strip.size >= file_size {
            return Err(Skipped::Nothing);
        }
        Ok(strip)
    }

    /// `None` if what stays needs what goes.
    fn build(self) -> Option<Strip> {
        let loaded = self
            .sections
            .iter()
            .rposition(|section| section.flags & SHF_ALLOC != 0);
        let numbered = loaded.map_or(1, |last| last + 1);
        let mut numbers = vec![None; self.sections.len()];
        let mut rows = Vec::new();
        for (index, goes) in self.goes.iter().enumerate() {
            if !goes {
                numbers[index] = Some(rows.len());
                rows.push(Some(index));
            } else if index < numbered {
                rows.push(None);
            }
        }
        let mut tail = Tail::new(self.loaded_to);
        let mut names = vec![0];
        let mut table = Vec::new();
        let mut names_row = None;
        for (row, index) in rows.iter().enumerate() {
            let Some(index) = *index else {
                table.push(Section::NULL);
                continue;
            };
            let mut section = self.sections[index];
            section.name = push_name(&mut names, &self.names[index])?;
            section.link = renumbered(&numbers, section.link, section.flags & SHF_ALLOC != 0)?;
            if section.info_is_a_section() {
                section.info = renumbered(&numbers, section.info, false)?;
            }
            if index == self.header.names_section {
                names_row = Some(row);
            } else if section.kind != SHT_NOBITS && section.end() > self.loaded_to {
                section.offset = tail.copy(&section)?;
            }
            table.push(section);
        }
        self.finish(tail, names, table, names_row?)
    }

    fn finish(
        self,
        mut tail: Tail,
        names: Vec<u8>,
        mut table: Vec<Section>,
        names_row: usize,
    ) -> Option<Strip> {
        let row = table.get_mut(names_row)?;
        row.size = names.len() as u64;
        row.offset = tail.push(names, 1)?;
        let format = self.header.format;
        let mut bytes = Vec::with_capacity(table.len() * format.section_size());
        for section in &table {
            section.write(format, &mut bytes);
        }
        let at = tail.push(bytes, 8)?;
        let count = u16::try_from(table.len()).ok()?;
        let names_row = u16::try_from(names_row).ok()?;
        Some(Strip {
            header: self.header.with_sections(at, count, names_row),
            keep: self.loaded_to,
            size: tail.end,
            tail: tail.pieces,
        })
    }
}

impl Section {
    /// Whether it has bytes that a segment may load.
    fn is_loaded(&self) -> bool {
        self.flags & SHF_ALLOC != 0 && self.kind != SHT_NOBITS
    }

    /// Where its bytes end in the file.
    fn end(&self) -> u64 {
        match self.kind {
            0 | SHT_NOBITS => 0,
            _ => self.offset.saturating_add(self.size),
        }
    }

    fn info_is_a_section(&self) -> bool {
        self.flags & SHF_INFO_LINK != 0
    }

    /// Only debuggers read it.
    fn is_for_debuggers(&self, name: &[u8]) -> bool {
        if self.flags & SHF_ALLOC != 0 {
            return false;
        }
        let begins = [
            &b".debug_"[..],
            b".zdebug_",
            b".stab",
            b".gnu.debuglto_",
            b".line",
        ];
        self.kind == SHT_SYMTAB
            || self.kind == SHT_SYMTAB_SHNDX
            || matches!(name, b".debug" | b".gdb_index" | b".debug_info")
            || begins.iter().any(|begin| name.starts_with(begin))
    }

    /// It is not loaded, and nothing finds it but by its section.
    fn is_known(&self, name: &[u8]) -> bool {
        matches!(self.kind, SHT_STRTAB | SHT_NOTE | SHT_REL | SHT_RELA)
            || [
                &b".gnu."[..],
                b".gnu_debug",
                b".note",
                b".annobin",
                b".GCC.",
            ]
            .iter()
            .any(|begin| name.starts_with(begin))
            || matches!(
                name,
                b".comment" | b".ARM.attributes" | b".riscv.attributes" | b".SUNW_signature"
            )
    }
}

/// What follows the segments, while it grows.
struct Tail {
    end: u64,
    pieces: Vec<Piece>,
}

impl Tail {
    fn new(end: u64) -> Self {
        Self {
            end,
            pieces: Vec::new(),
        }
    }

    fn align(&mut self, align: u64) -> Option<()> {
        let align = align.max(1);
        if !align.is_power_of_two() || align > MAX_ALIGN {
            return None;
        }
        let fill = self.end.next_multiple_of(align) - self.end;
        if fill > 0 {
            self.pieces.push(Piece::Zeros(fill));
            self.end += fill;
        }
        Some(())
    }

    fn copy(&mut self, section: &Section) -> Option<u64> {
        self.align(section.align)?;
        let (at, length) = (self.end, section.size);
        let offset = section.offset;
        self.pieces.push(Piece::File { offset, length });
        self.end = self.end.checked_add(length)?;
        Some(at)
    }

    fn push(&mut self, bytes: Vec<u8>, align: u64) -> Option<u64> {
        self.align(align)?;
        let at = self.end;
        self.end += bytes.len() as u64;
        self.pieces.push(Piece::Bytes(bytes));
        Some(at)
    }
}

/// The names of sections.
fn names(
    file: &(impl ReadAt + ?Sized),
    header: &Header,
    sections: &[Section],
) -> Result<Vec<Vec<u8>>, ElfError> {
    let table = sections
        .get(header.names_section)
        .filter(|table| table.kind == SHT_STRTAB && table.size <= MAX_NAMES)
        .ok_or(ElfError::Broken("its sections have no names"))?;
    let bytes = bytes_at(file, table.offset, table.size, "the names of its sections")?;
    let name = |section: &Section| {
        let start = usize::try_from(section.name).ok()?;
        let length = bytes
            .get(start..)?
            .iter()
            .take(256)
            .position(|byte| *byte == 0)?;
        Some(bytes[start..start + length].to_vec())
    };
    sections
        .iter()
        .map(|section| name(section).ok_or(ElfError::Broken("a section has no name")))
        .collect()
}

fn mark(table: &mut [bool], index: u32) {
    if let Some(flag) = usize::try_from(index)
        .ok()
        .and_then(|index| table.get_mut(index))
    {
        *flag = true;
    }
}

fn unmark(table: &mut [bool], index: u32) {
    if let Ok(index) = usize::try_from(index) {
        unmark_index(table, index);
    }
}

fn unmark_index(table: &mut [bool], index: usize) {
    if let Some(flag) = table.get_mut(index) {
        *flag = false;
    }
}

fn push_name(names: &mut Vec<u8>, name: &[u8]) -> Option<u32> {
    if name.is_empty() {
        return Some(0);
    }
    let at = u32::try_from(names.len()).ok()?;
    names.extend_from_slice(name);
    names.push(0);
    Some(at)
}

/// The new number of a section. What is loaded may do without: `strip` writes 0 there, too.
fn renumbered(numbers: &[Option<usize>], number: u32, may_go: bool) -> Option<u32> {
    if number == 0 {
        return Some(0);
    }
    match numbers.get(usize::try_from(number).ok()?)? {
        Some(new) => u32::try_from(*new).ok(),
        None => may_go.then_some(0),
    }
}
