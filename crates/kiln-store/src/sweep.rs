//! Taking out of the store what nothing needs.
//!
//! What goes is renamed into this process's own directory under `tmp/` while no other process can
//! write to the index, and removed after that. A process that dies in between leaves it to be
//! reaped with its lease.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_oci::Digest;
use rusqlite::{Connection, Transaction};

use crate::cache_mount::move_orphan_mounts;
use crate::contents::{Contents, References, stored_blobs};
use crate::layout::Layout;
use crate::lease::names_in;
use crate::tree::{Space, measure, measure_file, remove_tree};
use crate::{Store, StoreError};

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Blobs that no image, layer record or lease led to.
    pub blobs: u64,
    /// The space that this freed.
    pub freed: Space,
}

/// A directory for things on their way out.
#[derive(Debug)]
pub(crate) struct Trash {
    directory: PathBuf,
}

impl Store {
    /// Removes the blobs that nothing needs any more; images, cache and partial downloads stay.
    ///
    /// Meant to be called after [`Store::untag`] and [`Store::remove_image`].
    pub fn sweep(&self) -> Result<Swept, StoreError> {
        let trash = Trash::new(self)?;
        let blobs = sweep_into(self, &trash)?;
        Ok(Swept {
            blobs,
            freed: trash.empty()?,
        })
    }
}

/// Moves unneeded blobs and directories of unknown snapshots into `trash`. Returns how many blobs
/// that were.
pub(crate) fn sweep_into(store: &Store, trash: &Trash) -> Result<u64, StoreError> {
    // Blobs that come later are not in this list, and so are safe.
    let stored = stored_blobs(store.layout())?;
    let mut references = References::new(store.layout());
    // Reads manifests before anybody has to wait.
    needed(
        &store.index().read_at_once(Contents::read)?,
        &mut references,
    );
    store.index().write(|transaction| {
        let needed = needed(&Contents::read(transaction)?, &mut references);
        let mut moved = 0;
        for digest in stored.keys().filter(|digest| !needed.contains(*digest)) {
            trash.take(&store.layout().blob(digest), digest.hex())?;
            moved += 1;
        }
        move_orphan_snapshots(transaction, store.layout(), &trash.directory)?;
        move_orphan_mounts(transaction, &store.layout().mounts(), &trash.directory)?;
        Ok(moved)
    })
}

fn needed(contents: &Contents, references: &mut References<'_>) -> HashSet<Digest> {
    let images = contents.images.iter().map(|image| &image.target.digest);
    let layers = contents.layers.iter().map(|(_, digest)| digest);
    references.reachable(images.chain(layers).chain(contents.protected_blobs()))
}

impl Trash {
    pub(crate) fn new(store: &Store) -> Result<Self, StoreError> {
        let directory = store.lease()?.fresh_path();
        fs::create_dir(&directory).map_err(StoreError::io("make", &directory))?;
        Ok(Self { directory })
    }

    /// Moves the file `from` here, under a name not used before. That it is gone is no error.
    pub(crate) fn take(&self, from: &Path, name: &str) -> Result<(), StoreError> {
        match fs::rename(from, self.directory.join(name)) {
            Err(error) if crate::lock::is_missing(&error) => Ok(()),
            other => other.map_err(StoreError::io("rename", from)),
        }
    }

    /// Removes everything. Returns the space that it took.
    pub(crate) fn empty(self) -> Result<Space, StoreError> {
        let freed = measure(&self.directory)?.without(measure_file(&self.directory)?);
        remove_tree(&self.directory)?;
        Ok(freed)
    }
}

/// Forgets snapshots that a loss of power may have damaged, and all that was made on top of them.
pub(crate) fn drop_doubtful_snapshots(
    transaction: &Transaction<'_>,
    layout: &Layout,
) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM snapshots WHERE synced = 0", [])?;
    let there: HashSet<String> = names_in(&layout.snapshots())?.into_iter().collect();
    for number in snapshot_numbers(transaction)? {
        if !there.contains(&number.to_string()) {
            transaction.execute("DELETE FROM snapshots WHERE number = ?1", [number])?;
        }
    }
    let orphans = "DELETE FROM snapshots
        WHERE parent IS NOT NULL AND parent NOT IN (SELECT id FROM snapshots)";
    while transaction.execute(orphans, [])? > 0 {}
    Ok(())
}

/// Moves the directories of unknown snapshots below `trash`.
pub(crate) fn move_orphan_snapshots(
    transaction: &Transaction<'_>,
    layout: &Layout,
    trash: &Path,
) -> Result<(), StoreError> {
    let known: HashSet<String> = snapshot_numbers(transaction)?
        .iter()
        .map(ToString::to_string)
        .collect();
    for name in names_in(&layout.snapshots())? {
        if !known.contains(&name) {
            let from = layout.snapshots().join(&name);
            let to = trash.join(format!("snapshot-{name}"));
            fs::rename(&from, to).map_err(StoreError::io("rename", &from))?;
        }
    }
    Ok(())
}

fn snapshot_numbers(index: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut statement = index.prepare_cached("SELECT number FROM snapshots")?;
    let numbers = statement.query_map([], |row| row.get(0))?;
    Ok(numbers.collect::<Result<_, _>>()?)
}
