//! One disk, as programs that make some are asked for it, and how it is checked.

use std::path::{Path, PathBuf};

use super::which;
use crate::measure::Invocation;

/// A file system, and how its contents are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFormat {
    /// ext4 without a journal.
    Ext4,
    /// erofs, contents as they are.
    Erofs,
    /// erofs, contents compressed by LZ4.
    ErofsLz4,
    /// squashfs, contents compressed by zstd.
    Squashfs,
}

/// A disk of an image, or of files that are unpacked already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskJob<'a> {
    /// What it is to be.
    pub(crate) format: DiskFormat,
    /// The image's name in a registry.
    pub(crate) image: &'a str,
    /// Its files, for programs that know no images.
    pub(crate) tree: Option<&'a Path>,
    /// Nothing but the image's files is on it, and nothing beside it.
    pub(crate) is_files_only: bool,
    /// An empty folder that every user can write to; where the disk goes, and what is needed for it.
    pub(crate) folder: &'a Path,
}

impl DiskFormat {
    /// The file system's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Erofs | Self::ErofsLz4 => "erofs",
            Self::Squashfs => "squashfs",
        }
    }

    /// The command that succeeds if the disk at its end is sound; or why there is none.
    pub(crate) fn check(self) -> Result<Invocation, String> {
        let (program, words): (_, &[&str]) = match self {
            Self::Ext4 => ("e2fsck", &["-f", "-n"]),
            Self::Erofs | Self::ErofsLz4 => ("fsck.erofs", &["--extract"]),
            // There is no other program that would check one; this reads all but the contents.
            Self::Squashfs => ("unsquashfs", &["-ll"]),
        };
        Ok(Invocation::new(which(program)?).args(words.iter().copied()))
    }
}

impl DiskJob<'_> {
    /// The disk's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("disk").with_extension(self.format.name())
    }
}
