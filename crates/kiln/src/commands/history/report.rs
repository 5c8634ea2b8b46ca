//! A recorded build as other forms have it: the page and the table of `kiln-report`, JSON, trace
//! events.

use std::fmt::Write as _;
use std::time::Duration;

use kiln_base::Timestamp;
use kiln_base::events::{CacheVerdict, StepOutcome};
use kiln_report::{BuildFailure, SourceLine, StepRecord, StepStatus};
use kiln_store::{BuildRecord, BuildStatus};
use serde_json::{Value, json};

use super::replay::{Replay, Step};

/// One word for how a build ended.
pub(super) const fn status_word(status: BuildStatus) -> &'static str {
    match status {
        BuildStatus::Running => "running",
        BuildStatus::Completed => "completed",
        BuildStatus::Failed => "failed",
        BuildStatus::Cancelled => "cancelled",
        BuildStatus::Interrupted => "interrupted",
    }
}

/// How long a build took, or has taken so far.
pub(super) fn duration(build: &BuildRecord, last: Duration, now: Timestamp) -> Duration {
    match (build.finished, build.status) {
        (Some(finished), _) => between(build.started, finished),
        (None, BuildStatus::Running) => between(build.started, now),
        (None, _) => last,
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    let nanoseconds = |time: Timestamp| {
        i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanoseconds())
    };
    let passed = nanoseconds(to).saturating_sub(nanoseconds(from));
    Duration::from_nanos(u64::try_from(passed).unwrap_or(0))
}

/// What a build is called: its first name, else its context's.
pub(super) fn title(build: &BuildRecord) -> String {
    let named = build.start.names.first().cloned();
    named.unwrap_or_else(|| {
        let target = build.start.target.as_ref();
        let target = target.map_or_else(String::new, |target| format!(" ({target})"));
        format!("{}{target}", build.start.context)
    })
}

/// What the page and the table are made from.
pub(super) fn for_people(
    build: &BuildRecord,
    replay: &Replay,
    now: Timestamp,
) -> kiln_report::BuildRecord {
    let mut facts = vec![
        ("build".to_owned(), build.id.clone()),
        ("context".to_owned(), build.start.context.clone()),
        ("Dockerfile".to_owned(), build.start.dockerfile.clone()),
    ];
    facts.extend(
        build
            .start
            .target
            .clone()
            .map(|target| ("target".to_owned(), target)),
    );
    let steps = replay.steps();
    for material in materials(&steps) {
        facts.push(("made from".to_owned(), material));
    }
    let mut outputs = build.start.names.clone();
    outputs.extend(build.digest.as_ref().map(ToString::to_string));
    let began = steps.iter().filter(|step| step.start.is_some());
    kiln_report::BuildRecord {
        name: title(build),
        started: build.started,
        duration: duration(build, replay.last, now),
        status: match build.status {
            BuildStatus::Running => kiln_report::BuildStatus::Running,
            BuildStatus::Completed => kiln_report::BuildStatus::Succeeded,
            BuildStatus::Failed => kiln_report::BuildStatus::Failed,
            BuildStatus::Cancelled => kiln_report::BuildStatus::Cancelled,
            BuildStatus::Interrupted => kiln_report::BuildStatus::Interrupted,
        },
        platforms: build.start.platforms.clone(),
        error: failure(build, replay),
        steps: began.map(|step| step_record(step, replay.last)).collect(),
        outputs,
        warnings: replay.warnings(),
        facts,
    }
}

fn step_record(step: &Step, last: Duration) -> StepRecord {
    StepRecord {
        name: step.name.to_string(),
        stage: step.stage().to_owned(),
        start: step.start.unwrap_or_default(),
        duration: step.duration(last),
        status: match &step.outcome {
            Some(StepOutcome::Done) => StepStatus::Done,
            Some(StepOutcome::Cached) => StepStatus::Cached,
            Some(StepOutcome::Failed(_)) => StepStatus::Failed,
            Some(StepOutcome::Cancelled) | None => StepStatus::Cancelled,
        },
        bytes: (step.bytes > 0).then_some(step.bytes),
        log: String::from_utf8_lossy(&step.output).into_owned(),
        log_cut: step.is_cut,
    }
}

fn failure(build: &BuildRecord, replay: &Replay) -> Option<BuildFailure> {
    let text = build.error.as_ref()?;
    let mut lines = text.lines().map(str::to_owned);
    let (place, excerpt) = quoted(&replay.source);
    Some(BuildFailure {
        message: lines.next().unwrap_or_default(),
        causes: lines.collect(),
        place,
        excerpt,
    })
}

/// The place and the line of a quoted piece of a Dockerfile.
fn quoted(source: &str) -> (Option<(String, u32)>, Vec<SourceLine>) {
    let place = source.lines().find_map(|line| {
        let (file, number) = line.trim_start().strip_prefix("--> ")?.rsplit_once(':')?;
        Some((file.to_owned(), number.parse().ok()?))
    });
    let lines = source.lines().filter_map(|line| {
        let (number, text) = line.split_once(" | ")?;
        let number = number.trim().parse().ok()?;
        Some(SourceLine {
            number,
            text: text.to_owned(),
            marked: true,
        })
    });
    (place, lines.collect())
}

/// What the steps' names tell of where a build's inputs come from.
fn materials(steps: &[Step]) -> Vec<String> {
    let mut found = Vec::new();
    for step in steps {
        let instruction = step.instruction();
        let material = match instruction.split_once(' ') {
            Some(("FROM", image)) => Some(image.to_owned()).filter(|image| image != "scratch"),
            Some(("ADD", sources)) => {
                let mut remote = sources.split_whitespace();
                remote.find(|word| word.contains("://")).map(str::to_owned)
            }
            _ => None,
        };
        if let Some(material) = material.filter(|material| !found.contains(material)) {
            found.push(material);
        }
    }
    found
}

/// One build of a list.
pub(super) fn row(build: &BuildRecord, now: Timestamp) -> Value {
    json!({
        "id": build.id,
        "ref": format!("kiln/kiln/{}", build.id),
        "names": build.start.names,
        "status": status_word(build.status),
        "started": build.started.to_string(),
        "finished": build.finished.map(|time| time.to_string()),
        "seconds": seconds(duration(build, Duration::ZERO, now)),
        "context": build.start.context,
        "dockerfile": build.start.dockerfile,
        "target": build.start.target,
        "platforms": build.start.platforms,
        "digest": build.digest.as_ref().map(ToString::to_string),
        "steps": build.steps,
        "cached": build.cached,
        "warnings": build.warnings,
        "error": build.error,
    })
}

/// All that is known of one build.
pub(super) fn document(build: &BuildRecord, replay: &Replay, now: Timestamp) -> Value {
    let steps = replay.steps();
    let mut document = row(build, now);
    document["seconds"] = seconds(duration(build, replay.last, now));
    document["materials"] = materials(&steps).into();
    document["warnings"] = replay.warnings().into();
    document["result"] = replay.result.clone().unwrap_or_default();
    document["steps"] = steps
        .iter()
        .map(|step| step_json(step, replay.last))
        .collect();
    if let (Some((file, line)), excerpt) = quoted(&replay.source) {
        document["place"] = json!({
            "file": file,
            "line": line,
            "text": excerpt.first().map(|line| line.text.clone()),
        });
    }
    document
}

fn step_json(step: &Step, last: Duration) -> Value {
    let mut document = json!({
        "number": step.number,
        "name": &*step.name,
        "stage": step.stage(),
        "status": step.status(),
        "start": step.start.map(seconds),
        "seconds": seconds(step.duration(last)),
    });
    if step.bytes > 0 {
        document["bytes"] = step.bytes.into();
    }
    if let Some(StepOutcome::Failed(error)) = &step.outcome {
        document["error"] = error.as_str().into();
    }
    if let Some(verdict) = &step.cache {
        let (CacheVerdict::Hit(reason)
        | CacheVerdict::Miss(reason)
        | CacheVerdict::NotAsked(reason)) = verdict;
        document["cache"] = reason.as_str().into();
    }
    document
}

fn seconds(duration: Duration) -> Value {
    (f64::from(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)) / 1000.0).into()
}

/// The build as trace events: a lane for each step that runs beside others.
pub(super) fn trace(build: &BuildRecord, replay: &Replay) -> String {
    let mut lanes: Vec<Duration> = Vec::new();
    let mut events = vec![json!({
        "ph": "M", "pid": 1, "tid": 0, "name": "process_name",
        "args": {"name": format!("kiln build {}", title(build))},
    })];
    for step in replay.steps() {
        let Some(start) = step.start else { continue };
        let end = start + step.duration(replay.last);
        let free = lanes.iter().position(|busy_until| *busy_until <= start);
        let lane = free.unwrap_or_else(|| {
            lanes.push(Duration::ZERO);
            lanes.len() - 1
        });
        lanes[lane] = end;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        events.push(json!({
            "ph": "X",
            "pid": 1,
            "tid": lane + 1,
            "ts": micros(start),
            "dur": micros(end.saturating_sub(start)),
            "name": &*step.name,
            "cat": step.status(),
            "args": {"stage": step.stage(), "status": step.status(), "bytes": step.bytes},
        }));
    }
    let document = json!({
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"build": build.id, "started": build.started.to_string()},
    });
    format!("{document}\n")
}

/// What stands above the table of steps.
pub(super) fn heading(build: &BuildRecord, replay: &Replay) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            _ = writeln!(text, "{name:<12}{value}");
        }
    };
    put("Build:", &build.id);
    put("Names:", &build.start.names.join(", "));
    put("Status:", status_word(build.status));
    put(
        "Started:",
        &Timestamp::from_seconds(build.started.seconds()).to_string(),
    );
    put("Context:", &build.start.context);
    put("Dockerfile:", &build.start.dockerfile);
    put("Target:", build.start.target.as_deref().unwrap_or_default());
    put("Platforms:", &build.start.platforms.join(", "));
    let digest = build.digest.as_ref().map(ToString::to_string);
    put("Digest:", &digest.unwrap_or_default());
    for (index, material) in materials(&replay.steps()).iter().enumerate() {
        put(if index == 0 { "Made from:" } else { "" }, material);
    }
    text
}
