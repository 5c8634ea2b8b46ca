//! The initial file system that a kernel needs for a disk.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_disk::{Contents, Tree, cpio};
use kiln_oci::Digest;
use kiln_rootfs::boot::{BootError, find_kernel};
use kiln_rootfs::init::config::Root;
use kiln_rootfs::initrd::{self, DRIVERS, InitrdError, KernelFiles, Needs};
use kiln_rootfs::manifest::ManifestInitrd;
use kiln_rootfs::request::DiskFormat;
use kiln_sys::files;

use super::RootfsRequest;
use super::edit::RootfsInit;
use super::error::RootfsError;
use super::temporary::Temporary;

/// No module is nearly as large.
const LARGEST_MODULE: u64 = 64 << 20;

/// The driver of the disk of a machine that is made to try one.
const OWN_DRIVERS: &[&str] = &["nvme"];

/// An initial file system that does not have its name yet.
pub(super) struct Initrd {
    temporary: Temporary,
    /// Whether it is asked for; otherwise only the trial needs it.
    is_asked: bool,
    described: ManifestInitrd,
}

impl Initrd {
    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// What is said of it, where it is delivered.
    pub(super) fn described(&self) -> Option<&ManifestInitrd> {
        self.is_asked.then_some(&self.described)
    }

    /// Gives it its name, if it is to have one.
    pub(super) fn keep(self) -> Result<(), RootfsError> {
        if self.is_asked {
            self.temporary.keep()?;
        }
        Ok(())
    }
}

/// What a disk can't do that is made without the initial file system it needs.
pub(super) fn warning(request: &RootfsRequest) -> Option<&'static str> {
    let edits = &request.edits;
    let other_init = matches!(edits.init, RootfsInit::Systemd | RootfsInit::Custom { .. });
    if request.initrd.is_some() {
        None
    } else if request.disk.verity {
        Some(
            "nobody checks the disk's hashes unless an initial file system does: \
             `--initrd FILE` writes one",
        )
    } else if other_init && edits.root == Root::Overlay {
        Some(
            "the root can't be written to unless an initial file system lays memory over it: \
             `--initrd FILE` writes one",
        )
    } else {
        None
    }
}

/// The kernel, where one is needed.
pub(super) fn kernel(request: &RootfsRequest) -> Result<Option<PathBuf>, RootfsError> {
    if request.verify.is_none() && request.initrd.is_none() {
        return Ok(None);
    }
    let found = find_kernel(request.kernel.as_deref());
    let found = found.map_err(|problem| RootfsError::Boot(BootError::from(problem)))?;
    Ok(Some(found))
}

/// Makes the one that was asked for, or that a trial needs.
pub(super) fn make(
    request: &RootfsRequest,
    kernel: &Path,
    threads: NonZeroUsize,
    cancel: &CancelToken,
) -> Result<Option<Initrd>, RootfsError> {
    if request.disk.format == DiskFormat::Cpio {
        return match request.initrd {
            Some(_) => Err(RootfsError::Option {
                format: request.disk.format,
                what: "need of an initial file system: it is one",
            }),
            None => Ok(None),
        };
    }
    let kernel = KernelFiles::find(kernel).map_err(InitrdError::Read)?;
    let index = kernel.index().map_err(InitrdError::Read)?;
    let needs = Needs {
        format: request.disk.format,
        overlay: request.edits.root == Root::Overlay && request.edits.init != RootfsInit::Image,
        verity: request.disk.verity,
        drivers: match request.initrd {
            Some(_) => DRIVERS,
            None => OWN_DRIVERS,
        },
    };
    let chosen = initrd::choose(needs, &kernel, index.as_ref())?;
    if request.initrd.is_none() && chosen.is_empty() && !needs.verity {
        return Ok(None);
    }
    let mut modules = Vec::new();
    for file in &chosen {
        cancel.check()?;
        modules.push(module(&kernel, file)?);
    }
    let names = modules.iter().map(|(name, _)| name.clone()).collect();
    let tree = initrd::tree(modules)?;
    let place = request.initrd.as_ref().unwrap_or(&request.output);
    let temporary = Temporary::create(place, ".initrd")?;
    write(&tree, temporary.file(), threads, cancel)?;
    let bytes = files::read(temporary.path())?;
    Ok(Some(Initrd {
        described: ManifestInitrd {
            file: super::describe::file_name(place),
            size: bytes.len() as u64,
            digest: Digest::sha256(&bytes),
            kernel: kernel.release,
            modules: names,
        },
        temporary,
        is_asked: request.initrd.is_some(),
    }))
}

/// A module's name and its bytes, as the kernel takes them.
fn module(kernel: &KernelFiles, file: &str) -> Result<(String, Vec<u8>), RootfsError> {
    let folder = kernel.modules.as_deref().unwrap_or(Path::new("/"));
    let source = files::open(folder.join(file)).map_err(InitrdError::Read)?;
    let mut bytes = Vec::new();
    kiln_layer::decompressed(source)
        .and_then(|source| source.take(LARGEST_MODULE).read_to_end(&mut bytes))
        .map_err(|source| InitrdError::Decompress {
            module: file.to_owned(),
            source,
        })?;
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.split_once(".ko").map_or(name, |(name, _)| name);
    Ok((format!("{name}.ko"), bytes))
}

/// Everything in the tree has its bytes with it.
struct Nothing;

impl Contents for Nothing {
    fn open(&self, _: u64) -> io::Result<File> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn write(
    tree: &Tree,
    file: &File,
    threads: NonZeroUsize,
    cancel: &CancelToken,
) -> Result<(), RootfsError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| RootfsError::Plan {
        format: DiskFormat::Cpio,
        source,
    };
    let plan = cpio::plan(tree).map_err(|error| failed(error.into()))?;
    plan.write(tree, &Nothing, file, threads, cancel)
        .map_err(|error| failed(error.into()))?;
    Ok(())
}
