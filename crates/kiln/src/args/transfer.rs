//! `kiln pull`, `push`, `save` and `load`: images in and out of the local store.

use std::path::PathBuf;

use clap::Args;

use super::ProfileArgs;

/// Fetch images from a registry
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Names of images, as in `debian:bookworm`
    #[arg(value_name = "NAME", required = true)]
    pub(crate) images: Vec<String>,

    /// Which platform's image [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Print nothing but the image's ID
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
}

/// Send an image to a registry
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln push registry.example/team/app:1
  kiln push app registry.example/team/app:1      under another name

Credentials are read where docker and podman keep them (`docker login`, `podman login`).")]
pub(crate) struct PushArgs {
    /// The name, ID or digest of an image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// The name in the registry [default: IMAGE]
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: Option<String>,

    /// Write the pushed digest to this file
    #[arg(long, value_name = "FILE", visible_alias = "digest-file")]
    pub(crate) digestfile: Option<PathBuf>,

    /// Print nothing but the digest
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
}

/// Write images to an archive
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln save -o app.tar app                       for `docker load` and `podman load`
  kiln save --format oci -o app.tar app          an OCI archive
  kiln save app | docker load")]
pub(crate) struct SaveArgs {
    /// Names, IDs or digests of images
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// The file to write, `-` for standard output [default: -]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// The archive: docker, oci [default: docker]
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub(crate) format: Option<ArchiveName>,

    /// Which platform's image, where a name has several
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

/// The kinds of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ArchiveName {
    /// What `docker load` reads
    #[value(alias = "docker-archive")]
    Docker,
    /// An OCI image layout in a tar archive
    #[value(alias = "oci-archive")]
    Oci,
}

/// Read images from an archive
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The archive to read, `-` for standard input [default: -]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// A name for an image that has none in the archive
    #[arg(short, long = "tag", value_name = "NAME")]
    pub(crate) tag: Option<String>,

    /// Print nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
