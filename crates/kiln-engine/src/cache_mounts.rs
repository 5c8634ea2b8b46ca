//! Cache mounts between steps and archives: so that a machine that keeps nothing (CI) can hand the
//! caches of package managers and compilers on.
//!
//! An archive is a plain tar of the directory, with a pax global header in front that says which
//! cache mount it was. Readers that don't know its records pass over them.

use std::io::{self, BufRead, Cursor, Read, Write};
use std::path::Path;

use kiln_base::{CancelToken, Cancelled};
use kiln_layer::{
    Change, DiffError, DiffOptions, ExportError, ExportOptions, MergeError, MergeOptions, Node,
    OverlayXattrs, diff, tar_tree, untar_merge,
};
use kiln_oci::Compression;
use kiln_store::{
    CacheMount, CacheMountGuard, CacheMountKey, CacheMountOwner, Sharing, StoreError,
};
use kiln_sys::fs::{Dir, FsError, Owner};

use crate::Engine;

/// Bytes of a tar header, and what everything in an archive is a multiple of.
const BLOCK: usize = 512;
/// A header of ours is not longer than this.
const MAX_HEADER: usize = 64 * 1024;
/// The records of the header.
const RECORD_ID: &str = "KILN.cache.id";
const RECORD_NAMESPACE: &str = "KILN.cache.namespace";
const RECORD_OWNER: &str = "KILN.cache.owner";

/// A cache mount as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMountRow {
    /// What the store knows, with its size measured just now.
    pub mount: CacheMount,
    /// Whether a step uses it.
    pub in_use: bool,
    /// Whether steps of this process's kind of user find it; the others belong to another map of
    /// ids.
    pub is_reachable: bool,
}

/// Why a cache mount was not exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum CacheMountError {
    /// Nothing has this id.
    #[error("there is no cache mount `{0}`")]
    Unknown(String),
    /// Several have.
    #[error("`{id}` names {} cache mounts: {}", numbers.len(), list(numbers))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// Their numbers.
        numbers: Vec<i64>,
    },
    /// A step uses it.
    #[error("the cache mount `{0}` is in use by a build")]
    InUse(String),
    /// The archive does not say what it was, and neither does the caller.
    #[error("the archive does not say which cache mount it is for")]
    NoId,
    /// The archive has a device node: no step's cache has a use for that.
    #[error("the archive has the device node `{0}`, which a cache mount may not have")]
    Device(String),
    /// The archive could not be unpacked.
    #[error("could not unpack the archive")]
    Unpack(#[from] MergeError),
    /// The directory could not be read.
    #[error("could not archive the cache mount `{id}`")]
    Archive {
        /// Which one.
        id: String,
        /// Why.
        #[source]
        cause: ExportError,
    },
    /// What was unpacked could not be looked through.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// The archive could not be read.
    #[error("could not read the archive")]
    Read(#[source] io::Error),
    /// The archive could not be written.
    #[error("could not write the archive")]
    Write(#[source] io::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

fn list(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| format!("@{number}")).collect();
    numbers.join(", ")
}

impl Engine {
    /// Every cache mount, in the order in which they were made.
    pub fn cache_mounts(&self) -> Result<Vec<CacheMountRow>, StoreError> {
        let mounts = self.store.measure_cache_mounts()?.into_iter();
        let rows = mounts.map(|mount| {
            Ok(CacheMountRow {
                in_use: self.store.is_cache_mount_in_use(mount.number)?,
                is_reachable: mount.key.scope == self.machine.scope(),
                mount,
            })
        });
        rows.collect()
    }

    /// The cache mounts that `text` names: `@` and a number for one directory, else an id.
    pub fn find_cache_mounts(&self, text: &str) -> Result<Vec<CacheMount>, CacheMountError> {
        let number: Option<i64> = text
            .strip_prefix('@')
            .and_then(|number| number.parse().ok());
        let mut found = self.store.cache_mounts()?;
        found.retain(|mount| match number {
            Some(number) => mount.number == number,
            None => mount.key.id == text,
        });
        if found.is_empty() {
            return Err(CacheMountError::Unknown(text.to_owned()));
        }
        Ok(found)
    }

    /// Writes what is in a cache mount as a tar archive, owners and times included. Nobody else
    /// uses the directory meanwhile. Returns what was written.
    pub fn export_cache_mount(
        &self,
        text: &str,
        compression: Compression,
        sink: impl Write,
        cancel: &CancelToken,
    ) -> Result<CacheMount, CacheMountError> {
        let mut found = self.find_cache_mounts(text)?;
        if found.len() > 1 {
            found.retain(|mount| mount.key.scope == self.machine.scope());
        }
        let mount = match (found.pop(), found.len()) {
            (Some(mount), 0) => mount,
            (None, _) => return Err(CacheMountError::Unknown(text.to_owned())),
            (Some(last), _) => {
                let all = found.iter().chain([&last]);
                return Err(CacheMountError::Ambiguous {
                    id: text.to_owned(),
                    numbers: all.map(|mount| mount.number).collect(),
                });
            }
        };
        let guard = self.take(&mount)?;
        let dir = self.machine.tree(Dir::open(guard.dir())?);
        let root = dir.metadata(Dir::ITSELF)?;
        let owner = CacheMountOwner {
            uid: root.uid,
            gid: root.gid,
            mode: root.mode & 0o7777,
        };
        let header = header(&mount.key, owner);
        let archive = |sink: &mut dyn Write| -> Result<(), CacheMountError> {
            sink.write_all(&header).map_err(CacheMountError::Write)?;
            let options = ExportOptions { clamp_mtime: None };
            tar_tree(&dir, sink, &options, cancel).map_err(|cause| CacheMountError::Archive {
                id: mount.key.id.clone(),
                cause,
            })
        };
        compressed(compression, sink, archive)?;
        drop(guard);
        Ok(mount)
    }

    /// Puts an archive, compressed or not, in the place of what a cache mount holds; makes it where
    /// there is none. `id` says which one, else the archive does. Returns its id.
    ///
    /// Nothing is written outside of the directory whatever the archive says. If anything is wrong
    /// with it, what was there stays.
    pub fn import_cache_mount(
        &self,
        archive: impl Read + Send,
        (id, namespace): (Option<&str>, Option<&str>),
        cancel: &CancelToken,
    ) -> Result<String, CacheMountError> {
        let mut archive = kiln_image::decoder(archive).map_err(CacheMountError::Read)?;
        let (start, label) = read_header(&mut archive).map_err(CacheMountError::Read)?;
        let id = id.map(str::to_owned).or(label.id);
        let key = CacheMountKey {
            namespace: namespace.map_or(label.namespace, str::to_owned),
            id: id.ok_or(CacheMountError::NoId)?,
            scope: self.machine.scope().to_vec(),
        };
        let mut guard = self.open_for_import(&key, label.owner, cancel)?;
        let owner = label.owner;
        guard.replace(|path| {
            let dir = self.machine.tree(Dir::open(path)?);
            let options = MergeOptions {
                owner: None,
                clamp_mtime: None,
            };
            let archive = Cursor::new(start).chain(archive);
            untar_merge(archive, &dir, Path::new("/"), &options, cancel)?;
            refuse_devices(&dir, cancel)?;
            let known = Owner {
                uid: owner.uid,
                gid: owner.gid,
            };
            dir.set_owner(Dir::ITSELF, known)?;
            dir.set_mode(Dir::ITSELF, owner.mode)?;
            Ok::<_, CacheMountError>(())
        })?;
        guard.mark_filled()?;
        Ok(key.id)
    }

    fn take(&self, mount: &CacheMount) -> Result<CacheMountGuard, CacheMountError> {
        let taken = self.store.take_cache_mount(mount.number)?;
        taken.ok_or_else(|| CacheMountError::InUse(mount.key.id.clone()))
    }

    /// The directory of a key: the one that is there, else a new one.
    fn open_for_import(
        &self,
        key: &CacheMountKey,
        owner: CacheMountOwner,
        cancel: &CancelToken,
    ) -> Result<CacheMountGuard, CacheMountError> {
        let known = self.store.cache_mounts()?;
        match known.iter().find(|mount| mount.key == *key) {
            Some(mount) => self.take(mount),
            None => {
                let sharing = Sharing::Locked;
                Ok(self.store.open_cache_mount(key, owner, sharing, cancel)?)
            }
        }
    }
}

fn refuse_devices(dir: &Dir, cancel: &CancelToken) -> Result<(), CacheMountError> {
    let options = DiffOptions {
        xattrs: OverlayXattrs::User,
        clamp_mtime: None,
    };
    for change in diff(dir, &[], &options, cancel)?.iter() {
        if let Change::Entry(entry) = change
            && matches!(entry.node, Node::CharDevice(_) | Node::BlockDevice(_))
        {
            return Err(CacheMountError::Device(entry.path.display().to_string()));
        }
    }
    Ok(())
}

/// Writes by `write` through a compressor into `sink`.
fn compressed(
    compression: Compression,
    mut sink: impl Write,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CacheMountError>,
) -> Result<(), CacheMountError> {
    match compression {
        Compression::None => write(&mut sink)?,
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut sink, flate2::Compression::new(4));
            write(&mut encoder)?;
            encoder.finish().map_err(CacheMountError::Write)?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(&mut sink, 3).map_err(CacheMountError::Write)?;
            write(&mut encoder)?;
            encoder.finish().map_err(CacheMountError::Write)?;
        }
    }
    sink.flush().map_err(CacheMountError::Write)
}

/// What an archive says it is.
#[derive(Debug, PartialEq, Eq)]
struct Label {
    id: Option<String>,
    namespace: String,
    owner: CacheMountOwner,
}

/// A pax global header with what a cache mount is.
fn header(key: &CacheMountKey, owner: CacheMountOwner) -> Vec<u8> {
    let owner = format!("{}:{}:{:o}", owner.uid, owner.gid, owner.mode);
    let records = [
        (RECORD_ID, key.id.as_str()),
        (RECORD_NAMESPACE, key.namespace.as_str()),
        (RECORD_OWNER, owner.as_str()),
    ];
    let body: String = records.map(|(name, value)| record(name, value)).concat();
    let mut block = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, "pax_global_header");
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", body.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "g");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut all = block.to_vec();
    all.extend_from_slice(body.as_bytes());
    all.resize(all.len().next_multiple_of(BLOCK), 0);
    all
}

/// `LENGTH NAME=VALUE\n`, where the length is the whole record's, itself included.
fn record(name: &str, value: &str) -> String {
    let rest = format!(" {name}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

/// Reads the beginning of an archive: what was read, and what it says.
fn read_header(archive: &mut dyn BufRead) -> io::Result<(Vec<u8>, Label)> {
    let mut label = Label {
        id: None,
        namespace: String::new(),
        owner: CacheMountOwner {
            uid: 0,
            gid: 0,
            mode: 0o755,
        },
    };
    let mut start = Vec::new();
    let mut take = |start: &mut Vec<u8>, count: usize| {
        let limit = u64::try_from(count).unwrap_or(u64::MAX);
        (&mut *archive).take(limit).read_to_end(start)
    };
    if take(&mut start, BLOCK)? < BLOCK || start[156] != b'g' {
        return Ok((start, label));
    }
    let size = std::str::from_utf8(&start[124..135]).unwrap_or_default();
    let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap_or(0);
    // What is longer is somebody else's.
    if size <= MAX_HEADER {
        take(&mut start, size.next_multiple_of(BLOCK))?;
        let body = &start[BLOCK..start.len().min(BLOCK + size)];
        read_records(&String::from_utf8_lossy(body), &mut label);
    }
    Ok((start, label))
}

fn read_records(mut text: &str, label: &mut Label) {
    while let Some((length, _)) = text.split_once(' ') {
        let end = length.parse::<usize>().unwrap_or(0);
        let record = text.get(length.len() + 1..end);
        let Some(record) = record.and_then(|record| record.strip_suffix('\n')) else {
            return;
        };
        match record.split_once('=') {
            Some((RECORD_ID, id)) if !id.is_empty() => label.id = Some(id.to_owned()),
            Some((RECORD_NAMESPACE, namespace)) => namespace.clone_into(&mut label.namespace),
            Some((RECORD_OWNER, owner)) => label.owner = read_owner(owner).unwrap_or(label.owner),
            _ => {}
        }
        text = &text[end..];
    }
}

fn read_owner(text: &str) -> Option<CacheMountOwner> {
    let mut parts = text.split(':');
    let uid = parts.next()?.parse().ok()?;
    let gid = parts.next()?.parse().ok()?;
    let mode = u32::from_str_radix(parts.next()?, 8).ok()? & 0o7777;
    Some(CacheMountOwner { uid, gid, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: &str, namespace: &str) {
        let key = CacheMountKey {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            scope: Vec::new(),
        };
        let owner = CacheMountOwner {
            uid: 1000,
            gid: 7,
            mode: 0o2775,
        };
        let written = header(&key, owner);
        assert_eq!(written.len() % BLOCK, 0);
        let archive = [written.as_slice(), &[7; 100]].concat();
        let mut rest = archive.as_slice();
        let (start, label) = read_header(&mut rest).unwrap();
        assert_eq!(start, written);
        assert_eq!(rest, [7; 100]);
        let expected = Label {
            id: (!id.is_empty()).then(|| id.to_owned()),
            namespace: namespace.to_owned(),
            owner,
        };
        assert_eq!(label, expected);
    }

    #[test]
    fn an_archive_says_what_it_is() {
        check("/root/.cache", "");
        check("go=build\n12 x=y", "team");
        check(&"long/".repeat(300), "");
        // Lengths around a power of ten, where the length counts itself.
        for length in 70..90 {
            check(&"x".repeat(length), "");
        }
    }

    #[test]
    fn other_archives_say_nothing() {
        for text in [&b""[..], b"short", &[0; 2 * BLOCK]] {
            let mut archive = text;
            let (start, label) = read_header(&mut archive).unwrap();
            assert_eq!([start.as_slice(), archive].concat(), text);
            assert_eq!(label.id, None);
        }
    }

    #[test]
    fn records_that_lie_are_passed_over() {
        for body in [
            "99 KILN.cache.id=x\n",
            "0 a=b\n",
            "3 \u{e9}\u{e9}",
            "7 é=\n",
            "x",
            " ",
        ] {
            let (_, mut label) = read_header(&mut &b""[..]).unwrap();
            read_records(body, &mut label);
            assert_eq!(label.id, None, "{body}");
        }
    }
}
