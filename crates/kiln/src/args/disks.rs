//! `kiln rootfs inspect`, `diff`, `extract` and `mount`: disks that exist.

use std::path::PathBuf;

use clap::Args;

/// Show what a disk is, and what is on it
///
/// Without PATH: the file system's facts, and what the manifest beside it (`DISK.json`) says. With
/// PATH: the directory's listing, or the file's attributes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln rootfs inspect disk.ext4             format, size, what is free, what it was made of
  kiln rootfs inspect disk.erofs /etc       a listing, as `ls -l` has it
  kiln rootfs inspect disk.ext4 /bin/su     one file, with its extended attributes
  kiln rootfs inspect disk.ext4 --check     … and whether it is still what the manifest says

The disk may be an ext4, erofs, squashfs or cpio archive, by whomever; compressed by gzip, zstd or xz,
it is unpacked to a temporary file in TMPDIR (else /var/tmp).")]
pub(crate) struct DiskInspectArgs {
    /// The disk's file
    #[arg(value_name = "DISK")]
    pub(crate) disk: PathBuf,

    /// A file or directory on it
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,

    /// Compare the file's digest with the manifest's, and fail if it is another
    #[arg(long, conflicts_with = "path")]
    pub(crate) check: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what differs between two disks
///
/// Ends with 0 if they have the same files, and with 9 if not. How they are stored is no difference:
/// an ext4 and an erofs of the same image are the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln rootfs diff old.ext4 new.ext4
  kiln rootfs diff --ignore-times old.erofs new.squashfs

Compared are types, sizes, contents, targets, devices, modes, owners, times, hard links and extended
attributes; what one of the two formats can't hold is left out.")]
pub(crate) struct DiskDiffArgs {
    /// A disk
    #[arg(value_name = "DISK1")]
    pub(crate) first: PathBuf,

    /// Another one
    #[arg(value_name = "DISK2")]
    pub(crate) second: PathBuf,

    /// Differences of times don't count
    #[arg(long)]
    pub(crate) ignore_times: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Take files from a disk
///
/// Needs no mount. As root everything is kept: owners, devices, extended attributes. Otherwise the
/// files are the user's own, and what could not be kept is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln rootfs extract disk.ext4 -o tree              everything, to a new directory
  kiln rootfs extract disk.ext4 /etc -o etc          what is in /etc
  kiln rootfs extract disk.ext4 /etc/passwd -o -     a file's content, to standard output
  kiln rootfs extract disk.erofs -o disk.tar         an archive, with owners whoever makes it
  kiln rootfs extract disk.erofs -o - | docker import - app

Nothing is written outside of the directory, and no link is followed there, whatever is on the disk.")]
pub(crate) struct DiskExtractArgs {
    /// The disk's file
    #[arg(value_name = "DISK")]
    pub(crate) disk: PathBuf,

    /// A file or directory on it [default: everything]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,

    /// A directory that is new or empty; `FILE.tar` is an archive, and `-` standard output: an
    /// archive of a directory, a file's content
    #[arg(short, long, value_name = "DIR|FILE.tar|-")]
    pub(crate) output: PathBuf,
}

/// Mount a disk on a directory, read only, by FUSE
///
/// The kernel does not read the disk: kiln does, and believes nothing it says. It stays until Ctrl-C
/// or `umount DIR`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln rootfs mount disk.ext4 /mnt &
  ls /mnt; umount /mnt

Needs /dev/fuse and, without root, `fusermount3` (the package fuse3). `kiln rootfs extract` needs
nothing.")]
pub(crate) struct DiskMountArgs {
    /// The disk's file
    #[arg(value_name = "DISK")]
    pub(crate) disk: PathBuf,

    /// A directory that is there
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
