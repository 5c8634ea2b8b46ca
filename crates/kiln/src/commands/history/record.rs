//! Records a build while it runs: one more reader of its events.
//!
//! A build never fails for want of a record. If it can't be written the user is warned once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kiln_base::events::{BuildEvent, Events, StepOutcome};
use kiln_engine::{BuildRequest, Context, Dockerfile};
use kiln_oci::{Digest, Platform, Reference};
use kiln_store::{
    BuildOutcome, BuildStart, BuildSummary, HistoryLimits, Recording, Store, StoreError,
};
use serde_json::Value;

use super::replay::is_graph_step;
use crate::error::{CliError, Exit};
use crate::render::{Progress, Work, json};

/// A build that is being recorded.
pub(in crate::commands) struct Recorder {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    recording: Option<Recording>,
    /// The numbers of the graph's own steps, for the sums.
    steps: Vec<u32>,
    cached: u64,
    warnings: u64,
    /// What kept an event from being written; nothing was after that.
    broken: Option<StoreError>,
}

impl Recorder {
    /// Begins a record for builds that begin now.
    pub(in crate::commands) fn begin(
        store: &Store,
        requests: &[BuildRequest],
        progress: &Progress,
    ) -> Self {
        let mut state = State::default();
        match store.begin_build(&start(requests), HistoryLimits::default()) {
            Ok(recording) => {
                state.recording = Some(recording);
                state.append(&json::first_line(Work::Build));
            }
            Err(error) => warn(progress, &error),
        }
        Self {
            began: Instant::now(),
            state: Mutex::new(state),
        }
    }

    /// The build's name in the history, where it has one.
    pub(in crate::commands) fn id(&self) -> Option<String> {
        let state = self.lock();
        state
            .recording
            .as_ref()
            .map(|recording| recording.id().to_owned())
    }

    /// Takes events, and hands them on.
    pub(in crate::commands) fn events<'a>(&'a self, next: impl Events + 'a) -> impl Events + 'a {
        move |event: BuildEvent| {
            self.take(&event);
            next.emit(event);
        }
    }

    fn take(&self, event: &BuildEvent) {
        let line = json::event_line(event, self.began.elapsed());
        let mut state = self.lock();
        match event {
            BuildEvent::StepDeclared { step, name } if is_graph_step(name) => {
                state.steps.push(step.0);
            }
            BuildEvent::StepFinished {
                step,
                outcome: StepOutcome::Cached,
                ..
            } if state.steps.contains(&step.0) => state.cached += 1,
            BuildEvent::Warning { .. } => state.warnings += 1,
            _ => {}
        }
        state.append(&line);
    }

    /// Ends the record of builds that went well; `result` is what `--metadata-file` holds.
    pub(in crate::commands) fn succeed(
        self,
        digest: Option<Digest>,
        result: &Value,
        progress: &Progress,
    ) {
        let line = json::success_line(result, self.began.elapsed());
        let end = (BuildOutcome::Completed, digest, None);
        self.end(&line, end, progress);
    }

    /// Ends the record of builds that failed.
    pub(in crate::commands) fn fail(self, error: &CliError, progress: &Progress) {
        let (messages, now) = (error.messages(), self.began.elapsed());
        let line = json::failure_line(error.exit.code(), &messages, &error.hints, now);
        let source = error.source_text();
        let line = if source.is_empty() {
            line
        } else {
            // The line of the Dockerfile, which the progress lines leave to the terminal.
            let source = Value::from(source).to_string();
            format!(
                "{},\"source\":{source}}}",
                line.trim_end().trim_end_matches('}')
            )
        };
        let outcome = if error.exit == Exit::Cancelled {
            BuildOutcome::Cancelled
        } else {
            BuildOutcome::Failed
        };
        self.end(&line, (outcome, None, Some(messages.join("\n"))), progress);
    }

    fn end(
        self,
        line: &str,
        (outcome, digest, error): (BuildOutcome, Option<Digest>, Option<String>),
        progress: &Progress,
    ) {
        let mut state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        state.append(line);
        let summary = BuildSummary {
            outcome,
            digest,
            steps: u64::try_from(state.steps.len()).unwrap_or(u64::MAX),
            cached: state.cached,
            warnings: state.warnings,
            error,
        };
        let finished = state.recording.map(|recording| recording.finish(&summary));
        if let Some(error) = state.broken.or_else(|| finished.and_then(Result::err)) {
            warn(progress, &error);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, line: &str) {
        if let (Some(recording), None) = (&mut self.recording, &self.broken) {
            self.broken = recording.append(line.trim_end()).err();
        }
    }
}

fn warn(progress: &Progress, error: &StoreError) {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    progress.events().emit(BuildEvent::Warning {
        message: format!("could not record the build: {}", causes.join(": ")),
        line: None,
    });
}

/// What is asked for, for people.
fn start(requests: &[BuildRequest]) -> BuildStart {
    let mut start = BuildStart::default();
    for request in requests {
        start
            .names
            .extend(request.tags.iter().map(Reference::familiar));
        let platforms = request.platforms.iter().map(Platform::to_string);
        start.platforms.extend(platforms);
    }
    start.platforms.sort();
    start.platforms.dedup();
    let targets: Vec<&str> = requests
        .iter()
        .map(|request| request.name.as_str())
        .filter(|name| !name.is_empty())
        .collect();
    start.target = match requests {
        [request] => request.target.clone(),
        _ => None,
    };
    if !targets.is_empty() {
        start.target = Some(targets.join(", "));
    }
    if let [request, ..] = requests {
        start.context = context(&request.context);
        start.dockerfile = match &request.dockerfile {
            Dockerfile::Default => "Dockerfile".to_owned(),
            Dockerfile::Path(path) => path.display().to_string(),
            Dockerfile::InContext(path) => path.clone(),
            Dockerfile::Http(url) => without_credentials(url),
            Dockerfile::Text(_) => "-".to_owned(),
        };
    }
    start
}

fn context(context: &Context) -> String {
    match context {
        Context::Directory(path) => path.display().to_string(),
        Context::Empty | Context::Archive(_) => "-".to_owned(),
        Context::Git(url) | Context::Http(url) => without_credentials(url),
    }
}

/// The URL without what stands before an `@`, and without the values of its query: signed links
/// have their signature there.
fn without_credentials(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(before, _)| before);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_out() {
        let check = |url, expected| assert_eq!(without_credentials(url), expected);
        check(
            "https://me:pw@host/a@b.git#main",
            "https://host/a@b.git#main",
        );
        check("https://host/a.tar?X-Sig=abc", "https://host/a.tar");
        check("git@host:a.git", "git@host:a.git");
        check("https://me@host", "https://host");
    }
}
