//! What programs say of themselves: Go's list of modules, and that of `cargo auditable`.
//!
//! Only the two sections are read, never the whole program, and no offset or length in it decides
//! an allocation without a limit.

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde::Deserialize;

use crate::inventory::{Ecosystem, Package};
use crate::purl::PackageUrl;

use super::source::Bytes;
use super::text::bounded;

/// The largest section that is read, in bytes.
const MAX_SECTION: u64 = 16 << 20;
/// The longest list of modules, unpacked, in bytes.
const MAX_LIST: u64 = 16 << 20;
const GO_MAGIC: &[u8] = b"\xff Go buildinf:";
/// Where the inline strings of Go's section begin.
const GO_STRINGS: usize = 32;
/// Go frames its list by 16 bytes on both sides.
const GO_FRAME: usize = 16;

/// The packages that the program says it is made of.
pub(super) fn read(file: &impl Bytes) -> Result<Vec<Package>, String> {
    let sections = Elf::open(file)?.sections()?;
    // The first of its name: a thousand sections may name the same bytes.
    let content = |name: &str| {
        let section = sections.iter().find(|section| section.name == name);
        section.map(|section| section.read(file)).transpose()
    };
    let mut packages = Vec::new();
    if let Some(section) = content(".go.buildinfo")? {
        packages.extend(go(&section)?);
    }
    if let Some(section) = content(".dep-v0")? {
        packages.extend(cargo(&section)?);
    }
    Ok(packages)
}

/// The head of an ELF file: <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>.
struct Elf<'a, F> {
    file: &'a F,
    wide: bool,
    big_endian: bool,
    table: u64,
    entry_size: usize,
    entries: usize,
    names: usize,
}

struct Section {
    name: String,
    offset: u64,
    size: u64,
}

impl<'a, F: Bytes> Elf<'a, F> {
    fn open(file: &'a F) -> Result<Self, String> {
        let mut head = [0; 64];
        at(file, &mut head, 0)?;
        let (wide, big_endian) = (head[4] == 2, head[5] == 2);
        let mut elf = Self {
            file,
            wide,
            big_endian,
            table: 0,
            entry_size: 0,
            entries: 0,
            names: 0,
        };
        let (table, rest) = if wide { (40, 58) } else { (32, 46) };
        elf.table = elf.word(&head, table);
        let half = |offset: usize| usize::try_from(elf.number(&head, offset, 2)).unwrap_or(0);
        (elf.entry_size, elf.entries, elf.names) = (half(rest), half(rest + 2), half(rest + 4));
        Ok(elf)
    }

    /// The sections that have content in the file.
    fn sections(&self) -> Result<Vec<Section>, String> {
        let least = if self.wide { 64 } else { 40 };
        if self.entries == 0 || self.entry_size < least || self.names >= self.entries {
            return Ok(Vec::new());
        }
        // Both numbers have 16 bits: the table is smaller than 4 GiB only in theory.
        let size = (self.entries * self.entry_size) as u64;
        if size > MAX_SECTION {
            return Err("has too large a table of sections".to_owned());
        }
        let mut table = vec![0; self.entries * self.entry_size];
        at(self.file, &mut table, self.table)?;
        let rows: Vec<&[u8]> = table.chunks_exact(self.entry_size).collect();
        let names = self
            .section(rows[self.names], String::new())
            .read(self.file)?;
        let sections = rows.iter().map(|row| {
            let start = usize::try_from(self.number(row, 0, 4)).unwrap_or(usize::MAX);
            let name = names.get(start..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let name = name.get(..name.len().min(64)).unwrap_or_default();
            self.section(row, String::from_utf8_lossy(name).into_owned())
        });
        Ok(sections.collect())
    }

    fn section(&self, row: &[u8], name: String) -> Section {
        let (offset, size) = if self.wide { (24, 32) } else { (16, 20) };
        Section {
            name,
            offset: self.word(row, offset),
            size: self.word(row, size),
        }
    }

    fn word(&self, bytes: &[u8], offset: usize) -> u64 {
        self.number(bytes, offset, if self.wide { 8 } else { 4 })
    }

    fn number(&self, bytes: &[u8], offset: usize, length: usize) -> u64 {
        let bytes = bytes.get(offset..offset + length).unwrap_or_default();
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, fold)
        } else {
            bytes.iter().rev().fold(0, fold)
        }
    }
}

impl Section {
    fn read(&self, file: &impl Bytes) -> Result<Vec<u8>, String> {
        if self.size > MAX_SECTION {
            return Err(format!("has a section `{}` that is too large", self.name));
        }
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(0)];
        at(file, &mut bytes, self.offset)?;
        Ok(bytes)
    }
}

fn at(file: &impl Bytes, bytes: &mut [u8], offset: u64) -> Result<(), String> {
    file.read_exact_at(bytes, offset)
        .map_err(|error| format!("is not a whole program: {error}"))
}

/// The modules of a program made by Go: <https://pkg.go.dev/debug/buildinfo>.
pub(super) fn go(section: &[u8]) -> Result<Vec<Package>, String> {
    if !section.starts_with(GO_MAGIC) {
        return Err("has a section for Go's list of modules, but no list".to_owned());
    }
    let flags = section.get(15).copied().unwrap_or(0);
    if flags & 2 == 0 {
        return Err("was made by Go before 1.18, whose list of modules is not read".to_owned());
    }
    let rest = section.get(GO_STRINGS..).unwrap_or_default();
    let (version, rest) = go_string(rest).ok_or("has a damaged list of Go modules")?;
    let (list, _) = go_string(rest).ok_or("has a damaged list of Go modules")?;
    let list = list
        .get(GO_FRAME..list.len().saturating_sub(GO_FRAME))
        .unwrap_or_default();
    let mut packages = Vec::new();
    let version = String::from_utf8_lossy(version);
    if let Some(version) = version.strip_prefix("go") {
        let version = version.split(' ').next().unwrap_or_default();
        packages.push(module("stdlib", version));
    }
    packages.extend(go_modules(&String::from_utf8_lossy(list)));
    Ok(packages)
}

/// A string after its length as a varint, and what follows it.
fn go_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes.get(index + 1..)?.split_at_checked(length);
        }
    }
    None
}

/// The lines `mod`, `dep` and `=>` of a list of modules.
fn go_modules(list: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    for line in list.lines() {
        let mut parts = line.split('\t');
        let (word, path, version) = (parts.next(), parts.next(), parts.next());
        let (Some(path), version) = (path, version.unwrap_or_default()) else {
            continue;
        };
        match word {
            Some("mod" | "dep") => packages.push(module(path, version)),
            // The module above was replaced by this one.
            Some("=>") => {
                packages.pop();
                packages.push(module(path, version));
            }
            _ => {}
        }
    }
    packages
}

fn module(path: &str, version: &str) -> Package {
    let path = bounded(path);
    // A program built from a folder has no version.
    let version = if version == "(devel)" { "" } else { version };
    let lower = path.to_lowercase();
    let (namespace, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let purl = PackageUrl::new("golang", namespace, name, &bounded(version));
    Package {
        name: path,
        ..Package::new(Ecosystem::Golang, purl)
    }
}

#[derive(Deserialize)]
struct Auditable {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    /// `runtime`, or `build` for what only helped to build; absent means the first.
    kind: Option<String>,
}

/// The crates of a program made with `cargo auditable`: JSON, packed by zlib.
pub(super) fn cargo(section: &[u8]) -> Result<Vec<Package>, String> {
    let mut list = Vec::new();
    let unpacked = ZlibDecoder::new(section)
        .take(MAX_LIST)
        .read_to_end(&mut list);
    unpacked.map_err(|error| format!("has a damaged list of crates: {error}"))?;
    let list: Auditable = serde_json::from_slice(&list)
        .map_err(|error| format!("has a damaged list of crates: {error}"))?;
    let crates = list.packages.iter();
    let shipped = crates.filter(|found| found.kind.as_deref() != Some("build"));
    Ok(shipped
        .map(|found| {
            let (name, version) = (bounded(&found.name), bounded(&found.version));
            Package::new(
                Ecosystem::Cargo,
                PackageUrl::new("cargo", "", &name, &version),
            )
        })
        .collect())
}
