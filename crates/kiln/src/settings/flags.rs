//! Which flags of which command set a setting.

use clap::ValueEnum;

use super::key::Key;
use super::layer::Layer;
use crate::args::{
    BakeArgs, BuildArgs, Cli, Command, GlobalArgs, ProgressChoice, RootfsArgs, RunArgs,
};

/// What the command line sets.
pub(crate) fn from_flags(cli: &Cli) -> Layer {
    let layer = globals(&cli.globals);
    match &cli.command {
        Command::Build(args) => layer.under(build(args)),
        Command::Bake(args) => layer.under(bake(args)),
        Command::Run(args) => layer.under(run(args)),
        Command::Rootfs(args) => layer.under(rootfs(args)),
        Command::Pull(args) => layer.under(platform(args.platform.as_ref())),
        Command::Inspect(args) => layer.under(platform(args.platform.as_ref())),
        Command::Bootstrap(args) => {
            layer
                .under(platform(args.platform.as_ref()))
                .under(Layer::from_flags([(
                    Key::BootstrapMirror,
                    args.mirror.clone(),
                )]))
        }
        _ => layer,
    }
}

fn globals(args: &GlobalArgs) -> Layer {
    Layer::from_flags([
        (
            Key::Root,
            args.root
                .as_ref()
                .map(|root| root.to_string_lossy().into_owned()),
        ),
        (Key::Color, word(args.color)),
        (Key::Sandbox, word(args.sandbox)),
    ])
}

fn build(args: &BuildArgs) -> Layer {
    let platforms = args.platforms.join(",");
    Layer::from_flags([
        (Key::Jobs, args.steps.jobs.map(|jobs| jobs.to_string())),
        (Key::Progress, progress(args.show.progress, args.show.quiet)),
        (
            Key::Platform,
            Some(platforms).filter(|list| !list.is_empty()),
        ),
        (Key::Network, word(args.steps.network)),
        (Key::Format, word(args.outputs.format)),
        (Key::Compression, word(args.outputs.compression)),
        (
            Key::CompressionLevel,
            args.outputs
                .compression_level
                .map(|level| level.to_string()),
        ),
        (
            Key::GzipSingleMember,
            args.outputs.gzip_single_member.then(|| "true".to_owned()),
        ),
        (Key::TrustHostCas, args.steps.trust_host_cas.clone()),
    ])
}

fn bake(args: &BakeArgs) -> Layer {
    Layer::from_flags([(Key::Progress, progress(args.progress, false))])
}

/// What `--progress` and `--quiet` come to. `auto` leaves it to the environment, as with buildx.
fn progress(choice: Option<ProgressChoice>, quiet: bool) -> Option<String> {
    match (choice, quiet) {
        (None | Some(ProgressChoice::Auto | ProgressChoice::None), true) => {
            word(Some(ProgressChoice::Quiet))
        }
        (Some(ProgressChoice::Auto), false) => None,
        (choice, _) => word(choice),
    }
}

fn run(args: &RunArgs) -> Layer {
    Layer::from_flags([
        (Key::Platform, args.platform.clone()),
        (Key::Network, word(args.network)),
        (Key::TrustHostCas, args.trust_host_cas.clone()),
    ])
}

fn rootfs(args: &RootfsArgs) -> Layer {
    Layer::from_flags([
        (Key::Platform, args.platform.clone()),
        (Key::Network, word(args.content.network)),
        (Key::Progress, progress(args.progress, args.quiet)),
    ])
}

fn platform(platform: Option<&String>) -> Layer {
    Layer::from_flags([(Key::Platform, platform.cloned())])
}

fn word<T: ValueEnum>(choice: Option<T>) -> Option<String> {
    Some(choice?.to_possible_value()?.get_name().to_owned())
}
