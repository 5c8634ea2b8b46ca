//! `build(request, events)` to outcome: wires the crates below and writes the outputs.
//!
//! ```text
//!  Dockerfile ──parse, lower──> graph ──solve(driver)──> chain of layers ──pack──> image ──> outputs
//!                  ▲ bases           │ run_step, copy, workdir, unpack      (layers: in the background)
//! ```
//!
//! An [`Engine`] is a value that owns its handles: a store, a registry client and what the machine
//! allows. Any number of builds can run on one engine, and any number of engines on one machine.
//!
//! Deliberately absent: printing, the environment, signals, and files of the user's home. What
//! happens is told by [`kiln_base::events::Events`]; a build is stopped by its
//! [`kiln_base::CancelToken`].

mod anywhere;
mod assemble;
mod base;
mod blobs;
mod build;
mod buildkit;
mod cache_mounts;
mod chain;
mod chain_record;
mod container;
mod context;
mod contexts;
mod copy;
mod deliver;
mod diff_images;
mod disks;
mod driver;
mod early;
mod epoch;
mod error;
mod explain;
mod export;
mod fetch;
mod flatten;
mod graph;
mod images;
mod imagetools;
mod inspect;
mod layers;
mod load;
mod machine;
mod mount_points;
mod mounts;
mod outcome;
mod output;
mod packed;
mod plan;
mod redact;
mod remote;
mod reporter;
mod request;
mod rootfs;
mod roots;
mod run_step;
mod transfer;
mod trust;
mod unpack;
mod workdir;

use std::num::NonZeroUsize;
use std::sync::Arc;

use kiln_base::Timestamp;
use kiln_base::trace::Tracer;
use kiln_exec::Executor;
use kiln_store::{Clock, Store};
use kiln_sys::namespace::Grade;
use machine::Machine;

pub use anywhere::{AnywhereError, Lookup};
pub use cache_mounts::{CacheMountError, CacheMountRow};
pub use diff_images::{FileChange, FileDifference, ImageDiff, Times as DiffTimes, ValueChange};
pub use disks::{
    DiskDiff, DiskError, DiskImage, DiskTimes, Extracted, Lost, MountError, Mounted, Place,
};
pub use error::{
    AssembleError, BaseError, BuildError, ContainerError, DockerfileErrors, LayerError, LoadError,
    OutputError, RootError, SourceError, SourcePlace, StepError, TransferError,
};
pub use flatten::Flatten;
pub use images::Removed;
pub use imagetools::{CreateRequest, Created, ImagetoolsError, Inspected};
pub use inspect::{InspectError, LargeFile, LayerReport, LayersReport};
pub use kiln_exec::Control;
pub use load::Loaded;
pub use outcome::{BuildOutcome, BuiltImage, BuiltPlatform, ImageRow};
pub use request::{
    Allow, Annotation, AnnotationLevel, ArchiveKind, BuildRequest, CacheUse, Context, Dest,
    Dockerfile, FileTimes, ImageOptions, LoadTarget, LocalMode, NamedContext, Output, Pull,
    RunRequest, SaveRequest, SshSource, Stdio, StepSettings, Trust, Ulimit, Volume,
};
pub use rootfs::{
    MergeError, RootfsBill, RootfsEdits, RootfsError, RootfsInit, RootfsRequest, RootfsSign,
    VerifyBoot,
};

/// Builds images, and moves them between the store, registries, archives and container engines.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    registry: Arc<kiln_registry::Client>,
    machine: Machine,
    clock: Clock,
    settings: Settings,
    tracer: Tracer,
    executor: Executor,
    known: flatten::Known,
    chunks: chain_record::Chunks,
}

/// What an engine is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the machine allows, decided before any thread was started.
    pub grade: Grade,
    /// Blobs moved, and layers unpacked, at the same time.
    pub jobs: NonZeroUsize,
    /// The time, for what is signed with it.
    pub now: fn() -> Timestamp,
    /// The host's `/etc/resolv.conf`, which steps on the host's network see.
    pub resolv_conf: String,
    /// When the layers of a root are merged before they are mounted.
    pub flatten: Flatten,
}

impl Engine {
    /// An engine on a store.
    pub fn new(
        store: Store,
        registry: kiln_registry::Client,
        clock: Clock,
        settings: Settings,
    ) -> Self {
        let machine = Machine::new(settings.grade);
        Self {
            store,
            registry: Arc::new(registry),
            machine,
            clock,
            settings,
            tracer: Tracer::off(),
            executor: Executor::new(),
            known: flatten::Known::default(),
            chunks: chain_record::Chunks::default(),
        }
    }

    /// The same engine, which says where its time goes. Steps are numbered within one build: who
    /// runs several at a time, and wants to tell them apart, gives each an engine of its own.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// The store that the engine works on.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
