//! `kiln bake`.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::values::parse_switch;
use super::{ProfileArgs, ProgressChoice};

/// Build the targets of a bake file
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = "\
Examples:
  kiln bake                           build the target or group `default`
  kiln bake app test                  build these
  kiln bake --print                   say what would be built, as JSON
  kiln bake --set '*.platform=linux/arm64' --push app

Files are written in HCL, JSON or compose's YAML. Without `-f` these are looked for, and all that
exist are read: compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml,
docker-bake.json, docker-bake.hcl, docker-bake.override.json, docker-bake.override.hcl."
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that stands for itself"
)]
pub(crate) struct BakeArgs {
    /// Targets and groups, also as patterns [default: default]
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,

    /// A bake file, `-` for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<String>,

    /// Change a value of targets, as in `app.args.V=2` or `*.platform=linux/arm64`
    #[arg(long = "set", value_name = "TARGET.KEY=VALUE")]
    pub(crate) overrides: Vec<String>,

    /// Set a variable of the files
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,

    /// List targets or variables and build nothing: targets, variables; with `,format=json` after
    /// `type=…` as JSON
    #[arg(long, value_name = "WHAT", conflicts_with = "print")]
    pub(crate) list: Option<String>,

    /// Print what would be built, as JSON, and build nothing
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) print: bool,

    /// Push each image; short for `--set '*.push=true'`
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) push: bool,

    /// Load each image into the running Docker or Podman; short for `--set '*.load=true'`
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) load: bool,

    /// Run every step, whatever the cache has
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", value_parser = parse_switch)]
    pub(crate) no_cache: Option<bool>,

    /// Ask the registry for each base image, even if the store has it
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", value_parser = parse_switch)]
    pub(crate) pull: Option<bool>,

    /// Attach a bill of materials; short for `--set '*.attest=type=sbom'`
    #[arg(long, value_name = "SPEC")]
    pub(crate) sbom: Option<String>,

    /// Attach provenance; short for `--set '*.attest=type=provenance'`
    #[arg(long, value_name = "SPEC")]
    pub(crate) provenance: Option<String>,

    /// Let targets do more than a build may: network.host, security.insecure, fs=PATH,
    /// fs.read=PATH, fs.write=PATH, ssh, buildx.local.delete
    #[arg(long = "allow", value_name = "WHAT")]
    pub(crate) allow: Vec<String>,

    /// Answer a question about each target's file instead of building: check, outline, targets
    #[arg(long, value_name = "METHOD")]
    pub(crate) call: Option<String>,

    /// Look for mistakes and build nothing; short for `--call=check`
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) check: bool,

    /// Write what was built, as JSON by target, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,

    /// How to show progress: auto, tty, plain, json, rawjson, quiet, none
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pub(crate) progress: Option<ProgressChoice>,

    /// Say for each step why it was, or was not, found in the cache
    #[arg(long)]
    pub(crate) explain: bool,

    /// Say more; the same as `--explain`
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,

    #[command(flatten)]
    pub(crate) profile: ProfileArgs,

    /// The builder instance; kiln has none
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) builder: Option<String>,

    /// Rego policies; kiln has none
    #[arg(long = "policy", hide = true, value_name = "SPEC")]
    pub(crate) policy: Vec<String>,
}
