//! dpkg's record of what is installed, and Debian's machine-readable licences.

use std::collections::BTreeSet;

use crate::inventory::{Ecosystem, OsRelease, Package};
use crate::purl::PackageUrl;

use super::text::{Fields, bounded, field, paragraphs, person};

/// A package, and where its licence is said.
pub(super) struct Deb {
    pub(super) package: Package,
    /// The package's folder below `usr/share/doc`.
    pub(super) doc: String,
}

/// The installed packages of a status file. A file in `status.d` says no status.
pub(super) fn parse(text: &str, os: &OsRelease) -> Vec<Deb> {
    paragraphs(text)
        .filter(is_installed)
        .filter_map(|fields| deb(&fields, os))
        .collect()
}

fn is_installed(fields: &Fields) -> bool {
    field(fields, "status").is_none_or(|status| status.split(' ').nth(2) == Some("installed"))
}

fn deb(fields: &Fields, os: &OsRelease) -> Option<Deb> {
    let name = field(fields, "package")?;
    let version = field(fields, "version").unwrap_or_default();
    let vendor = if os.id.is_empty() { "debian" } else { &os.id };
    let mut purl = PackageUrl::new("deb", vendor, name, version)
        .with("arch", field(fields, "architecture").unwrap_or_default())
        .with("distro", &os.distro());
    // `Source: gcc-12 (12.2.0-14)`: what security notices speak of.
    if let Some(source) = field(fields, "source") {
        let (source, version) = source.split_once(' ').unwrap_or((source, ""));
        let version = version.trim_matches(['(', ')', ' ']);
        let upstream = match version {
            "" => source.to_owned(),
            version => format!("{source}@{version}"),
        };
        purl = purl.with("upstream", &upstream);
    }
    Some(Deb {
        package: Package {
            supplier: field(fields, "maintainer").and_then(person),
            homepage: field(fields, "homepage").map(str::to_owned),
            ..Package::new(Ecosystem::Deb, purl)
        },
        doc: name.to_owned(),
    })
}

/// The licences that a `copyright` file in Debian's machine-readable form names, joined by `AND`.
pub(super) fn licences(copyright: &str) -> Option<String> {
    if !copyright.starts_with("Format:") {
        return None;
    }
    let lines = copyright.lines();
    let said = lines.filter_map(|line| line.strip_prefix("License:"));
    let names: BTreeSet<String> = said
        .map(|text| text.replace(',', " ").trim().to_owned())
        .filter(|text| !text.is_empty())
        .map(|text| {
            if text.contains(' ') {
                format!("({text})")
            } else {
                text
            }
        })
        .collect();
    let joined: Vec<String> = names.into_iter().collect();
    (!joined.is_empty()).then(|| bounded(&joined.join(" AND ")))
}
