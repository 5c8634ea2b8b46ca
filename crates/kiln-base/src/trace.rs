//! Where time goes, as spans: what was done from when to when, by which thread, for which step.
//!
//! A [`Tracer`] is handed to whoever does something that takes time. One that is off costs a check
//! of an option for each span, and reads no clock. One that is on keeps what it is told until
//! [`Tracer::take`]; [`Trace`] is then drawn by others.
//!
//! Deliberately absent: a clock, and knowing which thread this is: both are handed in. Anything of
//! which there may be thousands in a second is not a span of its own: it is counted by a
//! [`Stopwatch`], and the sum is a note of the span around it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::events::StepNumber;

/// The name of the span that is all of a step's work: who draws it may show the step's own name.
pub const STEP: &str = "step";

/// Takes spans, or, when it is off, nothing. Clones write to the same trace.
#[derive(Clone, Default)]
pub struct Tracer {
    sink: Option<Arc<Sink>>,
    step: Option<TracedStep>,
}

struct Sink {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    thread: fn() -> u64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    trace: Trace,
    steps: BTreeMap<StepNumber, Arc<str>>,
}

/// All that a tracer was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// What was done, in the order in which it ended. Of one [`Track::Thread`] any two are apart or
    /// one is inside the other.
    pub spans: Vec<SpanRecord>,
    /// What threads are for, where they said so.
    pub threads: BTreeMap<u64, &'static str>,
}

/// One thing that was done. Times are since the clock's beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRecord {
    /// What was done: one of a closed list of names, each a constant in the code.
    pub name: &'static str,
    /// Who did it.
    pub track: Track,
    /// When it began.
    pub from: Duration,
    /// When it ended, not before `from`.
    pub to: Duration,
    /// The step that it was done for.
    pub step: Option<TracedStep>,
    /// What else is known of it.
    pub notes: Vec<(&'static str, Note)>,
}

/// A step as a span knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedStep {
    /// Its number in its build.
    pub number: StepNumber,
    /// What it was called when the span began; empty where nobody had said.
    pub name: Arc<str>,
}

/// Who does what a span says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Track {
    /// The thread with this number.
    Thread(u64),
    /// Nobody: something waited to be taken up. Spans of this kind overlap freely.
    Waiting,
}

/// A fact about a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A count, or a number of bytes.
    Number(u64),
    /// A time, for example the sum of a [`Stopwatch`]; it may be longer than the span where several
    /// threads took part.
    Time(Duration),
    /// A text: a digest, a verdict, a host.
    Text(Cow<'static, str>),
}

/// Something that is being done; dropping it says that it is done.
#[derive(Debug)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Open>);

#[derive(Debug)]
struct Open {
    tracer: Tracer,
    name: &'static str,
    from: Duration,
    notes: Vec<(&'static str, Note)>,
}

/// When something began to wait; see [`Tracer::waited`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Since(Option<Duration>);

/// Adds up the times of something that is done often, on any number of threads.
#[derive(Debug, Default)]
pub struct Stopwatch {
    tracer: Tracer,
    nanoseconds: AtomicU64,
    count: AtomicU64,
}

impl Tracer {
    /// A tracer that takes nothing.
    pub const fn off() -> Self {
        Self {
            sink: None,
            step: None,
        }
    }

    /// A tracer that is on. `clock` says how long ago the trace began and never goes back; `thread`
    /// gives each thread a number of its own.
    pub fn new(clock: impl Fn() -> Duration + Send + Sync + 'static, thread: fn() -> u64) -> Self {
        Self {
            sink: Some(Arc::new(Sink {
                clock: Box::new(clock),
                thread,
                told: Mutex::default(),
            })),
            step: None,
        }
    }

    /// Whether anything is taken: for what is worth knowing only then.
    pub const fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// The same tracer for what is done for a step: its spans say so.
    #[must_use]
    pub fn of_step(&self, step: StepNumber) -> Self {
        let known = |sink: &Arc<Sink>| sink.lock().steps.get(&step).cloned();
        Self {
            sink: self.sink.clone(),
            step: self.sink.as_ref().map(|sink| TracedStep {
                number: step,
                name: known(sink).unwrap_or_default(),
            }),
        }
    }

    /// What a step is called.
    pub fn name_step(&self, step: StepNumber, name: &Arc<str>) {
        if let Some(sink) = &self.sink {
            sink.lock().steps.insert(step, Arc::clone(name));
        }
    }

    /// What the calling thread is for.
    pub fn name_thread(&self, name: &'static str) {
        if let Some(sink) = &self.sink {
            let thread = (sink.thread)();
            sink.lock().trace.threads.insert(thread, name);
        }
    }

    /// Begins a span on the calling thread. It has to be dropped on the same thread, before those
    /// that were begun earlier.
    pub fn span(&self, name: &'static str) -> Span {
        Span(self.sink.as_ref().map(|sink| Open {
            tracer: self.clone(),
            name,
            from: (sink.clock)(),
            notes: Vec::new(),
        }))
    }

    /// Does the work inside a span.
    pub fn within<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let _span = self.span(name);
        work()
    }

    /// The time, for [`Tracer::waited`].
    pub fn since(&self) -> Since {
        Since(self.sink.as_ref().map(|sink| (sink.clock)()))
    }

    /// Something waited from `since` to now, and no thread was busy with that.
    pub fn waited(&self, name: &'static str, since: Since) {
        self.waited_until(name, since, Duration::ZERO);
    }

    /// Something waited from `since` to a time that is so long ago.
    pub fn waited_until(&self, name: &'static str, since: Since, ago: Duration) {
        if let (Some(sink), Since(Some(from))) = (&self.sink, since) {
            let to = (sink.clock)().saturating_sub(ago).max(from);
            sink.lock().trace.spans.push(SpanRecord {
                name,
                track: Track::Waiting,
                from,
                to,
                step: self.step.clone(),
                notes: Vec::new(),
            });
        }
    }

    /// Adds a span of the calling thread whose times others know, for example the trace's own
    /// beginning. It has to be apart from, around or inside the thread's other spans.
    pub fn add(&self, name: &'static str, from: Duration, to: Duration) {
        if let Some(sink) = &self.sink {
            let track = Track::Thread((sink.thread)());
            sink.lock().trace.spans.push(SpanRecord {
                name,
                track,
                from,
                to: to.max(from),
                step: self.step.clone(),
                notes: Vec::new(),
            });
        }
    }

    /// A stopwatch that runs only where this tracer is on.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch {
            tracer: self.clone(),
            ..Stopwatch::default()
        }
    }

    /// What was taken until now; the tracer goes on with nothing.
    pub fn take(&self) -> Trace {
        self.sink
            .as_ref()
            .map(|sink| std::mem::take(&mut sink.lock().trace))
            .unwrap_or_default()
    }
}

impl Sink {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Span {
    /// Adds a number to what is known of the span.
    pub fn number(&mut self, name: &'static str, value: u64) {
        if let Some(open) = &mut self.0 {
            open.notes.push((name, Note::Number(value)));
        }
    }

    /// Adds a text, which is only made where the tracer is on.
    pub fn text<T: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        value: impl FnOnce() -> T,
    ) {
        if let Some(open) = &mut self.0 {
            open.notes.push((name, Note::Text(value().into())));
        }
    }

    /// Adds what a stopwatch has come to: the time under `name`.
    pub fn time(&mut self, name: &'static str, stopwatch: &Stopwatch) {
        if let Some(open) = &mut self.0 {
            open.notes.push((name, Note::Time(stopwatch.total())));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Tracer {
            sink: Some(sink),
            step,
        } = open.tracer
        else {
            return;
        };
        let to = (sink.clock)();
        let track = Track::Thread((sink.thread)());
        sink.lock().trace.spans.push(SpanRecord {
            name: open.name,
            track,
            from: open.from,
            to,
            step,
            notes: open.notes,
        });
    }
}

impl Stopwatch {
    /// A stopwatch that never runs.
    pub const fn off() -> Self {
        Self {
            tracer: Tracer::off(),
            nanoseconds: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }

    /// Does the work, and adds the time that it took.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(sink) = &self.tracer.sink else {
            return work();
        };
        let from = (sink.clock)();
        let result = work();
        let took = (sink.clock)().saturating_sub(from).as_nanos();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(took, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// The sum of the times.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// How often it was done.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer")
            .field("is_on", &self.is_on())
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    /// A clock that goes on by a millisecond with each look.
    fn tracer() -> Tracer {
        let looks = AtomicU64::new(0);
        let clock = move || Duration::from_millis(looks.fetch_add(1, Ordering::Relaxed));
        Tracer::new(clock, || 7)
    }

    #[track_caller]
    fn check(work: impl FnOnce(&Tracer), expected: &Expect) {
        let tracer = tracer();
        work(&tracer);
        let trace = tracer.take();
        let mut text = String::new();
        for (thread, name) in &trace.threads {
            _ = writeln!(text, "thread {thread} is {name}");
        }
        for span in &trace.spans {
            let step = span.step.as_ref().map(|step| (step.number.0, &*step.name));
            _ = writeln!(
                text,
                "{} {:?} {:?}..{:?} {step:?} {:?}",
                span.name, span.track, span.from, span.to, span.notes
            );
        }
        expected.assert_eq(&text);
        assert_eq!(tracer.take(), Trace::default());
    }

    #[test]
    fn spans_end_when_they_are_dropped() {
        check(
            |tracer| {
                let mut outer = tracer.span("solve");
                drop(tracer.of_step(StepNumber(2)).span("key"));
                outer.number("steps", 3);
                outer.text("verdict", || "miss");
            },
            &expect![[r#"
                key Thread(7) 1ms..2ms Some((2, "")) []
                solve Thread(7) 0ns..3ms None [("steps", Number(3)), ("verdict", Text("miss"))]
            "#]],
        );
    }

    #[test]
    fn what_waited_is_on_no_thread() {
        check(
            |tracer| {
                let step = tracer.of_step(StepNumber(1));
                let since = step.since();
                step.waited("wait", since);
                step.waited("wait", Since::default());
            },
            &expect![[r#"
                wait Waiting 0ns..1ms Some((1, "")) []
            "#]],
        );
    }

    #[test]
    fn a_stopwatch_adds_up() {
        check(
            |tracer| {
                let mut span = tracer.span("write");
                let busy = tracer.stopwatch();
                busy.time(|| ());
                busy.time(|| ());
                span.time("hash", &busy);
                span.number("blocks", busy.count());
            },
            &expect![[r#"
                write Thread(7) 0ns..5ms None [("hash", Time(2ms)), ("blocks", Number(2))]
            "#]],
        );
    }

    #[test]
    fn names_are_kept() {
        check(
            |tracer| {
                tracer.name_thread("packing layers");
                tracer.name_step(StepNumber(1), &Arc::from("RUN make"));
                drop(tracer.of_step(StepNumber(1)).span("key"));
                tracer.name_step(StepNumber(1), &Arc::from("another build's"));
                tracer.add("start", Duration::ZERO, Duration::from_millis(1));
            },
            &expect![[r#"
                thread 7 is packing layers
                key Thread(7) 0ns..1ms Some((1, "RUN make")) []
                start Thread(7) 0ns..1ms None []
            "#]],
        );
    }

    #[test]
    fn a_tracer_that_is_off_takes_nothing_and_asks_nobody() {
        let tracer = Tracer::off().of_step(StepNumber(1));
        let mut span = tracer.span("key");
        span.text("verdict", || -> String { unreachable!("nobody reads it") });
        drop(span);
        assert_eq!(tracer.since(), Since::default());
        let stopwatch = tracer.stopwatch();
        assert_eq!(stopwatch.time(|| 5), 5);
        assert_eq!((stopwatch.count(), stopwatch.total()), (0, Duration::ZERO));
        assert_eq!(tracer.take(), Trace::default());
    }
}
