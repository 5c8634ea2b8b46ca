//! Digests of a build context's files, kept from build to build.
//!
//! A file whose device, inode, size and times are what they were has the content it had, unless it
//! was changed so soon after it was read that the clock of its file system had not moved on. So a
//! digest is kept only if the file had been left alone for a while when the scan began (git calls
//! the others "racily clean").
//!
//! The file `stat/<context>` is read as a whole and searched where it lies; integers are little
//! endian:
//!
//! ```text
//! "kilnstat" | version u32 | count u32 | count records | the paths | BLAKE3 of all before, 32 bytes
//! record: path offset u32 | path length u32 | dev u64 | ino u64 | size u64
//!         | mtime s i64 | ctime s i64 | mtime ns u32 | ctime ns u32 | age u32 | digest 32 bytes
//! ```
//!
//! Records are in the order of their paths. 20,000 rows in the index would take about 20 ms to load,
//! this takes about one. The checksum is needed since the file is not synced: after a loss of
//! power it may hold anything, and then counts as empty.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use kiln_base::Timestamp;
use kiln_sys::fs::{FileTime, Metadata};

use crate::lock::is_missing;
use crate::{ContextId, Store, StoreError};

const MAGIC: &[u8; 8] = b"kilnstat";
const VERSION: u32 = 1;
const HEADER: usize = 16;
const RECORD: usize = 92;
const CHECKSUM: usize = 32;

/// Files above this size are not read: no context has so many files.
const LIMIT: u64 = 1 << 30;

/// An entry that this many saves in a row did not look at is dropped: its file is gone.
const MAX_AGE: u32 = 8;

/// How long before the scan a file must have been left alone, in nanoseconds. Kernel clocks for
/// file times move every 1 to 10 ms.
const MARGIN: i64 = 100_000_000;

/// The same for files whose times are whole seconds: some file systems only keep those, FAT every
/// second one.
const COARSE_MARGIN: i64 = 2_000_000_000;

/// What tells whether a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// The device's number.
    pub dev: u64,
    /// The inode's number.
    pub ino: u64,
    /// The size in bytes.
    pub size: u64,
    /// When the content last changed.
    pub mtime: Timestamp,
    /// When the inode last changed.
    pub ctime: Timestamp,
}

/// The known digests of one context's files. Shared by the threads of a scan.
pub struct StatCache {
    context: ContextId,
    /// The whole file, checked; empty if there was none.
    bytes: Vec<u8>,
    count: usize,
    /// A bit for each record that was looked up.
    seen: Vec<AtomicU32>,
    /// The record after the one that was found last: files are looked up about in their order.
    next: AtomicUsize,
    fresh: Mutex<BTreeMap<Vec<u8>, Fresh>>,
}

type Fresh = (FileStamp, [u8; 32]);

struct Record<'a> {
    path: &'a [u8],
    stamp: FileStamp,
    age: u32,
    digest: [u8; 32],
}

impl Store {
    /// Loads what is known of a context's files.
    pub fn stat_cache(&self, context: &ContextId) -> Result<StatCache, StoreError> {
        let path = self.layout().stats().join(context.to_string());
        let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= LIMIT);
        let bytes = match fs::read(&path) {
            Ok(bytes) if is_small => bytes,
            Ok(_) => Vec::new(),
            Err(error) if is_missing(&error) => Vec::new(),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        Ok(StatCache::from_bytes(*context, bytes))
    }

    /// Saves what the scan that began at `scanned` found out; does nothing if that is nothing new.
    ///
    /// Where two scans of one context end at the same time, the later one wins.
    pub fn save_stat_cache(&self, cache: &StatCache, scanned: Timestamp) -> Result<(), StoreError> {
        let Some(bytes) = cache.to_bytes(scanned) else {
            return Ok(());
        };
        let temporary = self.lease()?.fresh_path();
        fs::write(&temporary, bytes).map_err(StoreError::io("write", &temporary))?;
        let path = self.layout().stats().join(cache.context.to_string());
        fs::rename(&temporary, &path).map_err(StoreError::io("rename", &temporary))
    }
}

impl FileStamp {
    /// The stamp of a file whose metadata was read before its content.
    pub fn of(file: &Metadata) -> Self {
        let time = |time: FileTime| Timestamp::new(time.seconds, time.nanoseconds);
        Self {
            dev: (u64::from(file.dev.major) << 32) | u64::from(file.dev.minor),
            ino: file.ino,
            size: file.size,
            mtime: time(file.mtime),
            ctime: time(file.ctime),
        }
    }

    /// Whether a change after `scanned` would show in the stamp.
    fn is_settled(&self, scanned: Timestamp) -> bool {
        let is_coarse = self.mtime.nanoseconds() == 0 && self.ctime.nanoseconds() == 0;
        let margin = if is_coarse { COARSE_MARGIN } else { MARGIN };
        let latest = crate::index::to_column(self.mtime.max(self.ctime));
        latest < crate::index::to_column(scanned).saturating_sub(margin)
    }
}

impl StatCache {
    /// The digest of the file at `path`, if the file is as it was.
    pub fn get(&self, path: &[u8], stamp: &FileStamp) -> Option<[u8; 32]> {
        let index = self.find(path)?;
        let record = self.record(index)?;
        if record.stamp != *stamp {
            return None;
        }
        self.seen
            .get(index / 32)?
            .fetch_or(1 << (index % 32), Ordering::Relaxed);
        Some(record.digest)
    }

    /// Notes a digest. `stamp` was read before the content was.
    pub fn put(&self, path: &[u8], stamp: FileStamp, digest: [u8; 32]) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.insert(path.to_owned(), (stamp, digest));
    }

    /// How many files were known when this was loaded.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no file was known when this was loaded.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn from_bytes(context: ContextId, bytes: Vec<u8>) -> Self {
        let count = check(&bytes).unwrap_or_default();
        Self {
            context,
            bytes: if count == 0 { Vec::new() } else { bytes },
            count,
            seen: (0..count.div_ceil(32)).map(|_| AtomicU32::new(0)).collect(),
            next: AtomicUsize::new(0),
            fresh: Mutex::default(),
        }
    }

    /// The file with the fresh entries merged in; `None` if there are none worth keeping.
    fn to_bytes(&self, scanned: Timestamp) -> Option<Vec<u8>> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = fresh
            .iter()
            .filter(|(_, (stamp, _))| stamp.is_settled(scanned));
        let mut records: BTreeMap<&[u8], Record<'_>> = settled
            .map(|(path, (stamp, digest))| {
                let record = Record {
                    path,
                    stamp: *stamp,
                    age: 0,
                    digest: *digest,
                };
                (path.as_slice(), record)
            })
            .collect();
        if records.is_empty() {
            return None;
        }
        for index in 0..self.count {
            let Some(mut record) = self.record(index) else {
                continue;
            };
            record.age = if self.is_seen(index) {
                0
            } else {
                record.age.saturating_add(1)
            };
            // An entry that was replaced by one too fresh to keep is out of date.
            if record.age <= MAX_AGE && !fresh.contains_key(record.path) {
                records.insert(record.path, record);
            }
        }
        write(records.values())
    }

    fn is_seen(&self, index: usize) -> bool {
        let bits = self
            .seen
            .get(index / 32)
            .map_or(0, |bits| bits.load(Ordering::Relaxed));
        bits & (1 << (index % 32)) != 0
    }

    fn find(&self, path: &[u8]) -> Option<usize> {
        let next = self.next.load(Ordering::Relaxed);
        let found = if next < self.count && self.path(next) == Some(path) {
            next
        } else {
            self.search(path)?
        };
        self.next.store(found + 1, Ordering::Relaxed);
        Some(found)
    }

    fn search(&self, path: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.path(middle)?.cmp(path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn path(&self, index: usize) -> Option<&[u8]> {
        let mut fields = Fields(self.bytes.get(HEADER + index * RECORD..)?);
        let start = HEADER + self.count * RECORD + usize::try_from(fields.u32()?).ok()?;
        let length = usize::try_from(fields.u32()?).ok()?;
        self.bytes.get(start..start.checked_add(length)?)
    }

    fn record(&self, index: usize) -> Option<Record<'_>> {
        let path = self.path(index)?;
        let mut fields = Fields(self.bytes.get(HEADER + index * RECORD + 8..)?);
        let [dev, ino, size] = [fields.u64()?, fields.u64()?, fields.u64()?];
        let [mtime, ctime] = [fields.i64()?, fields.i64()?];
        let mtime = Timestamp::new(mtime, fields.u32()?);
        let ctime = Timestamp::new(ctime, fields.u32()?);
        let stamp = FileStamp {
            dev,
            ino,
            size,
            mtime,
            ctime,
        };
        Some(Record {
            path,
            stamp,
            age: fields.u32()?,
            digest: fields.take()?,
        })
    }
}

impl fmt::Debug for StatCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatCache")
            .field("context", &self.context)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// Reads integers off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
}

/// The number of records in a file that is whole.
fn check(bytes: &[u8]) -> Option<usize> {
    let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    let mut fields = Fields(body.strip_prefix(MAGIC)?);
    if fields.u32()? != VERSION || blake3::hash(body) != *checksum {
        return None;
    }
    let count = usize::try_from(fields.u32()?).ok()?;
    let records = count.checked_mul(RECORD)?;
    (records <= body.len() - HEADER).then_some(count)
}

/// Writes records, which come in the order of their paths; `None` if they are too many.
fn write<'a, 'r: 'a>(
    records: impl ExactSizeIterator<Item = &'a Record<'r>> + Clone,
) -> Option<Vec<u8>> {
    let path_bytes: usize = records.clone().map(|record| record.path.len()).sum();
    let mut bytes = Vec::with_capacity(HEADER + records.len() * RECORD + path_bytes + CHECKSUM);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(records.len()).ok()?.to_le_bytes());
    let mut offset = 0_u32;
    for record in records.clone() {
        let length = u32::try_from(record.path.len()).ok()?;
        let FileStamp {
            dev,
            ino,
            size,
            mtime,
            ctime,
        } = record.stamp;
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        for number in [dev, ino, size] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for seconds in [mtime.seconds(), ctime.seconds()] {
            bytes.extend_from_slice(&seconds.to_le_bytes());
        }
        for number in [mtime.nanoseconds(), ctime.nanoseconds(), record.age] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&record.digest);
        offset = offset.checked_add(length)?;
    }
    for record in records {
        bytes.extend_from_slice(record.path);
    }
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::new(1000, 500_000_000);

    fn stamp(seconds: i64, nanoseconds: u32) -> FileStamp {
        let mtime = Timestamp::new(seconds, nanoseconds);
        FileStamp {
            dev: 1,
            ino: 2,
            size: 3,
            mtime,
            ctime: mtime,
        }
    }

    fn empty() -> StatCache {
        StatCache::from_bytes(ContextId([0; 32]), Vec::new())
    }

    fn saved(cache: &StatCache) -> StatCache {
        let bytes = cache.to_bytes(NOW).unwrap();
        let loaded = StatCache::from_bytes(cache.context, bytes);
        assert!(!loaded.is_empty());
        loaded
    }

    fn with(paths: &[&[u8]]) -> StatCache {
        let cache = empty();
        for path in paths {
            cache.put(path, stamp(5, 6), [7; 32]);
        }
        saved(&cache)
    }

    #[track_caller]
    fn check_settled(stamp: FileStamp, expected: bool) {
        let cache = empty();
        cache.put(b"path", stamp, [7; 32]);
        assert_eq!(cache.to_bytes(NOW).is_some(), expected);
    }

    #[test]
    fn files_changed_just_before_the_scan_are_not_kept() {
        check_settled(stamp(1000, 399_999_999), true);
        check_settled(stamp(1000, 400_000_000), false);
        check_settled(stamp(1000, 500_000_000), false);
        check_settled(stamp(2000, 1), false);
        let ctime = Timestamp::new(1000, 450_000_000);
        check_settled(
            FileStamp {
                ctime,
                ..stamp(5, 6)
            },
            false,
        );
    }

    #[test]
    fn times_in_whole_seconds_need_more_distance() {
        check_settled(stamp(998, 0), true);
        check_settled(stamp(999, 0), false);
        check_settled(stamp(999, 1), true);
    }

    #[test]
    fn any_difference_in_the_stamp_is_a_miss() {
        let cache = with(&[b"path"]);
        let same = stamp(5, 6);
        assert_eq!(cache.get(b"path", &same), Some([7; 32]));
        assert_eq!(cache.get(b"pat", &same), None);
        let time = Timestamp::new(5, 7);
        for other in [
            FileStamp { dev: 9, ..same },
            FileStamp { ino: 9, ..same },
            FileStamp { size: 9, ..same },
            FileStamp {
                mtime: time,
                ..same
            },
            FileStamp {
                ctime: time,
                ..same
            },
        ] {
            assert_eq!(cache.get(b"path", &other), None);
        }
    }

    #[test]
    fn an_entry_that_was_replaced_too_late_to_keep_goes() {
        let cache = with(&[b"racy", b"other"]);
        cache.put(b"racy", stamp(1000, 499_000_000), [8; 32]);
        assert!(
            cache.to_bytes(NOW).is_none(),
            "nothing new is worth a write"
        );
        cache.put(b"new", stamp(5, 6), [9; 32]);
        let cache = saved(&cache);
        assert_eq!(cache.get(b"racy", &stamp(5, 6)), None);
        assert_eq!(cache.get(b"other", &stamp(5, 6)), Some([7; 32]));
    }

    #[test]
    fn entries_nobody_looks_at_go_after_a_while() {
        let mut cache = with(&[b"gone", b"there"]);
        for round in 0..=MAX_AGE {
            assert_eq!(cache.len(), 2, "round {round}");
            assert!(cache.get(b"there", &stamp(5, 6)).is_some());
            cache.put(b"there", stamp(5, 6), [7; 32]);
            cache = saved(&cache);
        }
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_damaged_file_counts_as_empty() {
        let bytes = with(&[b"a", b"b"]).bytes;
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            assert!(StatCache::from_bytes(ContextId([0; 32]), damaged).is_empty());
            let short = bytes[..index].to_vec();
            assert!(StatCache::from_bytes(ContextId([0; 32]), short).is_empty());
        }
    }

    proptest! {
        #[test]
        fn what_was_put_is_found(
            entries in prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 0..20),
                (any::<[u64; 3]>(), any::<[u8; 32]>()),
                1..50,
            )
        ) {
            let cache = empty();
            let stamp = |[dev, ino, size]: [u64; 3]| FileStamp { dev, ino, size, ..stamp(5, 6) };
            for (path, (numbers, digest)) in &entries {
                cache.put(path, stamp(*numbers), *digest);
            }
            let cache = saved(&cache);
            for (path, (numbers, digest)) in &entries {
                prop_assert_eq!(cache.get(path, &stamp(*numbers)), Some(*digest));
            }
        }

        #[test]
        fn any_bytes_with_a_right_checksum_are_safe(
            count: u32, body in prop::collection::vec(any::<u8>(), 0..400), path: Vec<u8>
        ) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&VERSION.to_le_bytes());
            bytes.extend_from_slice(&(count % 6).to_le_bytes());
            bytes.extend_from_slice(&body);
            let checksum = blake3::hash(&bytes);
            bytes.extend_from_slice(checksum.as_bytes());
            let cache = StatCache::from_bytes(ContextId([0; 32]), bytes);
            cache.put(b"new", stamp(5, 6), [1; 32]);
            cache.get(&path, &stamp(5, 6));
            cache.to_bytes(NOW);
        }
    }
}
