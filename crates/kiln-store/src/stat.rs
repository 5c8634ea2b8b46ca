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

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_base::Timestamp;
use kiln_sys::fs::{FileTime, Metadata};

use crate::lock::is_missing;
use crate::{ContextId, Store, StoreError};

const MAGIC: &[u8; 8] = b"kilnstat";
const VERSION: u32 = 1;
const HEADER: usize = 16;
const RECORD: usize = 92;
const CHECKSUM: usize = 32;

/// So much of the file is written at once.
const BUFFER: usize = 256 * 1024;

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
    fresh: Mutex<Fresh>,
}

/// What was put since, in the order of that. There may be half a million files.
#[derive(Default)]
struct Fresh {
    paths: Vec<u8>,
    records: Vec<FreshRecord>,
}

struct FreshRecord {
    path: Range<usize>,
    stamp: FileStamp,
    digest: [u8; 32],
}

struct Record<'a> {
    path: &'a [u8],
    stamp: FileStamp,
    age: u32,
    digest: [u8; 32],
}

/// Where a record that is to be saved is.
#[derive(Clone, Copy)]
enum Place {
    Fresh(usize),
    Known(usize),
}

/// Records that are to be saved, in the order of their paths.
struct Saved<'a> {
    cache: &'a StatCache,
    fresh: &'a Fresh,
    places: Vec<Place>,
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
        let fresh = cache.fresh();
        let saved = cache.to_save(&fresh, scanned);
        if !(saved.has_news() && saved.fits()) {
            return Ok(());
        }
        let temporary = self.lease()?.fresh_path();
        let file = File::create(&temporary).map_err(StoreError::io("write", &temporary))?;
        let written = saved.write(file);
        written.map_err(StoreError::io("write", &temporary))?;
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
        let mut fresh = self.fresh();
        let start = fresh.paths.len();
        fresh.paths.extend_from_slice(path);
        let path = start..fresh.paths.len();
        fresh.records.push(FreshRecord {
            path,
            stamp,
            digest,
        });
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

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file becomes with the fresh entries merged in.
    fn to_save<'a>(&'a self, fresh: &'a Fresh, scanned: Timestamp) -> Saved<'a> {
        let path = |number: usize| &fresh.paths[fresh.records[number].path.clone()];
        let mut order: Vec<usize> = (0..fresh.records.len()).collect();
        // Of several for one path the last counts; the sort is stable, and each takes the place of
        // the one before.
        order.sort_by(|a, b| path(*a).cmp(path(*b)));
        order.dedup_by(|later, earlier| {
            let same = path(*later) == path(*earlier);
            if same {
                *earlier = *later;
            }
            same
        });
        let mut places = Vec::with_capacity(order.len() + self.count);
        let mut order = order.into_iter().peekable();
        let push_fresh = |places: &mut Vec<Place>, number: usize| {
            if fresh.records[number].stamp.is_settled(scanned) {
                places.push(Place::Fresh(number));
            }
        };
        for index in 0..self.count {
            let Some(record) = self.record(index) else {
                continue;
            };
            while let Some(number) = order.next_if(|number| path(*number) < record.path) {
                push_fresh(&mut places, number);
            }
            // An entry that was replaced by one too fresh to keep is out of date.
            if let Some(number) = order.next_if(|number| path(*number) == record.path) {
                push_fresh(&mut places, number);
            } else if self.next_age(index, record.age) <= MAX_AGE {
                places.push(Place::Known(index));
            }
        }
        order.for_each(|number| push_fresh(&mut places, number));
        Saved {
            cache: self,
            fresh,
            places,
        }
    }

    /// How many saves in a row will not have looked at an entry.
    fn next_age(&self, index: usize, age: u32) -> u32 {
        if self.is_seen(index) {
            0
        } else {
            age.saturating_add(1)
        }
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

impl Saved<'_> {
    /// Whether there is anything that the file does not have yet.
    fn has_news(&self) -> bool {
        let mut places = self.places.iter();
        places.any(|place| matches!(place, Place::Fresh(_)))
    }

    /// Whether all paths can be numbered.
    fn fits(&self) -> bool {
        let bytes: u64 = self.records().map(|record| record.path.len() as u64).sum();
        u32::try_from(bytes).is_ok() && u32::try_from(self.places.len()).is_ok()
    }

    fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.places.iter().filter_map(|place| match place {
            Place::Fresh(number) => {
                let record = &self.fresh.records[*number];
                Some(Record {
                    path: &self.fresh.paths[record.path.clone()],
                    stamp: record.stamp,
                    age: 0,
                    digest: record.digest,
                })
            }
            Place::Known(index) => {
                let record = self.cache.record(*index)?;
                Some(Record {
                    age: self.cache.next_age(*index, record.age),
                    ..record
                })
            }
        })
    }

    fn write(&self, file: impl Write) -> io::Result<()> {
        let too_many = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let hashed = Hashed {
            file,
            hasher: blake3::Hasher::new(),
        };
        let mut file = BufWriter::with_capacity(BUFFER, hashed);
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        let count = u32::try_from(self.places.len()).map_err(too_many)?;
        file.write_all(&count.to_le_bytes())?;
        let mut offset = 0_u64;
        for record in self.records() {
            let start = u32::try_from(offset).map_err(too_many)?;
            let length = u32::try_from(record.path.len()).map_err(too_many)?;
            file.write_all(&record.to_bytes(start, length))?;
            offset += u64::from(length);
        }
        for record in self.records() {
            file.write_all(record.path)?;
        }
        file.flush()?;
        let Hashed { file, hasher } = file.get_mut();
        file.write_all(hasher.finalize().as_bytes())
    }
}

impl Record<'_> {
    fn to_bytes(&self, start: u32, length: u32) -> [u8; RECORD] {
        let FileStamp {
            dev,
            ino,
            size,
            mtime,
            ctime,
        } = self.stamp;
        let mut bytes = [0; RECORD];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&start.to_le_bytes());
        put(&length.to_le_bytes());
        for number in [dev, ino, size] {
            put(&number.to_le_bytes());
        }
        for seconds in [mtime.seconds(), ctime.seconds()] {
            put(&seconds.to_le_bytes());
        }
        for number in [mtime.nanoseconds(), ctime.nanoseconds(), self.age] {
            put(&number.to_le_bytes());
        }
        put(&self.digest);
        bytes
    }
}

/// Digests what is written.
struct Hashed<W> {
    file: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::new(1000, 500_000_000);

    impl StatCache {
        fn to_bytes(&self, scanned: Timestamp) -> Option<Vec<u8>> {
            let fresh = self.fresh();
            let saved = self.to_save(&fresh, scanned);
            let mut bytes = Vec::new();
            saved.write(&mut bytes).unwrap();
            saved.has_news().then_some(bytes)
        }
    }

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
