//! `kiln graph`: a build's graph, drawn.

use std::path::Path;
use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_report::Drawing;

use super::Invocation;
use crate::args::{Command, GraphArgs, GraphFormat, parse};
use crate::error::CliError;
use crate::interrupt;
use crate::render::{Progress, Work};
use crate::settings::build;
use crate::terminal::{self, print};

pub(super) fn graph(args: &GraphArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let (settings, environment) = (&invocation.settings, &invocation.environment);
    let Command::Build(build_args) = parse(args.build_words()).map_err(CliError::bug)?.command
    else {
        return Err(CliError::bug("the words of a build are another command"));
    };
    let mut stdin = std::io::stdin();
    let plan = build::resolve(&build_args, settings, environment, &mut stdin)?;
    let engine = invocation.open_engine()?;
    let mode = terminal::mode(settings.progress, environment);
    let progress = Progress::begin(Work::Build, mode, invocation.style, None);
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), progress.notes());
    let requests = std::slice::from_ref(&plan.request);
    let result = engine.graph(requests, &progress.events(), &cancel);
    drop(watch);
    let graph = match result {
        Ok(graph) => graph,
        Err(error) => return Err(progress.fail(error.into())),
    };
    progress.succeed(&serde_json::json!({"steps": graph.steps().len()}));
    let drawing = Drawing::of(&graph);
    let text = match args.format {
        GraphFormat::Text => drawing.text(),
        GraphFormat::Dot => drawing.dot(),
        GraphFormat::Svg => drawing.svg(),
    };
    match args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"))
    {
        Some(path) => kiln_sys::files::write(environment.resolve(path), text.as_bytes())?,
        None => print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}
