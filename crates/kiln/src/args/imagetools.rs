//! `kiln imagetools`: images and indexes in registries.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

use super::values::parse_switch;

/// Look at images and indexes in registries, and put indexes together
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln imagetools inspect debian:bookworm
  kiln imagetools create -t registry.example/app:1 app:1-amd64 app:1-arm64
  kiln imagetools create -t registry.example/app:1 --append store://app

Names are looked up in registries; `store://NAME` is an image of the local store.")]
pub(crate) struct ImagetoolsArgs {
    #[command(subcommand)]
    pub(crate) command: ImagetoolsCommand,
}

/// What to do with images in registries.
#[derive(Debug, Subcommand)]
pub(crate) enum ImagetoolsCommand {
    /// Show what a name leads to
    Inspect {
        /// The image
        #[arg(value_name = "NAME")]
        name: String,

        /// Print the manifest or index as it is
        #[arg(long, conflicts_with = "format")]
        raw: bool,

        /// `json`, or one of the templates `{{json .}}`, `{{json .Manifest}}`, `{{json .Image}}`,
        /// `{{.Name}}`, `{{.Manifest.Digest}}`, `{{.Manifest.MediaType}}`
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
    },
    /// Put images together to an index, or copy one
    Create(ImagetoolsCreateArgs),
}

/// `kiln imagetools create`.
#[derive(Debug, Args)]
pub(crate) struct ImagetoolsCreateArgs {
    /// What it is made of: names, digests, descriptors as JSON
    #[arg(value_name = "SOURCE", required_unless_present = "files")]
    pub(crate) sources: Vec<String>,

    /// A name for it; may be given several times
    #[arg(
        short,
        long = "tag",
        value_name = "NAME",
        required_unless_present = "dry_run"
    )]
    pub(crate) tags: Vec<String>,

    /// Read a source from this file: a descriptor as JSON
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Add to what the first name leads to now
    #[arg(long, requires = "tags")]
    pub(crate) append: bool,

    /// Print it instead of pushing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// An annotation for `index:` or `manifest-descriptor[PLATFORM]:`
    #[arg(long = "annotation", value_name = "ON:NAME=VALUE")]
    pub(crate) annotations: Vec<String>,

    /// Whether a single image becomes an index [default: true]
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "true", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) prefer_index: bool,

    /// Only what runs on these platforms
    #[arg(
        short,
        long = "platform",
        value_name = "PLATFORM,…",
        value_delimiter = ','
    )]
    pub(crate) platforms: Vec<String>,

    /// Write what was made, as JSON, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
}
