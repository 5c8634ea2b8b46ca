//! The last lines of each running step, kept for the step that fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kiln_base::events::{BuildEvent, StepNumber, StepOutcome};

use super::text::LineBuffer;

/// How many lines are kept.
const LINES: usize = 20;

/// The step that failed and its last lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedStep {
    pub(crate) name: Arc<str>,
    pub(crate) lines: Vec<String>,
}

/// The last lines of running steps.
#[derive(Debug, Default)]
pub(super) struct Tails {
    names: BTreeMap<StepNumber, Arc<str>>,
    running: BTreeMap<StepNumber, Tail>,
    failed: Option<FailedStep>,
}

#[derive(Debug, Default)]
struct Tail {
    buffer: LineBuffer,
    lines: VecDeque<String>,
}

impl Tails {
    pub(super) fn apply(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::StepDeclared { step, name } => {
                self.names.insert(*step, Arc::clone(name));
            }
            BuildEvent::StepOutput { step, bytes, .. } => {
                self.running.entry(*step).or_default().push(bytes);
            }
            BuildEvent::StepFinished { step, outcome, .. } => {
                let tail = self.running.remove(step).unwrap_or_default();
                // Of several failures the first is the cause.
                if matches!(outcome, StepOutcome::Failed(_)) && self.failed.is_none() {
                    let name = self.names.get(step).map_or_else(|| "".into(), Arc::clone);
                    self.failed = Some(FailedStep {
                        name,
                        lines: tail.finish(),
                    });
                }
            }
            BuildEvent::StepStarted { .. }
            | BuildEvent::StepProgress { .. }
            | BuildEvent::StepExplained { .. }
            | BuildEvent::Warning { .. } => {}
        }
    }

    pub(super) fn take_failed(&mut self) -> Option<FailedStep> {
        self.failed.take()
    }
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let lines = &mut self.lines;
        self.buffer.push(bytes, |line| {
            lines.push_back(line);
            if lines.len() > LINES {
                lines.pop_front();
            }
        });
    }

    fn finish(mut self) -> Vec<String> {
        self.lines.extend(self.buffer.finish());
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_failing_step_s_lines_are_kept() {
        let mut tails = Tails::default();
        for (_, event) in samples::parallel_failure() {
            tails.apply(&event);
        }
        let failed = tails.take_failed().unwrap();
        assert_eq!(&*failed.name, "[b 1/1] RUN false");
        assert_eq!(failed.lines, ["oops"]);
    }
}
