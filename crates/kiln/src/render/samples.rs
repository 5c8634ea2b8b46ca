//! Builds made up for the tests of the renderers: each event with its time in milliseconds.

use std::time::Duration;

use kiln_base::events::{BuildEvent, CacheVerdict, Progress, StepNumber, StepOutcome, Stream};

pub(crate) type Timed = (u64, BuildEvent);

pub(crate) fn declared(step: u32, name: &str) -> Timed {
    (
        0,
        BuildEvent::StepDeclared {
            step: StepNumber(step),
            name: name.into(),
        },
    )
}

pub(crate) fn started(millis: u64, step: u32) -> Timed {
    let at = Duration::from_millis(millis);
    (
        millis,
        BuildEvent::StepStarted {
            step: StepNumber(step),
            at,
        },
    )
}

pub(crate) fn output(millis: u64, step: u32, text: &str) -> Timed {
    let (step, stream, bytes) = (StepNumber(step), Stream::Stdout, text.as_bytes().into());
    (
        millis,
        BuildEvent::StepOutput {
            step,
            stream,
            bytes,
        },
    )
}

pub(crate) fn finished(millis: u64, step: u32, outcome: StepOutcome) -> Timed {
    let at = Duration::from_millis(millis);
    (
        millis,
        BuildEvent::StepFinished {
            step: StepNumber(step),
            outcome,
            at,
        },
    )
}

fn progress(millis: u64, step: u32, done: u64) -> Timed {
    let progress = Progress {
        item: "sha256:ab12".to_owned(),
        done,
        total: Some(30_000_000),
    };
    (
        millis,
        BuildEvent::StepProgress {
            step: StepNumber(step),
            progress,
        },
    )
}

/// A cached step, then one that runs.
pub(crate) fn two_steps() -> Vec<Timed> {
    vec![
        declared(1, "[1/2] FROM debian:bookworm"),
        declared(2, "[2/2] RUN make"),
        started(1, 1),
        finished(2, 1, StepOutcome::Cached),
        started(5, 2),
        output(125, 2, "cc -c a.c\n"),
        output(200, 2, "a.c:1: \x1b[33mwarning"),
        output(305, 2, "\x1b[0m: nothing here\nno newline"),
        finished(505, 2, StepOutcome::Done),
    ]
}

/// Two steps side by side; one fails and the other is cancelled.
pub(crate) fn parallel_failure() -> Vec<Timed> {
    vec![
        declared(1, "[a 1/1] RUN sleep 1"),
        declared(2, "[b 1/1] RUN false"),
        started(0, 1),
        started(0, 2),
        output(50, 1, "tick\n"),
        output(60, 2, "oops\n"),
        finished(70, 2, StepOutcome::Failed("exit code 1".to_owned())),
        finished(80, 1, StepOutcome::Cancelled),
    ]
}

/// A base image that is fetched, and two warnings.
pub(crate) fn transfer() -> Vec<Timed> {
    let verdict = CacheVerdict::Miss("the base image changed".to_owned());
    let deprecated = "`MAINTAINER` is deprecated".to_owned();
    vec![
        declared(1, "[1/1] FROM app"),
        started(0, 1),
        (
            1,
            BuildEvent::StepExplained {
                step: StepNumber(1),
                verdict,
            },
        ),
        progress(100, 1, 1_000_000),
        progress(200, 1, 2_000_000),
        progress(5_100, 1, 20_000_000),
        progress(6_000, 1, 30_000_000),
        finished(6_500, 1, StepOutcome::Done),
        (
            6_500,
            BuildEvent::Warning {
                message: deprecated,
                line: Some(3),
            },
        ),
        (
            6_500,
            BuildEvent::Warning {
                message: "no tag".to_owned(),
                line: None,
            },
        ),
    ]
}
