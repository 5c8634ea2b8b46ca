//! `kiln build`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::ProgressChoice;
use super::output::OutputSpec;
use super::values::{
    Assignment, CompressionName, FormatName, HostEntry, NetworkName, parse_named_context,
};

const EXAMPLES: &str = "\
Examples:
  kiln build .                                   build ./Dockerfile with . as the context
  kiln build -t app:1 -f build/Dockerfile .      another file, a name for the image
  kiln build --target test --build-arg V=2 .     one stage, with an argument
  kiln build -t registry.example/app --push .    build and push
  kiln build -o out .                            write the last stage's files to ./out
  kiln build -o type=oci,dest=app.tar .          write an OCI archive
  kiln build --explain .                         say why each step hit or missed the cache

The flags are those of `docker buildx build`. A flag that kiln can't honour yet is an error, never
ignored. With SOURCE_DATE_EPOCH set, the same inputs give the same bytes.";

/// Build an image from a Dockerfile
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "each one is a flag as typed"
)]
pub(crate) struct BuildArgs {
    /// The build context: a directory, or `-` for a Dockerfile on standard input without context
    #[arg(value_name = "CONTEXT", default_value = ".")]
    pub(crate) context: String,

    /// The Dockerfile, `-` for standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// A name for the image, as in `app:1`; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    pub(crate) tags: Vec<String>,

    /// Build this stage instead of the last
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,

    /// A value for an ARG; without `=VALUE` it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<Assignment>,

    /// A label for the image
    #[arg(long = "label", value_name = "NAME[=VALUE]")]
    pub(crate) labels: Vec<Assignment>,

    /// The platform to build for, as in `linux/arm64`
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Another context for `FROM NAME` and `COPY --from=NAME`
    #[arg(long = "build-context", hide = true, value_name = "NAME=VALUE", value_parser = parse_named_context)]
    pub(crate) build_contexts: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) outputs: OutputArgs,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) steps: StepArgs,

    /// How to show progress: auto, tty, plain, json, quiet
    #[arg(
        long,
        value_name = "HOW",
        hide_possible_values = true,
        help_heading = "Progress"
    )]
    pub(crate) progress: Option<ProgressChoice>,

    /// Print nothing but the image's ID
    #[arg(short, long, conflicts_with = "progress", help_heading = "Progress")]
    pub(crate) quiet: bool,

    /// Say for each step why it was, or was not, found in the cache
    #[arg(long, help_heading = "Progress")]
    pub(crate) explain: bool,

    /// Remove intermediate containers; kiln never leaves any
    #[arg(long, hide = true)]
    pub(crate) rm: bool,

    /// Remove intermediate containers; kiln never leaves any
    #[arg(long, hide = true)]
    pub(crate) force_rm: bool,

    #[command(flatten)]
    pub(crate) later: LaterArgs,
}

/// Where the result goes and how it is packed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Outputs")]
pub(crate) struct OutputArgs {
    /// Where the result goes: `PATH`, `-`, or `type=oci|docker|tar|local|image|registry,dest=…`;
    /// may be given several times [default: the local store]
    #[arg(short, long = "output", value_name = "SPEC")]
    pub(crate) outputs: Vec<OutputSpec>,

    /// Push the image under each of its names; short for `-o type=registry`
    #[arg(long)]
    pub(crate) push: bool,

    /// Load the image into the running Docker or Podman; short for `-o type=docker`
    #[arg(long)]
    pub(crate) load: bool,

    /// Write the image's ID to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,

    /// Write what was built, as JSON, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,

    /// The family of media types: oci, docker [default: oci]
    #[arg(long, value_name = "FAMILY", hide_possible_values = true)]
    pub(crate) format: Option<FormatName>,

    /// How layers are compressed: gzip, zstd, uncompressed [default: gzip]
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub(crate) compression: Option<CompressionName>,

    /// How hard: gzip 0 to 9, zstd 1 to 22
    #[arg(long, value_name = "LEVEL")]
    pub(crate) compression_level: Option<u8>,

    /// Write each gzip layer as one member, for readers that stop after the first
    #[arg(long)]
    pub(crate) gzip_single_member: bool,

    /// Whether `SOURCE_DATE_EPOCH` limits the times of files in new layers, too [default: true]
    #[arg(long, value_name = "BOOL")]
    pub(crate) rewrite_timestamp: Option<bool>,
}

/// What may be taken from earlier builds.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cache")]
pub(crate) struct CacheArgs {
    /// Run every step, whatever the cache has
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Ask the registry for each base image, even if the store has it
    #[arg(long)]
    pub(crate) pull: bool,
}

/// How RUN steps run.
#[derive(Debug, Args)]
#[command(next_help_heading = "RUN steps")]
pub(crate) struct StepArgs {
    /// The network of RUN steps: default, host, none
    #[arg(long, value_name = "NETWORK", hide_possible_values = true)]
    pub(crate) network: Option<NetworkName>,

    /// A line for /etc/hosts, as `HOST:IP` or `HOST=IP`
    #[arg(long = "add-host", value_name = "HOST:IP")]
    pub(crate) add_hosts: Vec<HostEntry>,

    /// Let RUN steps trust the host's additional certificate authorities, or those in FILE; they
    /// reach no layer and no cache key
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) trust_host_cas: Option<String>,

    /// How many steps may run at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
}

/// Flags of `docker buildx build` that kiln knows but can't honour yet.
///
/// They are accepted by the parser only so that the refusal can say so.
#[derive(Debug, Default, Args)]
pub(crate) struct LaterArgs {
    #[arg(long, hide = true, help = "Not yet", value_name = "SPEC")]
    secret: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "SPEC")]
    ssh: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "SPEC")]
    cache_from: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "SPEC")]
    cache_to: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "STAGES")]
    no_cache_filter: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "SPEC")]
    annotation: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "SPEC")]
    attest: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    #[arg(long, hide = true, help = "Not yet", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "ENTITLEMENT")]
    allow: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "METHOD")]
    call: Option<String>,
    #[arg(long, hide = true, help = "Not yet")]
    check: bool,
    #[arg(long, hide = true, help = "Not yet", value_name = "NAME")]
    builder: Option<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "SIZE")]
    shm_size: Option<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "LIMIT")]
    ulimit: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "PATH")]
    cgroup_parent: Option<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "SPEC")]
    resource: Vec<String>,
    #[arg(long, hide = true, help = "Not yet", value_name = "SPEC")]
    policy: Vec<String>,
    #[arg(short, long, hide = true, help = "Not yet", value_name = "SIZE")]
    memory: Option<String>,
}

impl LaterArgs {
    /// The first flag that asks for something kiln can't do yet, with the reason.
    ///
    /// `--provenance=false`, `--sbom=false` and `--call=build` ask for what kiln does anyway.
    pub(crate) fn refused(&self) -> Option<(&'static str, &'static str)> {
        const LATER: &str = "this version of kiln can't do it";
        let wants = |value: &Option<String>| value.as_deref().is_some_and(|value| value != "false");
        let asked = [
            (!self.secret.is_empty(), "--secret", LATER),
            (!self.ssh.is_empty(), "--ssh", LATER),
            (!self.cache_from.is_empty(), "--cache-from", LATER),
            (!self.cache_to.is_empty(), "--cache-to", LATER),
            (!self.no_cache_filter.is_empty(), "--no-cache-filter", LATER),
            (!self.annotation.is_empty(), "--annotation", LATER),
            (!self.attest.is_empty(), "--attest", LATER),
            (wants(&self.sbom), "--sbom", LATER),
            (wants(&self.provenance), "--provenance", LATER),
            (!self.allow.is_empty(), "--allow", LATER),
            (
                self.call.as_deref().is_some_and(|call| call != "build"),
                "--call",
                LATER,
            ),
            (self.check, "--check", LATER),
            (
                self.builder.is_some(),
                "--builder",
                "kiln has no builder instances",
            ),
            (self.shm_size.is_some(), "--shm-size", LATER),
            (!self.ulimit.is_empty(), "--ulimit", LATER),
            (self.cgroup_parent.is_some(), "--cgroup-parent", LATER),
            (!self.resource.is_empty(), "--resource", LATER),
            (!self.policy.is_empty(), "--policy", LATER),
            (self.memory.is_some(), "--memory", LATER),
        ];
        asked
            .into_iter()
            .find(|(asked, _, _)| *asked)
            .map(|(_, flag, reason)| (flag, reason))
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Command, parse};

    use super::*;

    #[track_caller]
    fn build(line: &str) -> BuildArgs {
        let words = line.split_whitespace().map(Into::into);
        match parse(words).unwrap().command {
            Command::Build(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_docker_users_type_is_understood() {
        let args = build(
            "kiln build -t a -t b:1 -f D --target t --build-arg A=1 --build-arg B --label x=y \
             --platform linux/amd64 -o out -o type=oci,dest=a.tar --push --load --no-cache --pull \
             --network host --progress plain --iidfile i --metadata-file m --add-host h:1.2.3.4 ctx",
        );
        assert_eq!(args.context, "ctx");
        assert_eq!(args.tags, ["a", "b:1"]);
        assert_eq!(args.build_args[1].value, None);
        assert_eq!(args.outputs.outputs.len(), 2);
        assert_eq!(args.later.refused(), None);
    }

    #[test]
    fn the_context_is_the_working_directory_unless_said() {
        assert_eq!(build("kiln build").context, ".");
        assert_eq!(build("kiln build -").context, "-");
    }

    #[test]
    fn trust_host_cas_takes_a_file_only_after_an_equals_sign() {
        let args = build("kiln build --trust-host-cas ctx");
        assert_eq!(args.steps.trust_host_cas.as_deref(), Some("true"));
        assert_eq!(args.context, "ctx");
        let args = build("kiln build --trust-host-cas=/ca.pem ctx");
        assert_eq!(args.steps.trust_host_cas.as_deref(), Some("/ca.pem"));
    }

    #[test]
    fn what_kiln_cannot_do_is_refused_by_name() {
        let refused = |line| build(line).later.refused().map(|(flag, _)| flag);
        assert_eq!(refused("kiln build --secret id=a ."), Some("--secret"));
        assert_eq!(refused("kiln build --sbom ."), Some("--sbom"));
        assert_eq!(
            refused("kiln build --sbom=false --provenance=false ."),
            None
        );
        assert_eq!(refused("kiln build --builder x ."), Some("--builder"));
    }

    #[test]
    fn help_shows_nothing_that_is_refused() {
        let help = BuildArgs::augment_args(clap::Command::new("build"))
            .render_long_help()
            .to_string();
        for flag in ["--build-context", "--secret", "--cache-from"] {
            assert!(!help.contains(flag), "{flag}");
        }
        assert!(help.contains("--build-arg"));
    }
}
