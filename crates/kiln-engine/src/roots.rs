//! Chains of layers as mounted roots.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_base::trace::Tracer;
use kiln_base::{CancelToken, Timestamp};
use kiln_layer::Elsewhere;
use kiln_store::{ActiveSnapshot, SnapshotId};
use kiln_sys::fs::{Dir, Owner};
use kiln_sys::mount::{Durability, Overlay, Recursion, Upper, bind};

use crate::Engine;
use crate::chain::{Chain, ChainLayer, Origin};
use crate::error::{LayerError, RootError};
use crate::layers::LayerQueue;

/// A root that is being changed: a chain, and a new layer on top that takes the changes.
pub(crate) struct WritableRoot {
    /// The mount, attached nowhere.
    pub(crate) mount: OwnedFd,
    /// The new layer.
    layer: ActiveSnapshot,
    below: Chain,
}

impl WritableRoot {
    /// The same for [`Engine::writable_step_root`].
    pub(crate) fn commit_step(
        self,
        engine: &Engine,
        created: Timestamp,
        tracer: &Tracer,
    ) -> Result<Chain, RootError> {
        self.finish(Some(engine), created, tracer)
    }

    /// Keeps the new layer, and returns the chain with it on top.
    pub(crate) fn commit(self, created: Timestamp) -> Result<Chain, RootError> {
        self.commit_traced(created, &Tracer::off())
    }

    /// The same, which says where the time goes.
    pub(crate) fn commit_traced(
        self,
        created: Timestamp,
        tracer: &Tracer,
    ) -> Result<Chain, RootError> {
        self.finish(None, created, tracer)
    }

    fn finish(
        self,
        step_of: Option<&Engine>,
        created: Timestamp,
        tracer: &Tracer,
    ) -> Result<Chain, RootError> {
        let _span = tracer.span("commit");
        let Self {
            mount,
            layer,
            below,
        } = self;
        // The kernel writes to the layer until the last handle of the mount is gone.
        tracer.within("unmount", || drop(mount));
        if let Some(engine) = step_of {
            engine.drop_mount_points(layer.upper(), &below)?;
        }
        let id = SnapshotId::random();
        let parent = below.layers.last().map(|layer| layer.snapshot.clone());
        let keep = || layer.commit(&id, parent.as_ref());
        let snapshot = tracer.within("keep the snapshot", keep)?.id;
        Ok(below.with(ChainLayer {
            snapshot,
            origin: Origin::Step { created },
        }))
    }

    /// Keeps the new layer as a blob alone, which is packed now, and returns the chain with it on top.
    /// `contents` says where the contents of files are that are not in the layer.
    pub(crate) fn commit_packed(
        self,
        (engine, queue): (&Engine, &LayerQueue<'_>),
        contents: Arc<dyn Elsewhere>,
        created: Timestamp,
        tracer: &Tracer,
    ) -> Result<Chain, LayerError> {
        let Self {
            mount,
            layer,
            below,
        } = self;
        tracer.within("unmount", || drop(mount));
        let dir = Dir::open(layer.upper()).map_err(RootError::from)?;
        let upper = kiln_layer::Upper {
            dir: engine.machine.tree(dir),
            elsewhere: Some(contents),
        };
        let record = queue.write(upper, &below.layers, tracer)?;
        let _span = tracer.span("commit");
        let snapshot = SnapshotId::random();
        let parent = below.layers.last().map(|layer| layer.snapshot.clone());
        layer.commit_packed(&snapshot, parent.as_ref())?;
        queue.note(&snapshot, &record)?;
        Ok(below.with(ChainLayer {
            snapshot,
            origin: Origin::Step { created },
        }))
    }

    /// The new layer's directory on disk: for a program that fills an empty root.
    pub(crate) fn upper(&self) -> &std::path::Path {
        self.layer.upper()
    }

    /// The mounted root for file work.
    pub(crate) fn dir(&self, engine: &Engine) -> Result<Dir, RootError> {
        let mount = self.mount.try_clone().map_err(RootError::Handle)?;
        Ok(engine.machine.tree(Dir::from_fd(mount)))
    }
}

impl Engine {
    /// The directories of a chain's layers, the topmost first, as overlayfs wants them.
    fn lowers(&self, chain: &Chain) -> Result<Vec<PathBuf>, RootError> {
        // Steps have flattened what they stand on before, and can be cancelled while they do.
        let stack = self.stack(&chain.layers, &CancelToken::new())?;
        stack.iter().rev().map(|id| self.layer_path(id)).collect()
    }

    /// The directories of layers, the topmost first, to be read one by one.
    pub(crate) fn lower_dirs(
        &self,
        layers: &[ChainLayer],
        cancel: &CancelToken,
    ) -> Result<Vec<Dir>, RootError> {
        let layers = layers.iter().map(|layer| layer.snapshot.clone());
        self.lower_dirs_of(layers.collect(), cancel)
    }

    /// The same for snapshots, lowest first.
    pub(crate) fn lower_dirs_of(
        &self,
        layers: Vec<SnapshotId>,
        cancel: &CancelToken,
    ) -> Result<Vec<Dir>, RootError> {
        let stack = self.stack_of(layers, cancel)?;
        let dir = |id| {
            let path = self.filled_layer(id, cancel)?;
            Ok(self.machine.tree(Dir::open(path)?))
        };
        stack.iter().rev().map(dir).collect()
    }

    /// The directory of a layer. One that a step stands on has been filled by then; what else asks
    /// can't be cancelled.
    pub(crate) fn layer_path(&self, snapshot: &SnapshotId) -> Result<PathBuf, RootError> {
        self.filled_layer(snapshot, &CancelToken::new())
    }

    /// One layer's own directory, as it is in the store.
    pub(crate) fn layer_dir(&self, snapshot: &SnapshotId) -> Result<Dir, RootError> {
        Ok(self.machine.tree(Dir::open(self.layer_path(snapshot)?)?))
    }

    /// Mounts a chain with a new, empty layer on top.
    pub(crate) fn writable_root(&self, below: &Chain) -> Result<WritableRoot, RootError> {
        let lowest = below.layers.is_empty().then(|| self.empty_dir());
        self.writable_root_on(lowest.transpose()?, below)
    }

    /// The same for a step that runs a program, with [`Engine::mount_points`] below everything.
    pub(crate) fn writable_step_root(&self, below: &Chain) -> Result<WritableRoot, RootError> {
        self.writable_root_on(Some(self.mount_points()?), below)
    }

    fn writable_root_on(
        &self,
        lowest: Option<PathBuf>,
        below: &Chain,
    ) -> Result<WritableRoot, RootError> {
        let layer = self.store.begin_snapshot()?;
        let mut lowers = self.lowers(below)?;
        if let Some(top) = lowers.first() {
            // The new layer stands for the root directory, so it takes the attributes that the
            // root has below it.
            copy_root_attributes(&Dir::open(top)?, &Dir::open(layer.upper())?)?;
        }
        lowers.extend(lowest);
        let overlay = Overlay {
            lowers,
            upper: Some(Upper {
                upper: layer.upper().to_owned(),
                work: layer.work().to_owned(),
                durability: Durability::Volatile,
            }),
            userxattr: self.machine.grade.uses_user_xattrs(),
        };
        let mount = overlay.mount_detached()?;
        Ok(WritableRoot {
            mount,
            layer,
            below: below.clone(),
        })
    }

    /// Mounts a chain to be read.
    pub(crate) fn readable_root(&self, chain: &Chain) -> Result<OwnedFd, RootError> {
        let mut lowers = self.lowers(chain)?;
        if lowers.is_empty() {
            lowers.push(self.empty_dir()?);
        }
        if let [only] = lowers.as_slice() {
            return bind(only, Recursion::This).map_err(RootError::Handle);
        }
        let userxattr = self.machine.grade.uses_user_xattrs();
        Ok(Overlay {
            lowers,
            upper: None,
            userxattr,
        }
        .mount_detached()?)
    }

    /// A directory that is always empty: the lowest layer of `scratch`, since overlayfs needs one.
    fn empty_dir(&self) -> Result<PathBuf, RootError> {
        let path = self.store.root().join("empty");
        kiln_sys::files::create_dir_all(&path, 0o755)?;
        Ok(path)
    }
}

fn copy_root_attributes(from: &Dir, to: &Dir) -> Result<(), RootError> {
    let root = from.metadata(Dir::ITSELF)?;
    to.set_owner(
        Dir::ITSELF,
        Owner {
            uid: root.uid,
            gid: root.gid,
        },
    )?;
    to.set_mode(Dir::ITSELF, root.mode)?;
    Ok(())
}
