//! Finding what nothing needs, and taking it out of the store.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, Transaction};

use crate::StoreError;
use crate::layout::Layout;
use crate::lease::names_in;

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
    let childless = "DELETE FROM snapshots
        WHERE parent IS NOT NULL AND parent NOT IN (SELECT id FROM snapshots)";
    while transaction.execute(childless, [])? > 0 {}
    Ok(())
}

/// Moves the directories of unknown snapshots below `trash`.
pub(crate) fn move_orphan_snapshots(
    transaction: &Transaction<'_>,
    layout: &Layout,
    trash: &Path,
) -> Result<u64, StoreError> {
    let known: HashSet<String> = snapshot_numbers(transaction)?
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut moved = 0;
    for name in names_in(&layout.snapshots())? {
        if !known.contains(&name) {
            let from = layout.snapshots().join(&name);
            let to = trash.join(format!("snapshot-{name}"));
            fs::rename(&from, to).map_err(StoreError::io("rename", &from))?;
            moved += 1;
        }
    }
    Ok(moved)
}

fn snapshot_numbers(index: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut statement = index.prepare_cached("SELECT number FROM snapshots")?;
    let numbers = statement.query_map([], |row| row.get(0))?;
    Ok(numbers.collect::<Result<_, _>>()?)
}
