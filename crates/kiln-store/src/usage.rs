//! How much space the store takes, and for what.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use kiln_oci::{Digest, Reference};
use rusqlite::params;

use crate::contents::{Contents, References, stored_blobs};
use crate::index::count_to_column;
use crate::layout::Layout;
use crate::lease::names_in;
use crate::tree::{Space, measure, measure_file};
use crate::{SnapshotId, Store, StoreError};

/// What the store holds. The kinds' spaces do not overlap; [`Usage::total`] is what `du` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Each image, in the order of the digests.
    pub images: Vec<ImageUsage>,
    /// Blobs that images lead to.
    pub image_blobs: KindUsage,
    /// Layer blobs that only the cache keeps.
    pub cache_blobs: KindUsage,
    /// Blobs that nothing leads to, or only a running process does.
    pub other_blobs: KindUsage,
    /// Unpacked layers and the results of steps.
    pub snapshots: KindUsage,
    /// Directories that steps keep between builds.
    pub cache_mounts: KindUsage,
    /// The events of earlier builds.
    pub build_logs: KindUsage,
    /// What the program wrote about its own work.
    pub logs: KindUsage,
    /// Downloads that can go on.
    pub partials: KindUsage,
    /// Digests of the files of build contexts.
    pub stat_caches: KindUsage,
    /// What running processes have in progress, and dead ones left behind.
    pub in_progress: KindUsage,
    /// How many results of steps are recorded. Their space is in `overhead`.
    pub cache_records: u64,
    /// The index and the store's own directories.
    pub overhead: Space,
}

/// The space of one kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindUsage {
    /// How many there are.
    pub count: u64,
    /// The space they take.
    pub space: Space,
    /// The part of it that a prune of all cache and of images without a name would free now.
    pub reclaimable: Space,
}

/// The space of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// The manifest or index.
    pub digest: Digest,
    /// Its names; empty for an image without one.
    pub names: Vec<Reference>,
    /// The blobs it leads to, as far as they are in the store.
    pub space: Space,
    /// The part of it that no other image leads to.
    pub unique: Space,
}

impl Usage {
    /// The sum of everything.
    pub fn total(&self) -> Space {
        let kinds = [
            self.image_blobs,
            self.cache_blobs,
            self.other_blobs,
            self.snapshots,
            self.cache_mounts,
            self.build_logs,
            self.logs,
            self.partials,
            self.stat_caches,
            self.in_progress,
        ];
        let mut total: Space = kinds.iter().map(|kind| kind.space).sum();
        total.add(self.overhead);
        total
    }
}

impl KindUsage {
    fn add(&mut self, space: Space, is_reclaimable: bool) {
        self.count += 1;
        self.space.add(space);
        if is_reclaimable {
            self.reclaimable.add(space);
        }
    }
}

impl Store {
    /// Measures the store. Other processes may work on it meanwhile; then the parts are from
    /// slightly different times.
    ///
    /// Snapshots never change, so each is measured once and its size kept.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        self.measure_snapshots()?;
        let contents = self.index().read_at_once(Contents::read)?;
        let blobs = stored_blobs(self.layout())?;
        let mut references = References::new(self.layout());
        let images = image_usage(&contents, &blobs, &mut references);
        let [image_blobs, cache_blobs, other_blobs] =
            blob_usage(&contents, &blobs, &mut references);
        Ok(Usage {
            images,
            image_blobs,
            cache_blobs,
            other_blobs,
            snapshots: snapshot_usage(&contents),
            cache_mounts: self.mounts_usage()?,
            build_logs: files_usage(&self.layout().builds())?,
            logs: self.logs_usage()?,
            partials: directory_usage(&self.layout().partials())?,
            stat_caches: directory_usage(&self.layout().stats())?,
            in_progress: self.progress_usage()?,
            cache_records: contents.cache.len() as u64,
            overhead: self.overhead()?,
        })
    }

    /// Measures the snapshots that were not measured yet.
    pub(crate) fn measure_snapshots(&self) -> Result<(), StoreError> {
        let contents = self.index().read_at_once(Contents::read)?;
        let mut measured = Vec::new();
        for (id, row) in &contents.snapshots {
            if row.space.is_none() {
                measured.push((id, measure(&self.layout().snapshot(row.number))?));
            }
        }
        self.note_spaces(&measured)
    }

    /// Notes how much space snapshots take.
    pub(crate) fn note_spaces(&self, measured: &[(&SnapshotId, Space)]) -> Result<(), StoreError> {
        if measured.is_empty() {
            return Ok(());
        }
        self.index().write(|transaction| {
            let mut statement = transaction
                .prepare_cached("UPDATE snapshots SET apparent = ?2, disk = ?3 WHERE id = ?1")?;
            for (id, space) in measured {
                let [apparent, disk] = [space.apparent, space.disk].map(count_to_column);
                statement.execute(params![id.as_str(), apparent, disk])?;
            }
            Ok(())
        })
    }

    fn mounts_usage(&self) -> Result<KindUsage, StoreError> {
        let mut usage = KindUsage::default();
        // Of their own kind of prune, so not of what `reclaimable` promises.
        for mount in self.measure_cache_mounts()? {
            usage.add(mount.space.unwrap_or_default(), false);
        }
        Ok(usage)
    }

    fn logs_usage(&self) -> Result<KindUsage, StoreError> {
        let directory = self.layout().logs();
        if !crate::blob::exists(&directory)? {
            return Ok(KindUsage::default());
        }
        let mut usage = files_usage(&directory)?;
        usage.space.add(measure_file(&directory)?);
        Ok(usage)
    }

    fn progress_usage(&self) -> Result<KindUsage, StoreError> {
        let mut usage = KindUsage::default();
        for lease in names_in(&self.layout().all_tmp())? {
            usage.add(measure(&self.layout().tmp(&lease))?, false);
        }
        Ok(usage)
    }

    fn overhead(&self) -> Result<Space, StoreError> {
        let layout = self.layout();
        let mut sum = measure_file(&layout.root)?;
        for directory in Layout::DIRECTORIES {
            sum.add(measure_file(&layout.root.join(directory))?);
        }
        for directory in [layout.leases(), layout.locks()] {
            for name in names_in(&directory)? {
                sum.add(measure_file(&directory.join(name))?);
            }
        }
        let entries = fs::read_dir(&layout.root).map_err(StoreError::io("list", &layout.root))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &layout.root))?;
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                sum.add(measure_file(&entry.path())?);
            }
        }
        Ok(sum)
    }
}

/// The files of a directory that a prune of the whole cache would empty.
fn directory_usage(directory: &Path) -> Result<KindUsage, StoreError> {
    let mut usage = KindUsage::default();
    for name in names_in(directory)? {
        usage.add(measure_file(&directory.join(name))?, true);
    }
    Ok(usage)
}

/// The files of a directory that no prune of the cache touches.
fn files_usage(directory: &Path) -> Result<KindUsage, StoreError> {
    let mut usage = KindUsage::default();
    for name in names_in(directory)? {
        usage.add(measure_file(&directory.join(name))?, false);
    }
    Ok(usage)
}

fn image_usage(
    contents: &Contents,
    blobs: &BTreeMap<Digest, Space>,
    references: &mut References<'_>,
) -> Vec<ImageUsage> {
    let mut names: BTreeMap<&Digest, Vec<Reference>> = BTreeMap::new();
    for image in &contents.images {
        names
            .entry(&image.target.digest)
            .or_default()
            .extend(image.name.clone());
    }
    let reached: Vec<_> = names
        .into_iter()
        .map(|(root, names)| (root, names, references.reachable([root])))
        .collect();
    let mut users: HashMap<&Digest, u32> = HashMap::new();
    for digest in reached.iter().flat_map(|(_, _, reached)| reached) {
        *users.entry(digest).or_default() += 1;
    }
    let space = |digest: &Digest| blobs.get(digest).copied().unwrap_or_default();
    let usage = reached.iter().map(|(root, names, reached)| ImageUsage {
        digest: (*root).clone(),
        names: names.clone(),
        space: reached.iter().map(space).sum(),
        unique: reached
            .iter()
            .filter(|digest| users[digest] == 1)
            .map(space)
            .sum(),
    });
    usage.collect()
}

/// The blobs that images lead to, those that only the cache keeps, and the rest.
fn blob_usage(
    contents: &Contents,
    blobs: &BTreeMap<Digest, Space>,
    references: &mut References<'_>,
) -> [KindUsage; 3] {
    let named = contents.images.iter().filter(|image| image.name.is_some());
    let named = references.reachable(named.map(|image| &image.target.digest));
    let by_images = contents.images.iter().map(|image| &image.target.digest);
    let by_images = references.reachable(by_images);
    let by_cache: HashSet<&Digest> = contents.layers.iter().map(|(_, digest)| digest).collect();
    let held_snapshots = contents.snapshots_in_use();
    let held_layers = contents
        .layers
        .iter()
        .filter(|(id, _)| held_snapshots.contains(id));
    let held = held_layers
        .map(|(_, digest)| digest)
        .chain(contents.protected_blobs());
    let held = references.reachable(held);
    let [mut image, mut cache, mut other] = [KindUsage::default(); 3];
    for (digest, space) in blobs {
        let is_held = held.contains(digest);
        if by_images.contains(digest) {
            image.add(*space, !is_held && !named.contains(digest));
        } else if by_cache.contains(digest) {
            cache.add(*space, !is_held);
        } else {
            other.add(*space, !is_held);
        }
    }
    [image, cache, other]
}

fn snapshot_usage(contents: &Contents) -> KindUsage {
    let in_use: HashSet<&SnapshotId> = contents.snapshots_in_use();
    let mut usage = KindUsage::default();
    for (id, row) in &contents.snapshots {
        usage.add(row.space.unwrap_or_default(), !in_use.contains(id));
    }
    usage
}
