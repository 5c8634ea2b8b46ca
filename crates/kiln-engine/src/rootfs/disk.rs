//! The formats of disks as one: what is asked for in each one's own words.

use std::fs::File;
use std::num::NonZeroUsize;

use kiln_base::CancelToken;
use kiln_disk::{Contents, Tree, Watermark, cpio, erofs, ext4, squashfs};
use kiln_rootfs::request::{DiskFormat, DiskRequest, InnerCompression};

use super::error::RootfsError;

/// What squashfs disks are compressed by: as small as is worth its time.
const GZIP_LEVEL: u8 = 6;
const ZSTD_LEVEL: u8 = 9;

/// What a disk is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uuid: [u8; 16],
    pub(super) hash_seed: [u8; 16],
    /// What is hashed before every block.
    pub(super) salt: [u8; 32],
    /// The time that the file system is of, in seconds.
    pub(super) epoch: i64,
}

impl Identity {
    /// The id, where disks of the format have one.
    pub(super) const fn uuid_of(&self, format: DiskFormat) -> Option<[u8; 16]> {
        match format {
            DiskFormat::Ext4 | DiskFormat::Erofs => Some(self.uuid),
            DiskFormat::Squashfs | DiskFormat::Cpio => None,
        }
    }
}

/// A disk of any format, laid out but not written.
pub(super) enum Plan {
    Ext4(Box<ext4::Plan>),
    Erofs(Box<erofs::Plan>, InnerCompression),
    Squashfs(Box<squashfs::Plan>),
    Cpio(Box<cpio::Plan>),
}

/// Why a disk was not written.
pub(super) type WriteFailure = Box<dyn std::error::Error + Send + Sync>;

impl Plan {
    /// Lays a tree out.
    pub(super) fn new(
        tree: &Tree,
        disk: &DiskRequest,
        identity: &Identity,
    ) -> Result<Self, RootfsError> {
        check_options(disk)?;
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| RootfsError::Plan {
            format: disk.format,
            source,
        };
        match disk.format {
            DiskFormat::Ext4 => {
                let options = ext4::Options {
                    uuid: identity.uuid,
                    hash_seed: identity.hash_seed,
                    label: disk.label.clone().into_bytes(),
                    epoch: identity.epoch,
                    journal: disk.journal,
                    free_bytes: disk.free,
                    free_inodes: free_inodes(disk.free),
                    ..ext4::Options::default()
                };
                let plan = ext4::plan(tree, &options).map_err(|error| failed(error.into()))?;
                Ok(Self::Ext4(Box::new(plan)))
            }
            DiskFormat::Erofs => {
                let options = erofs::Options {
                    uuid: identity.uuid,
                    label: erofs_label(&disk.label)?,
                    epoch: identity.epoch,
                    compression: match disk.inner {
                        InnerCompression::Lz4 => erofs::Compression::Lz4(erofs::Cluster::default()),
                        _ => erofs::Compression::None,
                    },
                };
                let plan = erofs::plan(tree, &options).map_err(|error| failed(error.into()))?;
                Ok(Self::Erofs(Box::new(plan), disk.inner))
            }
            DiskFormat::Squashfs => {
                let options = squashfs::Options {
                    // The format has no times before 1970 and after 2106.
                    epoch: u32::try_from(identity.epoch.max(0)).unwrap_or(u32::MAX),
                    compression: match disk.inner {
                        InnerCompression::Gzip => squashfs::Compression::Gzip(GZIP_LEVEL),
                        _ => squashfs::Compression::Zstd(ZSTD_LEVEL),
                    },
                    block: squashfs::Block::default(),
                };
                let plan = squashfs::plan(tree, &options).map_err(|error| failed(error.into()))?;
                Ok(Self::Squashfs(Box::new(plan)))
            }
            DiskFormat::Cpio => {
                let plan = cpio::plan(tree).map_err(|error| failed(error.into()))?;
                Ok(Self::Cpio(Box::new(plan)))
            }
        }
    }

    /// What the format leaves out, as a warning.
    pub(super) fn warning(&self) -> Option<String> {
        match self {
            Self::Ext4(_) | Self::Erofs(..) => None,
            Self::Squashfs(plan) => (plan.left_out() > 0).then(|| {
                format!(
                    "{} extended attributes can't be on a squashfs",
                    plan.left_out()
                )
            }),
            Self::Cpio(plan) => (plan.without_xattrs() > 0).then(|| {
                let count = plan.without_xattrs();
                format!("{count} files lose their extended attributes, which cpio can't hold")
            }),
        }
    }

    /// Bytes of the disk, where they are known before it is written: compression shows what it
    /// saves only when it is done.
    pub(super) fn exact_size(&self) -> Option<u64> {
        match self {
            Self::Ext4(plan) => Some(plan.size()),
            Self::Erofs(plan, InnerCompression::None) => Some(plan.size()),
            Self::Cpio(plan) => Some(plan.size()),
            Self::Erofs(..) | Self::Squashfs(_) => None,
        }
    }

    /// Writes the disk to an empty file, and returns its size. Where the format is written from its
    /// beginning to its end, tells how far that is.
    pub(super) fn write(
        &self,
        (tree, contents): (&Tree, &dyn Contents),
        (out, mark): (&File, &Watermark),
        threads: NonZeroUsize,
        cancel: &CancelToken,
    ) -> Result<u64, WriteFailure> {
        match self {
            Self::Ext4(plan) => {
                plan.write_marking(tree, contents, (out, mark), threads, cancel)?;
                Ok(plan.size())
            }
            Self::Erofs(plan, _) => Ok(plan.write(tree, contents, out, threads, cancel)?.size),
            Self::Squashfs(plan) => Ok(plan.write(tree, contents, out, threads, cancel)?.size),
            Self::Cpio(plan) => Ok(plan.write(tree, contents, out, threads, cancel)?.size),
        }
    }
}

/// Refuses what only a disk that can be written to has.
fn check_options(disk: &DiskRequest) -> Result<(), RootfsError> {
    let format = disk.format;
    let has_id = matches!(format, DiskFormat::Ext4 | DiskFormat::Erofs);
    let inner = match (format, disk.inner) {
        (_, InnerCompression::None)
        | (DiskFormat::Erofs, InnerCompression::Lz4)
        | (DiskFormat::Squashfs, InnerCompression::Gzip | InnerCompression::Zstd) => None,
        (_, InnerCompression::Lz4) => Some("compression by LZ4"),
        (_, InnerCompression::Gzip) => Some("compression by gzip"),
        (_, InnerCompression::Zstd) => Some("compression by zstd"),
    };
    let asked = [
        (disk.free > 0 && !format.is_writable(), "free space"),
        (disk.journal && !format.is_writable(), "journal"),
        (!disk.label.is_empty() && !has_id, "label"),
        (disk.uuid.is_some() && !has_id, "UUID"),
        (
            disk.verity && format == DiskFormat::Cpio,
            "blocks that could be verified",
        ),
        (inner.is_some(), inner.unwrap_or_default()),
    ];
    match asked.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(RootfsError::Option { format, what }),
        None => Ok(()),
    }
}

fn erofs_label(label: &str) -> Result<[u8; 16], RootfsError> {
    let mut bytes = [0; 16];
    let Some(room) = bytes.get_mut(..label.len()) else {
        return Err(RootfsError::Label(label.to_owned()));
    };
    room.copy_from_slice(label.as_bytes());
    Ok(bytes)
}

/// As `mke2fs` has it for a file system of its usual kind: one for each 16 KiB.
fn free_inodes(free: u64) -> u32 {
    u32::try_from(free / 16384).unwrap_or(u32::MAX / 2)
}

/// The kernel's options without which the disk can't be mounted.
pub(super) fn kernel_features(disk: &DiskRequest) -> Vec<&'static str> {
    let mut features = format_features(disk).to_vec();
    if disk.verity {
        features.extend(["BLK_DEV_DM", "DM_VERITY"]);
    }
    features
}

const fn format_features(disk: &DiskRequest) -> &'static [&'static str] {
    match (disk.format, disk.inner) {
        (DiskFormat::Ext4, _) => &["EXT4_FS"],
        (DiskFormat::Erofs, InnerCompression::Lz4) => &["EROFS_FS", "EROFS_FS_ZIP"],
        (DiskFormat::Erofs, _) => &["EROFS_FS"],
        (DiskFormat::Squashfs, InnerCompression::Gzip) => {
            &["SQUASHFS", "SQUASHFS_XATTR", "SQUASHFS_ZLIB"]
        }
        (DiskFormat::Squashfs, _) => &["SQUASHFS", "SQUASHFS_XATTR", "SQUASHFS_ZSTD"],
        (DiskFormat::Cpio, _) => &["BLK_DEV_INITRD"],
    }
}
