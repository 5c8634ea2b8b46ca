//! The one stream of events of a build, and its many readers.
//!
//! The engine says what happened; the terminal view, plain text, JSON lines, a log file and tests
//! each read the same events. An event carries facts, never rendered text: no colour, no padding,
//! no time that the reader could not compute.

use std::sync::Arc;
use std::time::Duration;

/// The number of a step within one build, from 1, in the order in which steps were declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepNumber(pub u32);

/// Which of a process's outputs bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// The step ran.
    Done,
    /// The result was found in the cache; nothing ran.
    Cached,
    /// The step failed; the message is the first line of the error, which the build's own result
    /// repeats in full.
    Failed(String),
    /// The build was cancelled while the step ran.
    Cancelled,
}

/// How far a transfer or another long piece of work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is moved, for example a shortened digest.
    pub item: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
}

/// Why a step was, or was not, found in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheVerdict {
    /// Found; the text says by what (the same definition, or the same content).
    Hit(String),
    /// Not found; the text says what differs from the nearest earlier build.
    Miss(String),
    /// The cache was not asked, and why.
    NotAsked(String),
}

/// One thing that happened during a build.
///
/// `at` is the time since the build began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step exists in this build. Sent before it starts, in step order within a stage.
    StepDeclared {
        /// The step.
        step: StepNumber,
        /// What a reader calls it, for example `[build 2/5] RUN make`.
        name: Arc<str>,
    },
    /// A step began to look up its result, or to run.
    StepStarted {
        /// The step.
        step: StepNumber,
        /// Since the build began.
        at: Duration,
    },
    /// The step's process wrote something. Bytes are passed as written: lines may be split, and
    /// need not be UTF-8.
    StepOutput {
        /// The step.
        step: StepNumber,
        /// Standard output or standard error.
        stream: Stream,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// The step's transfer moved on.
    StepProgress {
        /// The step.
        step: StepNumber,
        /// How far it is.
        progress: Progress,
    },
    /// Why the step hit or missed the cache (`--explain`).
    StepExplained {
        /// The step.
        step: StepNumber,
        /// The verdict and its reason.
        verdict: CacheVerdict,
    },
    /// A step ended.
    StepFinished {
        /// The step.
        step: StepNumber,
        /// How.
        outcome: StepOutcome,
        /// Since the build began.
        at: Duration,
    },
    /// Something the user should look at, but which does not stop the build.
    Warning {
        /// What is wrong, without a trailing full stop.
        message: String,
        /// The Dockerfile's line, from 1, where there is one.
        line: Option<u32>,
    },
}

/// A reader of events. Called from many threads; has to be quick, since work waits for it.
pub trait Events: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: BuildEvent);
}

/// Drops every event.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Events for Silent {
    fn emit(&self, _event: BuildEvent) {}
}

impl<F: Fn(BuildEvent) + Send + Sync> Events for F {
    fn emit(&self, event: BuildEvent) {
        self(event);
    }
}
