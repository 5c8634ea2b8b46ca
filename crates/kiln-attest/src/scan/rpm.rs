//! RPM's database of installed packages, in the form that RPM 4.16 and later keep it.

use crate::inventory::{Ecosystem, OsRelease, Package};
use crate::purl::PackageUrl;

use super::sqlite::{self, Column};
use super::text::bounded;

/// Where the database is: the second place is that of newer distributions.
pub(super) const FOLDERS: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
/// The name of the database where it is SQLite's; others have other names.
pub(super) const SQLITE: &str = "rpmdb.sqlite";

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const VENDOR: u32 = 1011;
const LICENSE: u32 = 1014;
const URL: u32 = 1020;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;

/// The installed packages.
pub(super) fn parse(bytes: &[u8], os: &OsRelease) -> Result<Vec<Package>, String> {
    let rows = sqlite::rows(bytes, "Packages").ok_or("is a damaged RPM database")?;
    let mut packages = Vec::new();
    for row in rows {
        let header = row.into_iter().find_map(|column| match column {
            Column::Bytes(bytes) => Some(bytes),
            _ => None,
        });
        let header = header.ok_or("is a damaged RPM database")?;
        packages.extend(Header(&header).package(os));
    }
    Ok(packages)
}

/// A package's header: an index of tags, and the values that it points to. All numbers are
/// big-endian.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn package(&self, os: &OsRelease) -> Option<Package> {
        let name = self.text(NAME)?;
        // The keys that packages are signed with are kept like packages.
        if name == "gpg-pubkey" {
            return None;
        }
        let version = self.text(VERSION)?;
        let version = match self.text(RELEASE) {
            Some(release) => format!("{version}-{release}"),
            None => version,
        };
        let epoch = self.number(EPOCH).filter(|epoch| *epoch != 0);
        let purl = PackageUrl::new("rpm", &os.id, &name, &version)
            .with("arch", &self.text(ARCH).unwrap_or_default())
            .with("distro", &os.distro())
            .with(
                "epoch",
                &epoch.map_or_else(String::new, |epoch| epoch.to_string()),
            )
            .with("upstream", &self.text(SOURCE_RPM).unwrap_or_default());
        Some(Package {
            licence: self.text(LICENSE),
            supplier: self
                .text(VENDOR)
                .map(|vendor| format!("Organization: {vendor}")),
            homepage: self.text(URL),
            ..Package::new(Ecosystem::Rpm, purl)
        })
    }

    /// Where the tag's value begins.
    fn value(&self, tag: u32) -> Option<&[u8]> {
        let entries = usize::try_from(word(self.0, 0)?).ok()?;
        let index = self.0.get(8..)?;
        let values = index.get(entries.checked_mul(16)?..)?;
        let mut index = index.chunks_exact(16).take(entries);
        let entry = index.find(|entry| word(entry, 0) == Some(tag))?;
        values.get(usize::try_from(word(entry, 8)?).ok()?..)
    }

    fn text(&self, tag: u32) -> Option<String> {
        let value = self.value(tag)?.split(|byte| *byte == 0).next()?;
        let text = bounded(&String::from_utf8_lossy(value));
        (!text.is_empty() && text != "(none)").then_some(text)
    }

    fn number(&self, tag: u32) -> Option<u32> {
        word(self.value(tag)?, 0)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
