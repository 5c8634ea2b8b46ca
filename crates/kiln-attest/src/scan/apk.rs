//! apk's record of what is installed.

use crate::inventory::{Ecosystem, OsRelease, Package};
use crate::purl::PackageUrl;

use super::text::{bounded, person};

/// Where the record is. Newer versions keep it below `usr`.
pub(super) const PATHS: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

#[derive(Default)]
struct Record<'a> {
    name: &'a str,
    version: &'a str,
    arch: &'a str,
    licence: &'a str,
    maintainer: &'a str,
    homepage: &'a str,
    origin: &'a str,
}

/// The packages of the record: paragraphs of lines `X:value`.
pub(super) fn parse(text: &str, os: &OsRelease) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut record = Record::default();
    for line in text.lines().chain([""]) {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        match key {
            "" => packages.extend(std::mem::take(&mut record).package(os)),
            "P" => record.name = value,
            "V" => record.version = value,
            "A" => record.arch = value,
            "L" => record.licence = value,
            "m" => record.maintainer = value,
            "U" => record.homepage = value,
            "o" => record.origin = value,
            _ => {}
        }
    }
    packages
}

impl Record<'_> {
    fn package(&self, os: &OsRelease) -> Option<Package> {
        if self.name.is_empty() {
            return None;
        }
        let vendor = if os.id.is_empty() { "alpine" } else { &os.id };
        let origin = if self.origin == self.name {
            ""
        } else {
            self.origin
        };
        let purl = PackageUrl::new("apk", vendor, &bounded(self.name), &bounded(self.version))
            .with("arch", &bounded(self.arch))
            .with("distro", &os.distro())
            .with("upstream", &bounded(origin));
        let some = |text: &str| (!text.is_empty()).then(|| bounded(text));
        Some(Package {
            licence: some(self.licence),
            supplier: person(&bounded(self.maintainer)),
            homepage: some(self.homepage),
            ..Package::new(Ecosystem::Apk, purl)
        })
    }
}
