//! Measuring cache mounts and taking them away.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use kiln_base::Timestamp;
use rusqlite::{Transaction, params};

use super::CacheMount;
use crate::index::count_to_column;
use crate::lease::names_in;
use crate::tree::{Space, measure};
use crate::{Store, StoreError};

/// Which cache mounts may go. Those in use stay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneCacheMounts {
    /// Only those of these ids, in any namespace; empty for all.
    pub ids: Vec<String>,
    /// Only those last used before this time.
    pub older_than: Option<Timestamp>,
}

/// What a prune of cache mounts did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheMountReport {
    /// Those that are gone.
    pub removed: Vec<CacheMount>,
    /// Those that were in use.
    pub in_use: Vec<CacheMount>,
    /// The space that the removed ones took.
    pub freed: Space,
}

impl PruneCacheMounts {
    fn takes(&self, mount: &CacheMount) -> bool {
        (self.ids.is_empty() || self.ids.contains(&mount.key.id))
            && self.older_than.is_none_or(|limit| mount.last_used < limit)
    }
}

impl Store {
    /// Measures each cache mount, and keeps the sizes for [`Store::cache_mounts`].
    pub fn measure_cache_mounts(&self) -> Result<Vec<CacheMount>, StoreError> {
        let mut mounts = self.cache_mounts()?;
        for mount in &mut mounts {
            mount.space = Some(measure(&self.layout().mount(mount.number))?);
        }
        if mounts.is_empty() {
            return Ok(mounts);
        }
        self.index().write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "UPDATE cache_mounts SET apparent = ?2, disk = ?3
                    WHERE number = ?1 AND (apparent IS NOT ?2 OR disk IS NOT ?3)",
            )?;
            for mount in &mounts {
                let space = mount.space.unwrap_or_default();
                let [apparent, disk] = [space.apparent, space.disk].map(count_to_column);
                statement.execute(params![mount.number, apparent, disk])?;
            }
            Ok(())
        })?;
        Ok(mounts)
    }

    /// Removes the cache mounts that `filter` names and nobody uses.
    pub fn prune_cache_mounts(
        &self,
        filter: &PruneCacheMounts,
    ) -> Result<CacheMountReport, StoreError> {
        self.make_room_for_index()?;
        let mut report = CacheMountReport::default();
        for mount in self.cache_mounts()? {
            if !filter.takes(&mount) {
                continue;
            }
            let space = measure(&self.layout().mount(mount.number))?;
            if self.remove_cache_mount(mount.number)? {
                report.freed.add(space);
                report.removed.push(mount);
            } else {
                report.in_use.push(mount);
            }
        }
        self.restore_reserve()?;
        Ok(report)
    }

    /// Removes one instance. `false` if it is in use or gone.
    pub fn remove_cache_mount(&self, number: i64) -> Result<bool, StoreError> {
        match self.take_cache_mount(number)? {
            Some(guard) => guard.remove().map(|()| true),
            None => Ok(false),
        }
    }
}

/// Moves directories that have no row below `trash`: a process died while it made them.
pub(crate) fn move_orphan_mounts(
    transaction: &Transaction<'_>,
    mounts: &Path,
    trash: &Path,
) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached("SELECT number FROM cache_mounts")?;
    let known = statement.query_map([], |row| row.get::<_, i64>(0))?;
    let known: HashSet<String> = known
        .map(|number| number.map(|number| number.to_string()))
        .collect::<Result<_, _>>()?;
    for name in names_in(mounts)? {
        if !known.contains(&name) {
            let from = mounts.join(&name);
            let to = trash.join(format!("mount-{name}"));
            fs::rename(&from, to).map_err(StoreError::io("rename", &from))?;
        }
    }
    Ok(())
}
