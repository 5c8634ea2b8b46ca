//! Where a system says that its libraries are: glibc's `/etc/ld.so.conf` and `/etc/ld.so.cache`,
//! musl's `/etc/ld-musl-*.path`.

use std::collections::BTreeMap;

use kiln_disk::{Contents, Tree};

use crate::paths;

/// Configuration files may be this long, in bytes.
const MAX_CONF: u64 = 1 << 20;
/// So many are read.
const MAX_FILES: usize = 200;
/// The cache may be this long, in bytes: large systems have some 100 KB.
const MAX_CACHE: u64 = 16 << 20;

const CACHE_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const CACHE_HEADER: usize = 48;
const CACHE_ENTRY: usize = 24;

/// The directories of `/etc/ld.so.conf` and what it includes.
pub(super) fn folders(tree: &Tree, contents: &dyn Contents) -> Vec<Vec<u8>> {
    let mut folders = Vec::new();
    let mut pending = vec![b"/etc/ld.so.conf".to_vec()];
    let mut read = 0;
    while let Some(path) = pending.pop() {
        read += 1;
        if read > MAX_FILES {
            break;
        }
        // What can't be read says nothing, as for ldconfig.
        let text = paths::read_or_empty(tree, contents, &path, MAX_CONF).unwrap_or_default();
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let line = line.trim_ascii();
            match line.strip_prefix(b"include") {
                Some(rest) if rest.starts_with(b" ") || rest.starts_with(b"\t") => {
                    pending.extend(included(tree, rest.trim_ascii()));
                }
                _ if line.is_empty() || line.starts_with(b"hwcap") => {}
                _ => {
                    let words = line.split(|byte| matches!(byte, b' ' | b'\t' | b':' | b','));
                    let words = words.filter(|word| word.starts_with(b"/"));
                    folders.extend(words.map(<[u8]>::to_vec));
                }
            }
        }
    }
    folders
}

/// The files that a pattern names; stars are understood in its last part.
fn included(tree: &Tree, pattern: &[u8]) -> Vec<Vec<u8>> {
    // Relative patterns are relative to the file, which is in `/etc`.
    let pattern = match pattern.first() {
        Some(b'/') => pattern.to_vec(),
        _ => paths::join(b"/etc", pattern),
    };
    let name = paths::base_name(&pattern).to_vec();
    let folder = &pattern[..pattern.len() - name.len()];
    let Some(id) = paths::lookup(tree, folder) else {
        return Vec::new();
    };
    let entries = tree.entries(id).iter();
    let fitting = entries.filter(|entry| crate::optimise::fits(&name, &entry.name));
    // The last is taken first.
    let mut files: Vec<Vec<u8>> = fitting
        .take(MAX_FILES)
        .map(|entry| paths::join(folder, &entry.name))
        .collect();
    files.reverse();
    files
}

/// The libraries of `/etc/ld.so.cache`: names and where they are.
pub(super) fn cache(tree: &Tree, contents: &dyn Contents) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let bytes = paths::read_or_empty(tree, contents, b"/etc/ld.so.cache", MAX_CACHE);
    parse_cache(&bytes.unwrap_or_default()).unwrap_or_default()
}

fn parse_cache(bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<Vec<u8>>>> {
    // Older caches have one of this format behind another.
    let start = bytes
        .windows(CACHE_MAGIC.len())
        .position(|part| part == CACHE_MAGIC)?;
    let cache = &bytes[start..];
    let number = |at: usize| {
        let bytes = cache.get(at..at + 4)?;
        // Caches are written by the machine that reads them; other byte orders just don't fit.
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let text = |at: usize| {
        let rest = cache.get(at..)?;
        let end = rest.iter().take(4096).position(|byte| *byte == 0)?;
        Some(rest[..end].to_vec())
    };
    let count = number(CACHE_MAGIC.len())?;
    let mut libraries: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for index in 0..count.min(cache.len() / CACHE_ENTRY) {
        let at = CACHE_HEADER + index * CACHE_ENTRY;
        let (Some(name), Some(path)) =
            (number(at + 4).and_then(text), number(at + 8).and_then(text))
        else {
            break;
        };
        libraries.entry(name).or_default().push(path);
    }
    Some(libraries)
}

/// What `/etc/ld.so.preload` says.
pub(super) fn preload(tree: &Tree, contents: &dyn Contents) -> Vec<u8> {
    paths::read_or_empty(tree, contents, b"/etc/ld.so.preload", MAX_CONF).unwrap_or_default()
}

/// The directories of musl's loader.
pub(super) fn musl_folders(tree: &Tree, contents: &dyn Contents) -> Vec<Vec<u8>> {
    let etc = paths::lookup(tree, b"etc");
    let entries = etc.map(|id| tree.entries(id)).unwrap_or_default();
    let file = entries
        .iter()
        .find(|entry| crate::optimise::fits(b"ld-musl-*.path", &entry.name));
    let text = file
        .map(|file| paths::join(b"etc", &file.name))
        .and_then(|path| {
            let text = paths::read_or_empty(tree, contents, &path, MAX_CONF).ok()?;
            Some(text).filter(|text| !text.is_empty())
        });
    let text = text.unwrap_or_else(|| b"/lib:/usr/local/lib:/usr/lib".to_vec());
    let folders = text.split(|byte| matches!(byte, b':' | b'\n'));
    let folders = folders.filter(|folder| !folder.is_empty());
    folders.map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_read_as_far_as_it_makes_sense() {
        let mut bytes = CACHE_MAGIC.to_vec();
        bytes.extend(2_u32.to_le_bytes());
        bytes.resize(CACHE_HEADER, 0);
        let strings = CACHE_HEADER + 2 * CACHE_ENTRY;
        for (name, path) in [(strings, strings + 8), (9999, 0)] {
            bytes.extend(3_u32.to_le_bytes());
            bytes.extend(u32::try_from(name).unwrap().to_le_bytes());
            bytes.extend(u32::try_from(path).unwrap().to_le_bytes());
            bytes.extend([0; 12]);
        }
        bytes.extend(b"libx.so\0/lib/libx.so\0");
        let cache = parse_cache(&bytes).unwrap();
        assert_eq!(cache[&b"libx.so"[..]], [b"/lib/libx.so".to_vec()]);
        assert_eq!(cache.len(), 1);
        assert!(parse_cache(b"ld.so-1.7.0").is_none());
        for length in 0..bytes.len() {
            parse_cache(&bytes[..length]);
        }
    }
}
