//! Packages for development: which go, and their files.
//!
//! Besides what the package manager knows of, a package stays that has a library which a program
//! outside of the packages needs, or a file that is to be preserved.

use std::collections::{BTreeMap, BTreeSet};

use kiln_disk::{Content, Contents, File, Node, NodeId, Tree};

use super::options::Patterns;
use super::report::{Changed, RemovedPackage, Report, Totals};
use super::rules::Rule;
use super::usage::{self, Usage};
use super::{OptimiseError, apk_db, dpkg_db};
use crate::elf;
use crate::packages::{DatabaseError, Package, Reason, Removal, apk, dpkg, removable};
use crate::paths::{self, Found, Next, Reader};

const RULE: Rule = Rule::DevelopmentPackages;

/// What all steps work on.
pub(super) struct Work<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) contents: &'a dyn Contents,
    pub(super) patterns: &'a Patterns,
    pub(super) usage: &'a mut Usage,
    pub(super) report: &'a mut Report,
}

/// What a package has, as its database says it: paths from the root, links not followed.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    pub(super) paths: Vec<Vec<u8>>,
}

/// Takes packages out of both databases.
pub(super) fn remove(
    tree: &mut Tree,
    contents: &dyn Contents,
    patterns: &Patterns,
    usage: &mut Usage,
    report: &mut Report,
) -> Result<(), OptimiseError> {
    let mut work = Work {
        tree,
        contents,
        patterns,
        usage,
        report,
    };
    if let Some(status) = dpkg::read(work.tree, contents)? {
        dpkg_db::remove(&mut work, &status)?;
    }
    if let Some(installed) = apk::read(work.tree, contents)? {
        apk_db::remove(&mut work, &installed)?;
    }
    let rpm = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
    if rpm.iter().any(|path| {
        paths::lookup(work.tree, path.as_bytes())
            .is_some_and(|id| !work.tree.entries(id).is_empty())
    }) {
        let text = "rpm's database is not understood: its packages stay".to_owned();
        work.report.note(RULE, text);
    }
    Ok(())
}

impl Work<'_> {
    /// Decides which packages go, until nothing that stays needs anything that goes.
    pub(super) fn decide(
        &mut self,
        packages: &[Package],
        mut keep: BTreeMap<usize, String>,
        list: impl Fn(&Self, usize) -> Result<Listed, OptimiseError>,
    ) -> Result<(Removal, BTreeMap<usize, Files>), OptimiseError> {
        let mut programs: Option<Vec<Needing>> = None;
        let mut files: BTreeMap<usize, Files> = BTreeMap::new();
        loop {
            let removal = removable(packages, &keep);
            for number in removal.removed.keys() {
                if !files.contains_key(number) {
                    let listed = list(self, *number)?;
                    files.insert(*number, self.files(&listed));
                }
            }
            files.retain(|number, _| removal.removed.contains_key(number));
            let before = keep.len();
            for (number, files) in &files {
                let preserved = |path: &&Vec<u8>| self.patterns.preserves(path);
                if let Some(path) = files.names.keys().find(preserved) {
                    keep.insert(*number, format!("`/{}` is preserved", path.escape_ascii()));
                }
            }
            if files.values().any(Files::has_libraries) {
                let programs = programs.get_or_insert_with(|| needing(self.tree, self.contents));
                keep_needed(&files, programs, &mut keep);
            }
            if keep.len() == before {
                self.explain(packages, &removal);
                return Ok((removal, files));
            }
        }
    }

    /// Finds the names of a package in the tree. What is a directory for the package may be a link
    /// in the tree (`/lib`), and then it is no file of the package.
    fn files(&self, listed: &Listed) -> Files {
        let mut files = Files::default();
        let directories: BTreeSet<&[u8]> = listed.paths.iter().map(|path| folder(path)).collect();
        for path in &listed.paths {
            let Some(found) = paths::name(self.tree, path) else {
                continue;
            };
            let is_link = matches!(self.tree.inode(found.id).node, Node::Symlink(_));
            let is_top = found.parent == Tree::ROOT;
            if matches!(self.tree.inode(found.id).node, Node::Directory(_)) {
                files.directories.insert(found.path);
            } else if !(is_link && (is_top || directories.contains(path.as_slice()))) {
                files.names.insert(found.path.clone(), found);
            }
        }
        files
    }

    fn explain(&mut self, packages: &[Package], removal: &Removal) {
        for (number, reason) in &removal.removed {
            self.report.packages.push(RemovedPackage {
                name: packages[*number].name.clone(),
                version: packages[*number].version.clone(),
                is_development: *reason == Reason::Development,
            });
        }
        for (number, reason) in &removal.kept {
            let why = match reason {
                Reason::NeededBy(name) => format!("`{name}` needs it"),
                Reason::Kept(why) => why.clone(),
                _ => "it is essential, held or not properly installed".to_owned(),
            };
            let name = &packages[*number].name;
            self.report
                .note(RULE, format!("package `{name}` stays: {why}"));
        }
    }

    /// Takes the files of packages away that no package has which stays. `others` gives what those
    /// have, and may give more.
    pub(super) fn unlink(&mut self, files: BTreeMap<usize, Files>, others: &[Listed]) {
        let mut all = Files::default();
        for files in files.into_values() {
            all.names.extend(files.names);
            all.directories.extend(files.directories);
        }
        let last_names: BTreeSet<&[u8]> = all.paths().map(paths::base_name).collect();
        let mut shared = BTreeSet::new();
        for path in others.iter().flat_map(|listed| &listed.paths) {
            if last_names.contains(paths::base_name(path)) {
                shared.extend(paths::name(self.tree, path).map(|found| found.path));
            }
        }
        all.names.retain(|path, _| !shared.contains(path));
        all.directories.retain(|path| !shared.contains(path));
        self.add_byte_code(&mut all);
        let mut by_directory: BTreeMap<Vec<u8>, Vec<(Vec<u8>, u64)>> = BTreeMap::new();
        for (path, found) in &all.names {
            let name = paths::base_name(path);
            let freed = self.take(found.parent, name);
            let directory = folder(path).to_vec();
            let leaves = by_directory.entry(directory).or_default();
            leaves.push((name.to_vec(), freed.bytes));
        }
        for (directory, leaves) in &by_directory {
            let leaves: Vec<(&[u8], Rule, u64)> = leaves
                .iter()
                .map(|(name, bytes)| (name.as_slice(), RULE, *bytes))
                .collect();
            self.report.push_leaves(directory, &leaves);
        }
        // What is deeper has a greater path.
        for path in all.directories.iter().rev() {
            self.take_empty(path);
        }
    }

    fn take(&mut self, parent: NodeId, name: &[u8]) -> Totals {
        let Some(id) = self.tree.unlink(parent, name) else {
            return Totals::default();
        };
        let freed = self.usage.unlink(self.tree, id);
        self.report.freed(RULE, freed);
        freed
    }

    /// Takes a directory away if nothing is in it.
    fn take_empty(&mut self, path: &[u8]) {
        let Some(found) = paths::name(self.tree, path) else {
            return;
        };
        let is_directory = matches!(&self.tree.inode(found.id).node, Node::Directory(entries) if entries.is_empty());
        if is_directory && found.id != Tree::ROOT && !self.patterns.preserves(path) {
            self.take(found.parent, paths::base_name(&found.path));
            let leaf = (paths::base_name(path), RULE, 0);
            self.report.push_leaves(folder(path), &[leaf]);
        }
    }

    /// Python's byte code is in no list, and goes with its source.
    fn add_byte_code(&self, files: &mut Files) {
        let mut found = Vec::new();
        for (path, source) in &files.names {
            let Some(stem) = paths::base_name(path).strip_suffix(b".py") else {
                continue;
            };
            let Some(cache) = self.tree.child(source.parent, b"__pycache__") else {
                continue;
            };
            let start = [stem, b"."].concat();
            let directory = paths::join(folder(path), b"__pycache__");
            let entries = self.tree.entries(cache).iter();
            for entry in entries
                .filter(|entry| entry.name.starts_with(&start) && entry.name.ends_with(b".pyc"))
            {
                found.push(Found {
                    id: entry.id,
                    parent: cache,
                    path: paths::join(&directory, &entry.name),
                    links: Vec::new(),
                });
            }
            files.directories.insert(directory);
        }
        files
            .names
            .extend(found.into_iter().map(|found| (found.path.clone(), found)));
    }

    /// Takes a file of a database away.
    pub(super) fn forget(&mut self, parent: NodeId, name: &[u8]) {
        self.take(parent, name);
    }

    /// Writes a file of a database anew, if it is there.
    pub(super) fn rewrite(&mut self, path: &[u8], bytes: Vec<u8>) {
        let Ok(found) = paths::find(self.tree, b"", path, paths::Last::Follow) else {
            return;
        };
        let before = usage::bytes(self.tree, found.id);
        let after = bytes.len() as u64;
        let node = &mut self.tree.inode_mut(found.id).node;
        if !matches!(node, Node::File(_)) {
            return;
        }
        *node = Node::File(File {
            size: after,
            content: Content::Bytes(bytes.into()),
        });
        self.usage.shrink(before, after);
        let freed = Totals {
            files: 0,
            bytes: before.saturating_sub(after),
        };
        self.report.freed(RULE, freed);
        self.report.changed.push(Changed {
            path: found.path,
            before,
            after,
            rule: RULE,
        });
    }

    /// A file of a database; nothing if it isn't there.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, OptimiseError> {
        paths::read_or_empty(self.tree, self.contents, path.as_bytes(), limit).map_err(|cause| {
            OptimiseError::Database(DatabaseError::Read {
                path: path.to_owned(),
                cause,
            })
        })
    }
}

/// The names that a package has in the tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    pub(super) names: BTreeMap<Vec<u8>, Found>,
    directories: BTreeSet<Vec<u8>>,
}

impl Files {
    fn paths(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.names.keys().chain(&self.directories);
        names.map(Vec::as_slice)
    }

    fn has_libraries(&self) -> bool {
        let mut names = self.names.keys();
        names.any(|path| is_library(paths::base_name(path)))
    }
}

/// The directory of a path; empty for the root.
fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/');
    &path[..end.unwrap_or(0)]
}

fn is_library(name: &[u8]) -> bool {
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

/// A program or library, and the names of what it needs.
struct Needing {
    path: Vec<u8>,
    libraries: Vec<Vec<u8>>,
}

/// Every program and library in the tree that needs others. What can't be read needs nothing.
fn needing(tree: &Tree, contents: &dyn Contents) -> Vec<Needing> {
    let mut all = Vec::new();
    paths::visit(tree, |visit| {
        let inode = tree.inode(visit.id);
        let may_run = inode.attributes.mode & 0o111 != 0 || is_library(visit.name);
        if matches!(inode.node, Node::File(_)) && may_run {
            let reader = Reader::open(tree, contents, visit.id).ok();
            let elf = reader.and_then(|reader| elf::read(&reader).ok().flatten());
            if let Some(elf) = elf.filter(|elf| !elf.needed.is_empty()) {
                all.push(Needing {
                    path: visit.path.to_vec(),
                    libraries: elf.needed,
                });
            }
        }
        Next::Enter
    });
    all
}

/// Packages with libraries that something needs which stays.
fn keep_needed(
    files: &BTreeMap<usize, Files>,
    programs: &[Needing],
    keep: &mut BTreeMap<usize, String>,
) {
    let mut owners: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    let mut going: BTreeSet<&[u8]> = BTreeSet::new();
    for (number, files) in files {
        for path in files.names.keys() {
            going.insert(path);
            let name = paths::base_name(path);
            if is_library(name) {
                owners.entry(name).or_default().push(*number);
            }
        }
    }
    for program in programs
        .iter()
        .filter(|program| !going.contains(program.path.as_slice()))
    {
        for library in &program.libraries {
            for number in owners.get(paths::base_name(library)).into_iter().flatten() {
                keep.entry(*number).or_insert_with(|| {
                    let (path, library) = (program.path.escape_ascii(), library.escape_ascii());
                    format!("`/{path}` needs its `{library}`")
                });
            }
        }
    }
}

/// Files for building that packages have: the package manager knows what they are for, so that only
/// [`Rule::DevelopmentPackages`] may take them.
pub(super) fn owned_development_files(
    tree: &Tree,
    contents: &dyn Contents,
) -> Result<BTreeSet<Vec<u8>>, OptimiseError> {
    let mut owned = BTreeSet::new();
    let mut add = |path: &[u8]| {
        let has = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
        let parts = [&b"/include/"[..], b"/pkgconfig/", b"/cmake/", b"/aclocal/"];
        if path.ends_with(b".a") || parts.iter().any(|part| has(part)) {
            owned.extend(paths::name(tree, path).map(|found| found.path));
        }
    };
    for path in dpkg_db::all_listed(tree, contents)? {
        add(&path);
    }
    if let Some(installed) = apk::read(tree, contents)? {
        for path in installed.packages.iter().flat_map(|apk| &apk.files) {
            add(path.as_bytes());
        }
    }
    Ok(owned)
}
