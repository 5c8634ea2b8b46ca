//! How loaders find libraries: glibc's and musl's, which differ in where and in which order.
//!
//! Where a version of glibc would find a library and another wouldn't, it is found: an optimisation
//! must not take it. Libraries for another processor are passed over, as loaders do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kiln_disk::{Contents, Node, NodeId, Tree};

use super::conf;
use super::{Command, Kind, Need};
use crate::elf::{self, Elf, Target};
use crate::paths::{self, Found, Last, Reader};

/// A program has some dozens of libraries; the largest have hundreds.
const MAX_LIBRARIES: usize = 5000;

/// What is known of a tree.
pub(super) struct Loader<'a> {
    tree: &'a Tree,
    contents: &'a dyn Contents,
    command: &'a Command,
    cache: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    folders: Vec<Vec<u8>>,
    /// ELF files that were read.
    known: BTreeMap<NodeId, Option<Elf>>,
}

/// A library that is loaded, or the program.
struct Object {
    elf: Elf,
    path: Vec<u8>,
    /// Where `$ORIGIN` is: the directory by which it was found, and the one where it is.
    origins: Vec<Vec<u8>>,
    /// What wanted it.
    parent: Option<usize>,
}

/// One program, while it is loaded.
struct Process {
    objects: Vec<Object>,
    /// Names that need not be searched any more.
    names: BTreeSet<Vec<u8>>,
    is_musl: bool,
    target: Target,
    /// Where the loader itself is.
    loader_folder: Vec<u8>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(tree: &'a Tree, contents: &'a dyn Contents, command: &'a Command) -> Self {
        Self {
            tree,
            contents,
            command,
            cache: conf::cache(tree, contents),
            folders: conf::folders(tree, contents),
            known: BTreeMap::new(),
        }
    }

    /// Every library that `program` needs, and where it is.
    pub(super) fn load(
        &mut self,
        program: &Found,
        elf: Elf,
        interpreter: &Found,
    ) -> Vec<(Need, Option<Found>)> {
        let loader_name = paths::base_name(&interpreter.path).to_vec();
        let written = elf.interpreter.clone().unwrap_or_default();
        let is_musl = [&loader_name[..], paths::base_name(&written)]
            .iter()
            .any(|name| name.starts_with(b"ld-musl") || *name == b"libc.so");
        let mut process = Process {
            target: elf.target,
            is_musl,
            names: BTreeSet::from([loader_name, paths::base_name(&written).to_vec()]),
            loader_folder: folder(&interpreter.path).to_vec(),
            objects: Vec::new(),
        };
        process.objects.push(Object {
            origins: vec![folder(&program.path).to_vec()],
            path: program.path.clone(),
            elf,
            parent: None,
        });
        let mut facts = Vec::new();
        let mut pending: VecDeque<usize> = VecDeque::from([0]);
        self.preload(&mut process, &mut pending, &mut facts);
        while let Some(number) = pending.pop_front() {
            let needed = process.objects[number].elf.needed.clone();
            for name in needed {
                if facts.len() > MAX_LIBRARIES {
                    return facts;
                }
                self.need(&mut process, number, &name, &mut pending, &mut facts);
            }
        }
        facts
    }

    /// Libraries that come before all others. Loaders only complain where they are missing, so they
    /// are no need then.
    fn preload(
        &mut self,
        process: &mut Process,
        pending: &mut VecDeque<usize>,
        facts: &mut Vec<(Need, Option<Found>)>,
    ) {
        let mut names = self
            .command
            .variable("LD_PRELOAD")
            .unwrap_or_default()
            .to_vec();
        if !process.is_musl {
            names.push(b' ');
            names.extend(conf::preload(self.tree, self.contents));
        }
        let names = names.split(|byte| matches!(byte, b' ' | b':' | b'\n' | b'\t'));
        for name in names.filter(|name| !name.is_empty()) {
            let before = facts.len();
            self.need(process, 0, name, pending, facts);
            facts.retain({
                let mut number = 0;
                move |(_, found)| {
                    number += 1;
                    number <= before || found.is_some()
                }
            });
        }
    }

    fn need(
        &mut self,
        process: &mut Process,
        number: usize,
        name: &[u8],
        pending: &mut VecDeque<usize>,
        facts: &mut Vec<(Need, Option<Found>)>,
    ) {
        let is_known = process.names.contains(name) || process.has_built_in(name);
        if is_known {
            return;
        }
        process.names.insert(name.to_vec());
        let found = self.find(process, number, name);
        let need = Need {
            by: process.objects[number].path.clone(),
            kind: Kind::Library,
            name: name.to_vec(),
        };
        facts.push((need, found.as_ref().map(|(found, _)| found.clone())));
        let Some((found, by)) = found else {
            return;
        };
        let elf = self.read(found.id).cloned();
        let is_new = process
            .objects
            .iter()
            .all(|object| object.path != found.path);
        if let Some(elf) = elf.filter(|_| is_new) {
            process.names.extend(elf.soname.clone());
            pending.push_back(process.objects.len());
            process.objects.push(Object {
                origins: vec![folder(&by).to_vec(), folder(&found.path).to_vec()],
                path: found.path,
                elf,
                parent: Some(number),
            });
        }
    }

    /// Where a library is, and the path by which it was found.
    fn find(&mut self, process: &Process, number: usize, name: &[u8]) -> Option<(Found, Vec<u8>)> {
        if name.contains(&b'/') {
            return self
                .fits(process.target, name)
                .map(|found| (found, name.to_vec()));
        }
        for folder in self.folders(process, number) {
            let path = paths::join(&folder, name);
            let found = self
                .fits(process.target, &path)
                .or_else(|| self.fits_capable(process.target, &folder, name));
            if let Some(found) = found {
                return Some((found, path));
            }
        }
        let cached = self.cache.get(name).cloned().unwrap_or_default();
        let mut cached = cached.into_iter().filter(|_| !process.is_musl);
        cached.find_map(|path| Some((self.fits(process.target, &path)?, path)))
    }

    /// The library for processors that can do more, where there is no other.
    fn fits_capable(&mut self, target: Target, folder: &[u8], name: &[u8]) -> Option<Found> {
        let capable = paths::join(folder, b"glibc-hwcaps");
        let id = paths::lookup(self.tree, &capable)?;
        let levels: Vec<Vec<u8>> = self
            .tree
            .entries(id)
            .iter()
            .map(|entry| paths::join(&paths::join(&capable, &entry.name), name))
            .collect();
        levels.iter().find_map(|path| self.fits(target, path))
    }

    /// The directories in which a library of this object is searched.
    fn folders(&self, process: &Process, number: usize) -> Vec<Vec<u8>> {
        let mut folders = Vec::new();
        let object = &process.objects[number];
        let variable = self.command.variable("LD_LIBRARY_PATH").unwrap_or_default();
        if process.is_musl {
            folders.extend(split(variable, &object.origins));
            let mut next = Some(number);
            while let Some(at) = next {
                let object = &process.objects[at];
                let paths = object.elf.runpath.as_ref().or(object.elf.rpath.as_ref());
                folders.extend(
                    paths
                        .into_iter()
                        .flat_map(|paths| split(paths, &object.origins)),
                );
                next = object.parent;
            }
            folders.extend(conf::musl_folders(self.tree, self.contents));
            return folders;
        }
        let mut next = Some(number).filter(|_| object.elf.runpath.is_none());
        while let Some(at) = next {
            let object = &process.objects[at];
            let paths = object
                .elf
                .rpath
                .iter()
                .filter(|_| object.elf.runpath.is_none());
            folders.extend(paths.flat_map(|paths| split(paths, &object.origins)));
            next = object.parent;
        }
        folders.extend(split(variable, &object.origins));
        let runpath = object.elf.runpath.iter();
        folders.extend(runpath.flat_map(|paths| split(paths, &object.origins)));
        folders.extend(self.folders.iter().cloned());
        if object.elf.default_directories {
            folders.extend(process.default_folders());
        }
        folders
    }

    /// The file, if it is a library for this processor.
    fn fits(&mut self, target: Target, path: &[u8]) -> Option<Found> {
        let directory = &self.command.directory;
        let found = paths::find(self.tree, directory, path, Last::Follow).ok()?;
        let elf = self.read(found.id)?;
        (elf.target == target).then_some(found)
    }

    fn read(&mut self, id: NodeId) -> Option<&Elf> {
        let (tree, contents) = (self.tree, self.contents);
        let read = || {
            if !matches!(tree.inode(id).node, Node::File(_)) {
                return None;
            }
            let reader = Reader::open(tree, contents, id).ok()?;
            elf::read(&reader).ok().flatten()
        };
        self.known.entry(id).or_insert_with(read).as_ref()
    }
}

impl Process {
    /// musl is one file: its parts have no files of their own.
    fn has_built_in(&self, name: &[u8]) -> bool {
        let parts = [
            &b"libc."[..],
            b"libpthread.",
            b"librt.",
            b"libm.",
            b"libdl.",
            b"libutil.",
            b"libxnet.",
        ];
        self.is_musl && parts.iter().any(|part| name.starts_with(part))
    }

    /// Where distributions' loaders look: Debian's, Red Hat's, and where the loader itself is.
    fn default_folders(&self) -> Vec<Vec<u8>> {
        let triplet = match self.target.architecture() {
            Some("amd64") => "x86_64-linux-gnu",
            Some("386") => "i386-linux-gnu",
            Some("arm64") => "aarch64-linux-gnu",
            Some("arm") => "arm-linux-gnueabihf",
            Some("riscv64") => "riscv64-linux-gnu",
            Some("ppc64le") => "powerpc64le-linux-gnu",
            Some("s390x") => "s390x-linux-gnu",
            Some("mips64le") => "mips64el-linux-gnuabi64",
            Some("loong64") => "loongarch64-linux-gnu",
            _ => "",
        };
        let mut folders = Vec::new();
        for prefix in ["/lib/", "/usr/lib/"] {
            folders.push(format!("{prefix}{triplet}").into_bytes());
        }
        if self.target.is_64 {
            folders.extend([b"/lib64".to_vec(), b"/usr/lib64".to_vec()]);
        }
        folders.extend([b"/lib".to_vec(), b"/usr/lib".to_vec()]);
        folders.push([b"/", self.loader_folder.as_slice()].concat());
        folders
    }
}

/// The directory of a path.
fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/');
    &path[..end.unwrap_or(0)]
}

/// The directories of a list such as `$ORIGIN/../lib:/opt/lib`.
fn split(list: &[u8], origins: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let parts = list.split(|byte| matches!(byte, b':' | b';'));
    let parts = parts.filter(|part| !part.is_empty()).take(256);
    parts.flat_map(|part| expand(part, origins)).collect()
}

fn expand(part: &[u8], origins: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(part);
    if !text.contains('$') {
        return vec![part.to_vec()];
    }
    let plain = text
        .replace("${ORIGIN}", "$ORIGIN")
        .replace("${LIB}", "$LIB");
    let mut all = Vec::new();
    for origin in origins {
        let origin = format!(
            "/{}",
            String::from_utf8_lossy(origin).trim_start_matches('/')
        );
        let with_origin = plain.replace("$ORIGIN", &origin);
        if with_origin.contains("$LIB") {
            let folders = [
                "lib/x86_64-linux-gnu",
                "lib/aarch64-linux-gnu",
                "lib64",
                "lib",
            ];
            all.extend(
                folders
                    .iter()
                    .map(|lib| with_origin.replace("$LIB", lib).into_bytes()),
            );
        } else {
            all.push(with_origin.into_bytes());
        }
    }
    all
}
