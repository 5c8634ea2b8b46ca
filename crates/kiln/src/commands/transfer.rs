//! `kiln pull`, `push`, `save` and `load`: images in and out of the local store.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_engine::{ArchiveKind, Dest, SaveRequest};
use kiln_oci::Reference;
use serde_json::json;

use super::Invocation;
use crate::args::{ArchiveName, LoadArgs, PullArgs, PushArgs, SaveArgs};
use crate::error::CliError;
use crate::interrupt;
use crate::render::{Mode, Progress, Work};
use crate::settings::parse_name;
use crate::terminal::{self, print, tell};

pub(super) fn pull(args: &PullArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let names = args
        .images
        .iter()
        .map(|name| parse_name(name))
        .collect::<Result<Vec<_>, _>>()?;
    let engine = invocation.open_engine()?;
    for name in &names {
        let mode = mode(args.quiet, invocation);
        let progress = Progress::begin(Work::Pull, mode, invocation.style, None);
        let cancel = CancelToken::new();
        let watch = interrupt::watch(cancel.clone(), progress.notes());
        let platform = invocation.settings.platform()?;
        let result = engine.pull(name, platform, &progress.events(), &cancel);
        drop(watch);
        let image = match result {
            Ok(image) => image,
            Err(error) => return Err(progress.fail(error.into())),
        };
        let digest = image.descriptor().digest.to_string();
        progress.succeed(&json!({
            "containerimage.digest": digest,
            "containerimage.config.digest": image.id().to_string(),
            "image.name": name.to_string(),
        }));
        match mode {
            Mode::Quiet => print(&format!("{}\n", image.id()))?,
            Mode::Json | Mode::RawJson | Mode::None => {}
            Mode::Tty | Mode::Plain => {
                tell(&format!("image {} as {}\n", image.id(), name.familiar()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn push(args: &PushArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let name = parse_name(args.destination.as_ref().unwrap_or(&args.image))?;
    let engine = invocation.open_engine()?;
    let mode = mode(args.quiet, invocation);
    let progress = Progress::begin(Work::Push, mode, invocation.style, None);
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), progress.notes());
    let result = engine.push(&args.image, &name, &progress.events(), &cancel);
    drop(watch);
    let target = match result {
        Ok(target) => target,
        Err(error) => return Err(progress.fail(error.into())),
    };
    let digest = target.digest.to_string();
    if let Some(path) = &args.digestfile {
        let written =
            kiln_sys::files::write(invocation.environment.resolve(path), digest.as_bytes());
        if let Err(error) = written {
            return Err(progress.fail(error.into()));
        }
    }
    progress.succeed(&json!({"containerimage.digest": digest, "image.name": name.to_string()}));
    match mode {
        Mode::Quiet => print(&format!("{digest}\n"))?,
        Mode::Json | Mode::RawJson | Mode::None => {}
        Mode::Tty | Mode::Plain => tell(&format!("pushed {}@{digest}\n", name.name())),
    }
    Ok(ExitCode::SUCCESS)
}

fn mode(quiet: bool, invocation: &Invocation) -> Mode {
    if quiet {
        Mode::Quiet
    } else {
        terminal::mode(invocation.settings.progress, &invocation.environment)
    }
}

pub(super) fn save(args: &SaveArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let platform = args
        .platform
        .as_ref()
        .map(|platform| platform.parse())
        .transpose();
    let request = SaveRequest {
        images: args.images.clone(),
        kind: match args.format {
            None | Some(ArchiveName::Docker) => ArchiveKind::Docker,
            Some(ArchiveName::Oci) => ArchiveKind::Oci,
        },
        dest: match args.output.as_deref() {
            None => Dest::Stdout,
            Some(path) if path == Path::new("-") => Dest::Stdout,
            Some(path) => Dest::File(invocation.environment.resolve(path)),
        },
        platform: platform.map_err(|error: kiln_oci::PlatformError| CliError::usage(error))?,
    };
    if request.dest == Dest::Stdout && terminal::stdout_is_terminal() {
        return Err(
            CliError::usage("standard output is a terminal, not a place for an archive")
                .hint("name a file: `-o FILE`, or redirect: `> FILE`"),
        );
    }
    invocation.open_engine()?.save(&request)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn load(args: &LoadArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let tag = args.tag.as_ref().map(|tag| parse_name(tag)).transpose()?;
    let input = args.input.as_deref().filter(|path| *path != Path::new("-"));
    let file = input.map(|path| kiln_sys::files::open(invocation.environment.resolve(path)));
    let file = file.transpose().map_err(CliError::usage)?;
    let engine = invocation.open_engine()?;
    let loaded = match file {
        Some(file) => engine.load(file)?,
        None => engine.load(io::stdin())?,
    };
    for image in loaded {
        let mut names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
        if let (Some(tag), true) = (&tag, names.is_empty()) {
            engine.tag(&image.target.digest.to_string(), tag)?;
            names.push(tag.familiar());
        }
        if names.is_empty() {
            names.push(image.target.digest.to_string());
        }
        if !args.quiet {
            for name in names {
                print(&format!("Loaded image: {name}\n"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
