//! The handle, and how a store is opened.

mod sync;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use kiln_base::Timestamp;
use kiln_base::trace::Tracer;
use kiln_sys::lock::{FileLock, LockKind};

use crate::error::is_disk_full;
use crate::index::{FORMAT, Format, Index, LogLimit};
use crate::layout::Layout;
use crate::lease::{Lease, Protected};
use crate::lock::is_missing;
use crate::{OpenError, StoreError};

/// Space kept back so that the index can still record what is pruned from a full disk, in bytes:
/// enough to rewrite the index of some ten thousand cache records.
const RESERVE: u64 = 4 << 20;

/// Free space from which on the index's log may grow, in bytes: copying it back into the index takes
/// as much again.
const ROOMY: u64 = 256 << 20;

/// Magic numbers of file systems that several machines can write at once (`statfs(2)`).
const NETWORK_FILESYSTEMS: [(u32, &str); 13] = [
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0000_517b, "SMB"),
    (0x0000_564c, "NCP"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
];

/// Tells the time for `last used` columns. Not used for anything that reaches an image.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

/// A content store, shared with other threads (clone it) and other processes (open it again).
///
/// What a handle looked up or stored stays in the store as long as the handle or one of its clones
/// lives, whatever other processes prune.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Layout,
    index: Index,
    clock: Clock,
    lease: Mutex<Option<Arc<Lease>>>,
    /// The root, open since before this handle stored anything: the system tells each open file of an
    /// error of the disk, but those opened later only if nobody was told before.
    directory: File,
    /// Whether something was stored since the last sync.
    unsynced: AtomicBool,
}

impl Clock {
    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Store {
    /// Opens the store at `root`, an absolute path; makes it first where there is none.
    pub fn open(root: &Path, clock: Clock) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        create_root(&layout)?;
        check_filesystem(&layout)?;
        check_owner(&layout)?;
        let directory = File::open(root).map_err(StoreError::io("open", root))?;
        let index = match open_index(&layout) {
            Err(OpenError::Store(StoreError::Database(error))) if is_disk_full(&error) => {
                release_reserve(&layout)?;
                open_index(&layout)?
            }
            other => other?,
        };
        let store = Self {
            inner: Arc::new(Inner {
                layout,
                index,
                clock,
                lease: Mutex::new(None),
                directory,
                unsynced: AtomicBool::new(false),
            }),
        };
        store.recover()?;
        Ok(store)
    }

    /// Says from now on, to this tracer, how long it waits for other processes: for the index, and
    /// for locks.
    pub fn trace(&self, tracer: &Tracer) {
        if tracer.is_on() {
            self.index().trace(tracer);
        }
    }

    /// The store's root directory.
    pub fn root(&self) -> &Path {
        &self.inner.layout.root
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub(crate) fn index(&self) -> &Index {
        &self.inner.index
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// This handle's lease; taken when it is first needed, so that reading costs nothing.
    pub(crate) fn lease(&self) -> Result<Arc<Lease>, StoreError> {
        let mut lease = self
            .inner
            .lease
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = &*lease {
            return Ok(Arc::clone(lease));
        }
        crate::lease::reap_in_background(self)?;
        let taken = Arc::new(Lease::take(self.layout())?);
        *lease = Some(Arc::clone(&taken));
        Ok(taken)
    }

    /// Looks something up and keeps it from being pruned while this handle lives, both at once.
    ///
    /// `find` runs inside a write transaction and says whether the object is there.
    pub(crate) fn protect<T>(
        &self,
        object: &Protected,
        find: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let lease = self.lease()?;
        let found = self.index().write(|transaction| {
            let found = find(transaction)?;
            if found.is_some() {
                lease.record(transaction, object)?;
            }
            Ok(found)
        })?;
        if found.is_some() {
            lease.remember(object);
        }
        Ok(found)
    }

    /// Whether this handle already keeps `object` from being pruned.
    pub(crate) fn protects(&self, object: &Protected) -> bool {
        let lease = self
            .inner
            .lease
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lease.as_ref().is_some_and(|lease| lease.remembers(object))
    }

    /// Frees the reserve if the disk is so full that the index may not be able to grow.
    pub(crate) fn make_room_for_index(&self) -> Result<(), StoreError> {
        if free_bytes(self.root())? < RESERVE {
            release_reserve(self.layout())?;
        }
        Ok(())
    }

    /// Copies the index's log back, unless that might take what room there is: the log needs it more.
    pub(crate) fn checkpoint_if_it_fits(&self) -> Result<(), StoreError> {
        let log = self.layout().log();
        let bytes = match fs::metadata(&log) {
            Ok(metadata) => metadata.len(),
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(StoreError::io("examine", &log)(error)),
        };
        if free_bytes(self.root())? > bytes {
            self.index().checkpoint()?;
        }
        Ok(())
    }

    /// Puts the reserve back when there is room again.
    pub(crate) fn restore_reserve(&self) -> Result<(), StoreError> {
        if free_bytes(self.root())? > 2 * RESERVE {
            create_reserve(self.layout())?;
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let lease = self.lease.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = lease.take() {
            let is_last = lease.end(&self.index, self.clock.now());
            if is_last {
                // The log only stays longer where this fails.
                let _ = self.index.settle();
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.root())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

fn create_root(layout: &Layout) -> Result<(), StoreError> {
    let root = &layout.root;
    // Snapshots hold other systems' setuid programs: nobody else may reach them.
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    if !root.is_dir() {
        builder.create(root).map_err(StoreError::io("make", root))?;
    }
    Ok(())
}

fn check_filesystem(layout: &Layout) -> Result<(), OpenError> {
    let root = &layout.root;
    let found = rustix::fs::statfs(root).map_err(StoreError::os("examine", root))?;
    // The field's width and sign differ between machines; magic numbers have 32 bits.
    let magic = u32::try_from(found.f_type & 0xffff_ffff).unwrap_or_default();
    match network_filesystem(magic) {
        Some(kind) => Err(OpenError::NetworkFilesystem {
            path: root.clone(),
            kind,
        }),
        None => Ok(()),
    }
}

fn network_filesystem(magic: u32) -> Option<&'static str> {
    let known = NETWORK_FILESYSTEMS
        .iter()
        .find(|(known, _)| *known == magic);
    known.map(|(_, name)| *name)
}

fn check_owner(layout: &Layout) -> Result<(), OpenError> {
    let path = layout.index();
    let owner = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata.uid(),
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let root = fs::symlink_metadata(&layout.root);
            root.map_err(StoreError::io("examine", &layout.root))?.uid()
        }
        Err(error) => return Err(StoreError::io("examine", &path)(error).into()),
    };
    let user = rustix::process::geteuid().as_raw();
    if owner == user {
        return Ok(());
    }
    Err(OpenError::OtherOwner {
        path: layout.root.clone(),
        owner,
        user,
    })
}

fn open_index(layout: &Layout) -> Result<Index, OpenError> {
    let index = open_tables(layout)?;
    let limit = if free_bytes(&layout.root)? > ROOMY {
        LogLimit::Roomy
    } else {
        LogLimit::Tight
    };
    index.limit_log(limit)?;
    Ok(index)
}

fn open_tables(layout: &Layout) -> Result<Index, OpenError> {
    let index = match Index::open(layout).and_then(|index| Ok((index.format()?, index))) {
        Ok((Format::Ours, index)) => return Ok(index),
        Ok((Format::Empty | Format::Older, index)) => index,
        Ok((format, _)) => return Err(refuse(layout, format)),
        Err(error) => return Err(explain(layout, error)),
    };
    // Not the store's own lock directory, which does not exist yet.
    let lock_path = layout.root.join("creating");
    let lock = FileLock::lock(&lock_path, LockKind::Exclusive);
    let lock = lock.map_err(|error| StoreError::io("lock", &lock_path)(error.cause))?;
    match index.format()? {
        Format::Ours => {}
        Format::Empty => create_store(layout, &index)?,
        Format::Older => {
            create_directories(layout)?;
            index.migrate()?;
        }
        format => return Err(refuse(layout, format)),
    }
    let removed = lock.remove();
    removed.map_err(|error| StoreError::io("remove", &lock_path)(error.cause))?;
    Ok(index)
}

/// Makes the directories, then the tables: where there are tables, there is everything.
fn create_store(layout: &Layout, index: &Index) -> Result<(), StoreError> {
    create_directories(layout)?;
    create_reserve(layout)?;
    index.create(&sync::boot_id().unwrap_or_default())
}

fn create_directories(layout: &Layout) -> Result<(), StoreError> {
    for name in Layout::DIRECTORIES {
        let path = layout.root.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(StoreError::io("make", &path))?,
        }
    }
    Ok(())
}

fn refuse(layout: &Layout, format: Format) -> OpenError {
    let path = layout.root.clone();
    match format {
        Format::Other(found) => OpenError::TooNew {
            path,
            found,
            known: FORMAT,
        },
        Format::Empty | Format::Ours | Format::Older | Format::Foreign => {
            OpenError::NotAStore { path }
        }
    }
}

fn explain(layout: &Layout, error: StoreError) -> OpenError {
    match &error {
        StoreError::Database(cause)
            if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) =>
        {
            OpenError::NotAStore {
                path: layout.root.clone(),
            }
        }
        // SQLite does not say why it can't write; the system does.
        StoreError::Database(cause)
            if matches!(
                cause.sqlite_error_code(),
                Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen)
            ) =>
        {
            match why_not_writable(layout) {
                Some(reason) => reason.into(),
                None => error.into(),
            }
        }
        _ => error.into(),
    }
}

/// The first thing that keeps the index from being written; `None` if all may be.
fn why_not_writable(layout: &Layout) -> Option<StoreError> {
    let index = layout.index();
    [layout.root.as_path(), &index]
        .into_iter()
        .find_map(|path| {
            let access = rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
            match access {
                Ok(()) | Err(rustix::io::Errno::NOENT) => None,
                Err(errno) => Some(StoreError::os("write to the store", path)(errno)),
            }
        })
}

fn create_reserve(layout: &Layout) -> Result<(), StoreError> {
    let path = layout.reserve();
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = file.map_err(StoreError::io("open", &path))?;
    let mode = rustix::fs::FallocateFlags::empty();
    match rustix::fs::fallocate(&file, mode, 0, RESERVE) {
        // The reserve is a help, not a need.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSPC) => Ok(()),
        Err(error) => Err(StoreError::os("reserve space in", &path)(error)),
    }
}

fn release_reserve(layout: &Layout) -> Result<(), StoreError> {
    let path = layout.reserve();
    match fs::remove_file(&path) {
        Err(error) if is_missing(&error) => Ok(()),
        other => other.map_err(StoreError::io("remove", &path)),
    }
}

fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let found = rustix::fs::statvfs(path).map_err(StoreError::os("examine", path))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_a_store_knows_how_large_its_pages_are() {
        let folder = tempfile::tempdir().unwrap();
        let limit = || {
            let store = Store::open(folder.path(), Clock::new(|| Timestamp::EPOCH)).unwrap();
            let pages = |index: &rusqlite::Connection| {
                let query = "PRAGMA wal_autocheckpoint";
                Ok(index.query_row(query, [], |row| row.get::<_, i64>(0))?)
            };
            store.index().read(pages).unwrap()
        };
        let (first, second) = (limit(), limit());
        assert_eq!(first, second);
        assert!([1024, 64 * 1024].contains(&first), "{first} pages");
    }

    #[test]
    fn network_file_systems_are_known_by_their_magic_numbers() {
        assert_eq!(network_filesystem(0x6969), Some("NFS"));
        assert_eq!(network_filesystem(0xff53_4d42), Some("CIFS"));
        // ext4, tmpfs, btrfs, xfs, overlayfs.
        for local in [0xef53, 0x0102_1994, 0x9123_683e, 0x5846_5342, 0x794c_7630] {
            assert_eq!(network_filesystem(local), None);
        }
    }
}
