//! A disk's bills of materials.

use std::path::PathBuf;

use kiln_attest::{Inventory, ScanError};
use kiln_base::{CancelToken, Timestamp};
use kiln_oci::Digest;
use kiln_rootfs::manifest::{Manifest, ManifestSbom};
use kiln_rootfs::sbom::{self, BillFormat, Billed};

use super::describe::file_name;
use super::{Merged, RootfsError};
use crate::reporter::Reporter;

/// A bill of materials that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootfsBill {
    /// Its form.
    pub format: BillFormat,
    /// Its file.
    pub path: PathBuf,
}

/// What the bills list, before they can name the disk.
pub(super) struct Bills<'a> {
    asked: &'a [RootfsBill],
    inventory: Inventory,
}

/// Finds what is on the disk, if a bill is asked for.
pub(super) fn scan<'a>(
    merged: &Merged,
    asked: &'a [RootfsBill],
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<Bills<'a>, RootfsError> {
    if asked.is_empty() {
        let inventory = Inventory::default();
        return Ok(Bills { asked, inventory });
    }
    let inventory = reporter.step("scan for packages", cancel, |_| {
        sbom::inventory(&merged.tree, &merged.files, cancel).map_err(|error| match error {
            ScanError::Cancelled(cancelled) => RootfsError::from(cancelled),
            error @ ScanError::Root(_) => RootfsError::Scan(error),
        })
    })?;
    for warning in &inventory.warnings {
        let text = format!("`{}` was not read: {}", warning.path, warning.reason);
        reporter.warn(&text, None);
    }
    Ok(Bills { asked, inventory })
}

impl Bills<'_> {
    /// Makes the documents, and names them in the manifest.
    pub(super) fn write(
        &self,
        manifest: &mut Manifest,
        epoch: Timestamp,
    ) -> Vec<(PathBuf, Vec<u8>)> {
        let documents = self.asked.iter().map(|asked| {
            let disk = &manifest.disk;
            let billed = Billed {
                name: manifest.name.as_deref().unwrap_or(&disk.file),
                file: &disk.file,
                digest: &disk.file_digest,
                image: &manifest.source.digest,
                epoch,
            };
            let bytes = sbom::document(&self.inventory, asked.format, &billed);
            (asked, bytes)
        });
        let documents: Vec<_> = documents.collect();
        manifest.sboms = documents
            .iter()
            .map(|(asked, bytes)| ManifestSbom {
                file: file_name(&asked.path),
                format: asked.format,
                size: bytes.len() as u64,
                digest: Digest::sha256(bytes),
                packages: self.inventory.packages.len() as u64,
            })
            .collect();
        let files = documents.into_iter();
        files
            .map(|(asked, bytes)| (asked.path.clone(), bytes))
            .collect()
    }
}
