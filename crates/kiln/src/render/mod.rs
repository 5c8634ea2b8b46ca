//! The readers of a build's events: live view, plain text, JSON lines, nothing.
//!
//! Every renderer is a value that turns events into text ([`Plain`], [`View`], [`json`]); this
//! module owns the one thread that draws, and remembers the last lines of each running step so that
//! a failure can show them.

pub(crate) mod json;
mod log;
mod plain;
mod raw;
#[cfg(test)]
mod samples;
mod tail;
mod text;
mod view;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use kiln_base::events::{BuildEvent, Events};
use serde_json::Value;

pub(crate) use tail::FailedStep;

use crate::error::CliError;
use crate::style::{Style, Tone};
use crate::terminal;
pub(crate) use log::LogFile;
pub(crate) use plain::Plain;
use raw::Raw;
use tail::Tails;
use view::View;
pub(crate) use view::{Size, Work};

/// The live view is drawn at most this often.
const FRAME: Duration = Duration::from_millis(50);
/// Times in the live view move this often even if nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// How progress is shown, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Tty,
    Plain,
    /// kiln's own documents.
    Json,
    /// BuildKit's documents.
    RawJson,
    /// Nothing but what the result is called.
    Quiet,
    /// Nothing.
    None,
}

/// Shows a build's events on standard error.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    painter: Option<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    renderer: Renderer,
    log: Option<LogFile>,
    tails: Tails,
    /// What was warned of, as BuildKit's documents have it.
    warnings: Vec<Value>,
    /// Whether the live view has to be drawn again.
    dirty: bool,
    over: bool,
}

enum Renderer {
    Tty(View),
    Plain(Plain, Style),
    Json,
    RawJson(Raw),
    Quiet,
}

impl Progress {
    /// Begins to show work that begins now; everything goes to `log`, too.
    pub(crate) fn begin(work: Work, mode: Mode, style: Style, log: Option<LogFile>) -> Self {
        let renderer = match mode {
            Mode::Tty => Renderer::Tty(View::new(work, style)),
            Mode::Plain => Renderer::Plain(Plain::default(), style),
            Mode::Json => Renderer::Json,
            Mode::RawJson => Renderer::RawJson(Raw::new(SystemTime::now().into())),
            Mode::Quiet | Mode::None => Renderer::Quiet,
        };
        let state = State {
            renderer,
            log,
            tails: Tails::default(),
            warnings: Vec::new(),
            dirty: true,
            over: false,
        };
        let shared = Arc::new(Shared {
            began: Instant::now(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        if mode == Mode::Json {
            write(&json::first_line(work));
        }
        let painter = (mode == Mode::Tty).then(|| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.paint())
        });
        Self { shared, painter }
    }

    /// Takes events; may be cloned into other threads.
    pub(crate) fn events(&self) -> impl Events + Clone + 'static {
        Sink(Arc::clone(&self.shared))
    }

    /// Says something in between, such as that the build is being cancelled.
    pub(crate) fn notes(&self) -> impl Fn(&str) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |text| shared.note(text)
    }

    /// What was warned of so far, as BuildKit's documents have it.
    pub(crate) fn warnings(&self) -> Vec<Value> {
        self.shared.lock().warnings.clone()
    }

    /// Ends work that gave a result; `result` describes it.
    pub(crate) fn succeed(self, result: &Value) {
        let now = self.shared.began.elapsed();
        if matches!(self.shared.lock().renderer, Renderer::Json) {
            write(&json::success_line(result, now));
        }
        self.end(true);
    }

    /// Ends work that failed; the error comes back with what is known about the step that failed,
    /// and without its text where the renderer already gave it.
    pub(crate) fn fail(self, error: CliError) -> CliError {
        let now = self.shared.began.elapsed();
        let mut state = self.shared.lock();
        let json = matches!(state.renderer, Renderer::Json);
        let log = state.log.take().and_then(LogFile::finish);
        let failed = state.tails.take_failed();
        drop(state);
        self.end(false);
        let error = match failed {
            Some(failed) => error.with_failed_step(&failed, log.as_deref()),
            None => error,
        };
        if json {
            let code = error.exit.code();
            write(&json::failure_line(
                code,
                &error.messages(),
                &error.hints,
                now,
            ));
            return error.already_told();
        }
        error
    }

    fn end(self, succeeded: bool) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        let Some(painter) = self.painter else { return };
        _ = painter.join();
        if let Renderer::Tty(view) = &self.shared.lock().renderer {
            let (now, columns) = (self.shared.began.elapsed(), terminal::size().columns);
            write(&format!("{}\n", view.summary(succeeded, now, columns)));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: &BuildEvent) {
        let now = self.began.elapsed();
        let mut state = self.lock();
        state.tails.apply(event);
        if let BuildEvent::Warning { message, line } = event {
            state.warnings.push(raw::warning(message, *line));
        }
        if let Some(log) = &mut state.log {
            log.take(event, now);
        }
        let text = match &mut state.renderer {
            Renderer::Quiet => return,
            Renderer::Json => json::event_line(event, now),
            Renderer::RawJson(raw) => raw.line(event, now),
            Renderer::Plain(plain, style) => {
                let text = plain.text(event, now);
                if matches!(event, BuildEvent::Warning { .. }) {
                    style.paint(Tone::Warning, text.trim_end()) + "\n"
                } else {
                    text
                }
            }
            Renderer::Tty(view) => {
                view.apply(event);
                state.dirty = true;
                self.changed.notify_all();
                return;
            }
        };
        // Written under the lock: lines of two steps must not be mixed.
        if !text.is_empty() {
            write(&text);
        }
    }

    fn note(&self, text: &str) {
        let mut state = self.lock();
        match &mut state.renderer {
            Renderer::Tty(view) => {
                view.note(Tone::Warning, text.to_owned());
                state.dirty = true;
                self.changed.notify_all();
            }
            Renderer::Plain(..) | Renderer::Quiet => write(&format!("{text}\n")),
            Renderer::Json | Renderer::RawJson(_) => {}
        }
    }

    /// Draws the live view until the build is over, then removes it.
    fn paint(&self) {
        let mut drawn = 0;
        loop {
            let mut state = self.lock();
            if !state.dirty && !state.over {
                let waited = self.changed.wait_timeout(state, TICK);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let over = state.over;
            state.dirty = false;
            let Renderer::Tty(view) = &mut state.renderer else {
                return;
            };
            let size = terminal::size();
            let above = view.take_above(size.columns);
            let frame = if over {
                Vec::new()
            } else {
                view.frame(self.began.elapsed(), size)
            };
            drop(state);
            write(&redraw(drawn, &above, &frame));
            if over {
                return;
            }
            drawn = frame.len();
            // Not sooner than this, except for the end: nobody waits for a frame.
            let state = self.lock();
            drop(
                self.changed
                    .wait_timeout_while(state, FRAME, |state| !state.over),
            );
        }
    }
}

/// The characters that replace a view of `drawn` lines by another one below new history.
///
/// The cursor rests below the view. The terminal holds its picture until all is there (the
/// synchronised-output mode, ignored where unknown). No state of the terminal is changed: neither
/// an interrupt nor a crash leaves anything to restore.
fn redraw(drawn: usize, above: &[String], frame: &[String]) -> String {
    let mut text = String::from("\x1b[?2026h");
    if drawn > 0 {
        _ = write!(text, "\r\x1b[{drawn}A\x1b[J");
    }
    for line in above.iter().chain(frame) {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("\x1b[?2026l");
    text
}

/// Writes to standard error. Nobody is left to tell if that fails.
fn write(text: &str) {
    _ = io::stderr().lock().write_all(text.as_bytes());
}

#[derive(Clone)]
struct Sink(Arc<Shared>);

impl Events for Sink {
    fn emit(&self, event: BuildEvent) {
        self.0.take(&event);
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_replaced_in_one_write() {
        let line = |text: &str| vec![text.to_owned()];
        assert_eq!(redraw(0, &[], &line("a")), "\x1b[?2026ha\n\x1b[?2026l");
        assert_eq!(
            redraw(2, &line("done"), &line("b")),
            "\x1b[?2026h\r\x1b[2A\x1b[Jdone\nb\n\x1b[?2026l"
        );
    }
}
