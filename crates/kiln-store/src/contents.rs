//! One consistent look at all that is in the store, and who needs what.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

use kiln_base::Timestamp;
use kiln_oci::{Digest, Document, MAX_DOCUMENT_SIZE};
use rusqlite::Connection;

use crate::index::{count_from_column, from_column};
use crate::layout::Layout;
use crate::lease::{Protected, names_in};
use crate::tree::{Space, measure_file};
use crate::{CacheKey, Image, SnapshotId, StoreError};

/// What the index says.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) images: Vec<Image>,
    pub(crate) snapshots: BTreeMap<SnapshotId, SnapshotRow>,
    pub(crate) cache: Vec<CacheRow>,
    /// The layer blobs made from each snapshot.
    pub(crate) layers: Vec<(SnapshotId, Digest)>,
    pub(crate) protected: HashSet<Protected>,
}

#[derive(Debug, Clone)]
pub(crate) struct SnapshotRow {
    pub(crate) number: i64,
    pub(crate) parent: Option<SnapshotId>,
    pub(crate) last_used: Timestamp,
    /// `None` until it was measured.
    pub(crate) space: Option<Space>,
}

#[derive(Debug, Clone)]
pub(crate) struct CacheRow {
    pub(crate) key: CacheKey,
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) last_used: Timestamp,
}

impl Contents {
    pub(crate) fn read(index: &Connection) -> Result<Self, StoreError> {
        Ok(Self {
            images: crate::image::all_images(index)?,
            snapshots: read_snapshots(index)?,
            cache: read_cache(index)?,
            layers: read_layers(index)?,
            protected: read_protected(index)?,
        })
    }

    /// The blobs that leases protect.
    pub(crate) fn protected_blobs(&self) -> impl Iterator<Item = &Digest> {
        self.protected.iter().filter_map(|object| match object {
            Protected::Blob(digest) => Some(digest),
            Protected::Snapshot(_) => None,
        })
    }

    /// The snapshots that leases protect, with those below them.
    pub(crate) fn snapshots_in_use(&self) -> HashSet<&SnapshotId> {
        let mut in_use = HashSet::new();
        for object in &self.protected {
            let mut next = match object {
                Protected::Snapshot(id) => self.snapshots.get_key_value(id),
                Protected::Blob(_) => None,
            };
            while let Some((id, row)) = next {
                if !in_use.insert(id) {
                    break;
                }
                next = row
                    .parent
                    .as_ref()
                    .and_then(|parent| self.snapshots.get_key_value(parent));
            }
        }
        in_use
    }
}

/// Follows manifests and indexes to the blobs they name.
#[derive(Debug)]
pub(crate) struct References<'a> {
    layout: &'a Layout,
    known: HashMap<Digest, Vec<Digest>>,
}

impl<'a> References<'a> {
    pub(crate) fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            known: HashMap::new(),
        }
    }

    /// These blobs and all that they name, whether or not they are in the store.
    pub(crate) fn reachable<'d>(
        &mut self,
        roots: impl IntoIterator<Item = &'d Digest>,
    ) -> HashSet<Digest> {
        let mut reached: HashSet<Digest> = HashSet::new();
        let mut waiting: Vec<Digest> = roots.into_iter().cloned().collect();
        while let Some(digest) = waiting.pop() {
            if reached.contains(&digest) {
                continue;
            }
            waiting.extend_from_slice(self.children(&digest));
            reached.insert(digest);
        }
        reached
    }

    fn children(&mut self, digest: &Digest) -> &[Digest] {
        if !self.known.contains_key(digest)
            && let Some(children) = read_children(self.layout, digest)
        {
            self.known.insert(digest.clone(), children);
        }
        self.known.get(digest).map_or(&[], Vec::as_slice)
    }
}

/// The blobs that a manifest or an index names; none for everything else. `None` if the blob is not
/// there, which is no answer for ever: it may be protected already and be named in a moment.
fn read_children(layout: &Layout, digest: &Digest) -> Option<Vec<Digest>> {
    let path = layout.blob(digest);
    let size = fs::metadata(&path).ok()?.len();
    let may_be_document = u64::try_from(MAX_DOCUMENT_SIZE).is_ok_and(|limit| size <= limit);
    if !may_be_document {
        return Some(Vec::new());
    }
    let bytes = fs::read(&path).ok()?;
    Some(named_by(&bytes).unwrap_or_default())
}

/// The blobs that a document names; `None` for what is none.
///
/// Foreign documents and damaged ones name nothing: no part of kiln could follow them either.
fn named_by(bytes: &[u8]) -> Option<Vec<Digest>> {
    // Most small blobs are compressed layers.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let children = match Document::parse(bytes, None).ok()? {
        Document::Index(index) => index.manifests,
        Document::Manifest(manifest) => {
            let mut children = manifest.layers;
            children.push(manifest.config);
            children
        }
    };
    Some(children.into_iter().map(|child| child.digest).collect())
}

/// All blobs in the store, with the space they take.
pub(crate) fn stored_blobs(layout: &Layout) -> Result<BTreeMap<Digest, Space>, StoreError> {
    let mut blobs = BTreeMap::new();
    for algorithm in Layout::ALGORITHMS {
        for hex in names_in(&layout.blobs(algorithm))? {
            // The store makes no other names.
            if let Ok(digest) = format!("{}:{hex}", algorithm.name()).parse::<Digest>() {
                let space = measure_file(&layout.blob(&digest))?;
                blobs.insert(digest, space);
            }
        }
    }
    Ok(blobs)
}

fn read_snapshots(index: &Connection) -> Result<BTreeMap<SnapshotId, SnapshotRow>, StoreError> {
    let mut statement = index
        .prepare_cached("SELECT id, number, parent, last_used, apparent, disk FROM snapshots")?;
    let rows = statement.query_map([], |row| {
        let space: (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
        let snapshot = SnapshotRow {
            number: row.get(1)?,
            parent: row.get::<_, Option<String>>(2)?.map(SnapshotId::from_index),
            last_used: from_column(row.get(3)?),
            space: space.0.zip(space.1).map(|(apparent, disk)| Space {
                apparent: count_from_column(apparent),
                disk: count_from_column(disk),
            }),
        };
        Ok((SnapshotId::from_index(row.get(0)?), snapshot))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read_cache(index: &Connection) -> Result<Vec<CacheRow>, StoreError> {
    let mut statement = index.prepare_cached("SELECT key, snapshot, last_used FROM cache")?;
    let rows = statement.query_map([], |row| {
        Ok(CacheRow {
            key: CacheKey(row.get(0)?),
            snapshot: row.get::<_, Option<String>>(1)?.map(SnapshotId::from_index),
            last_used: from_column(row.get(2)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read_layers(index: &Connection) -> Result<Vec<(SnapshotId, Digest)>, StoreError> {
    let mut statement = index.prepare_cached("SELECT snapshot, digest FROM layers")?;
    let rows = statement.query_map([], |row| {
        Ok((
            SnapshotId::from_index(row.get(0)?),
            row.get::<_, String>(1)?,
        ))
    })?;
    let mut layers = Vec::new();
    for row in rows {
        let (snapshot, digest) = row?;
        let damaged = |_| StoreError::Damaged { what: "a layer" };
        layers.push((snapshot, digest.parse().map_err(damaged)?));
    }
    Ok(layers)
}

fn read_protected(index: &Connection) -> Result<HashSet<Protected>, StoreError> {
    let mut statement = index.prepare_cached("SELECT kind, object FROM protected")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut protected = HashSet::new();
    for row in rows {
        let (kind, object): (String, String) = row?;
        let damaged = StoreError::Damaged {
            what: "a protection",
        };
        protected.insert(Protected::from_columns(&kind, object).ok_or(damaged)?);
    }
    Ok(protected)
}

#[cfg(test)]
mod tests {
    use kiln_oci::{Descriptor, Family, Manifest, MediaType};

    use super::*;

    #[test]
    fn a_manifest_that_gets_its_name_meanwhile_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let config = Descriptor::of(MediaType::Config(Family::Oci), b"{}");
        let manifest = Manifest::new(Family::Oci, config.clone(), Vec::new()).to_bytes();
        let digest = Digest::sha256(&manifest);
        let mut references = References::new(&layout);
        assert_eq!(
            references.reachable([&digest]),
            HashSet::from([digest.clone()])
        );
        let path = layout.blob(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, manifest).unwrap();
        assert_eq!(
            references.reachable([&digest]),
            HashSet::from([digest.clone(), config.digest])
        );
    }
}
