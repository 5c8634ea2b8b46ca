//! Progress as lines of text: what a log file, a pipe or a CI system gets.
//!
//! The form is the one BuildKit made familiar: `#N` before each line of step N, the seconds since
//! the step began before each line of its output.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kiln_base::events::{BuildEvent, CacheVerdict, Progress, StepNumber, StepOutcome, Stream};

use super::text::LineBuffer;
use crate::args::ByteSize;

/// A transfer says where it is this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Turns events into text. It remembers names, starts and unfinished lines, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    steps: BTreeMap<StepNumber, Step>,
}

#[derive(Debug, Default)]
struct Step {
    name: Arc<str>,
    announced: bool,
    began: Duration,
    stdout: LineBuffer,
    stderr: LineBuffer,
    last_progress: Option<Duration>,
}

impl Plain {
    /// The text for one event, `now` after the build began: whole lines, or nothing.
    pub(crate) fn text(&mut self, event: &BuildEvent, now: Duration) -> String {
        let mut text = String::new();
        match event {
            BuildEvent::StepDeclared { step, name } => {
                self.step(*step).name = Arc::clone(name);
            }
            BuildEvent::StepStarted { step, at } => {
                let state = self.step(*step);
                state.began = *at;
                state.announce(*step, &mut text);
            }
            BuildEvent::StepOutput {
                step,
                stream,
                bytes,
            } => {
                let state = self.step(*step);
                state.announce(*step, &mut text);
                let after = now.saturating_sub(state.began);
                let buffer = match stream {
                    Stream::Stdout => &mut state.stdout,
                    Stream::Stderr => &mut state.stderr,
                };
                buffer.push(bytes, |line| output_line(&mut text, *step, after, &line));
            }
            BuildEvent::StepProgress { step, progress } => {
                self.step(*step).progress(*step, progress, now, &mut text);
            }
            BuildEvent::StepExplained { step, verdict } => {
                self.step(*step).announce(*step, &mut text);
                _ = writeln!(text, "#{} {}", step.0, verdict_text(verdict));
            }
            BuildEvent::StepFinished { step, outcome, at } => {
                self.finish(*step, outcome, *at, &mut text);
            }
            BuildEvent::Warning { message, line } => {
                text.push_str(&warning_line(message, *line));
                text.push('\n');
            }
        }
        text
    }

    fn step(&mut self, step: StepNumber) -> &mut Step {
        self.steps.entry(step).or_default()
    }

    fn finish(&mut self, step: StepNumber, outcome: &StepOutcome, at: Duration, text: &mut String) {
        let state = self.step(step);
        state.announce(step, text);
        let took = at.saturating_sub(state.began);
        for line in [state.stdout.finish(), state.stderr.finish()]
            .into_iter()
            .flatten()
        {
            output_line(text, step, took, &line);
        }
        let number = step.0;
        _ = match outcome {
            StepOutcome::Done => writeln!(text, "#{number} DONE {}", seconds(took)),
            StepOutcome::Cached => writeln!(text, "#{number} CACHED"),
            StepOutcome::Failed(message) => writeln!(text, "#{number} ERROR: {message}"),
            StepOutcome::Cancelled => writeln!(text, "#{number} CANCELED"),
        };
        text.push('\n');
        self.steps.remove(&step);
    }
}

impl Step {
    fn announce(&mut self, step: StepNumber, text: &mut String) {
        if !self.announced {
            self.announced = true;
            _ = writeln!(text, "#{} {}", step.0, self.name);
        }
    }

    fn progress(
        &mut self,
        step: StepNumber,
        progress: &Progress,
        now: Duration,
        text: &mut String,
    ) {
        let complete = progress.total == Some(progress.done);
        let due = self
            .last_progress
            .is_none_or(|last| now.saturating_sub(last) >= PROGRESS_INTERVAL);
        if !complete && !due {
            return;
        }
        self.last_progress = Some(now);
        self.announce(step, text);
        _ = writeln!(text, "#{} {}", step.0, progress_text(progress));
    }
}

fn output_line(text: &mut String, step: StepNumber, after: Duration, line: &str) {
    _ = writeln!(text, "#{} {:.3} {line}", step.0, after.as_secs_f64());
}

/// `sha256:1234 1.2MB / 30MB`
pub(super) fn progress_text(progress: &Progress) -> String {
    let done = ByteSize(progress.done);
    match progress.total {
        Some(total) if total == progress.done => format!("{} {done} done", progress.item),
        Some(total) => format!("{} {done} / {}", progress.item, ByteSize(total)),
        None => format!("{} {done}", progress.item),
    }
}

/// `cache miss: the file `a` changed`
pub(super) fn verdict_text(verdict: &CacheVerdict) -> String {
    match verdict {
        CacheVerdict::Hit(reason) => format!("cache hit: {reason}"),
        CacheVerdict::Miss(reason) => format!("cache miss: {reason}"),
        CacheVerdict::NotAsked(reason) => format!("cache not asked: {reason}"),
    }
}

/// `warning: line 3: …`
pub(super) fn warning_line(message: &str, line: Option<u32>) -> String {
    match line {
        Some(line) => format!("warning: line {line}: {message}"),
        None => format!("warning: {message}"),
    }
}

/// `0.1s`
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::samples;
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(events: &[(u64, BuildEvent)], expected: Expect) {
        let mut plain = Plain::default();
        let text: String = events
            .iter()
            .map(|(millis, event)| plain.text(event, Duration::from_millis(*millis)))
            .collect();
        expected.assert_eq(&text);
    }

    #[test]
    fn a_build_reads_like_buildkit_s() {
        check(
            &samples::two_steps(),
            expect![[r#"
                #1 [1/2] FROM debian:bookworm
                #1 CACHED

                #2 [2/2] RUN make
                #2 0.120 cc -c a.c
                #2 0.300 a.c:1: warning: nothing here
                #2 0.500 no newline
                #2 DONE 0.5s

            "#]],
        );
    }

    #[test]
    fn steps_side_by_side_keep_their_numbers() {
        check(
            &samples::parallel_failure(),
            expect![[r#"
                #1 [a 1/1] RUN sleep 1
                #2 [b 1/1] RUN false
                #1 0.050 tick
                #2 0.060 oops
                #2 ERROR: exit code 1

                #1 CANCELED

            "#]],
        );
    }

    #[test]
    fn transfers_and_verdicts_and_warnings() {
        check(
            &samples::transfer(),
            expect![[r#"
                #1 [1/1] FROM app
                #1 cache miss: the base image changed
                #1 sha256:ab12 1.00MB / 30.0MB
                #1 sha256:ab12 20.0MB / 30.0MB
                #1 sha256:ab12 30.0MB done
                #1 DONE 6.5s

                warning: line 3: `MAINTAINER` is deprecated
                warning: no tag
            "#]],
        );
    }
}
