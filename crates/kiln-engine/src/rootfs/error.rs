//! Why a disk could not be made.

use std::io;
use std::path::PathBuf;

use kiln_base::Cancelled;
use kiln_layer::RecompressError;
use kiln_rootfs::boot::BootError;
use kiln_rootfs::harden::HardenError;
use kiln_rootfs::init::InitError;
use kiln_rootfs::initrd::InitrdError;
use kiln_rootfs::optimise::OptimiseError;
use kiln_rootfs::reach::{Losses, ReachError};
use kiln_rootfs::request::DiskFormat;
use kiln_sys::fs::FsError;

use super::merge::MergeError;
use crate::anywhere::AnywhereError;
use crate::error::{BaseError, RootError, StepError};

/// Why a disk could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// There is no such image, or it can't be read.
    #[error(transparent)]
    Image(#[from] AnywhereError),
    /// The image can't be pulled or used.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// Its layers can't be unpacked.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A command that was to run in the image failed.
    #[error("could not run `{command}` in the image")]
    Command {
        /// The command.
        command: String,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// The layers can't be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The image's program could not start, whatever is done.
    #[error(transparent)]
    Program(#[from] ReachError),
    /// Nothing could be removed, or not all of it.
    #[error(transparent)]
    Optimise(#[from] OptimiseError),
    /// The files could not be made safe.
    #[error(transparent)]
    Harden(#[from] HardenError),
    /// What was removed is needed.
    #[error("what was to be removed is needed: {0}")]
    Losses(Losses),
    /// The disk can't be made to start.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A custom init is neither named nor found.
    #[error("the image has neither `/init` nor `/sbin/init` to be its first process")]
    NoCustomInit,
    /// The initial file system can't be made.
    #[error("the disk's initial file system can't be made")]
    Initrd(#[from] InitrdError),
    /// The disk does not start.
    #[error("the disk does not boot")]
    Boot(#[source] BootError),
    /// The disk would be too large.
    #[error("the disk has {size} bytes; the limit is {limit}")]
    SizeLimit {
        /// What it would have.
        size: u64,
        /// What it may have.
        limit: u64,
    },
    /// The format can't hold the tree, or does not have what was asked for.
    #[error("the image can't be a disk of the format {}", format.name())]
    Plan {
        /// The format.
        format: DiskFormat,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its packages can't be listed.
    #[error(transparent)]
    Scan(kiln_attest::ScanError),
    /// It can't be said in a statement what the disk is.
    #[error(transparent)]
    Statement(#[from] kiln_attest::PredicateError),
    /// The key does not sign.
    #[error("could not sign the disk: the system has no random numbers")]
    Unsigned,
    /// The disk's name is too long.
    #[error("the label `{0}` has more than 16 bytes")]
    Label(String),
    /// Something was asked for that the format does not have.
    #[error("a disk of the format {} has no {what}", format.name())]
    Option {
        /// The format.
        format: DiskFormat,
        /// What was asked for.
        what: &'static str,
    },
    /// The disk's place is taken by something that is no file.
    #[error("`{}` is there and is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// Two things would be in one file.
    #[error("`{}` can't be two files", .0.display())]
    SameFile(PathBuf),
    /// Its folder is not there.
    #[error("could not write `{}`: there is no folder `{}`", path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// A file could not be written.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk could not be read again to be compressed or hashed.
    #[error("could not read `{}`", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk could not be compressed.
    #[error("could not compress the disk")]
    Compress(#[source] RecompressError),
    /// A file could not be made, written or named.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
