//! Making room: which images and results go, and their removal.
//!
//! The choice is a function of what the index says. Rows go first, in one transaction; the sweep
//! that follows takes out what the remaining rows do not need, looking at them again. A process
//! that stores or looks up something in between therefore loses nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use kiln_base::Timestamp;
use kiln_oci::Digest;
use rusqlite::{Transaction, params};

use crate::contents::{Contents, References, stored_blobs};
use crate::index::to_column;
use crate::lease::{Protected, names_in, reap};
use crate::lock::try_lock_file;
use crate::sweep::{Trash, sweep_into};
use crate::tree::Space;
use crate::{CacheKey, Image, SnapshotId, Store, StoreError};

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrunePolicy {
    /// Which images.
    pub images: PruneImages,
    /// Whether results of steps and unpacked layers.
    pub cache: PruneCache,
    /// Only what was last changed (images) or used (cache) before this time.
    pub older_than: Option<Timestamp>,
    /// Of the cache only as much, least recently used first, as is needed to bring snapshots and
    /// blobs down to this many bytes on disk.
    pub keep_bytes: Option<u64>,
}

/// Which images a prune removes. An image that a running process uses always stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneImages {
    /// None.
    Keep,
    /// Those without a name.
    Unnamed,
    /// All.
    All,
}

/// What of the cache a prune removes. What a running process uses always stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneCache {
    /// Only snapshots that no record leads to any more.
    Keep,
    /// Also results of steps, unpacked layers, digests of context files and partial downloads.
    All,
}

/// What a prune removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneReport {
    /// Images, an entry for each name.
    pub images: Vec<Image>,
    /// Results of steps.
    pub cache_records: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Blobs.
    pub blobs: u64,
    /// Partial downloads.
    pub partials: u64,
    /// Leases of dead processes, with what they had in progress.
    pub leases: u64,
    /// The space that all this took.
    pub freed: Space,
}

/// What the policy means for what is there.
#[derive(Debug, Default)]
struct Victims {
    images: Vec<Image>,
    snapshots: Vec<SnapshotId>,
    /// Records that name no snapshot; the others go with theirs.
    records: Vec<CacheKey>,
}

impl PrunePolicy {
    /// Whether something last touched at `time` is old enough to go.
    fn takes(&self, time: Timestamp) -> bool {
        self.older_than.is_none_or(|limit| time < limit)
    }

    /// Whether everything that is old enough goes, however much space there is.
    fn takes_all_cache(&self) -> bool {
        self.cache == PruneCache::All && self.keep_bytes.is_none()
    }
}

impl Store {
    /// Removes what `policy` allows, what dead processes left behind, and what nothing needs.
    ///
    /// Other processes may build meanwhile. Works on a full disk.
    pub fn prune(&self, policy: &PrunePolicy) -> Result<PruneReport, StoreError> {
        self.make_room_for_index()?;
        self.checkpoint_if_it_fits()?;
        let (leases, mut freed) = reap(self)?;
        if policy.keep_bytes.is_some() {
            self.measure_snapshots()?;
        }
        let blobs = stored_blobs(self.layout())?;
        let mut references = References::new(self.layout());
        let (victims, cache_records) = self.index().write(|transaction| {
            let contents = Contents::read(transaction)?;
            let victims = choose(&contents, policy, &blobs, &mut references);
            let cache_records = forget(transaction, &victims, policy)?;
            Ok((victims, cache_records))
        })?;
        let trash = Trash::new(self)?;
        let blobs = sweep_into(self, &trash)?;
        let partials = self.trash_cache_files(policy, &trash)?;
        freed.add(trash.empty()?);
        self.checkpoint_if_it_fits()?;
        self.restore_reserve()?;
        Ok(PruneReport {
            images: victims.images,
            cache_records,
            snapshots: victims.snapshots.len() as u64,
            blobs,
            partials,
            leases,
            freed,
        })
    }

    /// Takes out partial downloads, which are counted, and digests of context files.
    fn trash_cache_files(&self, policy: &PrunePolicy, trash: &Trash) -> Result<u64, StoreError> {
        let mut partials = 0;
        if !policy.takes_all_cache() {
            return Ok(partials);
        }
        let directory = self.layout().partials();
        for name in names_in(&directory)? {
            let path = directory.join(&name);
            if !takes_file(policy, &path) {
                continue;
            }
            // Locked: somebody downloads just now.
            if let Some(_lock) = try_lock_file(&path)? {
                trash.take(&path, &format!("partial-{name}"))?;
                partials += 1;
            }
        }
        let directory = self.layout().stats();
        for name in names_in(&directory)? {
            let path = directory.join(&name);
            if takes_file(policy, &path) {
                trash.take(&path, &format!("stat-{name}"))?;
            }
        }
        Ok(partials)
    }
}

/// Whether a file of the cache is old enough to go.
fn takes_file(policy: &PrunePolicy, path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|file| file.modified());
    modified.is_ok_and(|modified| policy.takes(modified.into()))
}

/// Removes the victims' rows. Returns how many cache records that were.
fn forget(
    transaction: &Transaction<'_>,
    victims: &Victims,
    policy: &PrunePolicy,
) -> Result<u64, StoreError> {
    let count = |transaction: &Transaction<'_>| {
        transaction.query_row("SELECT count(*) FROM cache", [], |row| row.get::<_, i64>(0))
    };
    let before = count(transaction)?;
    let mut statement =
        transaction.prepare_cached("DELETE FROM images WHERE digest = ?1 AND name IS ?2")?;
    for image in &victims.images {
        let name = image.name.as_ref().map(ToString::to_string);
        statement.execute(params![image.target.digest.as_str(), name])?;
    }
    let mut statement = transaction.prepare_cached("DELETE FROM snapshots WHERE id = ?1")?;
    for id in &victims.snapshots {
        statement.execute([id.as_str()])?;
    }
    let mut statement = transaction.prepare_cached("DELETE FROM cache WHERE key = ?1")?;
    for key in &victims.records {
        statement.execute([key.0])?;
    }
    if policy.takes_all_cache() {
        transaction
            .prepare_cached("DELETE FROM explanations WHERE updated < ?1")?
            .execute([policy.older_than.map_or(i64::MAX, to_column)])?;
    }
    Ok(u64::try_from(before - count(transaction)?).unwrap_or_default())
}

fn choose(
    contents: &Contents,
    policy: &PrunePolicy,
    blobs: &BTreeMap<Digest, Space>,
    references: &mut References<'_>,
) -> Victims {
    let images = choose_images(contents, policy);
    let gone: HashSet<&Image> = images.iter().collect();
    let kept = contents.images.iter().filter(|image| !gone.contains(image));
    let kept = kept
        .map(|image| &image.target.digest)
        .chain(contents.protected_blobs());
    let kept = references.reachable(kept);
    let mut budget = Budget::new(contents, policy, blobs, &kept);
    let snapshots = choose_snapshots(contents, policy, &mut budget);
    let bare = contents
        .cache
        .iter()
        .filter(|record| record.snapshot.is_none());
    let records = bare.filter(|record| policy.takes_all_cache() && policy.takes(record.last_used));
    let records = records.map(|record| record.key).collect();
    Victims {
        images,
        snapshots,
        records,
    }
}

fn choose_images(contents: &Contents, policy: &PrunePolicy) -> Vec<Image> {
    let is_chosen = |image: &&Image| {
        let by_kind = match policy.images {
            PruneImages::Keep => false,
            PruneImages::Unnamed => image.name.is_none(),
            PruneImages::All => true,
        };
        let object = Protected::Blob(image.target.digest.clone());
        by_kind && policy.takes(image.updated) && !contents.protected.contains(&object)
    };
    contents.images.iter().filter(is_chosen).cloned().collect()
}

/// Snapshots to remove, each before those below it: least recently used first. A flattened one is of
/// use as long as the topmost of those that it was made of, and goes with it at the latest.
fn choose_snapshots(
    contents: &Contents,
    policy: &PrunePolicy,
    budget: &mut Budget<'_>,
) -> Vec<SnapshotId> {
    let in_use = contents.snapshots_in_use();
    let recorded: HashSet<&SnapshotId> = contents
        .cache
        .iter()
        .filter_map(|record| record.snapshot.as_ref())
        .collect();
    let mut children: HashMap<&SnapshotId, u32> = HashMap::new();
    let mut flattened: HashMap<&SnapshotId, Vec<&SnapshotId>> = HashMap::new();
    for (id, row) in &contents.snapshots {
        match &row.parent {
            Some(parent) if id.is_flattened() => flattened.entry(parent).or_default().push(id),
            Some(parent) => *children.entry(parent).or_default() += 1,
            None => {}
        }
    }
    let mut chosen = Vec::new();
    let mut gone = HashSet::new();
    for (id, last_used) in by_last_use(contents) {
        if in_use.contains(id) || children.get(id).is_some_and(|children| *children > 0) {
            continue;
        }
        // A snapshot of a chain is found by its name; others only by a record.
        let is_garbage = !id.is_of_chain() && !id.is_flattened() && !recorded.contains(id);
        let is_taken =
            policy.cache == PruneCache::All && policy.takes(last_used) && budget.is_exceeded();
        if !(is_garbage || is_taken) || gone.contains(id) {
            continue;
        }
        for &id in flattened.get(id).into_iter().flatten().chain([&id]) {
            if gone.insert(id) {
                budget.release(id);
                chosen.push(id.clone());
            }
        }
        if id.is_flattened() {
            continue;
        }
        if let Some(parent) = contents
            .snapshots
            .get(id)
            .and_then(|row| row.parent.as_ref())
        {
            children.entry(parent).and_modify(|children| *children -= 1);
        }
    }
    chosen
}

/// Snapshots with the time they, a record or a snapshot on top of them was last used: in the order
/// of these times, and each before those below it.
fn by_last_use(contents: &Contents) -> Vec<(&SnapshotId, Timestamp)> {
    let mut last_used: HashMap<&SnapshotId, (Timestamp, usize)> = contents
        .snapshots
        .iter()
        .map(|(id, row)| (id, (row.last_used, 0)))
        .collect();
    for record in &contents.cache {
        if let Some(entry) = record
            .snapshot
            .as_ref()
            .and_then(|id| last_used.get_mut(id))
        {
            entry.0 = entry.0.max(record.last_used);
        }
    }
    // The time travels down each chain, with the number of snapshots on top.
    for id in contents.snapshots.keys() {
        let mut time = last_used[id].0;
        let mut height = 0;
        let mut below = contents.snapshots[id].parent.as_ref();
        while let Some(entry) = below.and_then(|id| last_used.get_mut(id)) {
            height += 1;
            let next = (entry.0.max(time), entry.1.max(height));
            if next == *entry {
                break;
            }
            *entry = next;
            time = next.0;
            below = below.and_then(|id| contents.snapshots[id].parent.as_ref());
        }
    }
    let mut order: Vec<_> = last_used
        .into_iter()
        .map(|(id, (time, height))| (time, height, id))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(time, _, id)| (id, time)).collect()
}

/// How much more has to go.
#[derive(Debug)]
struct Budget<'a> {
    contents: &'a Contents,
    keep: Option<u64>,
    total: u64,
    /// The layer blobs that only snapshots keep: their size, and by how many.
    layers: HashMap<&'a Digest, (u64, u32)>,
    of_snapshot: HashMap<&'a SnapshotId, Vec<&'a Digest>>,
}

impl<'a> Budget<'a> {
    fn new(
        contents: &'a Contents,
        policy: &PrunePolicy,
        blobs: &BTreeMap<Digest, Space>,
        kept: &HashSet<Digest>,
    ) -> Self {
        let size = |digest: &Digest| blobs.get(digest).map_or(0, |space| space.disk);
        let mut layers: HashMap<&Digest, (u64, u32)> = HashMap::new();
        let mut of_snapshot: HashMap<&SnapshotId, Vec<&Digest>> = HashMap::new();
        for (id, digest) in contents
            .layers
            .iter()
            .filter(|(_, digest)| !kept.contains(digest))
        {
            layers.entry(digest).or_insert((size(digest), 0)).1 += 1;
            of_snapshot.entry(id).or_default().push(digest);
        }
        let snapshots = contents.snapshots.values().filter_map(|row| row.space);
        let total = snapshots.map(|space| space.disk).sum::<u64>()
            + kept.iter().map(size).sum::<u64>()
            + layers.values().map(|(size, _)| size).sum::<u64>();
        Self {
            contents,
            keep: policy.keep_bytes,
            total,
            layers,
            of_snapshot,
        }
    }

    fn is_exceeded(&self) -> bool {
        self.keep.is_none_or(|keep| self.total > keep)
    }

    fn release(&mut self, id: &SnapshotId) {
        let space = self.contents.snapshots.get(id).and_then(|row| row.space);
        self.total -= space.map_or(0, |space| space.disk);
        for digest in self.of_snapshot.remove(id).unwrap_or_default() {
            if let Some((size, users)) = self.layers.get_mut(digest) {
                *users -= 1;
                if *users == 0 {
                    self.total -= *size;
                }
            }
        }
    }
}
