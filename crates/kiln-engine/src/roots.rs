//! Chains of layers as mounted roots.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_base::trace::Tracer;
use kiln_base::{CancelToken, Timestamp};
use kiln_layer::Elsewhere;
use kiln_store::{ActiveSnapshot, SnapshotId};
use kiln_sys::fs::{Dir, Owner};
use kiln_sys::mount::{
    Attached, Attributes, Durability, Filesystem, Overlay, Recursion, Upper, attach_at, bind,
    mount_filesystem,
};

use crate::Engine;
use crate::chain::{Chain, ChainLayer, Origin};
use crate::error::{LayerError, RootError};
use crate::layers::Packer;

/// A root that is being changed: a chain, and a new layer on top that takes the changes.
pub(crate) struct WritableRoot {
    /// The mount, attached nowhere.
    pub(crate) mount: OwnedFd,
    /// The new layer.
    layer: ActiveSnapshot,
    below: Chain,
    /// Where the layer's files are instead, if not in its own directory.
    memory: Option<Memory>,
}

/// The directories of a new layer, in memory.
struct Memory {
    upper: PathBuf,
    work: PathBuf,
    _mount: Attached,
}

/// Where the files of a new layer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilesIn {
    /// In the store.
    Store,
    /// In memory, if the system can: for [`WritableRoot::commit_packed`] only.
    Memory,
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
            memory: _,
        } = self;
        // The kernel writes to the layer until the last handle of the mount is gone.
        tracer.within("unmount", || drop(mount));
        if let Some(engine) = step_of {
            engine.drop_mount_points(layer.upper(), &below)?;
        }
        let id = SnapshotId::random();
        let parent = below.top().map(|layer| layer.snapshot.clone());
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
        (engine, packer): (&Engine, Packer<'_, '_>),
        contents: Arc<dyn Elsewhere>,
        created: Timestamp,
        tracer: &Tracer,
    ) -> Result<Chain, LayerError> {
        let Self {
            mount,
            layer,
            below,
            memory,
        } = self;
        tracer.within("unmount", || drop(mount));
        let upper = memory
            .as_ref()
            .map_or(layer.upper(), |memory| &memory.upper);
        let dir = Dir::open(upper).map_err(RootError::from)?;
        let upper = kiln_layer::Upper {
            dir: engine.machine.tree(dir),
            elsewhere: Some(contents),
        };
        let record = packer.write(upper, &below, tracer)?;
        let _span = tracer.span("commit");
        drop(memory);
        let snapshot = SnapshotId::random();
        let parent = below.top().map(|layer| layer.snapshot.clone());
        layer.commit_packed(&snapshot, parent.as_ref())?;
        packer.queue.note(&snapshot, &record)?;
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
        let stack = self.stack(chain, &CancelToken::new())?;
        stack.iter().rev().map(|id| self.layer_path(id)).collect()
    }

    /// The directories of a chain's layers, the topmost first, to be read one by one.
    pub(crate) fn lower_dirs(
        &self,
        chain: &Chain,
        cancel: &CancelToken,
    ) -> Result<Vec<Dir>, RootError> {
        self.lower_dirs_of(chain.snapshots(), cancel)
    }

    /// The same for snapshots, lowest first.
    pub(crate) fn lower_dirs_of(
        &self,
        layers: Vec<SnapshotId>,
        cancel: &CancelToken,
    ) -> Result<Vec<Dir>, RootError> {
        let stack = self.stack_of(layers, cancel)?;
        let dirs = stack.iter().rev().map(|id| self.filled_dir(id, cancel));
        dirs.collect()
    }

    /// The directory of a layer. One that a step stands on has been filled by then; what else asks
    /// can't be cancelled.
    pub(crate) fn layer_path(&self, snapshot: &SnapshotId) -> Result<PathBuf, RootError> {
        self.filled_layer(snapshot, &CancelToken::new())
    }

    /// One layer's own directory, as it is in the store.
    pub(crate) fn layer_dir(&self, snapshot: &SnapshotId) -> Result<Dir, RootError> {
        self.filled_dir(snapshot, &CancelToken::new())
    }

    /// Mounts a chain with a new, empty layer on top.
    pub(crate) fn writable_root(&self, below: &Chain) -> Result<WritableRoot, RootError> {
        let lowest = below.is_empty().then(|| self.empty_dir());
        self.writable_root_on((lowest.transpose()?, below), FilesIn::Store)
    }

    /// The same for a layer of which only the blob will be kept.
    pub(crate) fn packed_root(
        &self,
        below: &Chain,
        files: FilesIn,
    ) -> Result<WritableRoot, RootError> {
        let lowest = below.is_empty().then(|| self.empty_dir());
        self.writable_root_on((lowest.transpose()?, below), files)
    }

    /// The same for a step that runs a program, with [`Engine::mount_points`] below everything.
    pub(crate) fn writable_step_root(&self, below: &Chain) -> Result<WritableRoot, RootError> {
        self.writable_root_on((Some(self.mount_points()?), below), FilesIn::Store)
    }

    fn writable_root_on(
        &self,
        (lowest, below): (Option<PathBuf>, &Chain),
        files: FilesIn,
    ) -> Result<WritableRoot, RootError> {
        let layer = self.store.begin_snapshot()?;
        let memory = match files {
            FilesIn::Store => None,
            FilesIn::Memory => self.memory(&layer),
        };
        let (upper, work) = match &memory {
            Some(memory) => (memory.upper.as_path(), memory.work.as_path()),
            None => (layer.upper(), layer.work()),
        };
        let mut lowers = self.lowers(below)?;
        if let Some(top) = lowers.first() {
            // The new layer stands for the root directory, so it takes the attributes that the
            // root has below it.
            copy_root_attributes(&Dir::open(top)?, &Dir::open(upper)?)?;
        }
        lowers.extend(lowest);
        let overlay = Overlay {
            lowers,
            upper: Some(Upper {
                upper: upper.to_owned(),
                work: work.to_owned(),
                durability: Durability::Volatile,
            }),
            userxattr: self.machine.grade.uses_user_xattrs(),
        };
        let mount = overlay.mount_detached()?;
        Ok(WritableRoot {
            mount,
            layer,
            below: below.clone(),
            memory,
        })
    }

    /// A new layer's directories in memory: making and removing a file there takes a fraction of what
    /// it takes on a disk. `None` where the system can't: with less space, mounts or attributes than
    /// overlayfs and recorded owners need, the store serves as well.
    fn memory(&self, layer: &ActiveSnapshot) -> Option<Memory> {
        let tmpfs = Filesystem::Tmpfs {
            size: None,
            mode: 0o700,
        };
        let mount = mount_filesystem(tmpfs, Attributes::empty()).ok()?;
        let root = Dir::from_fd(mount.try_clone().ok()?);
        root.mkdir("upper", 0o755).ok()?;
        root.mkdir("work", 0o700).ok()?;
        root.set_mode("upper", 0o755).ok()?;
        if self.machine.grade.uses_user_xattrs() {
            root.set_xattr("work", "user.kiln.probe", b"").ok()?;
        }
        let mount = attach_at(mount, layer.work()).ok()?;
        Some(Memory {
            upper: layer.work().join("upper"),
            work: layer.work().join("work"),
            _mount: mount,
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
