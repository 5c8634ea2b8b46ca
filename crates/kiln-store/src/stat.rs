//! Digests of a build context's files, kept from build to build.
//!
//! A file whose device, inode, size and times are what they were has the content it had, unless it
//! was changed so soon after it was read that the clock of its file system had not moved on. So a
//! digest is kept only if the file had been left alone for a while when the scan began (git calls
//! the others "racily clean").
//!
//! The file `stat/<context>` is a table, sorted by path, of which a lookup reads one block: see
//! [`table`]. Files are looked up in about its order, so each block is read once. Of each block, and
//! so of some hundreds of files, memory has where it is, its checksum and its first path, and of each
//! file one bit. What is new is sorted and written to the disk whenever there is much of it, and at
//! the end all becomes one table. 20,000 rows in the store's index would take about 20 ms to load; of
//! this only the table's index is loaded.

mod merge;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_base::Timestamp;
use kiln_sys::fs::{FileTime, Metadata};

use crate::lock::is_missing;
use crate::{ContextId, Store, StoreError};

use merge::merge;
use table::{Blocks, Record, Table};
use writer::{At, TableWriter};

/// An entry that this many saves in a row did not look at is dropped: its file is gone.
const MAX_AGE: u32 = 8;

/// How long before the scan a file must have been left alone, in nanoseconds. Kernel clocks for
/// file times move every 1 to 10 ms.
const MARGIN: i64 = 100_000_000;

/// The same for files whose times are whole seconds: some file systems only keep those, FAT every
/// second one.
const COARSE_MARGIN: i64 = 2_000_000_000;

/// So many bytes of what is new are kept in memory.
const FRESH_BYTES: usize = if cfg!(test) { 2048 } else { 4 << 20 };

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
    /// What was known when this was loaded.
    known: Table,
    /// Its blocks that were read last.
    blocks: Mutex<Blocks>,
    /// A bit for each record of it that was looked up.
    seen: Vec<AtomicU32>,
    fresh: Mutex<Fresh>,
    scratch: Scratch,
}

/// Makes a file that nobody else sees, and that is gone when it is closed.
type Scratch = Box<dyn Fn() -> io::Result<File> + Send + Sync>;

/// What was put since. There may be half a million files.
#[derive(Default)]
struct Fresh {
    /// What was put last, in the order of that.
    paths: Vec<u8>,
    records: Vec<FreshRecord>,
    /// What was put before, on the disk: later tables count more.
    spilled: Vec<Table>,
    /// Where they are, and where the next begins.
    spill: Option<(Arc<File>, u64)>,
}

struct FreshRecord {
    path: Range<usize>,
    stamp: FileStamp,
    digest: [u8; 32],
}

impl Store {
    /// Loads what is known of a context's files.
    pub fn stat_cache(&self, context: &ContextId) -> Result<StatCache, StoreError> {
        let path = self.layout().stats().join(context.to_string());
        let known = match File::open(&path) {
            Ok(file) => Table::open(Arc::new(file), *context),
            Err(error) if is_missing(&error) => Ok(Table::default()),
            Err(error) => Err(error),
        };
        let known = known.map_err(StoreError::io("read", &path))?;
        let store = self.clone();
        let scratch = Box::new(move || store.scratch_file());
        Ok(StatCache::new(*context, known, scratch))
    }

    /// Saves what the scan that began at `scanned` found out; does nothing if that is nothing new.
    ///
    /// Where two scans of one context end at the same time, the later one wins.
    pub fn save_stat_cache(&self, cache: &StatCache, scanned: Timestamp) -> Result<(), StoreError> {
        let fresh = cache.fresh();
        if !fresh.has_news(scanned) {
            return Ok(());
        }
        let temporary = self.lease()?.fresh_path();
        let file = File::create(&temporary).map_err(StoreError::io("write", &temporary))?;
        let written = cache.write(&fresh, scanned, file);
        written.map_err(StoreError::io("write", &temporary))?;
        let path = self.layout().stats().join(cache.context.to_string());
        // Another process that keeps a snapshot has the index locked and may wait for this.
        let _turn = self.index().begin_a_turn();
        fs::rename(&temporary, &path).map_err(StoreError::io("rename", &temporary))
    }

    fn scratch_file(&self) -> io::Result<File> {
        let path = self.lease().map_err(io::Error::other)?.fresh_path();
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
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
    fn new(context: ContextId, known: Table, scratch: Scratch) -> Self {
        let count = known.count();
        Self {
            context,
            known,
            blocks: Mutex::default(),
            seen: (0..count.div_ceil(32)).map(|_| AtomicU32::new(0)).collect(),
            fresh: Mutex::default(),
            scratch,
        }
    }

    /// The digest of the file at `path`, if the file is as it was.
    ///
    /// What can't be read of the file on the disk is not known.
    pub fn get(&self, path: &[u8], stamp: &FileStamp) -> Option<[u8; 32]> {
        if self.known.count() == 0 {
            return None;
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, record) = blocks.find(&self.known, path)?;
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
        if path.len() > table::LONGEST_PATH {
            return;
        }
        let mut fresh = self.fresh();
        let start = fresh.paths.len();
        fresh.paths.extend_from_slice(path);
        let path = start..fresh.paths.len();
        fresh.records.push(FreshRecord {
            path,
            stamp,
            digest,
        });
        if fresh.bytes() >= FRESH_BYTES {
            fresh.spill(self.context, &self.scratch);
        }
    }

    /// How many files were known when this was loaded.
    pub fn len(&self) -> usize {
        self.known.count()
    }

    /// Whether no file was known when this was loaded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the file becomes with the fresh entries merged in.
    fn write(&self, fresh: &Fresh, scanned: Timestamp, file: impl io::Write) -> io::Result<()> {
        let mut writer = TableWriter::new(file, 0, self.context);
        merge(self, fresh, |number, record| {
            let Some(number) = number else {
                // Where this one goes, what was known before is out of date as well.
                if record.stamp.is_settled(scanned) {
                    writer.push(&record)?;
                }
                return Ok(());
            };
            let age = self.next_age(number, record.age);
            if age > MAX_AGE {
                return Ok(());
            }
            writer.push(&Record { age, ..record })
        })?;
        writer.close()
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
}

impl Fresh {
    /// What it takes in memory.
    fn bytes(&self) -> usize {
        self.paths.len() + self.records.len() * size_of::<FreshRecord>()
    }

    /// Whether there is anything that is worth a write.
    fn has_news(&self, scanned: Timestamp) -> bool {
        let mut stamps = self.records.iter().map(|record| &record.stamp);
        !self.spilled.is_empty() || stamps.any(|stamp| stamp.is_settled(scanned))
    }

    fn path(&self, number: usize) -> &[u8] {
        &self.paths[self.records[number].path.clone()]
    }

    fn record(&self, number: usize) -> Record<'_> {
        let record = &self.records[number];
        Record {
            path: self.path(number),
            stamp: record.stamp,
            age: 0,
            digest: record.digest,
        }
    }

    /// The numbers of what is in memory by path; of several for one path the last.
    fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.records.len()).collect();
        // The sort is stable, and each takes the place of the one before.
        order.sort_by(|a, b| table::order(self.path(*a), self.path(*b)));
        order.dedup_by(|later, earlier| {
            let same = self.path(*later) == self.path(*earlier);
            if same {
                *earlier = *later;
            }
            same
        });
        order
    }

    /// Makes a table of what is in memory. Where the disk does not take it, it is forgotten: memory
    /// has its bounds, and the next build reads these files again. What was known of them before has
    /// another stamp than they have now.
    fn spill(&mut self, context: ContextId, scratch: &Scratch) {
        if let Ok((table, file, end)) = self.spilled(context, scratch) {
            self.spilled.push(table);
            self.spill = Some((file, end));
        }
        self.paths.clear();
        self.records.clear();
    }

    fn spilled(
        &self,
        context: ContextId,
        scratch: &Scratch,
    ) -> io::Result<(Table, Arc<File>, u64)> {
        let (file, start) = match &self.spill {
            Some((file, end)) => (Arc::clone(file), *end),
            None => (Arc::new(scratch()?), 0),
        };
        let mut writer = TableWriter::new(At(&file, start), start, context);
        for number in self.sorted() {
            writer.push(&self.record(number))?;
        }
        let (blocks, end) = writer.finish()?;
        Ok((Table::of(Arc::clone(&file), blocks, context), file, end))
    }
}

impl fmt::Debug for StatCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatCache")
            .field("context", &self.context)
            .field("count", &self.len())
            .finish_non_exhaustive()
    }
}
