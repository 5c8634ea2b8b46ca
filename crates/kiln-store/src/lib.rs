//! Content store, snapshots, cache index, leases and garbage collection.
mod blob;
mod cache;
mod error;
mod id;
mod image;
mod index;
mod layout;
mod lease;
mod lock;
mod partial;
mod snapshot;
mod stat;
mod store;
mod sweep;
mod tree;

pub use blob::{BlobFile, BlobWriter};
pub use cache::{CacheRecord, KeyPart, LayerRecord};
pub use error::{BlobError, ImageError, OpenError, SnapshotError, StoreError};
pub use id::{CacheKey, ContextId, SlotId, SnapshotId};
pub use image::Image;
pub use lock::StoreLock;
pub use partial::{Download, PartialBlob};
pub use snapshot::{ActiveSnapshot, Snapshot};
pub use stat::{FileStamp, StatCache};
pub use store::{Clock, Store};
pub use tree::Space;
