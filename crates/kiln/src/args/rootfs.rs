//! `kiln rootfs`: an image as a disk.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::global::ProgressChoice;
use super::values::{ByteSize, NetworkName};

/// Make a disk that a microVM boots from an image
///
/// No root, no mount and no second program is needed. The same image and options give the same
/// bytes. The disk appears under its name when it is complete, and beside it `FILE.json`, which says
/// what is on it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln rootfs debian:bookworm -o disk.ext4         an ext4, as small as it can be
  kiln rootfs app -o disk.ext4 --free 1G --journal with room to write
  kiln rootfs app -o disk.erofs --compression lz4  read only, and smaller
  kiln rootfs oci-archive:app.tar -o disk.ext4.gz  from an archive, the file compressed
  kiln rootfs --config build.json -o disk.ext4     as builderd's configuration says

IMAGE is a name, ID or digest of the store; a name that the store does not have is pulled.
`docker://NAME` is an image in a registry, `oci:DIR[:TAG]` one in an OCI layout, `oci-archive:FILE`
and `docker-archive:FILE` one in an archive, and so is a path that begins with `/`, `./` or `../`.")]
pub(crate) struct RootfsArgs {
    /// The image; --config may name it instead
    #[arg(value_name = "IMAGE", required_unless_present = "config")]
    pub(crate) image: Option<String>,

    /// The disk's file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Which platform's image, where a name has several
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    #[command(flatten, next_help_heading = "Disk")]
    pub(crate) disk: DiskArgs,

    #[command(flatten, next_help_heading = "Content")]
    pub(crate) content: ContentArgs,

    /// Where the manifest goes [default: the disk's name with `.json`]
    #[arg(long, value_name = "FILE", conflicts_with = "no_manifest")]
    pub(crate) manifest: Option<PathBuf>,

    /// Write no manifest
    #[arg(long)]
    pub(crate) no_manifest: bool,

    /// Take what is asked for from builderd's JSON; flags are stronger
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print the manifest
    #[arg(long)]
    pub(crate) json: bool,

    /// How to show progress: auto, tty, plain, json, rawjson, quiet, none
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pub(crate) progress: Option<ProgressChoice>,

    /// Print nothing but the disk's digest
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

/// What the disk is like.
#[derive(Debug, Args)]
pub(crate) struct DiskArgs {
    /// The file system: ext4, erofs [default: what the file's name ends in, else ext4]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    pub(crate) format: Option<DiskName>,

    /// The file: gzip, zstd, none; lz4 compresses within an erofs [default: what the file's name
    /// ends in, else none]
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pub(crate) compression: Option<PackName>,

    /// The most bytes that the disk may have, before its file is compressed
    #[arg(long, value_name = "BYTES")]
    pub(crate) size_limit: Option<ByteSize>,

    /// Room for new files, in bytes [default: none]
    #[arg(long, value_name = "BYTES")]
    pub(crate) free: Option<ByteSize>,

    /// Keep a journal of changes
    #[arg(long)]
    pub(crate) journal: bool,

    /// The disk's name, of 16 bytes at most
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,

    /// The disk's UUID [default: made from the image's digest and these options]
    #[arg(long, value_name = "UUID")]
    pub(crate) uuid: Option<String>,

    /// The disk's time, and the latest of its files' times, in seconds since 1970
    /// [default: `SOURCE_DATE_EPOCH`, else the image's own times]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) source_date_epoch: Option<i64>,
}

/// What is on it beside the image's files.
#[derive(Debug, Args)]
pub(crate) struct ContentArgs {
    /// Run a shell command in the image first; may be given several times
    #[arg(long = "run", value_name = "COMMAND")]
    pub(crate) commands: Vec<String>,

    /// The network of these commands: default, host, none
    #[arg(long, value_name = "NETWORK", hide_possible_values = true)]
    pub(crate) network: Option<NetworkName>,
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskName {
    /// Read and written
    Ext4,
    /// Read only
    Erofs,
}

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PackName {
    /// None
    None,
    /// The file, by gzip
    Gzip,
    /// The file, by Zstandard
    Zstd,
    /// The contents of an erofs
    Lz4,
}
