//! Which directories are mounted for a chain of layers: a few flattened ones instead of very many.
//!
//! Overlayfs stacks 500 directories at most, and each costs some 25 µs in every mount, and more with
//! every name that is looked up. So a long chain is mounted by way of snapshots that hold several of
//! its layers:
//!
//! * Above [`Flatten::above`] layers, small ones are merged in blocks of [`Flatten::block`]. To copy
//!   them is soon cheaper than to stack them. Large ones stay as they are.
//! * Where that leaves more than [`Flatten::limit`], [`Flatten::group`]s of whatever is left are
//!   merged, from the bottom.
//!
//! Blocks begin at multiples of their size, counted from the bottom. So a build that goes on, or
//! another one on the same layers, finds them; each layer is copied once, at most twice.
//!
//! Flattened snapshots are an aid of this machine. Chains, keys, layers and images don't know them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_base::CancelToken;
use kiln_layer::FlattenError;
use kiln_store::SnapshotId;
use kiln_sys::fs::Dir;

use crate::Engine;
use crate::chain::Chain;
use crate::error::RootError;
use crate::packed::{KnownPacked, Place};

/// When layers are flattened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flatten {
    /// Chains of this many layers are mounted as they are.
    pub above: usize,
    /// How many layers a block has.
    pub block: usize,
    /// What a layer may take on disk to count as small, in bytes.
    pub small: u64,
    /// How many directories are mounted at most; the kernel takes 500 with the upper one.
    pub limit: usize,
    /// How many are merged where there would be more.
    pub group: usize,
}

impl Flatten {
    /// What is best on today's machines.
    pub const STANDARD: Self = Self {
        above: 64,
        block: 32,
        small: 1 << 20,
        limit: 400,
        group: 128,
    };

    /// The same with another [`Flatten::above`], from 2 to what the kernel takes; `None` for others.
    pub fn with_above(self, above: usize) -> Option<Self> {
        (2..=MOST).contains(&above).then(|| Self {
            above,
            block: self.block.min(above / 2).max(2),
            limit: self.limit.max(above),
            ..self
        })
    }
}

/// As many layers as the kernel stacks, less the one that has what every step mounts on
/// ([`Engine::mount_points`]).
const MOST: usize = kiln_sys::mount::MAX_LOWERS - 1;

/// What an engine knows of snapshots that it uses: those stay as they are, and in the store, as long as
/// the engine lives.
#[derive(Debug, Default)]
pub(crate) struct Known {
    paths: Mutex<HashMap<SnapshotId, PathBuf>>,
    packed: Mutex<KnownPacked>,
    /// What a block is mounted by, by the name that it has when all of it is flattened.
    blocks: Mutex<HashMap<SnapshotId, Arc<[SnapshotId]>>>,
}

impl Engine {
    /// Where a snapshot's files are.
    pub(crate) fn find_layer(&self, snapshot: &SnapshotId) -> Result<Place, RootError> {
        if let Some(path) = lock(&self.known.paths).get(snapshot) {
            return Ok(Place::Files(path.clone()));
        }
        let Some(found) = self.store.snapshot(snapshot)? else {
            return Ok(Place::Nowhere);
        };
        if found.has_files()? {
            lock(&self.known.paths).insert(snapshot.clone(), found.path.clone());
            return Ok(Place::Files(found.path));
        }
        if lock(&self.known.packed).contains(snapshot) {
            return Ok(Place::Blob);
        }
        if self.packed_layer(snapshot)?.is_none() {
            return Ok(Place::Nowhere);
        }
        lock(&self.known.packed).insert(snapshot.clone());
        Ok(Place::Blob)
    }

    /// Whether all layers of the chain are there.
    pub(crate) fn has_layers(&self, chain: &Chain) -> Result<bool, RootError> {
        let unknown = chain.down().take_while(|chain| !chain.is_found());
        for layer in unknown.filter_map(Chain::top) {
            if matches!(self.find_layer(&layer.snapshot)?, Place::Nowhere) {
                return Ok(false);
            }
        }
        chain.note_found();
        Ok(true)
    }

    /// The snapshots to stack for a chain, lowest first; flattened ones are made where they are
    /// missing.
    pub(crate) fn stack(
        &self,
        chain: &Chain,
        cancel: &CancelToken,
    ) -> Result<Vec<SnapshotId>, RootError> {
        self.stack_of(chain.snapshots(), cancel)
    }

    /// The same for snapshots, lowest first.
    pub(crate) fn stack_of(
        &self,
        layers: Vec<SnapshotId>,
        cancel: &CancelToken,
    ) -> Result<Vec<SnapshotId>, RootError> {
        let flatten = &self.settings.flatten;
        if layers.len() <= flatten.above {
            return Ok(layers);
        }
        let blocks = layers.chunks_exact(flatten.block);
        let rest = blocks.remainder();
        let mut stack = Vec::new();
        for block in blocks {
            stack.extend_from_slice(&self.block(block, cancel)?);
        }
        stack.extend_from_slice(rest);
        let mut groups = Vec::new();
        let mut from = 0;
        while groups.len() + stack.len() - from > flatten.limit {
            let to = (from + flatten.group).min(stack.len());
            groups.push(self.flattened(&stack[from..to], cancel)?);
            from = to;
        }
        groups.extend_from_slice(&stack[from..]);
        Ok(groups)
    }

    /// What a block is mounted by: each run of small layers is one.
    fn block(
        &self,
        layers: &[SnapshotId],
        cancel: &CancelToken,
    ) -> Result<Arc<[SnapshotId]>, RootError> {
        let whole = SnapshotId::flattened(layers);
        if let Some(known) = lock(&self.known.blocks).get(&whole) {
            return Ok(Arc::clone(known));
        }
        let spaces = self.store.snapshot_spaces(layers)?;
        let is_small = |at: usize| spaces[at].disk <= self.settings.flatten.small;
        let mut stack = Vec::new();
        let mut at = 0;
        while at < layers.len() {
            let small = (at..layers.len()).take_while(|at| is_small(*at)).count();
            let run = &layers[at..at + small.max(1)];
            at += run.len();
            stack.push(match run {
                [only] => only.clone(),
                several => self.flattened(several, cancel)?,
            });
        }
        let stack: Arc<[SnapshotId]> = stack.into();
        lock(&self.known.blocks).insert(whole, Arc::clone(&stack));
        Ok(stack)
    }

    /// The snapshot that these, lowest first, are flattened into.
    fn flattened(
        &self,
        layers: &[SnapshotId],
        cancel: &CancelToken,
    ) -> Result<SnapshotId, RootError> {
        let id = SnapshotId::flattened(layers);
        let is_there = || Ok::<_, RootError>(!matches!(self.find_layer(&id)?, Place::Nowhere));
        if is_there()? {
            return Ok(id);
        }
        let _lock = self.store.lock_snapshot(&id, cancel)?;
        if is_there()? {
            return Ok(id);
        }
        self.tracer.within("flatten", || {
            // Owners are copied as they are kept, whatever they mean.
            let dirs = layers.iter().rev().map(|layer| {
                let path = self.filled_layer(layer, cancel)?;
                Ok(Dir::open(path)?)
            });
            let dirs: Vec<Dir> = dirs.collect::<Result<_, RootError>>()?;
            let made = self.store.begin_snapshot()?;
            let into = Dir::open(made.upper())?;
            let spare = Dir::open(made.make_spare()?)?;
            let xattrs = self.machine.overlay_xattrs();
            kiln_layer::flatten(&dirs, (&into, &spare), xattrs, cancel).map_err(
                |error| match error {
                    FlattenError::Cancelled(cancelled) => RootError::Store(cancelled.into()),
                    error => RootError::Flatten(error),
                },
            )?;
            made.commit(&id, layers.last())?;
            Ok(id)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
