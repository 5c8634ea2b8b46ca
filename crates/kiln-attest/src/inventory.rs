//! What a root file system holds: packages, and what could not be read.

use std::collections::{BTreeMap, BTreeSet};

use crate::PackageUrl;

/// Where packages of a kind come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Debian and its relatives.
    Deb,
    /// Alpine and its relatives.
    Apk,
    /// Red Hat's, SUSE's and their relatives.
    Rpm,
    /// Python.
    Pypi,
    /// JavaScript.
    Npm,
    /// Ruby.
    Gem,
    /// Go modules.
    Golang,
    /// Rust.
    Cargo,
    /// Java.
    Maven,
    /// PHP.
    Composer,
}

impl Ecosystem {
    /// The type in package URLs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Gem => "gem",
            Self::Golang => "golang",
            Self::Cargo => "cargo",
            Self::Maven => "maven",
            Self::Composer => "composer",
        }
    }
}

/// The checksum of a package as it was distributed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum {
    /// As SPDX writes it: `SHA1`, `SHA256`, `SHA512`, `MD5`.
    pub algorithm: &'static str,
    /// Lower-case hexadecimal.
    pub hex: String,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Where it comes from.
    pub ecosystem: Ecosystem,
    /// Its name as its ecosystem says it.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
    /// Its package URL, which no other package of an inventory has.
    pub purl: PackageUrl,
    /// The licence as the package says it: an SPDX expression, or anything else.
    pub licence: Option<String>,
    /// Who distributes it, as SPDX writes it: `Person: Name (mail)` or `Organization: Name`.
    pub supplier: Option<String>,
    /// Its home page.
    pub homepage: Option<String>,
    /// Checksums of what was distributed.
    pub checksums: BTreeSet<Checksum>,
    /// The files that told of it: paths from the root without a leading slash.
    pub found_in: BTreeSet<String>,
}

impl Package {
    /// A package of which only name and version are known.
    pub fn new(ecosystem: Ecosystem, purl: PackageUrl) -> Self {
        Self {
            ecosystem,
            name: purl.name.clone(),
            version: purl.version.clone(),
            purl,
            licence: None,
            supplier: None,
            homepage: None,
            checksums: BTreeSet::new(),
            found_in: BTreeSet::new(),
        }
    }

    /// Adds what another finding of the same package knows.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.licence = self.licence.take().or(other.licence);
        self.supplier = self.supplier.take().or(other.supplier);
        self.homepage = self.homepage.take().or(other.homepage);
        self.checksums.extend(other.checksums);
        self.found_in.extend(other.found_in);
    }
}

/// What `os-release` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, for example `debian`; may be empty.
    pub id: String,
    /// `VERSION_ID`, for example `12`; may be empty.
    pub version: String,
    /// `PRETTY_NAME`; may be empty.
    pub pretty_name: String,
}

impl OsRelease {
    /// What package URLs say of it, `debian-12`; empty where nothing is known.
    pub fn distro(&self) -> String {
        match (self.id.as_str(), self.version.as_str()) {
            ("", _) => String::new(),
            (id, "") => id.to_owned(),
            (id, version) => format!("{id}-{version}"),
        }
    }
}

/// Something that could not be read, or not in full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Warning {
    /// The path from the root without a leading slash.
    pub path: String,
    /// What is the matter.
    pub reason: String,
}

/// What a root file system holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The distribution, where it says which it is.
    pub os: Option<OsRelease>,
    /// The packages by their package URL.
    pub packages: BTreeMap<PackageUrl, Package>,
    /// What could not be read.
    pub warnings: BTreeSet<Warning>,
}

impl Inventory {
    /// Adds a package, or what is new of one that is known.
    pub(crate) fn add(&mut self, package: Package) {
        match self.packages.get_mut(&package.purl) {
            Some(known) => known.absorb(package),
            None => drop(self.packages.insert(package.purl.clone(), package)),
        }
    }

    pub(crate) fn warn(&mut self, path: &str, reason: impl Into<String>) {
        self.warnings.insert(Warning {
            path: path.to_owned(),
            reason: reason.into(),
        });
    }
}
