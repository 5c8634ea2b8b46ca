//! `kiln build`.

use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_base::events::{BuildEvent, Events};
use kiln_engine::{BuildOutcome, BuildRequest, BuiltImage};
use kiln_oci::Reference;
use serde_json::Value;

use super::history::Recorder;
use super::{Invocation, metadata, question};
use crate::args::BuildArgs;
use crate::error::{CliError, Exit};
use crate::interrupt;
use crate::render::{Mode, Progress, Work};
use crate::settings::build::{self, Call, Plan};
use crate::settings::is_stdout;
use crate::terminal::{self, print, tell};

pub(super) fn build(args: &BuildArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let (settings, environment) = (&invocation.settings, &invocation.environment);
    // A file of an earlier build would be taken for this one's if this one fails.
    if let Some(path) = &args.outputs.iidfile {
        kiln_sys::files::remove_file(environment.resolve(path))?;
    }
    let mut stdin = std::io::stdin();
    let tracer = &invocation.tracer;
    let plan = tracer.within("request", || {
        build::resolve(args, settings, environment, &mut stdin)
    })?;
    if let Some(call) = plan.call {
        return answer(call, &plan);
    }
    let request = &plan.request;
    refuse_terminal(request)?;
    let engine = invocation.open_engine()?;
    let mode = terminal::mode(settings.progress, environment);
    let beginning = tracer.span("begin the record");
    let progress = Progress::begin(Work::Build, mode, invocation.style, invocation.log());
    tell_notes(&plan.notes, &progress);
    let recorder = Recorder::begin(engine.store(), std::slice::from_ref(request), &progress);
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), progress.notes());
    drop(beginning);
    let result = engine.build(request, &recorder.events(progress.events()), &cancel);
    drop(watch);
    drop(plan.spool);
    let _ending = tracer.span("end the record");
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            let error = error.into();
            recorder.fail(&error, &progress);
            return Err(progress.fail(error));
        }
    };
    let mut document = metadata::of(&outcome);
    if let Some(id) = recorder.id() {
        document["buildx.build.ref"] = format!("kiln/kiln/{id}").into();
    }
    metadata::add_warnings(&mut document, &progress, environment);
    if let Err(error) = write_files(args, outcome.image.as_ref(), &document, invocation) {
        recorder.fail(&error, &progress);
        return Err(progress.fail(error));
    }
    let digest = outcome
        .image
        .as_ref()
        .map(|image| image.manifest.digest.clone());
    recorder.succeed(digest, &document, &progress);
    progress.succeed(&document);
    let archive_on_stdout = request.outputs.iter().any(is_stdout);
    conclude(&outcome, mode, archive_on_stdout)
}

/// Answers a question about the Dockerfile.
fn answer(call: Call, plan: &Plan) -> Result<ExitCode, CliError> {
    for note in &plan.notes {
        tell(&format!("warning: {note}\n"));
    }
    let answer = question::answer(call, &question::subject(&plan.request)?)?;
    print(&answer.text)?;
    Ok(if answer.is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Build.code())
    })
}

/// Says what the user should know before.
fn tell_notes(notes: &[String], progress: &Progress) {
    let events = progress.events();
    for note in notes {
        events.emit(BuildEvent::Warning {
            message: note.clone(),
            line: None,
        });
    }
}

/// An archive on somebody's screen helps nobody.
pub(super) fn refuse_terminal(request: &BuildRequest) -> Result<(), CliError> {
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

fn write_files(
    args: &BuildArgs,
    image: Option<&BuiltImage>,
    document: &Value,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let environment = &invocation.environment;
    if let (Some(path), Some(image)) = (&args.outputs.iidfile, image) {
        let path = environment.resolve(path);
        kiln_sys::files::write(path, image.config.to_string().as_bytes())?;
    }
    if let Some(path) = &args.outputs.metadata_file {
        metadata::write(&environment.resolve(path), document)?;
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
        (_, Mode::Json | Mode::RawJson | Mode::None) | (None, _) => {}
    }
    Ok(ExitCode::SUCCESS)
}
