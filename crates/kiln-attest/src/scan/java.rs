//! Java archives: the `pom.properties` that Maven puts into them.
//!
//! An archive may hold others, as those of Spring Boot do: two levels are looked into.

use std::io::Read as _;

use flate2::read::DeflateDecoder;
use kiln_oci::Digest;

use crate::inventory::{Checksum, Ecosystem, Package};
use crate::purl::PackageUrl;

use super::text::bounded;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
/// The end record is this long, without its comment of at most 65,535 bytes.
const END_SIZE: usize = 22;
const MAX_COMMENT: usize = 65_535;
/// The largest file inside an archive that is unpacked, in bytes.
const MAX_MEMBER: u64 = 64 << 20;
/// How much is unpacked of one archive together, in bytes.
const MAX_UNPACKED: u64 = 512 << 20;
/// How deep archives may hold archives.
const MAX_DEPTH: usize = 2;

/// The packages of an archive.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    let mut budget = MAX_UNPACKED;
    archive(bytes, 0, &mut budget, &mut packages)?;
    Ok(packages)
}

fn archive(
    bytes: &[u8],
    depth: usize,
    budget: &mut u64,
    packages: &mut Vec<Package>,
) -> Result<(), String> {
    let mut own = Vec::new();
    for member in members(bytes).ok_or("is not a whole archive")? {
        let is_pom = member.name.starts_with(b"META-INF/maven/")
            && member.name.ends_with(b"/pom.properties");
        let is_archive = depth < MAX_DEPTH && member.name.ends_with(b".jar");
        if !is_pom && !is_archive {
            continue;
        }
        let content = member.unpack(bytes, budget).ok_or("holds a damaged file")?;
        if is_pom {
            own.extend(properties(&String::from_utf8_lossy(&content)));
        } else {
            archive(&content, depth + 1, budget, packages)?;
        }
    }
    // An archive that holds several packages is none of them.
    if let [package] = own.as_mut_slice() {
        package.checksums.insert(Checksum {
            algorithm: "SHA256",
            hex: Digest::sha256(bytes).hex().to_owned(),
        });
    }
    packages.extend(own);
    Ok(())
}

/// The package that `pom.properties` names.
fn properties(text: &str) -> Option<Package> {
    let value = |key: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key && !value.trim().is_empty()).then(|| bounded(value.trim()))
        })
    };
    let (group, artifact) = (value("groupId")?, value("artifactId")?);
    let version = value("version").unwrap_or_default();
    let purl = PackageUrl::new("maven", &group, &artifact, &version);
    Some(Package {
        name: format!("{group}:{artifact}"),
        ..Package::new(Ecosystem::Maven, purl)
    })
}

struct Member<'a> {
    name: &'a [u8],
    method: u16,
    packed: usize,
    offset: usize,
}

/// The archive's directory.
fn members(bytes: &[u8]) -> Option<Vec<Member<'_>>> {
    let first = bytes.len().checked_sub(END_SIZE)?;
    let end = (first.saturating_sub(MAX_COMMENT)..=first)
        .rev()
        .find(|at| bytes[*at..].starts_with(END))?;
    let (count, mut at) = (half(bytes, end + 10)?, word(bytes, end + 16)?);
    let mut members = Vec::new();
    for _ in 0..count {
        let head = bytes.get(at..)?;
        if !head.starts_with(ENTRY) {
            return None;
        }
        let (name, extra, comment) = (half(head, 28)?, half(head, 30)?, half(head, 32)?);
        let name_end = 46 + usize::from(name);
        members.push(Member {
            name: head.get(46..name_end)?,
            method: half(head, 10)?,
            packed: word(head, 20)?,
            offset: word(head, 42)?,
        });
        at += name_end + usize::from(extra) + usize::from(comment);
    }
    Some(members)
}

impl Member<'_> {
    fn unpack(&self, archive: &[u8], budget: &mut u64) -> Option<Vec<u8>> {
        let local = archive.get(self.offset..)?;
        if !local.starts_with(LOCAL) {
            return None;
        }
        let start = 30 + usize::from(half(local, 26)?) + usize::from(half(local, 28)?);
        let packed = local.get(start..start.checked_add(self.packed)?)?;
        let limit = MAX_MEMBER.min(*budget);
        let mut content = Vec::new();
        match self.method {
            0 if packed.len() as u64 <= limit => content.extend_from_slice(packed),
            8 => {
                let mut unpacked = DeflateDecoder::new(packed).take(limit + 1);
                unpacked.read_to_end(&mut content).ok()?;
            }
            _ => return None,
        }
        let size = content.len() as u64;
        *budget = budget.checked_sub(size)?;
        (size <= limit).then_some(content)
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}
