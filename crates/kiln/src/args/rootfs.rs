//! `kiln rootfs`: an image as a disk.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::disks::{DiskDiffArgs, DiskExtractArgs, DiskInspectArgs, DiskMountArgs};
use super::global::ProgressChoice;
use super::values::{Assignment, ByteSize, NetworkName};

/// Make a disk that a microVM boots from an image, or look into one
///
/// No root, no mount and no second program is needed. The same image and options give the same
/// bytes. The disk appears under its name when it is complete, and beside it `FILE.json`, which says
/// what is on it.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  kiln rootfs debian:bookworm -o disk.ext4         an ext4, as small as it can be
  kiln rootfs app -o disk.ext4 --free 1G --journal with room to write
  kiln rootfs app -o disk.erofs --compression lz4  read only, and smaller
  kiln rootfs app -o disk.ext4 --optimise balanced --harden --verify boot
  kiln rootfs oci-archive:app.tar -o disk.ext4.gz  from an archive, the file compressed
  kiln rootfs --build . -o disk.ext4               build the image first
  kiln rootfs --config build.json -o disk.ext4     as builderd's configuration says
  kiln rootfs app -o disk.ext4 --sbom --sign key.pem
  kiln rootfs verify disk.ext4 --key key.pub.pem   is it what was signed?
  kiln rootfs inspect disk.ext4                    what a disk is, whoever made it

IMAGE is a name, ID or digest of the store; a name that the store does not have is pulled.
`docker://NAME` is an image in a registry, `oci:DIR[:TAG]` one in an OCI layout, `oci-archive:FILE`
and `docker-archive:FILE` one in an archive, and so is a path that begins with `/`, `./` or `../`.
An image that is called as a command is, `inspect`, is `inspect:latest` or `docker://inspect`."
)]
pub(crate) struct RootfsArgs {
    #[command(subcommand)]
    pub(crate) about: Option<RootfsCommand>,

    /// The image; --config may name it instead
    #[arg(value_name = "IMAGE", required_unless_present_any = ["config", "context"],
        conflicts_with = "context")]
    pub(crate) image: Option<String>,

    /// The disk's file
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) output: Option<PathBuf>,

    /// Which platform's image, where a name has several
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    #[command(flatten, next_help_heading = "Build")]
    pub(crate) build: RootfsBuildArgs,

    #[command(flatten, next_help_heading = "Disk")]
    pub(crate) disk: DiskArgs,

    #[command(flatten, next_help_heading = "Content")]
    pub(crate) content: ContentArgs,

    #[command(flatten, next_help_heading = "Machine")]
    pub(crate) machine: MachineArgs,

    /// Where the manifest goes [default: the disk's name with `.json`]
    #[arg(long, value_name = "FILE", conflicts_with = "no_manifest")]
    pub(crate) manifest: Option<PathBuf>,

    /// Write no manifest
    #[arg(long)]
    pub(crate) no_manifest: bool,

    /// Write a bill of materials beside the disk: spdx, cyclonedx; or elsewhere, by `,dest=FILE`;
    /// may be given several times [default: spdx]
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true,
        default_missing_value = "spdx")]
    pub(crate) sbom: Vec<String>,

    /// Sign the disk, its documents and its initial file system with a private key, Ed25519 or ECDSA
    /// P-256 in PEM: a file, or `env:NAME`; the signature is the disk's name with `.sig`
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<String>,

    /// Take what is asked for from builderd's JSON; flags are stronger
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// How long all of it may take, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,

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

/// An image that is built first, as `kiln build` does it.
#[derive(Debug, Args)]
pub(crate) struct RootfsBuildArgs {
    /// Build the image first, from a directory, a git repository or an archive at a URL, or `-`
    #[arg(long = "build", value_name = "PATH|URL|-")]
    pub(crate) context: Option<String>,

    /// The Dockerfile: a path, a URL, `-` for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<String>,

    /// Build this stage instead of the last
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,

    /// A value for an ARG; without `=VALUE` it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<Assignment>,

    /// A secret from a file or a variable, as in `id=key,src=key.pem` or `id=token,env=TOKEN`
    #[arg(long = "secret", value_name = "SPEC")]
    pub(crate) secrets: Vec<String>,

    /// An SSH agent or keys: `default` for the running agent, `ID=SOCKET` or `ID=KEY,KEY`
    #[arg(long = "ssh", value_name = "SPEC")]
    pub(crate) ssh: Vec<String>,

    /// Run every step, whatever the cache has
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Ask the registry for each base image, even if the store has it
    #[arg(long)]
    pub(crate) pull: bool,
}

/// What is asked of a disk that is there.
#[derive(Debug, Subcommand)]
pub(crate) enum RootfsCommand {
    Inspect(DiskInspectArgs),
    Diff(DiskDiffArgs),
    Extract(DiskExtractArgs),
    Mount(DiskMountArgs),
    /// Check a disk's signature
    Verify(RootfsVerifyArgs),
}

/// Check that a disk, and the files beside it, are what was signed
///
/// The code is 9 if they are not, or if the signature is not by the key.
#[derive(Debug, Args)]
pub(crate) struct RootfsVerifyArgs {
    /// The disk's file
    #[arg(value_name = "DISK")]
    pub(crate) disk: PathBuf,

    /// The public key in PEM: a file, or `env:NAME`
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,

    /// The signature [default: the disk's name with `.sig`]
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,

    /// Print what was checked as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the disk is like.
#[derive(Debug, Args)]
pub(crate) struct DiskArgs {
    /// The file system: ext4, erofs, squashfs, cpio [default: what the file's name ends in, else
    /// ext4]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    pub(crate) format: Option<DiskName>,

    /// The file: gzip, zstd, none; a squashfs is compressed inside by these, and an erofs by lz4
    /// [default: what the file's name ends in, else none]
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

    /// Append a dm-verity tree; the manifest has its root hash
    #[arg(long)]
    pub(crate) verity: bool,

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

    /// Remove what no running program needs: none, safe, balanced, smallest, or rules separated by
    /// commas
    #[arg(long, value_name = "LEVEL|RULES", alias = "optimize")]
    pub(crate) optimise: Option<String>,

    /// A language whose translations stay, as `de`; may be given several times [default: en]
    #[arg(long, value_name = "LOCALE", requires = "optimise")]
    pub(crate) keep_locale: Vec<String>,

    /// Leave files out, by a pattern as in .dockerignore; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,

    /// Keep files, whatever a rule says; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(crate) preserve: Vec<String>,

    /// Remove keys, identities and credentials, and put loose modes and empty passwords right; or
    /// only what these rules say
    #[arg(long, value_name = "RULES", num_args = 0..=1, require_equals = true,
        default_missing_value = "all")]
    pub(crate) harden: Option<String>,

    /// The network of these commands: default, host, none
    #[arg(long, value_name = "NETWORK", hide_possible_values = true)]
    pub(crate) network: Option<NetworkName>,
}

/// What starts.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// The first process: direct, systemd, custom, none [default: direct]
    #[arg(long, value_name = "INIT", hide_possible_values = true)]
    pub(crate) init: Option<InitChoice>,

    /// A custom init's place on the disk [default: /init or /sbin/init]
    #[arg(long, value_name = "PATH")]
    pub(crate) init_path: Option<String>,

    /// A custom init's content
    #[arg(long, value_name = "FILE")]
    pub(crate) init_script: Option<PathBuf>,

    /// What runs instead of the image's ENTRYPOINT: a program, or a JSON array
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,

    /// What runs instead of the image's CMD: a word, or a JSON array
    #[arg(long, value_name = "WORD")]
    pub(crate) cmd: Option<String>,

    /// A variable; without `=VALUE` it is taken from the environment
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Assignment>,

    /// The working directory
    #[arg(short, long, value_name = "PATH")]
    pub(crate) workdir: Option<String>,

    /// The user, as `NAME|ID[:GROUP|ID]`
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// The machine's name
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,

    /// What the machine may do with its root: rw, ro, overlay [default: rw, and overlay where the
    /// format is read only]
    #[arg(long, value_name = "ACCESS", hide_possible_values = true)]
    pub(crate) root_access: Option<RootAccess>,

    /// Boot the disk in QEMU, and deliver it only if that works: `boot`; also wait for what the
    /// program prints or listens on, or for its end: `boot,output=TEXT`, `boot,port=N`, `boot,exit`,
    /// `boot,exit=CODE`
    #[arg(long, value_name = "HOW")]
    pub(crate) verify: Option<String>,

    /// Write an initial file system with what the disk needs of the kernel's modules
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,

    /// The kernel of --verify and --initrd [default: Debian's cloud kernel in /boot]
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,

    /// How long --verify may take, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS", requires = "verify")]
    pub(crate) verify_timeout: Option<u64>,
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskName {
    /// Read and written
    Ext4,
    /// Read only
    Erofs,
    /// Read only and small
    Squashfs,
    /// An initial file system
    Cpio,
}

/// What the machine's first process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitChoice {
    /// kiln's own
    Direct,
    /// The image's systemd
    Systemd,
    /// A program of the image's, or --init-script
    Custom,
    /// Nothing is added
    None,
}

/// What a machine may do with its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RootAccess {
    /// Change it
    Rw,
    /// Read it
    Ro,
    /// Change it in memory
    Overlay,
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
