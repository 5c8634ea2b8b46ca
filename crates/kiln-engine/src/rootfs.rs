//! `kiln rootfs`: an image's files as a disk that a machine boots.
//!
//! ```text
//!  image ──unpack──> layers ──merge──> tree ──edit──> tree ──plan──> size ──write──> disk, manifest
//! ```
//!
//! The layers are those that the image's blobs unpack to, also where the image was built here and its
//! steps' own snapshots would do: those have times finer than an archive's. So a disk is made of
//! nothing but the image's digest and the request, on every machine.
//!
//! A disk gets its name when all is done; what failed or was cancelled leaves nothing.
//!
//! Deliberately absent: what may be taken from or put into a tree (`kiln-rootfs`), and formats
//! (`kiln-disk`).

mod commands;
mod disk;
mod error;
mod files;
mod merge;
mod output;
mod source;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kiln_base::events::Events;
use kiln_base::{CancelToken, Timestamp};
use kiln_disk::{Contents, Node, Tree};
use kiln_graph::{KeyHasher, Network};
use kiln_image::Image;
use kiln_oci::Platform;
use kiln_rootfs::manifest::{
    Manifest, ManifestContents, ManifestDisk, ManifestKernel, ManifestSource, ManifestTimings,
};
use kiln_rootfs::request::{DiskRequest, uuid_of};

use crate::Engine;
use crate::chain::Chain;
use crate::reporter::Reporter;

pub use error::RootfsError;
pub use merge::MergeError;

use disk::{Identity, Plan};
use files::LayerFiles;
use merge::MergeOptions;
use output::Output;

/// A disk, as the engine makes it.
#[derive(Debug, Clone)]
pub struct RootfsRequest {
    /// The image, as [`Engine::image_anywhere`] finds it; where the store does not have a name it
    /// is pulled.
    pub image: String,
    /// Which one, where a name has several.
    pub platform: Platform,
    /// An image for another platform is refused, even if there is no other.
    pub is_platform_fixed: bool,
    /// Commands for the image's shell that are run in it first, as root.
    pub commands: Vec<String>,
    /// Their network.
    pub network: Network,
    /// The file system.
    pub disk: DiskRequest,
    /// Later modification times become this one, and the disk is of this time. Otherwise the files'
    /// times stay and the disk is of the image's time.
    pub epoch: Option<Timestamp>,
    /// What the user called it, with labels, for the manifest.
    pub name: Option<String>,
    /// Labels for the manifest.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The disk's file.
    pub output: PathBuf,
    /// The manifest's file.
    pub manifest: Option<PathBuf>,
}

/// Times of the parts, as they are finished.
#[derive(Debug)]
struct Stopwatch {
    began: Instant,
    last: Instant,
}

impl Stopwatch {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            last: now,
        }
    }

    /// Since the last call.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.last;
        self.last = now;
        lap
    }
}

/// An image's files, ready to be edited.
struct Merged {
    tree: Tree,
    files: LayerFiles,
}

impl Engine {
    /// Makes a disk of an image.
    ///
    /// # Errors
    ///
    /// See [`RootfsError`]. Nothing is left then: neither the disk nor a part of it.
    pub fn rootfs(
        &self,
        request: &RootfsRequest,
        events: &dyn Events,
        cancel: &CancelToken,
    ) -> Result<Manifest, RootfsError> {
        let reporter = Reporter::new(events).traced(&self.tracer);
        let mut watch = Stopwatch::start();
        let mut timings = ManifestTimings::default();
        let image = self.rootfs_image(request, &reporter, cancel)?;
        timings.pull = watch.lap();
        let chain = crate::base::chain(&image, self.machine)?;
        self.unpack_for_rootfs(&image, &chain, &reporter, cancel)?;
        timings.extract = watch.lap();
        let chain = self.run_rootfs_commands(request, (&image, chain), &reporter, cancel)?;
        timings.build = watch.lap();
        let epoch = epoch(request, &image);
        let clamp = clamp(request, epoch);
        let merged = self.merge_for_rootfs(&chain, clamp, &reporter, cancel)?;
        timings.extract += watch.lap();
        let before = contents(&merged.tree);
        timings.optimize = watch.lap();

        let identity = identity(request, &image, epoch);
        let plan = Plan::new(&merged.tree, &request.disk, &identity)?;
        if let Some(size) = plan.exact_size() {
            check_limit(&request.disk, size)?;
        }
        let mut output = Output::create(&request.output)?;
        let written = reporter.step(&step_name(request), cancel, |_| {
            let from: (&Tree, &dyn Contents) = (&merged.tree, &merged.files);
            let how = (request.disk.compression, self.settings.jobs);
            output.write(&plan, from, how, cancel)
        })?;
        check_limit(&request.disk, written.size)?;
        timings.write = watch.lap();
        timings.total = watch.began.elapsed();
        let manifest = Manifest {
            name: request.name.clone(),
            labels: request.labels.clone(),
            source: manifest_source(request, &image),
            disk: ManifestDisk {
                file: file_name(&request.output),
                format: request.disk.format,
                compression: request.disk.compression,
                uuid: identity.uuid_of(request.disk.format),
                label: request.disk.label.clone(),
                size: written.size,
                digest: written.digest,
                file_size: written.file_size,
                file_digest: written.file_digest,
                verity: None,
            },
            contents: ManifestContents {
                image_bytes: before.bytes,
                ..contents(&merged.tree)
            },
            kernel: ManifestKernel {
                features: kernel_features(request),
                ..ManifestKernel::default()
            },
            changes: Vec::new(),
            findings: Vec::new(),
            timings,
        };
        cancel.check()?;
        output.keep(request.manifest.as_deref(), &manifest)?;
        Ok(manifest)
    }

    fn unpack_for_rootfs(
        &self,
        image: &Image,
        chain: &Chain,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<(), RootfsError> {
        if self.is_unpacked(chain)? {
            return Ok(());
        }
        let name = format!("unpack {}", image.descriptor().digest);
        reporter.step(&name, cancel, |number| {
            self.unpack_chain(chain, (reporter, number), cancel)
        })?;
        Ok(())
    }

    fn merge_for_rootfs(
        &self,
        chain: &Chain,
        clamp_mtime: Option<Timestamp>,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Merged, RootfsError> {
        let count = chain.layers.len();
        let layers = if count == 1 { "layer" } else { "layers" };
        reporter.step(&format!("merge {count} {layers}"), cancel, |_| {
            // Each is an open directory, of which a process has only so many.
            let dirs = if count <= MOST_OPEN {
                let layers = chain.layers.iter().rev();
                layers
                    .map(|layer| self.layer_dir(&layer.snapshot))
                    .collect::<Result<Vec<_>, _>>()?
            } else {
                self.lower_dirs(&chain.layers, cancel)?
            };
            let options = MergeOptions {
                xattrs: self.machine.overlay_xattrs(),
                clamp_mtime,
                threads: self.settings.jobs,
            };
            let (tree, files) = merge::merge(dirs, &options, cancel)?;
            Ok(Merged { tree, files })
        })
    }
}

/// Layers that are read as they are; of more, blocks are flattened first.
const MOST_OPEN: usize = 400;

fn step_name(request: &RootfsRequest) -> String {
    format!("write {}", file_name(&request.output))
}

fn file_name(path: &std::path::Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The time that the disk is of.
fn epoch(request: &RootfsRequest, image: &Image) -> Timestamp {
    let created = image.config().created.as_deref();
    let created = created.and_then(|created| created.parse().ok());
    request.epoch.or(created).unwrap_or(Timestamp::EPOCH)
}

/// The latest time that a file may have. What commands of today change would make each disk
/// another one.
fn clamp(request: &RootfsRequest, epoch: Timestamp) -> Option<Timestamp> {
    (request.epoch.is_some() || !request.commands.is_empty()).then_some(epoch)
}

/// What makes a disk another one.
fn identity(request: &RootfsRequest, image: &Image, epoch: Timestamp) -> Identity {
    let disk = &request.disk;
    let hash = |purpose: &str| {
        let mut hasher = KeyHasher::new(purpose);
        hasher
            .field("image", image.descriptor().digest.as_str().as_bytes())
            .field("format", disk.format.name().as_bytes())
            .field("inner", format!("{:?}", disk.inner).as_bytes())
            .field("free", &disk.free.to_be_bytes())
            .field("journal", &[u8::from(disk.journal)])
            .field("label", disk.label.as_bytes())
            .field("epoch", &epoch.seconds().to_be_bytes());
        for command in &request.commands {
            hasher.field("command", command.as_bytes());
        }
        uuid_of(&hasher.finish())
    };
    Identity {
        uuid: disk.uuid.unwrap_or_else(|| hash("id of a disk")),
        hash_seed: hash("order of a disk's directories"),
        epoch: epoch.seconds(),
    }
}

fn check_limit(disk: &DiskRequest, size: u64) -> Result<(), RootfsError> {
    match disk.size_limit {
        Some(limit) if size > limit => Err(RootfsError::SizeLimit { size, limit }),
        _ => Ok(()),
    }
}

fn contents(tree: &Tree) -> ManifestContents {
    let mut found = ManifestContents::default();
    let mut seen = vec![false; tree.len()];
    tree.walk(|_, id| {
        if std::mem::replace(&mut seen[id.as_usize()], true) {
            return;
        }
        match &tree.inode(id).node {
            Node::Directory(_) => found.directories += 1,
            Node::File(file) => {
                found.files += 1;
                found.bytes += file.size;
            }
            _ => found.others += 1,
        }
    });
    found
}

fn manifest_source(request: &RootfsRequest, image: &Image) -> ManifestSource {
    let layers = image.layers().iter();
    ManifestSource {
        image: request.image.clone(),
        digest: image.descriptor().digest.clone(),
        layers: layers.map(|layer| layer.digest.clone()).collect(),
        config: image.config().clone(),
        commands: request.commands.clone(),
    }
}

/// What a kernel has to be built with to mount the disk.
fn kernel_features(request: &RootfsRequest) -> Vec<String> {
    disk::kernel_features(&request.disk)
        .iter()
        .map(ToString::to_string)
        .collect()
}
