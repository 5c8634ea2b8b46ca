//! `kiln images`, `inspect`, `tag` and `rm`: the images in the local store.

use clap::Args;

use super::values::ReportFormat;

/// List the images in the local store
#[derive(Debug, Args)]
#[command(visible_alias = "ls")]
#[expect(clippy::struct_excessive_bools, reason = "each one is a flag as typed")]
pub(crate) struct ImagesArgs {
    /// Only images of this repository or with this name
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Print image IDs only
    #[arg(short, long, conflicts_with = "format")]
    pub(crate) quiet: bool,

    /// Print manifest digests, too
    #[arg(long)]
    pub(crate) digests: bool,

    /// Print IDs in full
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// table, json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    pub(crate) format: ReportFormat,

    /// All images; kiln has no hidden ones
    #[arg(short, long, hide = true)]
    pub(crate) all: bool,
}

/// Print what an image is made of, as JSON
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each one is a flag as typed")]
#[command(after_help = "\
Examples:
  kiln inspect app                    everything kiln knows, one object per image
  kiln inspect --config app           the image configuration, byte for byte
  kiln inspect --manifest app         the manifest, byte for byte
  kiln inspect --layers app           what each layer holds and wastes")]
pub(crate) struct InspectArgs {
    /// Names, IDs or digests of images
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Which platform's image, where a name has several
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Print the image configuration as it is stored
    #[arg(long, conflicts_with = "manifest")]
    pub(crate) config: bool,

    /// Print the manifest, or the index of several platforms, as it is stored
    #[arg(long, visible_alias = "raw")]
    pub(crate) manifest: bool,

    /// Show what each layer holds and wastes. IMAGE may also be `docker://NAME`,
    /// `oci-layout://DIR[:TAG]`, or the path of an archive or a layout
    #[arg(long, conflicts_with_all = ["config", "manifest"])]
    pub(crate) layers: bool,

    /// With --layers: how many of the largest files are shown
    #[arg(long, value_name = "N", default_value = "10", requires = "layers")]
    pub(crate) top: usize,

    /// With --layers: look for names that the store does not have in their registries
    #[arg(long, requires = "layers")]
    pub(crate) remote: bool,

    /// With --layers: table, json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true,
        requires = "layers"
    )]
    pub(crate) format: ReportFormat,
}

/// Give an image another name
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// The name, ID or digest of an image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// The new names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

/// Remove names from the store; `kiln prune` then frees the space
#[derive(Debug, Args)]
#[command(visible_alias = "rmi")]
pub(crate) struct RmArgs {
    /// Names, IDs or digests of images
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Remove all names of an image given by its ID; a missing image is no error
    #[arg(short, long)]
    pub(crate) force: bool,
}
