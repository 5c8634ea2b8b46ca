//! Content store, snapshots, cache index, leases and garbage collection: what several kiln
//! processes share on disk.
//!
//! # On disk
//!
//! ```text
//! <root>/                      0700, owned by the user it belongs to
//!   kiln.db, -wal, -shm        SQLite: everything that is not bytes of content; `user_version` is the format
//!   reserve                    4 MiB, given up when the index has to be written on a full disk
//!   blobs/sha256/<hex>         blobs, each complete and verified; likewise blobs/sha512
//!   partial/<algorithm>-<hex>  beginnings of blobs; locked while somebody appends
//!   snapshots/<number>/fs      one layer each, in the form overlayfs stacks; the number is in the index
//!   snapshots/<number>/spare   further names of files of a flattened snapshot
//!   mounts/<number>/fs         cache mounts, and mounts/<number>/lock, held by their users; rows in the index
//!   builds/<id>.jsonl.zst      the events of one build; locked while it runs; a row in the index
//!   logs/                      what the program writes about its own work, outside of this crate
//!   stat/<hex>                 digests of one build context's files (see the module `stat`)
//!   leases/<id>                one file for each process, locked while it lives
//!   tmp/<id>/                  what that process has not finished: blobs, snapshots, things being removed
//!   unsynced/<...>             marks of blobs that are not synced yet (see the module `mark`), since, and failed-<boot>
//!   locks/<hash>               named locks, while somebody holds them
//! ```
//!
//! A blob is in the store if its file is. A snapshot is in the store if the index has its row; the
//! directory was there first. The tables are in the module `index`.
//!
//! # What needs what
//!
//! Roots are images (named or not) and what live leases protect. An image leads to its manifest or
//! index and on to what that names. A cache record leads to its snapshot, a snapshot to the one
//! below it, and through layer records to blobs. Cache records, and the snapshots of unpacked
//! layers, stay until a [`Store::prune`] takes them, least recently used first. A blob nothing leads
//! to is garbage, and so is a snapshot of a step that no record leads to. A snapshot that several were
//! flattened into is only there to mount less; it goes with the topmost of them. Cache mounts stay until
//! [`Store::prune_cache_mounts`] takes them, records of builds until newer ones push them out.
//!
//! # Locking
//!
//! Four kinds of locks, all of which die with their holder:
//!
//! * SQLite's write lock, for some microseconds. Besides the index it orders renames: nothing is
//!   renamed out of `blobs/` and `snapshots/`, or into `snapshots/`, except inside a write transaction.
//!   So whoever looks something up and protects it in one transaction, and whoever marks and sweeps in
//!   one, see the same store. A blob gets its name after the transaction that protects it, so a sweep
//!   in between finds a blob needed that is not there yet.
//! * `flock` on `leases/<id>`, for the life of a handle. Whatever a handle looked up or stored has a
//!   row in `protected`, which counts as long as its lease is locked.
//! * `flock` on `mounts/*/lock` and `builds/*`, for as long as a step uses the cache mount or the build
//!   runs.
//! * `flock` on `locks/*` and `partial/*`, for as long as a download, the unpacking of a layer, a sync
//!   or the first open after a boot takes. Whoever holds one may take the write lock, never the other
//!   way round.
//!
//! # Crashes
//!
//! A process killed at any moment leaves an unlocked lease file and a directory below `tmp/`; the
//! next process that needs a lease, or a prune, reaps both. Between the rename of a snapshot and
//! the commit of its row the row may be lost; the directory is then garbage. A full disk fails the
//! write, never what was there.
//!
//! A loss of power: syncing each blob, or thousands of small files of a snapshot, would be far too
//! slow, so what is new is synced by [`Store::sync`], all at once. When a store is opened for the
//! first time since the machine started (the kernel's boot id tells), snapshots that were not synced
//! are dropped, with all that builds on them, and so are rows whose directory is gone. Blobs that were
//! not synced are compared with their digests (see the module `mark`); those that are damaged go, and
//! so do the images that need them, or one that should be there and is not. Rows themselves may get lost from the
//! end of SQLite's log, never in part (`synchronous=NORMAL`).
//!
//! # Deliberately absent
//!
//! Registries, archives and image formats; what a cache key covers; mounting; compression. Several
//! users of one store: the files of a snapshot are another system's, with its setuid programs, and
//! only their owner may reach them. Network file systems, where neither locks nor SQLite's shared
//! memory can be trusted. A tenant is a store of its own.

mod blob;
mod cache;
mod cache_mount;
mod contents;
mod crowd;
mod download;
mod error;
mod growth;
mod history;
mod id;
mod image;
mod index;
mod layout;
mod lease;
mod lock;
mod mark;
mod partial;
mod prune;
mod snapshot;
mod stat;
mod store;
mod sweep;
mod tree;
mod usage;

pub use blob::{BlobFile, BlobWriter};
pub use cache::{CacheRecord, KeyPart, LayerRecord};
pub use cache_mount::{
    CacheMount, CacheMountGuard, CacheMountKey, CacheMountOwner, CacheMountReport,
    PruneCacheMounts, Sharing,
};
pub use download::KnownDownload;
pub use error::{BlobError, ImageError, OpenError, SnapshotError, StoreError};
pub use growth::ArrivingBlob;
pub use history::{
    BuildFilter, BuildOutcome, BuildRecord, BuildStart, BuildStatus, BuildSummary, HistoryError,
    HistoryLimits, Recording,
};
pub use id::{CacheKey, ContextId, SlotId, SnapshotId};
pub use image::Image;
pub use lock::StoreLock;
pub use partial::{Download, PartialBlob};
pub use prune::{PruneCache, PruneImages, PrunePolicy, PruneReport};
pub use snapshot::{ActiveSnapshot, Snapshot};
pub use stat::{FileStamp, StatCache};
pub use store::{Clock, Store};
pub use sweep::Swept;
pub use tree::Space;
pub use usage::{ImageUsage, KindUsage, Usage};
