//! Other content for a cache mount, and whether somebody has it.

use std::fs;
use std::path::Path;

use kiln_sys::lock::LockKind;

use super::{CacheMountGuard, FILES, make_directory, try_lock};
use crate::tree::remove_tree;
use crate::{Store, StoreError};

/// What is to become [`FILES`].
const NEXT: &str = "next";

impl CacheMountGuard {
    /// Puts what `fill` writes into an empty directory in the place of all that is there. Whoever
    /// calls this has the directory for himself ([`Store::take_cache_mount`], or a new one).
    ///
    /// If `fill` fails, or the process dies meanwhile, what was there stays.
    pub fn replace<E: From<StoreError>>(
        &mut self,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = self.directory.join(NEXT);
        remove_tree(&next)?;
        make_directory(&next)?;
        if let Err(error) = fill(&next) {
            remove_tree(&next)?;
            return Err(error);
        }
        let aside = self.store.lease()?.fresh_path();
        let renamed = fs::rename(&self.files, &aside)
            .and_then(|()| fs::rename(&next, self.directory.join(FILES)));
        renamed.map_err(StoreError::io("rename", &self.files))?;
        remove_tree(&aside)?;
        Ok(())
    }
}

impl Store {
    /// Whether a step uses the instance now.
    pub fn is_cache_mount_in_use(&self, number: i64) -> Result<bool, StoreError> {
        let directory = self.layout().mount(number);
        if !crate::blob::exists(&directory)? {
            return Ok(false);
        }
        Ok(try_lock(&directory, LockKind::Exclusive)?.is_none())
    }
}
