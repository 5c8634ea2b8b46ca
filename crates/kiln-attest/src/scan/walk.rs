//! The one walk over the tree, and what is read on it.

use std::collections::BTreeMap;
use std::io;

use kiln_base::CancelToken;
use kiln_sys::fs::FileType;

use super::source::{Bytes, Source, SourceEntry};
use super::{ScanError, apk, binary, composer, deb, java, npm, os_release, python, rpm, ruby};
use crate::inventory::{Inventory, OsRelease, Package};

/// The largest database of packages that is read, in bytes. Debian's with 5,000 packages has 6 MB.
const MAX_DATABASE: u64 = 256 << 20;
/// The largest database in JSON that is read, in bytes: its values take many times as much memory.
const MAX_JSON: u64 = 32 << 20;
/// How much is read of licences together, in bytes: links can make one file many.
const MAX_COPYRIGHTS: u64 = 256 << 20;
/// The largest file that says something of a single package, in bytes.
const MAX_MANIFEST: u64 = 4 << 20;
/// The largest Java archive that is looked into, in bytes.
const MAX_ARCHIVE: u64 = 256 << 20;
/// How deep directories may be: deeper ones can't be reached by a path either.
const MAX_DEPTH: usize = 256;
/// How many packages are listed.
const MAX_PACKAGES: usize = 200_000;
/// A program that holds a list of modules is larger than this.
const MIN_PROGRAM: u64 = 4096;
/// Folders whose content is made by the kernel or does not belong to the image.
const SKIPPED: [&str; 3] = ["proc", "sys", "dev"];

/// What a file is read for.
enum Kind {
    DpkgStatus,
    Apk,
    RpmSqlite,
    /// A database that is named in the inventory but not read.
    RpmOther,
    Python,
    NpmPackage,
    NpmLock,
    Gem,
    Composer,
    Java,
    Program,
}

pub(super) struct Scan<'a, S> {
    source: &'a S,
    cancel: &'a CancelToken,
    os: OsRelease,
    found: Inventory,
    /// Licences of Debian's packages by their folder of documentation.
    copyrights: BTreeMap<String, Option<String>>,
    /// Bytes of licences that may still be read.
    copyright_budget: u64,
}

impl<'a, S: Source> Scan<'a, S> {
    pub(super) fn new(source: &'a S, cancel: &'a CancelToken) -> Self {
        Self {
            source,
            cancel,
            os: OsRelease::default(),
            found: Inventory::default(),
            copyrights: BTreeMap::new(),
            copyright_budget: MAX_COPYRIGHTS,
        }
    }

    pub(super) fn run(mut self) -> Result<Inventory, ScanError> {
        self.cancel.check()?;
        self.read_os_release();
        let root = self.source.root().map_err(ScanError::Root)?;
        let entries = self.source.entries(&root).map_err(ScanError::Root)?;
        for entry in entries {
            if !SKIPPED.iter().any(|name| entry.name == *name) {
                self.entry(&root, &entry, "", 0)?;
            }
        }
        Ok(self.found)
    }

    fn read_os_release(&mut self) {
        for path in os_release::PATHS {
            // The first is a link to the second on most distributions.
            let Some(file) = self.source.find(path) else {
                continue;
            };
            if let Some(bytes) = self.read(path, &file, MAX_MANIFEST) {
                self.os = os_release::parse(&String::from_utf8_lossy(&bytes));
                self.found.os = Some(self.os.clone());
                return;
            }
        }
    }

    fn dir(&mut self, dir: &S::Dir, path: &str, depth: usize) -> Result<(), ScanError> {
        self.cancel.check()?;
        if depth > MAX_DEPTH {
            self.found.warn(path, "directories are nested too deeply");
            return Ok(());
        }
        match self.source.entries(dir) {
            Ok(entries) => {
                for entry in &entries {
                    self.entry(dir, entry, path, depth)?;
                }
            }
            Err(error) => self.unreadable(path, &error),
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &S::Dir,
        entry: &SourceEntry,
        above: &str,
        depth: usize,
    ) -> Result<(), ScanError> {
        let name = entry.name.to_string_lossy();
        let path = if above.is_empty() {
            name.into_owned()
        } else {
            format!("{above}/{name}")
        };
        match entry.file_type {
            FileType::Dir => match self.source.open_dir(dir, &entry.name) {
                Ok(below) => self.dir(&below, &path, depth + 1)?,
                Err(error) => self.unreadable(&path, &error),
            },
            FileType::File => {
                if let Some(kind) = kind_of(&path).or_else(|| self.program(dir, entry)) {
                    self.cancel.check()?;
                    match self.source.open_file(dir, &entry.name) {
                        Ok(file) => self.file(&kind, &path, &file),
                        Err(error) => self.unreadable(&path, &error),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &str, error: &io::Error) {
        self.found.warn(path, format!("could not be read: {error}"));
    }

    fn file(&mut self, kind: &Kind, path: &str, file: &S::File) {
        if matches!(kind, Kind::Program) {
            match binary::read(file) {
                Ok(packages) => self.add(path, packages),
                Err(reason) => self.found.warn(path, reason),
            }
            return;
        }
        if matches!(kind, Kind::RpmOther) {
            self.found.warn(
                path,
                "the RPM database is present, but its format is not read: its packages are missing",
            );
            return;
        }
        let limit = match kind {
            Kind::DpkgStatus | Kind::Apk | Kind::RpmSqlite => MAX_DATABASE,
            Kind::NpmLock | Kind::Composer => MAX_JSON,
            Kind::Java => MAX_ARCHIVE,
            _ => MAX_MANIFEST,
        };
        if let Some(bytes) = self.read(path, file, limit) {
            self.parse(kind, path, &bytes);
        }
    }

    fn parse(&mut self, kind: &Kind, path: &str, bytes: &[u8]) {
        let text = || String::from_utf8_lossy(bytes);
        let found: Result<Vec<Package>, String> = match kind {
            Kind::DpkgStatus => Ok(self.debs(&text())),
            Kind::Apk => Ok(apk::parse(&text(), &self.os)),
            Kind::RpmSqlite => rpm::parse(bytes, &self.os),
            Kind::Python => Ok(python::parse(&text())),
            Kind::NpmPackage => npm::package(bytes),
            Kind::NpmLock => npm::lock(bytes),
            Kind::Gem => Ok(ruby::parse(&text())),
            Kind::Composer => composer::parse(bytes),
            Kind::Java => java::parse(bytes),
            Kind::RpmOther | Kind::Program => Ok(Vec::new()),
        };
        // What these files would be without a package is not there at all.
        let database = matches!(kind, Kind::DpkgStatus | Kind::Apk);
        match found {
            Ok(packages) if database && packages.is_empty() && !bytes.trim_ascii().is_empty() => {
                self.found.warn(path, "names no installed package");
            }
            Ok(packages) => self.add(path, packages),
            Err(reason) => self.found.warn(path, reason),
        }
    }

    fn add(&mut self, path: &str, packages: Vec<Package>) {
        for mut package in packages {
            if self.found.packages.len() >= MAX_PACKAGES {
                let reason = format!("only the first {MAX_PACKAGES} packages are listed");
                self.found.warn(path, reason);
                return;
            }
            package.found_in.insert(path.to_owned());
            self.found.add(package);
        }
    }

    fn debs(&mut self, text: &str) -> Vec<Package> {
        let debs = deb::parse(text, &self.os);
        let debs = debs.into_iter().take(MAX_PACKAGES + 1).map(|deb| Package {
            licence: self.copyright(&deb.doc),
            ..deb.package
        });
        debs.collect()
    }

    /// What the package's documentation says of its licence; nothing where it has none.
    fn copyright(&mut self, doc: &str) -> Option<String> {
        let limit = self.copyright_budget.min(MAX_MANIFEST);
        if doc.contains('/') || doc == ".." || self.cancel.is_cancelled() {
            return None;
        }
        if let Some(known) = self.copyrights.get(doc) {
            return known.clone();
        }
        if limit == 0 {
            let reason = format!("only {MAX_COPYRIGHTS} bytes of licences are read");
            self.found.warn("usr/share/doc", reason);
            return None;
        }
        let path = format!("usr/share/doc/{doc}/copyright");
        // The folder may be a link to that of another package of the same source.
        let file = self.source.find(&path);
        let bytes = file.and_then(|file| self.read(&path, &file, limit));
        let used = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.copyright_budget = self.copyright_budget.saturating_sub(used);
        let licence = bytes.and_then(|bytes| deb::licences(&String::from_utf8_lossy(&bytes)));
        self.copyrights.insert(doc.to_owned(), licence.clone());
        licence
    }

    /// The whole file, or a warning.
    fn read(&mut self, path: &str, file: &S::File, limit: u64) -> Option<Vec<u8>> {
        match file.read_limited(limit) {
            Ok(None) => {
                self.found.warn(
                    path,
                    format!("is larger than {limit} bytes and was not read"),
                );
                None
            }
            Ok(found) => found,
            Err(error) => {
                self.unreadable(path, &error);
                None
            }
        }
    }

    /// Whether the file is a program in the format of Linux.
    fn program(&self, dir: &S::Dir, entry: &SourceEntry) -> Option<Kind> {
        let (mode, size) = self.source.mode_and_size(dir, &entry.name)?;
        if mode & 0o111 == 0 || size < MIN_PROGRAM {
            return None;
        }
        let file = self.source.open_file(dir, &entry.name).ok()?;
        let mut magic = [0; 4];
        file.read_exact_at(&mut magic, 0).ok()?;
        (magic == *b"\x7fELF").then_some(Kind::Program)
    }
}

/// What the file at `path` is for, by its name and the folders it is in.
fn kind_of(path: &str) -> Option<Kind> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = above.rsplit('/').next().unwrap_or_default();
    if path == "var/lib/dpkg/status" {
        return Some(Kind::DpkgStatus);
    }
    // Distroless images have a file for each package, some with a second one for the checksums.
    if above == "var/lib/dpkg/status.d" {
        return (!name.ends_with(".md5sums")).then_some(Kind::DpkgStatus);
    }
    if apk::PATHS.contains(&path) {
        return Some(Kind::Apk);
    }
    if rpm::FOLDERS.contains(&above) {
        return match name {
            rpm::SQLITE => Some(Kind::RpmSqlite),
            "Packages" | "Packages.db" => Some(Kind::RpmOther),
            _ => None,
        };
    }
    match name {
        "METADATA" if folder.ends_with(".dist-info") => Some(Kind::Python),
        "PKG-INFO" if folder.ends_with(".egg-info") => Some(Kind::Python),
        "package.json" if npm::is_package_folder(above) => Some(Kind::NpmPackage),
        "package-lock.json" | ".package-lock.json" | "npm-shrinkwrap.json" => Some(Kind::NpmLock),
        "installed.json" if folder == "composer" => Some(Kind::Composer),
        _ => match name.rsplit_once('.')?.1 {
            "egg-info" => Some(Kind::Python),
            "gemspec" if ruby::is_specification_folder(above) => Some(Kind::Gem),
            "jar" | "war" | "ear" => Some(Kind::Java),
            _ => None,
        },
    }
}
