//! Taking packages out of dpkg's database, as `dpkg --purge` would leave it.
//!
//! Maintainer scripts don't run: what they do for packages of this kind is done here (alternatives,
//! byte code) or needs no doing (the loader's cache may name libraries that are gone). Packages that
//! divert other packages' files stay, since only their scripts know how to undo that.

use std::collections::{BTreeMap, BTreeSet};

use kiln_disk::{Contents, Tree};

use super::devel::{Listed, Work};
use super::{OptimiseError, alternatives};
use crate::packages::dpkg::{self, DebPackage, Status};
use crate::packages::{DatabaseError, MAX_DATABASE, MAX_LIST};
use crate::paths;

const INFO: &str = "var/lib/dpkg/info";

pub(super) fn remove(work: &mut Work<'_>, status: &Status) -> Result<(), OptimiseError> {
    let packages: Vec<_> = status
        .packages
        .iter()
        .map(|deb| deb.package.clone())
        .collect();
    let keep = diverting(work, status)?;
    let (removal, files) = work.decide(&packages, keep, |work, number| {
        list(work, &status.packages[number])
    })?;
    if removal.removed.is_empty() {
        return Ok(());
    }
    let mut others = Vec::new();
    for (number, deb) in status.packages.iter().enumerate() {
        if !removal.removed.contains_key(&number) {
            others.push(list(work, deb)?);
        }
    }
    work.unlink(files, &others);
    let removed: Vec<&DebPackage> = removal
        .removed
        .keys()
        .map(|number| &status.packages[*number])
        .collect();
    rewrite_status(work, status, &removed);
    rewrite_extended_states(work, &removed)?;
    rewrite_triggers(work, &removed)?;
    for deb in &removed {
        forget_info(work, deb);
    }
    alternatives::update(work)
}

/// Packages that divert files.
fn diverting(work: &Work<'_>, status: &Status) -> Result<BTreeMap<usize, String>, OptimiseError> {
    let diversions = work.read("var/lib/dpkg/diversions", MAX_DATABASE)?;
    let diversions = String::from_utf8_lossy(&diversions);
    let owners: BTreeSet<&str> = diversions.lines().skip(2).step_by(3).collect();
    let packages = status.packages.iter().enumerate();
    Ok(packages
        .filter(|(_, deb)| owners.contains(deb.package.name.as_str()))
        .map(|(number, _)| (number, "it diverts files".to_owned()))
        .collect())
}

/// What files of a package's are called in `info`, up to the dot.
fn stem(tree: &Tree, deb: &DebPackage) -> String {
    let package = &deb.package;
    let qualified = format!("{}:{}", package.name, package.architecture);
    let list = format!("{INFO}/{qualified}.list");
    if deb.is_same && paths::lookup(tree, list.as_bytes()).is_some() {
        qualified
    } else {
        package.name.clone()
    }
}

fn list(work: &Work<'_>, deb: &DebPackage) -> Result<Listed, OptimiseError> {
    let path = format!("{INFO}/{}.list", stem(work.tree, deb));
    let text = work.read(&path, MAX_LIST)?;
    Ok(Listed {
        paths: listed(&text).map(<[u8]>::to_vec).collect(),
    })
}

/// The paths of a list, from the root. The root itself is `/.`.
fn listed(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| {
        line.strip_prefix(b"/")
            .filter(|path| !matches!(*path, b"" | b"."))
    })
}

/// Everything in every list.
pub(super) fn all_listed(
    tree: &Tree,
    contents: &dyn Contents,
) -> Result<Vec<Vec<u8>>, OptimiseError> {
    let Some(info) = paths::lookup(tree, INFO.as_bytes()) else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for entry in tree
        .entries(info)
        .iter()
        .filter(|entry| entry.name.ends_with(b".list"))
    {
        let text = paths::read(tree, contents, entry.id, MAX_LIST).map_err(|cause| {
            let path = paths::join(INFO.as_bytes(), &entry.name);
            OptimiseError::Database(DatabaseError::Read {
                path: path.escape_ascii().to_string(),
                cause,
            })
        })?;
        // Most lists are of no interest, and together they are long.
        let of_interest = listed(&text).filter(|path| {
            let has = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
            path.ends_with(b".a")
                || [&b"include/"[..], b"/pkgconfig/", b"/cmake/", b"/aclocal/"]
                    .iter()
                    .any(|part| has(part))
        });
        all.extend(of_interest.map(<[u8]>::to_vec));
    }
    Ok(all)
}

fn rewrite_status(work: &mut Work<'_>, status: &Status, removed: &[&DebPackage]) {
    let mut text = Vec::with_capacity(status.text.len());
    let mut from = 0;
    for deb in removed {
        text.extend_from_slice(&status.text[from..deb.paragraph.start]);
        from = deb.paragraph.end;
    }
    text.extend_from_slice(&status.text[from..]);
    work.rewrite(dpkg::STATUS.as_bytes(), text);
}

fn rewrite_extended_states(
    work: &mut Work<'_>,
    removed: &[&DebPackage],
) -> Result<(), OptimiseError> {
    let names: BTreeSet<&str> = names(removed);
    let text = work.read(dpkg::EXTENDED_STATES, MAX_DATABASE)?;
    let mut kept = Vec::with_capacity(text.len());
    for range in dpkg::paragraphs(&text) {
        let paragraph = String::from_utf8_lossy(&text[range.clone()]);
        let name = dpkg::field(&paragraph, "Package");
        if !name.is_some_and(|name| names.contains(name)) {
            kept.extend_from_slice(&text[range]);
        }
    }
    if kept.len() != text.len() {
        work.rewrite(dpkg::EXTENDED_STATES.as_bytes(), kept);
    }
    Ok(())
}

fn names<'a>(removed: &[&'a DebPackage]) -> BTreeSet<&'a str> {
    removed
        .iter()
        .map(|deb| deb.package.name.as_str())
        .collect()
}

/// Which packages are to be told when something happens: `triggers/File` has `path package` in each
/// line, the files of named triggers have a package.
fn rewrite_triggers(work: &mut Work<'_>, removed: &[&DebPackage]) -> Result<(), OptimiseError> {
    let names = names(removed);
    let directory = "var/lib/dpkg/triggers";
    let Some(id) = paths::lookup(work.tree, directory.as_bytes()) else {
        return Ok(());
    };
    let entries = work.tree.entries(id).iter();
    let files: Vec<String> = entries
        .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
        .filter(|name| !matches!(name.as_str(), "Lock" | "Unincorp"))
        .collect();
    for file in files {
        let path = format!("{directory}/{file}");
        let text = work.read(&path, MAX_DATABASE)?;
        let stays = |line: &&[u8]| {
            let line = String::from_utf8_lossy(line);
            let interested = line.trim_end().rsplit(' ').next().unwrap_or_default();
            let name = interested.split(['/', ':']).next().unwrap_or_default();
            !names.contains(name)
        };
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let kept = lines.filter(stays).collect::<Vec<_>>().concat();
        if kept.len() != text.len() {
            work.rewrite(path.as_bytes(), kept);
        }
    }
    Ok(())
}

/// A package's files in `info`.
fn forget_info(work: &mut Work<'_>, deb: &DebPackage) {
    let start = format!("{}.", stem(work.tree, deb)).into_bytes();
    let Some(info) = paths::lookup(work.tree, INFO.as_bytes()) else {
        return;
    };
    let entries = work.tree.entries(info).iter();
    let names: Vec<Box<[u8]>> = entries
        .map(|entry| &entry.name)
        // Names of packages have dots: `python3.` begins `python3.11.list`, too.
        .filter(|name| {
            let kind = name.strip_prefix(start.as_slice());
            kind.is_some_and(|kind| !kind.contains(&b'.'))
        })
        .cloned()
        .collect();
    for name in names {
        work.forget(info, &name);
    }
}
