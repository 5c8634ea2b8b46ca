//! Taking packages out of apk's database, as `apk del` would leave it.
//!
//! The archive of scripts keeps those of packages that are gone; apk finds scripts by a package's
//! checksum and passes over the others.

use std::collections::{BTreeMap, BTreeSet};

use super::OptimiseError;
use super::devel::{Listed, Work};
use crate::packages::MAX_DATABASE;
use crate::packages::apk::{self, ApkPackage, Installed};

pub(super) fn remove(work: &mut Work<'_>, installed: &Installed) -> Result<(), OptimiseError> {
    let packages: Vec<_> = installed
        .packages
        .iter()
        .map(|apk| apk.package.clone())
        .collect();
    let (removal, files) = work.decide(&packages, BTreeMap::new(), |_, number| {
        Ok(listed(&installed.packages[number]))
    })?;
    if removal.removed.is_empty() {
        return Ok(());
    }
    let (gone, stays): (Vec<_>, Vec<_>) = installed
        .packages
        .iter()
        .enumerate()
        .partition(|(number, _)| removal.removed.contains_key(number));
    let others: Vec<Listed> = stays.iter().map(|(_, apk)| listed(apk)).collect();
    work.unlink(files, &others);
    let mut text = Vec::with_capacity(installed.text.len());
    let mut from = 0;
    for (_, apk) in &gone {
        text.extend_from_slice(&installed.text[from..apk.paragraph.start]);
        from = apk.paragraph.end;
    }
    text.extend_from_slice(&installed.text[from..]);
    work.rewrite(installed.path.as_bytes(), text);
    let names: BTreeSet<&str> = gone
        .iter()
        .map(|(_, apk)| apk.package.name.as_str())
        .collect();
    rewrite_world(work, &names)?;
    let checksums = gone.iter().map(|(_, apk)| apk.checksum.as_str()).collect();
    rewrite_triggers(work, &installed.path, &checksums)
}

fn listed(apk: &ApkPackage) -> Listed {
    let paths = apk.files.iter().chain(&apk.directories);
    let paths = paths.filter(|path| !path.is_empty());
    Listed {
        paths: paths.map(|path| path.clone().into_bytes()).collect(),
    }
}

fn rewrite_world(work: &mut Work<'_>, removed: &BTreeSet<&str>) -> Result<(), OptimiseError> {
    let text = work.read(apk::WORLD, MAX_DATABASE)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_removed = |word: &str| {
        let names = apk::world_names(word);
        names.iter().any(|name| removed.contains(name.as_str()))
    };
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let kept: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !is_removed(word))
        .collect();
    if kept.len() != words.len() {
        let mut lines = kept.join("\n");
        if !lines.is_empty() {
            lines.push('\n');
        }
        work.rewrite(apk::WORLD.as_bytes(), lines.into_bytes());
    }
    Ok(())
}

/// Lines of a checksum and the paths that are watched.
fn rewrite_triggers(
    work: &mut Work<'_>,
    installed: &str,
    removed: &BTreeSet<&str>,
) -> Result<(), OptimiseError> {
    let path = installed.replace("/installed", "/triggers");
    let text = work.read(&path, MAX_DATABASE)?;
    let stays = |line: &&[u8]| {
        let line = String::from_utf8_lossy(line);
        let checksum = line.split_ascii_whitespace().next().unwrap_or_default();
        !removed.contains(checksum)
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let kept = lines.filter(stays).collect::<Vec<_>>().concat();
    if kept.len() != text.len() {
        work.rewrite(path.as_bytes(), kept);
    }
    Ok(())
}
