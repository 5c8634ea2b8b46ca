//! A recorded build's lines as events again, and what they come to for each step.

use std::sync::Arc;
use std::time::Duration;

use kiln_base::events::{BuildEvent, CacheVerdict, Progress, StepNumber, StepOutcome, Stream};
use serde_json::Value;

/// Of a step's output so much is kept, from the end, in bytes.
const KEPT_OUTPUT: usize = 64 * 1024;

/// A build's record, read.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// What happened, and when since the build began.
    pub(super) events: Vec<(BuildEvent, Duration)>,
    /// What the build came to, as `--metadata-file` has it.
    pub(super) result: Option<Value>,
    /// What went wrong and why, outermost first.
    pub(super) errors: Vec<String>,
    /// The line of the Dockerfile at fault, as the terminal showed it.
    pub(super) source: String,
    /// When the last line was written.
    pub(super) last: Duration,
}

/// One step, as far as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) number: u32,
    pub(super) name: Arc<str>,
    pub(super) start: Option<Duration>,
    pub(super) end: Option<Duration>,
    pub(super) outcome: Option<StepOutcome>,
    /// Why the cache was used or not.
    pub(super) cache: Option<CacheVerdict>,
    /// Bytes that were moved.
    pub(super) bytes: u64,
    /// The end of what it printed.
    pub(super) output: Vec<u8>,
    /// Whether that lacks the beginning.
    pub(super) is_cut: bool,
    /// What each transfer moved.
    moved: std::collections::BTreeMap<String, u64>,
}

/// Whether a step is one of the Dockerfile's, and not one that fetches or writes.
pub(super) fn is_graph_step(name: &str) -> bool {
    name.starts_with('[') && !name.starts_with("[internal]")
}

/// Reads the lines; those that are not understood are passed over, since a newer kiln may have
/// written them.
pub(super) fn read<T: AsRef<str>>(lines: &[T]) -> Replay {
    let mut replay = Replay::default();
    for line in lines {
        let Ok(document) = serde_json::from_str::<Value>(line.as_ref()) else {
            continue;
        };
        let at = document["at"].as_f64().unwrap_or(0.0);
        let at = Duration::try_from_secs_f64(at).unwrap_or_default();
        replay.last = replay.last.max(at);
        if document["event"] == "finished" {
            replay.result = document.get("result").cloned();
            replay.errors = strings(&document["errors"]);
            replay.source = string(&document["source"]);
        } else if let Some(event) = event(&document, at) {
            replay.events.push((event, at));
        }
    }
    replay
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(string).collect()
}

fn event(document: &Value, at: Duration) -> Option<BuildEvent> {
    let step = || {
        let number = u32::try_from(document["step"].as_u64()?).ok()?;
        Some(StepNumber(number))
    };
    Some(match document["event"].as_str()? {
        "step-declared" => BuildEvent::StepDeclared {
            step: step()?,
            name: Arc::from(document["name"].as_str()?),
        },
        "step-started" => BuildEvent::StepStarted { step: step()?, at },
        "step-output" => BuildEvent::StepOutput {
            step: step()?,
            stream: if document["stream"] == "stderr" {
                Stream::Stderr
            } else {
                Stream::Stdout
            },
            bytes: Arc::from(document["text"].as_str()?.as_bytes()),
        },
        "step-progress" => BuildEvent::StepProgress {
            step: step()?,
            progress: Progress {
                item: string(&document["item"]),
                done: document["done"].as_u64()?,
                total: document["total"].as_u64(),
            },
        },
        "step-explained" => {
            let reason = string(&document["reason"]);
            BuildEvent::StepExplained {
                step: step()?,
                verdict: match document["cache"].as_str()? {
                    "hit" => CacheVerdict::Hit(reason),
                    "miss" => CacheVerdict::Miss(reason),
                    _ => CacheVerdict::NotAsked(reason),
                },
            }
        }
        "step-finished" => BuildEvent::StepFinished {
            step: step()?,
            outcome: match document["outcome"].as_str()? {
                "done" => StepOutcome::Done,
                "cached" => StepOutcome::Cached,
                "cancelled" => StepOutcome::Cancelled,
                _ => StepOutcome::Failed(string(&document["error"])),
            },
            at,
        },
        "warning" => BuildEvent::Warning {
            message: string(&document["message"]),
            line: document["line"]
                .as_u64()
                .and_then(|line| u32::try_from(line).ok()),
        },
        _ => return None,
    })
}

impl Replay {
    /// The steps that began, in the order in which they did; those that did not come last.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (event, _) in &self.events {
            match event {
                BuildEvent::StepDeclared { step, name } => steps.push(Step::new(step.0, name)),
                BuildEvent::StepStarted { step, .. }
                | BuildEvent::StepOutput { step, .. }
                | BuildEvent::StepProgress { step, .. }
                | BuildEvent::StepExplained { step, .. }
                | BuildEvent::StepFinished { step, .. } => {
                    if let Some(known) = steps.iter_mut().find(|known| known.number == step.0) {
                        known.take(event);
                    }
                }
                BuildEvent::Warning { .. } => {}
            }
        }
        steps.sort_by_key(|step| (step.start.is_none(), step.start, step.number));
        steps
    }

    /// What was warned of.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warnings = self.events.iter().filter_map(|(event, _)| match event {
            BuildEvent::Warning { message, line } => Some(match line {
                Some(line) => format!("line {line}: {message}"),
                None => message.clone(),
            }),
            _ => None,
        });
        warnings.collect()
    }
}

impl Step {
    fn new(number: u32, name: &Arc<str>) -> Self {
        Self {
            number,
            name: Arc::clone(name),
            start: None,
            end: None,
            outcome: None,
            cache: None,
            bytes: 0,
            output: Vec::new(),
            is_cut: false,
            moved: std::collections::BTreeMap::new(),
        }
    }

    fn take(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::StepStarted { at, .. } => self.start = Some(*at),
            BuildEvent::StepOutput { bytes, .. } => {
                self.output.extend_from_slice(bytes);
                // Not at each event: that would move the rest each time.
                if self.output.len() > 2 * KEPT_OUTPUT {
                    self.cut();
                }
            }
            BuildEvent::StepProgress { progress, .. } => {
                let before = self.moved.insert(progress.item.clone(), progress.done);
                let more = progress.done.saturating_sub(before.unwrap_or(0));
                self.bytes = self.bytes.saturating_add(more);
            }
            BuildEvent::StepExplained { verdict, .. } => self.cache = Some(verdict.clone()),
            BuildEvent::StepFinished { outcome, at, .. } => {
                self.end = Some(*at);
                self.outcome = Some(outcome.clone());
                self.cut();
            }
            BuildEvent::StepDeclared { .. } | BuildEvent::Warning { .. } => {}
        }
    }

    fn cut(&mut self) {
        if self.output.len() > KEPT_OUTPUT {
            let surplus = self.output.len() - KEPT_OUTPUT;
            self.output.drain(..surplus);
            self.is_cut = true;
        }
    }

    /// The stage that the name tells: `build` of `[build 2/5] RUN make`.
    pub(super) fn stage(&self) -> &str {
        let inside = self
            .name
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'));
        let before = inside.and_then(|(inside, _)| inside.rsplit_once(' '));
        before.map_or("", |(stage, _)| stage.trim())
    }

    /// What follows the stage and the number.
    pub(super) fn instruction(&self) -> &str {
        match self.name.split_once("] ") {
            Some((_, rest)) if self.name.starts_with('[') => rest,
            _ => &self.name,
        }
    }

    /// How long it took; of one that did not end, until `last`.
    pub(super) fn duration(&self, last: Duration) -> Duration {
        match self.start {
            Some(start) => self.end.unwrap_or(last).saturating_sub(start),
            None => Duration::ZERO,
        }
    }

    /// One word for how it ended.
    pub(super) fn status(&self) -> &'static str {
        match (&self.outcome, self.start) {
            (Some(StepOutcome::Done), _) => "done",
            (Some(StepOutcome::Cached), _) => "cached",
            (Some(StepOutcome::Failed(_)), _) => "failed",
            (Some(StepOutcome::Cancelled), _) => "cancelled",
            (None, Some(_)) => "unfinished",
            (None, None) => "not started",
        }
    }
}
