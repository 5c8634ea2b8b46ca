//! Records of builds on their way between machines.
//!
//! The file is JSON lines: first what the history's row says, then the events as they were
//! written. Docs: docs/history.md.

use kiln_base::Timestamp;
use kiln_oci::Digest;
use kiln_store::{BuildRecord, BuildStart, BuildStatus};
use serde_json::{Value, json};

use super::report::status_word;

/// The version of the file.
const VERSION: u64 = 1;

/// Why a file is no record of a build.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarryError {
    #[error("the file is no record of a build: {0}")]
    Bad(&'static str),
    #[error("the record is of the version {0}, and this kiln reads 1")]
    Version(u64),
}

/// The whole file.
pub(super) fn write(build: &BuildRecord, events: &[String]) -> String {
    let first = json!({
        "kiln-build": VERSION,
        "id": build.id,
        "names": build.start.names,
        "target": build.start.target,
        "dockerfile": build.start.dockerfile,
        "context": build.start.context,
        "platforms": build.start.platforms,
        "started": build.started.to_string(),
        "finished": build.finished.map(|time| time.to_string()),
        "status": status_word(build.status),
        "digest": build.digest.as_ref().map(ToString::to_string),
        "steps": build.steps,
        "cached": build.cached,
        "warnings": build.warnings,
        "error": build.error,
    });
    let mut text = format!("{first}\n");
    for event in events {
        text.push_str(event);
        text.push('\n');
    }
    text
}

/// A file's build and events.
pub(super) fn read(text: &str) -> Result<(BuildRecord, Vec<String>), CarryError> {
    let mut lines = text.lines();
    let first: Value = lines
        .next()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or(CarryError::Bad("the first line is no JSON document"))?;
    match first["kiln-build"].as_u64() {
        Some(VERSION) => {}
        Some(other) => return Err(CarryError::Version(other)),
        None => return Err(CarryError::Bad("`kiln-build` is missing")),
    }
    let build = BuildRecord {
        id: line(&first["id"])?,
        start: BuildStart {
            names: lines_of(&first["names"])?,
            target: Some(line(&first["target"])?).filter(|target| !target.is_empty()),
            dockerfile: line(&first["dockerfile"])?,
            context: line(&first["context"])?,
            platforms: lines_of(&first["platforms"])?,
        },
        started: time(&first["started"]).ok_or(CarryError::Bad("`started` is no time"))?,
        finished: time(&first["finished"]),
        status: status(first["status"].as_str().unwrap_or_default())?,
        digest: first["digest"]
            .as_str()
            .and_then(|digest| digest.parse::<Digest>().ok()),
        steps: first["steps"].as_u64().unwrap_or(0),
        cached: first["cached"].as_u64().unwrap_or(0),
        warnings: first["warnings"].as_u64().unwrap_or(0),
        error: first["error"].as_str().map(str::to_owned),
    };
    let events: Vec<String> = lines.map(str::to_owned).collect();
    let is_event = |line: &String| {
        serde_json::from_str::<Value>(line).is_ok_and(|event| event["event"].is_string())
    };
    if !events.iter().all(is_event) {
        return Err(CarryError::Bad("a line is no event"));
    }
    Ok((build, events))
}

/// A text that may stand in a list: on one line, without control characters.
fn line(value: &Value) -> Result<String, CarryError> {
    let text = value.as_str().unwrap_or_default();
    if text.chars().any(char::is_control) {
        return Err(CarryError::Bad("a name has control characters"));
    }
    Ok(text.to_owned())
}

fn lines_of(value: &Value) -> Result<Vec<String>, CarryError> {
    value.as_array().into_iter().flatten().map(line).collect()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn status(word: &str) -> Result<BuildStatus, CarryError> {
    let all = [
        BuildStatus::Running,
        BuildStatus::Completed,
        BuildStatus::Failed,
        BuildStatus::Cancelled,
        BuildStatus::Interrupted,
    ];
    let found = all.into_iter().find(|status| status_word(*status) == word);
    found.ok_or(CarryError::Bad("`status` is unknown"))
}
