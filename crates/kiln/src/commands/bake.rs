//! `kiln bake`.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;

use kiln_bake::{Bake, BakeError};
use kiln_base::CancelToken;
use kiln_base::events::{BuildEvent, Events};
use kiln_engine::{BuildOutcome, BuildRequest, NamedContext};
use kiln_oci::Reference;
use serde_json::{Map, Value, json};

use super::history::Recorder;
use super::{Invocation, build, metadata, question};
use crate::args::BakeArgs;
use crate::error::{Blame, CliError, Exit};
use crate::interrupt;
use crate::render::{Mode, Progress, Work};
use crate::settings::bake::{asked, check_permissions, input, listing};
use crate::settings::build::{Call, CallFormat, Plan, call, resolve, target};
use crate::settings::{OutputsError, is_stdout};
use crate::terminal::{self, print, tell};

pub(super) fn bake(args: &BakeArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let environment = &invocation.environment;
    let tracer = &invocation.tracer;
    let reading = tracer.span("bake files");
    let input = input(args, environment, super::now(), &mut io::stdin())?;
    if let Some(list) = &args.list {
        return print_list(list, &input);
    }
    let bake = kiln_bake::read(&input)?;
    drop(reading);
    for warning in &bake.warnings {
        tell(&format!("warning: {warning}\n"));
    }
    if args.print {
        print(&bake.print_json())?;
        return Ok(ExitCode::SUCCESS);
    }
    check_permissions(args, &bake, environment)?;
    let plans = tracer.within("request", || plans(args, &bake, invocation))?;
    let call = asked(args).map(|text| call::parse("--call", text));
    if let Some(call) = call.transpose()?.flatten() {
        return answer_all(call, &plans, &bake);
    }
    if plans.iter().any(|plan| plan.call.is_some()) {
        let none = |plan: &Plan| plan.call.is_none();
        if plans.iter().any(none) {
            return Err(CliError::usage(
                "some targets are to be built, and others ask a question by `call`",
            )
            .hint("ask all of them: `--call=check`"));
        }
        return answer_all_their_own(&plans, &bake);
    }
    build_all(args, plans, invocation)
}

fn print_list(list: &str, input: &kiln_bake::BakeInput) -> Result<ExitCode, CliError> {
    let (targets, json) = listing(list)?;
    let listing = kiln_bake::list(input)?;
    print(&match (targets, json) {
        (true, false) => listing.targets_table(),
        (true, true) => listing.targets_json(),
        (false, false) => listing.variables_table(),
        (false, true) => listing.variables_json(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A plan for each target, those that others use first.
fn plans(args: &BakeArgs, bake: &Bake, invocation: &Invocation) -> Result<Vec<Plan>, CliError> {
    let mut plans: Vec<Plan> = Vec::new();
    let mut places = BTreeMap::new();
    for name in bake.build_order() {
        let Some(target) = bake.targets.get(name) else {
            continue;
        };
        let mut flags = target::flags(target).map_err(in_target(name))?;
        flags.show.explain = args.explain || args.debug;
        flags.access.allow.extend(may_delete(args));
        if !args.policy.is_empty() {
            flags.legacy.policy.clone_from(&args.policy);
        }
        flags.legacy.builder.clone_from(&args.builder);
        let (settings, environment) = (&invocation.settings, &invocation.environment);
        let mut plan =
            resolve(&flags, settings, environment, &mut io::empty()).map_err(in_target(name))?;
        name.clone_into(&mut plan.request.name);
        for (context, linked) in target::links(target).map_err(in_target(name))? {
            let place = places.get(linked.as_str()).copied().ok_or_else(|| {
                CliError::bug(format!("`{linked}` comes after `{name}`, which needs it"))
            })?;
            let context_and_build = (context, NamedContext::Build(place));
            plan.request.contexts.extend([context_and_build]);
        }
        places.insert(name, plans.len());
        plans.push(plan);
    }
    let outputs = plans.iter().flat_map(|plan| &plan.request.outputs);
    if outputs.filter(|output| is_stdout(output)).count() > 1 {
        return Err(OutputsError::StdoutTwice.into());
    }
    Ok(plans)
}

fn may_delete(args: &BakeArgs) -> Option<String> {
    let word = "buildx.local.delete";
    args.allow
        .iter()
        .any(|flag| flag == word)
        .then(|| word.to_owned())
}

/// Names the target that an error is about.
fn in_target<E: Into<CliError>>(name: &str) -> impl Fn(E) -> CliError {
    move |error| error.into().about(format!("could not bake `{name}`"))
}

fn build_all(
    args: &BakeArgs,
    plans: Vec<Plan>,
    invocation: &Invocation,
) -> Result<ExitCode, CliError> {
    let (settings, environment) = (&invocation.settings, &invocation.environment);
    let notes: Vec<String> = plans.iter().flat_map(|plan| plan.notes.clone()).collect();
    let requests: Vec<BuildRequest> = plans.into_iter().map(|plan| plan.request).collect();
    for request in &requests {
        build::refuse_terminal(request)?;
    }
    let engine = invocation.open_engine()?;
    let mode = terminal::mode(settings.progress, environment);
    let beginning = invocation.tracer.span("begin the record");
    let progress = Progress::begin(Work::Build, mode, invocation.style, invocation.log());
    tell_once(&notes, &progress);
    let recorder = Recorder::begin(engine.store(), &requests, &progress);
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), progress.notes());
    drop(beginning);
    let result = engine.build_all(&requests, &recorder.events(progress.events()), &cancel);
    drop(watch);
    let _ending = invocation.tracer.span("end the record");
    let outcomes = match result {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let error = error.into();
            recorder.fail(&error, &progress);
            return Err(progress.fail(error));
        }
    };
    let built = || requests.iter().zip(&outcomes);
    let mut document = Value::Object(
        built()
            .map(|(request, outcome)| {
                let mut part = metadata::of(outcome);
                if let Some(id) = recorder.id() {
                    part["buildx.build.ref"] = format!("kiln/kiln/{id}").into();
                }
                (request.name.clone(), part)
            })
            .collect(),
    );
    metadata::add_warnings(&mut document, &progress, environment);
    if let Some(path) = &args.metadata_file
        && let Err(error) = metadata::write(&environment.resolve(path), &document)
    {
        recorder.fail(&error, &progress);
        return Err(progress.fail(error));
    }
    recorder.succeed(None, &document, &progress);
    progress.succeed(&document);
    let archive_on_stdout = requests
        .iter()
        .any(|request| request.outputs.iter().any(is_stdout));
    for (request, outcome) in built() {
        conclude(request, outcome, mode, archive_on_stdout)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what the user should know before; what is true of several targets once.
fn tell_once(notes: &[String], progress: &Progress) {
    let events = progress.events();
    let mut told: Vec<&String> = Vec::new();
    for note in notes {
        if !told.contains(&note) {
            told.push(note);
            events.emit(BuildEvent::Warning {
                message: note.clone(),
                line: None,
            });
        }
    }
}

/// Says what was built for one target.
fn conclude(
    request: &BuildRequest,
    outcome: &BuildOutcome,
    mode: Mode,
    archive_on_stdout: bool,
) -> Result<(), CliError> {
    let Some(image) = &outcome.image else {
        return Ok(());
    };
    match mode {
        Mode::Quiet if archive_on_stdout => tell(&format!("{}\n", image.config)),
        Mode::Quiet => print(&format!("{}\n", image.config))?,
        Mode::Tty | Mode::Plain => {
            let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
            let suffix = if names.is_empty() {
                String::new()
            } else {
                format!(" as {}", names.join(", "))
            };
            tell(&format!(
                "{}: image {}{suffix}\n",
                request.name, image.config
            ));
        }
        Mode::Json | Mode::RawJson | Mode::None => {}
    }
    Ok(())
}

/// The answers to one question about every target, as text or as one document.
fn answer_all(call: Call, plans: &[Plan], bake: &Bake) -> Result<ExitCode, CliError> {
    if call.format == CallFormat::Text {
        let questions = plans.iter().map(|plan| (plan, call));
        return print_answers(questions, bake);
    }
    let mut document: Value = serde_json::from_str(&bake.print_json()).map_err(CliError::bug)?;
    let mut is_good = true;
    for plan in plans {
        let name = &plan.request.name;
        let answer =
            question::subject(&plan.request).and_then(|subject| question::answer(call, &subject));
        let result = match answer {
            Ok(answer) => {
                is_good &= answer.is_good;
                serde_json::from_str(&answer.text).map_err(CliError::bug)?
            }
            Err(error) => {
                is_good = false;
                json!({"error": error.messages().join(": ")})
            }
        };
        let entry = &mut document["target"][name.as_str()];
        let mut members = Map::new();
        members.insert("build".to_owned(), entry.take());
        members.insert(call.method.name().to_owned(), result);
        *entry = Value::Object(members);
    }
    print(&format!("{document:#}\n"))?;
    Ok(end(is_good))
}

/// The answers to the question of each target's own `call`.
fn answer_all_their_own(plans: &[Plan], bake: &Bake) -> Result<ExitCode, CliError> {
    let questions = plans.iter().filter_map(|plan| Some((plan, plan.call?)));
    print_answers(questions, bake)
}

fn print_answers<'a>(
    questions: impl Iterator<Item = (&'a Plan, Call)>,
    bake: &Bake,
) -> Result<ExitCode, CliError> {
    let mut questions: Vec<_> = questions.collect();
    questions.sort_by(|(one, _), (other, _)| one.request.name.cmp(&other.request.name));
    let mut is_good = true;
    for (index, (plan, call)) in questions.into_iter().enumerate() {
        let name = &plan.request.name;
        let description = bake.targets.get(name).map(|target| &*target.description);
        let description = match description {
            None | Some("") => String::new(),
            Some(description) => format!("{description}\n"),
        };
        let before = if index == 0 { "" } else { "\n" };
        print(&format!("{before}{name}\n{description}\n"))?;
        let subject = question::subject(&plan.request).map_err(in_target(name))?;
        let answer = question::answer(call, &subject).map_err(in_target(name))?;
        print(&answer.text)?;
        is_good &= answer.is_good;
    }
    Ok(end(is_good))
}

fn end(is_good: bool) -> ExitCode {
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Build.code())
    }
}

impl From<BakeError> for CliError {
    /// A wrong file is shown with its line; a request for what is not there is the user's.
    fn from(error: BakeError) -> Self {
        match error {
            BakeError::File(file) => {
                let text = file.to_string();
                let hint = file.hint.as_ref().map(|hint| format!("\nhint: {hint}"));
                let text = text.strip_suffix(hint.as_deref().unwrap_or_default());
                let text = text.unwrap_or_default();
                let (message, lines) = text.split_once('\n').unwrap_or((text, ""));
                let error = Self::new(Blame::User, Exit::Build, message.to_owned());
                let error = if lines.is_empty() {
                    error
                } else {
                    error.excerpt(format!("{lines}\n"))
                };
                match file.hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            BakeError::Request { message, hint } => {
                let error = Self::usage(message);
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
        }
    }
}
