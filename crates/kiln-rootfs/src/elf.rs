//! ELF files: what a loader has to find for a program, and files without what only debuggers read.
//!
//! Everything is read at its place and within limits, so a hostile file costs little whatever its
//! tables say. Sections are looked at only to remove some; what a program needs is in its segments,
//! which is where kernels and loaders look.
//!
//! Deliberately absent: symbols, relocations, and any change of what is loaded.

mod header;
mod strip;

use std::io;

use crate::paths::ReadAt;

pub(crate) use header::{Format, Header, Segment};
pub use strip::{Skipped, Strip, strip};

/// The first bytes of every ELF file.
pub const MAGIC: &[u8; 4] = b"\x7fELF";

/// Paths and names of libraries may be this long.
const MAX_STRING: u64 = 4096;
/// Dynamic sections may be this long, in bytes.
const MAX_DYNAMIC: u64 = 1 << 20;
/// And name this many libraries.
const MAX_NEEDED: usize = 4096;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
/// `DF_1_NODEFLIB`: the default directories are not searched.
const NODEFLIB: u64 = 0x800;

/// What a file is to the kernel and to the loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// Class, byte order and machine: files that run together have the same.
    pub target: Target,
    /// What it is for.
    pub kind: Kind,
    /// The interpreter that the kernel starts in its place.
    pub interpreter: Option<Vec<u8>>,
    /// The libraries it needs: names, or paths if they have a slash.
    pub needed: Vec<Vec<u8>>,
    /// Its own name as a library.
    pub soname: Option<Vec<u8>>,
    /// `DT_RPATH`, unsplit; ignored by loaders where there is a `DT_RUNPATH`.
    pub rpath: Option<Vec<u8>>,
    /// `DT_RUNPATH`, unsplit.
    pub runpath: Option<Vec<u8>>,
    /// Whether the loader searches its default directories.
    pub default_directories: bool,
}

/// What code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Whether addresses have 64 bits.
    pub is_64: bool,
    /// Whether numbers are little-endian.
    pub is_little: bool,
    /// `e_machine`.
    pub machine: u16,
}

/// `e_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object file; also a kernel module.
    Relocatable,
    /// A program at fixed addresses.
    Executable,
    /// A library, or a program that runs anywhere.
    Shared,
    /// Anything else.
    Other(u16),
}

/// Why a file that begins as an ELF file isn't one.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It could not be read.
    #[error("could not read the file")]
    Io(#[source] io::Error),
    /// It ends before something that it must have.
    #[error("the ELF file is cut: {0} lies behind its end")]
    Cut(&'static str),
    /// Something in it can't be.
    #[error("the ELF file is broken: {0}")]
    Broken(&'static str),
}

/// Reads an ELF file; `None` if it doesn't begin as one.
pub fn read(file: &(impl ReadAt + ?Sized)) -> Result<Option<Elf>, ElfError> {
    let Some(header) = Header::read(file)? else {
        return Ok(None);
    };
    let segments = header.segments(file)?;
    let mut elf = Elf {
        target: header.format.target,
        kind: header.kind,
        interpreter: None,
        needed: Vec::new(),
        soname: None,
        rpath: None,
        runpath: None,
        default_directories: true,
    };
    if let Some(interp) = segments.iter().find(|segment| segment.kind == PT_INTERP) {
        elf.interpreter = Some(interpreter(file, interp)?);
    }
    if let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) {
        read_dynamic(file, header.format, &segments, dynamic, &mut elf)?;
    }
    Ok(Some(elf))
}

fn interpreter(file: &(impl ReadAt + ?Sized), segment: &Segment) -> Result<Vec<u8>, ElfError> {
    // Linux wants 2 bytes to PATH_MAX, the last of them zero.
    if !(2..=MAX_STRING).contains(&segment.size) {
        return Err(ElfError::Broken(
            "the interpreter's name has no usable length",
        ));
    }
    let bytes = bytes_at(file, segment.offset, segment.size, "the interpreter's name")?;
    if bytes.last() != Some(&0) {
        return Err(ElfError::Broken("the interpreter's name has no end"));
    }
    let name = until_zero(&bytes).to_vec();
    if name.is_empty() {
        return Err(ElfError::Broken("the interpreter's name is empty"));
    }
    Ok(name)
}

fn read_dynamic(
    file: &(impl ReadAt + ?Sized),
    format: Format,
    segments: &[Segment],
    dynamic: &Segment,
    elf: &mut Elf,
) -> Result<(), ElfError> {
    let word = format.word();
    let size = dynamic.size.min(MAX_DYNAMIC) / (2 * word) * (2 * word);
    let bytes = bytes_at(file, dynamic.offset, size, "the dynamic section")?;
    let step = if format.target.is_64 { 16 } else { 8 };
    let entries: Vec<(u64, u64)> = bytes
        .chunks_exact(step)
        .map(|entry| (format.address(entry, 0), format.address(entry, step / 2)))
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let value = |wanted| {
        let found = entries.iter().find(|(tag, _)| *tag == wanted);
        found.map(|(_, value)| *value)
    };
    elf.default_directories = value(DT_FLAGS_1).unwrap_or(0) & NODEFLIB == 0;
    // A static program that runs anywhere has a dynamic section and maybe no strings.
    let Some(address) = value(DT_STRTAB) else {
        return Ok(());
    };
    let (offset, loaded) = offset_of(segments, address)
        .ok_or(ElfError::Broken("the names of libraries are not loaded"))?;
    let strings = Strings {
        file,
        offset,
        size: value(DT_STRSZ).unwrap_or(u64::MAX).min(loaded),
    };
    for (tag, at) in &entries {
        match *tag {
            DT_NEEDED if elf.needed.len() >= MAX_NEEDED => {
                return Err(ElfError::Broken("more than 4096 libraries are needed"));
            }
            DT_NEEDED => elf.needed.push(strings.get(*at)?),
            DT_SONAME => elf.soname = Some(strings.get(*at)?),
            DT_RPATH => elf.rpath = Some(strings.get(*at)?),
            DT_RUNPATH => elf.runpath = Some(strings.get(*at)?),
            _ => {}
        }
    }
    Ok(())
}

/// Where in the file an address comes from, and how many bytes from there on are loaded with it.
fn offset_of(segments: &[Segment], address: u64) -> Option<(u64, u64)> {
    let mut loads = segments.iter().filter(|segment| segment.kind == PT_LOAD);
    loads.find_map(|load| {
        let within = address.checked_sub(load.address)?;
        let rest = load.size.checked_sub(within).filter(|rest| *rest > 0)?;
        Some((load.offset.checked_add(within)?, rest))
    })
}

struct Strings<'a, F: ?Sized> {
    file: &'a F,
    offset: u64,
    size: u64,
}

impl<F: ReadAt + ?Sized> Strings<'_, F> {
    fn get(&self, at: u64) -> Result<Vec<u8>, ElfError> {
        const BROKEN: ElfError = ElfError::Broken("a library's name is outside of the names");
        let left = self.size.checked_sub(at).ok_or(BROKEN)?;
        let start = self.offset.checked_add(at).ok_or(BROKEN)?;
        let in_file = self.file.size().checked_sub(start).ok_or(BROKEN)?;
        let length = left.min(in_file).min(MAX_STRING);
        let bytes = bytes_at(self.file, start, length, "a library's name")?;
        if !bytes.contains(&0) {
            return Err(ElfError::Broken("a library's name has no end"));
        }
        Ok(until_zero(&bytes).to_vec())
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A part of the file, which the caller has bounded.
fn bytes_at(
    file: &(impl ReadAt + ?Sized),
    offset: u64,
    length: u64,
    what: &'static str,
) -> Result<Vec<u8>, ElfError> {
    let end = offset.checked_add(length).ok_or(ElfError::Cut(what))?;
    if end > file.size() {
        return Err(ElfError::Cut(what));
    }
    let length = usize::try_from(length).map_err(|_| ElfError::Cut(what))?;
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, offset).map_err(ElfError::Io)?;
    Ok(bytes)
}

impl Target {
    /// Go's name of the processor, where it is one that images are made for.
    pub fn architecture(self) -> Option<&'static str> {
        Some(match (self.machine, self.is_64, self.is_little) {
            (3, false, true) => "386",
            (62, true, true) => "amd64",
            (40, false, true) => "arm",
            (183, true, true) => "arm64",
            (243, true, true) => "riscv64",
            (21, true, true) => "ppc64le",
            (21, true, false) => "ppc64",
            (22, true, false) => "s390x",
            (258, true, true) => "loong64",
            (8, true, true) => "mips64le",
            (8, true, false) => "mips64",
            (8, false, true) => "mipsle",
            (8, false, false) => "mips",
            _ => return None,
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.architecture() {
            Some(name) => f.write_str(name),
            None => write!(f, "machine {}", self.machine),
        }
    }
}

#[cfg(test)]
mod tests;
