//! The live view of a terminal, as a value: events in, lines out. Nothing here writes.
//!
//! A step that is done leaves one line above the view and never moves again, so that the terminal's
//! own scrolling holds the history; the view below has a heading and the steps that run, each with
//! its last lines of output, and is never taller than the terminal.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kiln_base::events::{BuildEvent, Progress, StepNumber, StepOutcome, Stream};
use unicode_width::UnicodeWidthStr;

use super::plain::{progress_text, seconds, verdict_text, warning_line};
use super::text::{LineBuffer, fit};
use crate::style::{Style, Tone};

/// A running step shows at most this many lines of its output.
const OUTPUT_LINES: usize = 6;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Build,
    Bootstrap,
    Pull,
    Push,
    Rootfs,
}

impl Work {
    /// The command's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Bootstrap => "bootstrap",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Rootfs => "rootfs",
        }
    }

    const fn doing(self) -> &'static str {
        match self {
            Self::Build => "Building",
            Self::Bootstrap => "Bootstrapping",
            Self::Pull => "Pulling",
            Self::Push => "Pushing",
            Self::Rootfs => "Making the disk",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Build => "Built",
            Self::Bootstrap => "Bootstrapped",
            Self::Pull => "Pulled",
            Self::Push => "Pushed",
            Self::Rootfs => "Made the disk",
        }
    }
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// What the view knows of the build.
#[derive(Debug)]
pub(crate) struct View {
    work: Work,
    style: Style,
    names: BTreeMap<StepNumber, Arc<str>>,
    running: BTreeMap<StepNumber, Running>,
    finished: usize,
    cached: usize,
    /// Lines that were not yet written above the view: text and time, by line.
    above: Vec<Above>,
}

#[derive(Debug)]
struct Above {
    tone: Tone,
    text: String,
    time: Option<Duration>,
}

#[derive(Debug, Default)]
struct Running {
    began: Duration,
    stdout: LineBuffer,
    stderr: LineBuffer,
    last: VecDeque<String>,
    transfers: BTreeMap<String, Progress>,
}

impl View {
    /// A view of a build that did not begin.
    pub(crate) const fn new(work: Work, style: Style) -> Self {
        Self {
            work,
            style,
            names: BTreeMap::new(),
            running: BTreeMap::new(),
            finished: 0,
            cached: 0,
            above: Vec::new(),
        }
    }

    /// Takes an event.
    pub(crate) fn apply(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::StepDeclared { step, name } => {
                self.names.insert(*step, Arc::clone(name));
            }
            BuildEvent::StepStarted { step, at } => {
                let running = Running {
                    began: *at,
                    ..Running::default()
                };
                self.running.insert(*step, running);
            }
            BuildEvent::StepOutput {
                step,
                stream,
                bytes,
            } => {
                if let Some(running) = self.running.get_mut(step) {
                    running.output(*stream, bytes);
                }
            }
            BuildEvent::StepProgress { step, progress } => {
                if let Some(running) = self.running.get_mut(step) {
                    running
                        .transfers
                        .insert(progress.item.clone(), progress.clone());
                }
            }
            BuildEvent::StepExplained { step, verdict } => {
                let text = format!(" => => {}: {}", self.name(*step), verdict_text(verdict));
                self.note(Tone::Faint, text);
            }
            BuildEvent::StepFinished { step, outcome, at } => self.finish(*step, outcome, *at),
            BuildEvent::Warning { message, line } => {
                self.note(Tone::Warning, warning_line(message, *line));
            }
        }
    }

    /// A line above the view.
    pub(crate) fn note(&mut self, tone: Tone, text: String) {
        self.above.push(Above {
            tone,
            text,
            time: None,
        });
    }

    fn name(&self, step: StepNumber) -> &str {
        self.names.get(&step).map_or("", |name| name)
    }

    fn finish(&mut self, step: StepNumber, outcome: &StepOutcome, at: Duration) {
        let began = self
            .running
            .remove(&step)
            .map_or(at, |running| running.began);
        self.finished += 1;
        let name = self.name(step);
        let (tone, text) = match outcome {
            StepOutcome::Done => (Tone::Success, format!(" => {name}")),
            StepOutcome::Cached => (Tone::Success, format!(" => CACHED {name}")),
            StepOutcome::Failed(_) => (Tone::Error, format!(" => ERROR {name}")),
            StepOutcome::Cancelled => (Tone::Warning, format!(" => CANCELED {name}")),
        };
        self.cached += usize::from(*outcome == StepOutcome::Cached);
        let time = Some(at.saturating_sub(began));
        self.above.push(Above { tone, text, time });
    }

    /// Lines to write above the view, once.
    pub(crate) fn take_above(&mut self, columns: usize) -> Vec<String> {
        let above = std::mem::take(&mut self.above);
        let paint = |line: &Above| match line.time {
            Some(time) => self.paint(line.tone, &line.text, Some(time), columns),
            // A note may wrap: nothing above the view is counted.
            None => self.style.paint(line.tone, &line.text),
        };
        above.iter().map(paint).collect()
    }

    /// The view's lines at a time, at most `size.rows - 1` of them.
    pub(crate) fn frame(&self, now: Duration, size: Size) -> Vec<String> {
        let room = size.rows.saturating_sub(1);
        let mut lines = vec![self.heading(self.work.doing(), now, size.columns)];
        let shown = self.running.len().min(room.saturating_sub(2));
        // Each running step has its line; what room is left is shared by their output.
        let share = (room.saturating_sub(1 + shown) / shown.max(1)).min(OUTPUT_LINES);
        for (step, running) in self.running.iter().take(shown) {
            let time = Some(now.saturating_sub(running.began));
            let text = format!(" => {}", self.name(*step));
            lines.push(self.paint(Tone::Plain, &text, time, size.columns));
            for text in running.detail(share) {
                let text = format!(" => => {text}");
                lines.push(self.paint(Tone::Faint, &text, None, size.columns));
            }
        }
        let hidden = self.running.len() - shown;
        if hidden > 0 && room > 1 {
            let text = format!(" => and {hidden} more");
            lines.push(self.paint(Tone::Faint, &text, None, size.columns));
        }
        lines.truncate(room);
        lines
    }

    /// The one line that stays when the build is over.
    pub(crate) fn summary(&self, succeeded: bool, now: Duration, columns: usize) -> String {
        let word = if succeeded {
            self.work.done()
        } else {
            "Stopped"
        };
        self.heading(word, now, columns)
    }

    fn heading(&self, word: &str, now: Duration, columns: usize) -> String {
        let cached = match self.cached {
            0 => String::new(),
            cached => format!(", {cached} cached"),
        };
        let (finished, all) = (self.finished, self.names.len());
        let text = format!("[+] {word} {} ({finished}/{all}{cached})", seconds(now));
        self.paint(Tone::Heading, &text, None, columns)
    }

    /// A line cut to the terminal's width, its time at the right edge.
    fn paint(&self, tone: Tone, text: &str, time: Option<Duration>, columns: usize) -> String {
        // The last column stays free: some terminals wrap when it is written.
        let width = columns.saturating_sub(1);
        let Some(time) = time.map(seconds).filter(|time| time.len() + 10 < width) else {
            return self.style.paint(tone, &fit(text, width));
        };
        let text = fit(text, width - time.len() - 1);
        let gap = " ".repeat(width - text.width() - time.len());
        format!("{}{gap}{time}", self.style.paint(tone, &text))
    }
}

impl Running {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let buffer = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let last = &mut self.last;
        buffer.push(bytes, |line| {
            if !line.is_empty() {
                last.push_back(line);
            }
            if last.len() > OUTPUT_LINES {
                last.pop_front();
            }
        });
    }

    /// Transfers that go on, then the last lines of output, `most` in all.
    fn detail(&self, most: usize) -> Vec<String> {
        let transfers = self
            .transfers
            .values()
            .filter(|progress| progress.total != Some(progress.done))
            .map(progress_text);
        let unfinished = [self.stdout.peek(), self.stderr.peek()]
            .into_iter()
            .flatten();
        let mut lines: Vec<String> = transfers
            .chain(self.last.iter().cloned())
            .chain(unfinished)
            .collect();
        let surplus = lines.len().saturating_sub(most);
        lines.drain(..surplus);
        lines
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::samples::{self, Timed};
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(events: &[Timed], now: u64, rows: usize, expected: Expect) {
        let size = Size { columns: 40, rows };
        let mut view = View::new(Work::Build, Style::plain());
        for (_, event) in events {
            view.apply(event);
        }
        let mut lines = view.take_above(size.columns);
        lines.push("---".to_owned());
        let frame = view.frame(Duration::from_millis(now), size);
        assert!(frame.len() < rows.max(1));
        assert!(
            frame.iter().all(|line| line.width() < size.columns),
            "{frame:#?}"
        );
        lines.extend(frame);
        expected.assert_eq(&(lines.join("\n") + "\n"));
    }

    #[test]
    fn finished_steps_stand_above_running_ones() {
        check(
            &samples::two_steps()[..8],
            400,
            24,
            expect![[r#"
             => CACHED [1/2] FROM debian:book… 0.0s
            ---
            [+] Building 0.4s (1/2, 1 cached)
             => [2/2] RUN make                 0.4s
             => => cc -c a.c
             => => a.c:1: warning: nothing here
             => => no newline
        "#]],
        );
    }

    #[test]
    fn the_end_of_a_build() {
        check(
            &samples::two_steps(),
            600,
            24,
            expect![[r#"
             => CACHED [1/2] FROM debian:book… 0.0s
             => [2/2] RUN make                 0.5s
            ---
            [+] Building 0.6s (2/2, 1 cached)
        "#]],
        );
        check(
            &samples::parallel_failure(),
            600,
            24,
            expect![[r#"
             => ERROR [b 1/1] RUN false        0.1s
             => CANCELED [a 1/1] RUN sleep 1   0.1s
            ---
            [+] Building 0.6s (2/2)
        "#]],
        );
        check(
            &samples::transfer(),
            600,
            24,
            expect![[r#"
                 => => [1/1] FROM app: cache miss: the base image changed
                 => [1/1] FROM app                 6.5s
                warning: line 3: `MAINTAINER` is deprecated
                warning: no tag
                ---
                [+] Building 0.6s (1/1)
            "#]],
        );
    }

    #[test]
    fn transfers_show_how_far_they_are() {
        check(
            &samples::transfer()[..5],
            600,
            24,
            expect![[r#"
                 => => [1/1] FROM app: cache miss: the base image changed
                ---
                [+] Building 0.6s (0/1)
                 => [1/1] FROM app                 0.6s
                 => => sha256:ab12 2.00MB / 30.0MB
            "#]],
        );
    }

    #[test]
    fn the_view_is_never_taller_than_the_terminal() {
        let mut events = Vec::new();
        for step in 1..=9 {
            events.push(samples::declared(
                step,
                &format!("[{step}/9] RUN a rather long command line"),
            ));
            events.push(samples::started(0, step));
            events.push(samples::output(1, step, "one\ntwo\nthree\n"));
        }
        check(
            &events,
            100,
            6,
            expect![[r#"
            ---
            [+] Building 0.1s (0/9)
             => [1/9] RUN a rather long comma… 0.1s
             => [2/9] RUN a rather long comma… 0.1s
             => [3/9] RUN a rather long comma… 0.1s
             => and 6 more
        "#]],
        );
        check(
            &events,
            100,
            14,
            expect![[r#"
            ---
            [+] Building 0.1s (0/9)
             => [1/9] RUN a rather long comma… 0.1s
             => [2/9] RUN a rather long comma… 0.1s
             => [3/9] RUN a rather long comma… 0.1s
             => [4/9] RUN a rather long comma… 0.1s
             => [5/9] RUN a rather long comma… 0.1s
             => [6/9] RUN a rather long comma… 0.1s
             => [7/9] RUN a rather long comma… 0.1s
             => [8/9] RUN a rather long comma… 0.1s
             => [9/9] RUN a rather long comma… 0.1s
        "#]],
        );
        check(
            &events,
            100,
            1,
            expect![[r#"
            ---
        "#]],
        );
        check(
            &events,
            100,
            2,
            expect![[r#"
            ---
            [+] Building 0.1s (0/9)
        "#]],
        );
    }
}
