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

mod bill;
mod boot;
mod commands;
mod describe;
mod disk;
mod edit;
mod error;
mod files;
mod initrd;
mod merge;
mod output;
mod places;
mod sign;
mod source;
mod temporary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln_base::events::Events;
use kiln_base::{CancelToken, Timestamp};
use kiln_disk::{Contents, Tree};
use kiln_graph::{KeyHasher, Network};
use kiln_image::Image;
use kiln_oci::Platform;
use kiln_rootfs::init::Installed;
use kiln_rootfs::manifest::{
    Manifest, ManifestBoot, ManifestContents, ManifestTimings, ManifestVerity,
};
use kiln_rootfs::request::{DiskRequest, uuid_of};

use crate::Engine;
use crate::chain::Chain;
use crate::reporter::Reporter;

pub use bill::RootfsBill;
pub use boot::VerifyBoot;
pub use edit::{RootfsEdits, RootfsInit};
pub use error::RootfsError;
pub use merge::MergeError;
pub use sign::RootfsSign;

use disk::{Identity, Plan};
use edit::Edited;
use files::LayerFiles;
use initrd::Initrd;
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
    /// What is done with the files.
    pub edits: RootfsEdits,
    /// How the disk is tried before it is delivered.
    pub verify: Option<VerifyBoot>,
    /// The kernel that the disk is tried with, and that an initial file system is for; `None` looks
    /// for one of this machine.
    pub kernel: Option<PathBuf>,
    /// The file of an initial file system for that kernel and this disk.
    pub initrd: Option<PathBuf>,
    /// The file system.
    pub disk: DiskRequest,
    /// Later modification times become this one, and the disk is of this time. Otherwise the files'
    /// times stay and the disk is of the image's time.
    pub epoch: Option<Timestamp>,
    /// What the user called it, with labels, for the manifest.
    pub name: Option<String>,
    /// Labels for the manifest.
    pub labels: BTreeMap<String, String>,
    /// The disk's file.
    pub output: PathBuf,
    /// The manifest's file.
    pub manifest: Option<PathBuf>,
    /// Bills of materials, each in a file of its own.
    pub bills: Vec<RootfsBill>,
    /// A signature of it all, in a file of its own.
    pub sign: Option<RootfsSign>,
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
        places::check(request)?;
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
        let mut merged = self.merge_for_rootfs(&chain, clamp, &reporter, cancel)?;
        timings.extract += watch.lap();
        let image_contents = describe::contents(&merged.tree);
        let edited = edit_files(&mut merged, request, (&image, epoch), &reporter, cancel)?;
        timings.optimize = watch.lap();
        let bills = bill::scan(&merged, &request.bills, &reporter, cancel)?;
        let identity = identity(request, &image, epoch);
        let (mut output, verity) =
            self.write_disk(request, (&merged, &identity), &reporter, cancel)?;
        timings.write = watch.lap();
        let installed = edited.installed.as_ref();
        let arguments = describe::kernel_arguments(request, installed, verity.as_ref());
        let started = (output.temporary_path(), arguments.as_slice(), installed);
        let (initrd, booted) = self.try_disk(request, started, &reporter, cancel)?;
        let packing = (request.disk.compression, self.settings.jobs);
        let written = output.pack(packing, cancel)?;
        // With its hashes.
        check_limit(&request.disk, written.size)?;
        timings.write += watch.lap();
        timings.total = watch.began.elapsed();
        let facts = describe::Facts {
            request,
            image: &image,
            identity,
            written,
            verity,
            edited,
            arguments,
            contents: ManifestContents {
                image_bytes: image_contents.bytes,
                ..describe::contents(&merged.tree)
            },
            booted,
            initrd: initrd.as_ref().and_then(Initrd::described).cloned(),
            timings,
        };
        let mut manifest = facts.into_manifest();
        let mut beside = bills.write(&mut manifest, epoch);
        manifest.signature = request.sign.as_ref().map(RootfsSign::describe);
        if let Some(path) = &request.manifest {
            beside.push((path.clone(), manifest.to_json()));
        }
        if let Some(sign) = &request.sign {
            beside.push(sign.sign(&manifest, &beside)?);
        }
        cancel.check()?;
        output.keep(initrd, &beside)?;
        Ok(manifest)
    }

    /// Writes the disk under a temporary name, with its hashes if they are asked for.
    fn write_disk(
        &self,
        request: &RootfsRequest,
        (merged, identity): (&Merged, &Identity),
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<(Output, Option<ManifestVerity>), RootfsError> {
        let disk = &request.disk;
        let plan = Plan::new(&merged.tree, disk, identity)?;
        if let Some(size) = plan.exact_size() {
            check_limit(disk, size)?;
        }
        if let Some(warning) = plan.warning() {
            reporter.warn(&warning, None);
        }
        let mut output = Output::create(&request.output)?;
        let name = format!("write {}", describe::file_name(&request.output));
        let verity = reporter.step(&name, cancel, |_| {
            let from: (&Tree, &dyn Contents) = (&merged.tree, &merged.files);
            let size = output.write(&plan, from, self.settings.jobs, cancel)?;
            check_limit(disk, size)?;
            if !disk.verity {
                return Ok(None);
            }
            let own = (identity.uuid, identity.salt);
            let verity = output.append_verity(size, own, self.settings.jobs, cancel)?;
            Ok::<_, RootfsError>(Some(verity))
        })?;
        Ok((output, verity))
    }

    /// Makes the initial file system and starts the disk, as far as they are asked for.
    fn try_disk(
        &self,
        request: &RootfsRequest,
        (disk, arguments, installed): (&Path, &[String], Option<&Installed>),
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<(Option<Initrd>, Option<ManifestBoot>), RootfsError> {
        if let Some(warning) = initrd::warning(request) {
            reporter.warn(warning, None);
        }
        let Some(kernel) = initrd::kernel(request)? else {
            return Ok((None, None));
        };
        let initrd = initrd::make(request, &kernel, self.settings.jobs, cancel)?;
        let Some(verify) = &request.verify else {
            return Ok((initrd, None));
        };
        let trial = boot::Trial {
            disk,
            format: request.disk.format,
            arguments,
            installed,
            kernel: &kernel,
            initrd: initrd.as_ref().map(Initrd::path),
        };
        let booted = boot::verify(verify, &trial, reporter, cancel)?;
        Ok((initrd, Some(booted)))
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
        let unpacked = reporter.step(&name, cancel, |number| {
            self.unpack_chain(chain, (reporter, number), cancel)
        });
        // What fails after it was told to stop did not fail by itself.
        cancel.check()?;
        unpacked?;
        Ok(())
    }

    fn merge_for_rootfs(
        &self,
        chain: &Chain,
        clamp_mtime: Option<Timestamp>,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Merged, RootfsError> {
        let count = chain.len();
        let layers = if count == 1 { "layer" } else { "layers" };
        reporter.step(&format!("merge {count} {layers}"), cancel, |_| {
            // Each is an open directory, of which a process has only so many.
            let dirs = if count <= MOST_OPEN {
                let layers = chain.down().filter_map(Chain::top);
                layers
                    .map(|layer| self.layer_dir(&layer.snapshot))
                    .collect::<Result<Vec<_>, _>>()?
            } else {
                self.lower_dirs(chain, cancel)?
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

fn edit_files(
    merged: &mut Merged,
    request: &RootfsRequest,
    image: (&Image, Timestamp),
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<Edited, RootfsError> {
    if request.edits.is_empty() {
        return Ok(Edited::default());
    }
    let edited = reporter.step("prepare the files", cancel, |_| {
        edit::edit(merged, &request.edits, image, cancel)
    })?;
    for warning in &edited.warnings {
        reporter.warn(warning, None);
    }
    Ok(edited)
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
        if !request.edits.is_empty() {
            hasher.field("edits", format!("{:?}", request.edits).as_bytes());
        }
        hasher.finish()
    };
    let id = || uuid_of(&hash("id of a disk"));
    Identity {
        uuid: disk.uuid.unwrap_or_else(id),
        hash_seed: uuid_of(&hash("order of a disk's directories")),
        salt: hash("salt of a disk's hashes"),
        epoch: epoch.seconds(),
    }
}

fn check_limit(disk: &DiskRequest, size: u64) -> Result<(), RootfsError> {
    match disk.size_limit {
        Some(limit) if size > limit => Err(RootfsError::SizeLimit { size, limit }),
        _ => Ok(()),
    }
}
