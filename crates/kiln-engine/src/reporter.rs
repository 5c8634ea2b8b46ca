//! Tells the events of one build: numbers its steps and knows when it began.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kiln_base::CancelToken;
use kiln_base::events::{
    BuildEvent, CacheVerdict, Events, Progress, StepNumber, StepOutcome, Stream,
};
use kiln_base::trace::{self, Tracer};

use crate::redact::Redactor;
use crate::request::BuildRequest;

/// The events of one build or transfer.
pub(crate) struct Reporter<'a> {
    events: &'a dyn Events,
    began: Instant,
    next: AtomicU32,
    started: Mutex<BTreeSet<StepNumber>>,
    redactor: Redactor,
    tracer: Tracer,
}

impl<'a> Reporter<'a> {
    /// Begins now.
    pub(crate) fn new(events: &'a dyn Events) -> Self {
        Self {
            events,
            began: Instant::now(),
            next: AtomicU32::new(1),
            started: Mutex::new(BTreeSet::new()),
            redactor: Redactor::none(),
            tracer: Tracer::off(),
        }
    }

    /// The same, which also says where time goes.
    pub(crate) fn traced(self, tracer: &Tracer) -> Self {
        let tracer = tracer.clone();
        Self { tracer, ..self }
    }

    /// What takes the spans that are of no step.
    pub(crate) const fn phases(&self) -> &Tracer {
        &self.tracer
    }

    /// What takes the spans of one step.
    pub(crate) fn tracer(&self, step: StepNumber) -> Tracer {
        self.tracer.of_step(step)
    }

    /// The same for builds: the values of their secrets are in no output that is told.
    pub(crate) fn for_builds(events: &'a dyn Events, requests: &[BuildRequest]) -> Self {
        let secrets = requests.iter().flat_map(|request| request.secrets.values());
        Self {
            redactor: Redactor::new(secrets.map(|secret| secret.expose().as_slice())),
            ..Self::new(events)
        }
    }

    /// Declares a step under the next free number.
    pub(crate) fn declare(&self, name: &str) -> StepNumber {
        let step = StepNumber(self.next.fetch_add(1, Ordering::Relaxed));
        let name = Arc::from(name);
        self.tracer.name_step(step, &name);
        self.events.emit(BuildEvent::StepDeclared { step, name });
        step
    }

    /// The step began; only the first call for a step tells.
    pub(crate) fn start(&self, step: StepNumber) {
        let first = self
            .started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(step);
        if first {
            self.events.emit(BuildEvent::StepStarted {
                step,
                at: self.began.elapsed(),
            });
        }
    }

    /// The step ended. A step that was never said to begin begins now.
    pub(crate) fn finish(&self, step: StepNumber, outcome: StepOutcome) {
        self.start(step);
        for (stream, bytes) in self.redactor.finish(step) {
            self.tell_output(step, stream, &bytes);
        }
        self.events.emit(BuildEvent::StepFinished {
            step,
            outcome,
            at: self.began.elapsed(),
        });
    }

    /// The step's process wrote something.
    pub(crate) fn output(&self, step: StepNumber, stream: Stream, bytes: &[u8]) {
        if self.redactor.is_idle() {
            self.tell_output(step, stream, bytes);
        } else {
            let bytes = self.redactor.take(step, stream, bytes);
            self.tell_output(step, stream, &bytes);
        }
    }

    fn tell_output(&self, step: StepNumber, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.events.emit(BuildEvent::StepOutput {
            step,
            stream,
            bytes: Arc::from(bytes),
        });
    }

    /// The step's transfer moved on.
    pub(crate) fn progress(&self, step: StepNumber, item: &str, done: u64, total: Option<u64>) {
        let progress = Progress {
            item: item.to_owned(),
            done,
            total,
        };
        self.events
            .emit(BuildEvent::StepProgress { step, progress });
    }

    /// Why the step hit or missed the cache.
    pub(crate) fn explain(&self, step: StepNumber, verdict: CacheVerdict) {
        self.events
            .emit(BuildEvent::StepExplained { step, verdict });
    }

    /// Something the user should look at.
    pub(crate) fn warn(&self, message: &str, line: Option<u32>) {
        self.events.emit(BuildEvent::Warning {
            message: message.to_owned(),
            line,
        });
    }

    /// Declares and starts a step, does `work`, and says how it ended. What fails after `cancel`
    /// was used did not fail by itself.
    pub(crate) fn step<T, E: std::fmt::Display>(
        &self,
        name: &str,
        cancel: &CancelToken,
        work: impl FnOnce(StepNumber) -> Result<T, E>,
    ) -> Result<T, E> {
        let step = self.declare(name);
        self.start(step);
        let span = self.tracer(step).span(trace::STEP);
        let result = work(step);
        drop(span);
        let outcome = match &result {
            Ok(_) => StepOutcome::Done,
            Err(_) if cancel.is_cancelled() => StepOutcome::Cancelled,
            Err(error) => StepOutcome::Failed(error.to_string()),
        };
        self.finish(step, outcome);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cancelled: bool, result: Result<(), &str>, expected: &StepOutcome) {
        let outcomes = Mutex::new(Vec::new());
        let events = |event| {
            if let BuildEvent::StepFinished { outcome, .. } = event {
                outcomes.lock().expect("no test panics here").push(outcome);
            }
        };
        let cancel = CancelToken::new();
        let _ = Reporter::new(&events).step("push", &cancel, |_| {
            if cancelled {
                cancel.cancel();
            }
            result
        });
        let outcomes = outcomes.into_inner().expect("no test panics here");
        assert_eq!(outcomes, std::slice::from_ref(expected));
    }

    #[test]
    fn what_was_cancelled_did_not_fail() {
        check(false, Ok(()), &StepOutcome::Done);
        check(false, Err("full"), &StepOutcome::Failed("full".to_owned()));
        check(true, Err("cancelled"), &StepOutcome::Cancelled);
        check(true, Ok(()), &StepOutcome::Done);
    }
}
