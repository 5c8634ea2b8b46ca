//! `kiln build`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_engine::{BuildOutcome, BuildRequest, BuiltImage};
use kiln_oci::Reference;
use serde_json::{Value, json};

use super::Invocation;
use crate::args::BuildArgs;
use crate::error::CliError;
use crate::interrupt;
use crate::render::{Mode, Progress, Work};
use crate::settings::{self, is_stdout};
use crate::terminal::{self, print, tell};

/// A Dockerfile on standard input is not longer than this.
const MOST_STDIN: u64 = 64 << 20;

pub(super) fn build(args: &BuildArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let (settings, environment) = (&invocation.settings, &invocation.environment);
    let request = settings::build::resolve(args, settings, environment, || {
        let mut bytes = Vec::new();
        std::io::stdin().take(MOST_STDIN).read_to_end(&mut bytes)?;
        Ok(bytes)
    })?;
    refuse_terminal(&request)?;
    let engine = invocation.open_engine()?;
    let mode = terminal::mode(settings.progress, environment);
    let progress = Progress::begin(Work::Build, mode, invocation.style, invocation.log());
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), progress.notes());
    let result = engine.build(&request, &progress.events(), &cancel);
    drop(watch);
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => return Err(progress.fail(error.into())),
    };
    let metadata = metadata(outcome.image.as_ref());
    if let Err(error) = write_files(args, outcome.image.as_ref(), &metadata, invocation) {
        return Err(progress.fail(error));
    }
    progress.succeed(&metadata);
    let archive_on_stdout = request.outputs.iter().any(is_stdout);
    conclude(&outcome, mode, archive_on_stdout)
}

/// An archive on somebody's screen helps nobody.
fn refuse_terminal(request: &BuildRequest) -> Result<(), CliError> {
    let to_stdout = request.outputs.iter().any(is_stdout);
    if to_stdout && terminal::stdout_is_terminal() {
        Err(
            CliError::usage("standard output is a terminal, not a place for an archive")
                .hint("write to a file: `-o type=tar,dest=FILE`, or redirect: `> FILE`"),
        )
    } else {
        Ok(())
    }
}

/// The document of `--metadata-file`, with buildx's names.
fn metadata(image: Option<&BuiltImage>) -> Value {
    let Some(image) = image else { return json!({}) };
    let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
    let mut document = json!({
        "containerimage.config.digest": image.config.to_string(),
        "containerimage.digest": image.manifest.digest.to_string(),
        "containerimage.descriptor": {
            "mediaType": image.manifest.media_type.to_string(),
            "digest": image.manifest.digest.to_string(),
            "size": image.manifest.size,
        },
    });
    if !names.is_empty() {
        document["image.name"] = names.join(",").into();
    }
    document
}

fn write_files(
    args: &BuildArgs,
    image: Option<&BuiltImage>,
    metadata: &Value,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let write = |path: &Path, text: String| {
        let path = invocation.environment.resolve(path);
        kiln_sys::files::write(path, text.as_bytes())
    };
    if let (Some(path), Some(image)) = (&args.outputs.iidfile, image) {
        write(path, image.config.to_string())?;
    }
    if let Some(path) = &args.outputs.metadata_file {
        write(path, format!("{metadata:#}\n"))?;
    }
    Ok(())
}

/// Says what was built; the image's ID must not get into an archive on standard output.
fn conclude(
    outcome: &BuildOutcome,
    mode: Mode,
    archive_on_stdout: bool,
) -> Result<ExitCode, CliError> {
    match (&outcome.image, mode) {
        (Some(image), Mode::Quiet) if archive_on_stdout => tell(&format!("{}\n", image.config)),
        (Some(image), Mode::Quiet) => print(&format!("{}\n", image.config))?,
        (Some(image), Mode::Tty | Mode::Plain) => {
            let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
            let suffix = if names.is_empty() {
                String::new()
            } else {
                format!(" as {}", names.join(", "))
            };
            tell(&format!("image {}{suffix}\n", image.config));
        }
        (_, Mode::Json) | (None, _) => {}
    }
    Ok(ExitCode::SUCCESS)
}
