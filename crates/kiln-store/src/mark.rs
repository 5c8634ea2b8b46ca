//! Marks: which blobs a loss of power may still damage.
//!
//! Syncing each blob when it comes costs two waits for the disk, and while the file system writes its
//! journal for one process, the others wait with it, now and then with the index locked. So a blob is
//! named unsynced, and before it is named it gets a mark, an empty file in `unsynced/`.
//! [`Store::sync`](crate::Store::sync) notes which marks there are, syncs the file system, and removes
//! these.
//!
//! File systems that keep a journal bring names to the disk in the order in which they were made. So
//! what is there after a loss of power without having been synced has its mark, and whoever opens the
//! store first reads it and compares it with its digest. Marks stay where a sync has failed: see the
//! module `store::sync`.
//!
//! A mark's name begins with the time, so that the oldest is first, and ends with the lease that made
//! it. So two processes that store the same blob make two, and removing one never takes the other's.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use kiln_oci::{Digest, Digester};
use rusqlite::Transaction;

use crate::StoreError;
use crate::contents::References;
use crate::layout::Layout;
use crate::lease::names_in;
use crate::lock::is_missing;

/// How much of a blob is read at a time.
const CHUNK: usize = 128 * 1024;

/// The mark of one blob.
#[derive(Debug)]
pub(crate) struct Mark {
    path: PathBuf,
    /// When it was made, as the index has times.
    created: i64,
    digest: Digest,
}

impl Mark {
    /// Marks a blob that is about to get its name. `maker` is a text that was not used before.
    pub(crate) fn make(
        layout: &Layout,
        digest: &Digest,
        created: i64,
        maker: &str,
    ) -> Result<(), StoreError> {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        let name = format!("{:020}-{algorithm}-{hex}-{maker}", created.max(0));
        let path = layout.unsynced().join(name);
        let made = File::options().write(true).create_new(true).open(&path);
        made.map(drop).map_err(StoreError::io("make", &path))
    }

    /// All marks, the oldest first.
    pub(crate) fn all(layout: &Layout) -> Result<Vec<Self>, StoreError> {
        let directory = layout.unsynced();
        let names = names_in(&directory)?.into_iter();
        Ok(names.filter_map(|name| parse(&directory, &name)).collect())
    }

    /// When it was made, as the index has times.
    pub(crate) fn created(&self) -> i64 {
        self.created
    }

    /// Says that the blob is on the disk. Somebody else may have said so before.
    pub(crate) fn remove(self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(error) if is_missing(&error) => Ok(()),
            other => other.map_err(StoreError::io("remove", &self.path)),
        }
    }
}

/// `None` for names that the store does not make.
fn parse(directory: &Path, name: &str) -> Option<Mark> {
    let mut words = name.splitn(4, '-');
    let created = words.next()?.parse().ok()?;
    let digest = format!("{}:{}", words.next()?, words.next()?);
    words.next()?;
    Some(Mark {
        path: directory.join(name),
        created,
        digest: digest.parse().ok()?,
    })
}

/// The marked blobs that have not the bytes that their names say, or are not there.
///
/// Nothing needs one that was marked and then swept. One that is missing and needed was moved away by
/// an opening that did not get to its end, or its name did not reach the disk while an image's row did.
pub(crate) fn damaged(layout: &Layout, marks: &[Mark]) -> Result<HashSet<Digest>, StoreError> {
    let digests: BTreeSet<&Digest> = marks.iter().map(|mark| &mark.digest).collect();
    let mut damaged = HashSet::new();
    for digest in digests {
        if !is_sound(&layout.blob(digest), digest)? {
            damaged.insert(digest.clone());
        }
    }
    Ok(damaged)
}

/// Whether the blob is there and has its bytes.
fn is_sound(path: &Path, digest: &Digest) -> Result<bool, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(false),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    let mut digester = Digester::new(digest.algorithm());
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(digester.finish() == *digest),
            Ok(count) => digester.update(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // What the disk can't read back is damaged, too.
            Err(_) => return Ok(false),
        }
    }
}

/// Moves damaged blobs below `trash`, and forgets the images that need them, or whose manifest did
/// not reach the disk while their row did.
pub(crate) fn drop_damaged_blobs(
    transaction: &Transaction<'_>,
    layout: &Layout,
    damaged: &HashSet<Digest>,
    trash: &Path,
) -> Result<(), StoreError> {
    let mut references = References::new(layout);
    for image in crate::image::all_images(transaction)? {
        let digest = &image.target.digest;
        let is_whole = crate::blob::exists(&layout.blob(digest))?
            && (damaged.is_empty() || references.reachable([digest]).is_disjoint(damaged));
        if !is_whole {
            transaction.execute("DELETE FROM images WHERE digest = ?1", [digest.as_str()])?;
        }
    }
    for digest in damaged {
        let from = layout.blob(digest);
        let to = trash.join(format!("blob-{}", digest.hex()));
        match fs::rename(&from, to) {
            Err(error) if is_missing(&error) => {}
            other => other.map_err(StoreError::io("rename", &from))?,
        }
    }
    Ok(())
}
