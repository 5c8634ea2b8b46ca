//! `kiln diff`: what differs between two images.

use clap::Args;

use super::values::ReportFormat;

/// Show what differs between two images: configuration, layers, files
///
/// Ends with 0 if a container would see no difference, and with 9 if it would.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln diff app:1 app:2                       two images of the store
  kiln diff app docker://registry.example/app what is here and what is there
  kiln diff ./old.tar oci-layout://new:latest archives and layouts

A name is looked up in the store; `docker://NAME` in a registry; `oci-layout://DIR[:TAG]` and a path
that begins with `/`, `./` or `../` are files.")]
pub(crate) struct DiffArgs {
    /// An image
    #[arg(value_name = "IMAGE1")]
    pub(crate) first: String,

    /// Another one
    #[arg(value_name = "IMAGE2")]
    pub(crate) second: String,

    /// Which platform's image, where a name has several
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Look for names that the store does not have in their registries
    #[arg(long)]
    pub(crate) remote: bool,

    /// Differences of times count, too
    #[arg(long)]
    pub(crate) times: bool,

    /// table, json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    pub(crate) format: ReportFormat,
}
