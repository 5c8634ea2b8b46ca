//! `kiln build`: the flags of `docker buildx build`, and kiln's own.
//!
//! Most values stay text here. `kiln bake` fills the same struct from its targets, and
//! [`crate::settings::build`] reads both, so that a value means the same wherever it is written.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::legacy::LegacyArgs;
use super::values::{Assignment, CompressionName, FormatName, NetworkName, parse_switch};
use super::{ProfileArgs, ProgressChoice};

const EXAMPLES: &str = "\
Examples:
  kiln build .                                   build ./Dockerfile with . as the context
  kiln build -t app:1 -f build/Dockerfile .      another file, a name for the image
  kiln build --target test --build-arg V=2 .     one stage, with an argument
  kiln build -t registry.example/app --push .    build and push
  kiln build -o out .                            write the last stage's files to ./out
  kiln build -o type=oci,dest=app.tar .          write an OCI archive
  kiln build --secret id=token,env=TOKEN .       a secret for RUN --mount=type=secret
  kiln build https://example.com/app.git#main    a git repository as the context
  kiln build --check .                           look for mistakes, build nothing
  kiln build --explain .                         say why each step hit or missed the cache

The flags are those of `docker buildx build`; what kiln can't honour is an error, never ignored.
With SOURCE_DATE_EPOCH set, the same inputs give the same bytes.";

/// Build an image from a Dockerfile
#[derive(Debug, Default, Clone, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
#[expect(
    clippy::struct_field_names,
    reason = "`build_args` is what the flag is called"
)]
pub(crate) struct BuildArgs {
    /// The build context: a directory, a git repository or an archive at a URL, or `-` for a
    /// Dockerfile or an archive on standard input
    #[arg(value_name = "PATH|URL|-", default_value = ".")]
    pub(crate) context: String,

    /// The Dockerfile: a path, a URL, `-` for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<String>,

    /// A name for the image, as in `app:1`; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    pub(crate) tags: Vec<String>,

    /// Build this stage instead of the last
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,

    /// A value for an ARG; without `=VALUE` it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<Assignment>,

    /// Platforms to build for, as in `linux/amd64,linux/arm64`; `local` is this machine's
    #[arg(long = "platform", value_name = "PLATFORM,…")]
    pub(crate) platforms: Vec<String>,

    /// Another context for `FROM NAME` and `COPY --from=NAME`: a directory, a URL,
    /// `docker-image://IMAGE` or `oci-layout://DIR[:TAG][@DIGEST]`
    #[arg(long = "build-context", value_name = "NAME=VALUE")]
    pub(crate) build_contexts: Vec<String>,

    #[command(flatten)]
    pub(crate) outputs: OutputArgs,

    #[command(flatten)]
    pub(crate) image: ImageArgs,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) steps: StepArgs,

    #[command(flatten)]
    pub(crate) access: AccessArgs,

    #[command(flatten)]
    pub(crate) show: ShowArgs,

    #[command(flatten)]
    pub(crate) legacy: LegacyArgs,

    /// The text of the Dockerfile, where a bake file holds it.
    #[arg(skip)]
    pub(crate) dockerfile_inline: Option<String>,
}

/// Where the result goes and how it is packed.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Outputs")]
pub(crate) struct OutputArgs {
    /// Where the result goes: `PATH`, `-`, or
    /// `type=oci|docker|tar|local|image|registry|cacheonly,dest=…`; may be given several times
    /// [default: the local store]
    #[arg(short, long = "output", value_name = "SPEC")]
    pub(crate) outputs: Vec<String>,

    /// Push the image under each of its names; short for `-o type=registry`
    ///
    /// Large layers are sent while they are packed. The registry has nothing of the image before the
    /// whole build has succeeded; what was sent of one that fails is cancelled as far as the registry
    /// allows.
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) push: bool,

    /// Load the image into the running Docker or Podman; short for `-o type=docker`
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
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

/// What is said in and about the image.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Labels and attestations")]
pub(crate) struct ImageArgs {
    /// A label for the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<Assignment>,

    /// An annotation, put on the manifest or on what stands before the colon: manifest, index,
    /// manifest-descriptor, index-descriptor, each with an optional `[PLATFORM]`
    #[arg(long = "annotation", value_name = "[ON:]NAME=VALUE")]
    pub(crate) annotations: Vec<String>,

    /// Attach an attestation: `type=sbom` or `type=provenance,mode=min|max`
    #[arg(long = "attest", value_name = "SPEC")]
    pub(crate) attest: Vec<String>,

    /// Attach a bill of materials; short for `--attest type=sbom`
    #[arg(long, value_name = "SPEC")]
    pub(crate) sbom: Option<String>,

    /// Attach provenance, as `true`, `mode=min` or `mode=max`; short for
    /// `--attest type=provenance`
    #[arg(long, value_name = "SPEC")]
    pub(crate) provenance: Option<String>,
}

/// What may be taken from earlier builds.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Cache")]
pub(crate) struct CacheArgs {
    /// Run every step, whatever the cache has
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) no_cache: bool,

    /// Run every step of these stages
    #[arg(long = "no-cache-filter", value_name = "STAGE,…")]
    pub(crate) no_cache_filter: Vec<String>,

    /// Ask the registry for each base image, even if the store has it
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) pull: bool,

    /// Take steps from a cache: an image's name, or `type=registry|local|s3|gha,…`
    #[arg(long = "cache-from", value_name = "SPEC")]
    pub(crate) cache_from: Vec<String>,

    /// Write the cache for others: an image's name, or `type=registry|local|inline|s3|gha,…`
    #[arg(long = "cache-to", value_name = "SPEC")]
    pub(crate) cache_to: Vec<String>,
}

/// How RUN steps run.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "RUN steps")]
pub(crate) struct StepArgs {
    /// The network of RUN steps: default, host, none
    #[arg(long, value_name = "NETWORK", hide_possible_values = true)]
    pub(crate) network: Option<NetworkName>,

    /// A line for /etc/hosts, as `HOST:IP`, `HOST=IP` or `HOST:host-gateway`
    #[arg(long = "add-host", value_name = "HOST:IP")]
    pub(crate) add_hosts: Vec<String>,

    /// The size of /dev/shm, as in `128m` [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<String>,

    /// A limit of each process, as in `nofile=1024:4096`
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimits: Vec<String>,

    /// Run steps in control groups below this one
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,

    /// A limit of each step: memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus,
    /// cpuset-mems
    #[arg(long = "resource", value_name = "NAME=VALUE")]
    pub(crate) resources: Vec<String>,

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

/// What a build may see and do beyond the usual.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Secrets and permissions")]
pub(crate) struct AccessArgs {
    /// A secret from a file or a variable, as in `id=key,src=key.pem` or `id=token,env=TOKEN`
    #[arg(long = "secret", value_name = "SPEC")]
    pub(crate) secrets: Vec<String>,

    /// An SSH agent or keys: `default` for the running agent, `ID=SOCKET` or `ID=KEY,KEY`
    #[arg(long = "ssh", value_name = "SPEC")]
    pub(crate) ssh: Vec<String>,

    /// Let the build do more: network.host, security.insecure, device, buildx.local.delete
    #[arg(long = "allow", value_name = "WHAT")]
    pub(crate) allow: Vec<String>,
}

/// What is shown, and what is done instead of building.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "What is shown")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that stands for itself"
)]
pub(crate) struct ShowArgs {
    /// How to show progress: auto, tty, plain, json, rawjson, quiet, none
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pub(crate) progress: Option<ProgressChoice>,

    /// Print nothing but the image's ID
    #[arg(short, long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) quiet: bool,

    /// Say for each step why it was, or was not, found in the cache
    #[arg(long)]
    pub(crate) explain: bool,

    /// Say more; the same as `--explain`
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,

    #[command(flatten)]
    pub(crate) profile: ProfileArgs,

    /// Answer a question about the file instead of building: check, outline, targets; with
    /// `,format=json` as JSON
    #[arg(long, value_name = "METHOD")]
    pub(crate) call: Option<String>,

    /// Look for mistakes in the file and build nothing; short for `--call=check`
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true",
        hide_default_value = true, value_parser = parse_switch)]
    pub(crate) check: bool,
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
    }

    #[test]
    fn the_context_is_the_working_directory_unless_said() {
        assert_eq!(build("kiln build").context, ".");
        assert_eq!(build("kiln build -").context, "-");
    }

    #[test]
    fn switches_take_a_value_only_after_an_equals_sign() {
        let args = build("kiln build --push --pull=false --no-cache=1 -q --load=False ctx");
        assert_eq!(args.context, "ctx");
        assert!(args.outputs.push && args.cache.no_cache && args.show.quiet);
        assert!(!args.cache.pull && !args.outputs.load);
        let wrong = parse(["kiln", "build", "--push=yes"].map(Into::into));
        assert!(wrong.is_err());
    }

    #[test]
    fn of_a_flag_with_one_value_the_last_counts() {
        let args = build("kiln build -f a -f b --target x --target y --memory 1g --memory 2g .");
        assert_eq!(args.file.as_deref(), Some("b"));
        assert_eq!(args.target.as_deref(), Some("y"));
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
    fn no_line_of_the_help_is_wider_than_a_terminal() {
        let help = BuildArgs::augment_args(clap::Command::new("build").term_width(80))
            .render_help()
            .to_string();
        let options = help.split("Examples:").next().unwrap();
        for line in options.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(!help.contains("--squash"));
        assert!(help.contains("--secret"));
    }
}
