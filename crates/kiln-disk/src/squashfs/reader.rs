//! Reading a squashfs that nobody vouches for.
//!
//! Read is version 4.0 with gzip, zstd or LZ4. Everything is compressed there, so what a disk says
//! to have can be much more than its size: names and holes are charged against a bound, and blocks
//! are as large as the format has them.
//!
//! Deliberately absent: older versions, and the compressors lzma, lzo and xz.

mod data;
mod facts;
mod inode;
mod metadata;
mod tables;
mod tree;

pub use data::OpenFile;
pub use facts::Facts;

use std::sync::{Arc, Mutex};

use crate::read::Disk;
use crate::{DiskSource, ReadError};

use facts::Geometry;
use metadata::Cache;
use tables::Tables;

/// An open disk.
#[derive(Debug)]
pub struct Reader<D> {
    disk: Disk<D>,
    facts: Facts,
    geometry: Geometry,
    tables: Tables,
    recent: Mutex<Cache>,
    /// Blocks that several files share, with their numbers.
    fragments: Mutex<Vec<(u32, Arc<[u8]>)>>,
}

impl<D: DiskSource> Reader<D> {
    /// Opens a disk.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open(disk: D) -> Result<Self, ReadError> {
        let disk = Disk::new(disk)?;
        let (facts, geometry) = facts::read(&disk)?;
        let mut this = Self {
            disk,
            facts,
            geometry,
            tables: Tables::default(),
            recent: Mutex::default(),
            fragments: Mutex::default(),
        };
        this.tables = this.read_tables()?;
        Ok(this)
    }

    pub(crate) fn disk(&self) -> &D {
        self.disk.source()
    }

    /// What the file system says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}
