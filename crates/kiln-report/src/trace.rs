//! A trace in the Chrome trace-event format, for `chrome://tracing`, Perfetto and Speedscope.
//!
//! The format is JSON: a list of events, each with a process (`pid`), a row to be drawn in (`tid`)
//! and times in microseconds. A thread is a row; threads of one purpose that were never alive at the
//! same time share one, since a build starts hundreds. What waited is in rows of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use kiln_base::trace::{Note, STEP, SpanRecord, Trace, Track};

use crate::escape;

/// What a thread is for that did not say so.
const UNNAMED: &str = "worker";

/// What the rows of [`Track::Waiting`] are called.
const WAITING: &str = "waiting";

/// The only process.
const PROCESS: u32 = 1;

/// The spans as a document in the trace-event format: one event a line, each row's events in the
/// order in which they began, and what is around before what is inside.
pub fn chrome_trace(trace: &Trace) -> String {
    let rows = Rows::of(trace);
    let mut lines = vec![metadata("process_name", 0, "name", "\"kiln\"")];
    for (row, name) in rows.names.iter().enumerate() {
        let row = row + 1;
        lines.push(metadata("thread_name", row, "name", &quoted(name)));
        lines.push(metadata(
            "thread_sort_index",
            row,
            "sort_index",
            &row.to_string(),
        ));
    }
    let mut placed: Vec<(usize, &SpanRecord)> =
        rows.of_spans.into_iter().zip(&trace.spans).collect();
    // What ended last of those that began and ended together is the outer one: it was dropped last.
    placed.reverse();
    placed.sort_by_key(|(row, span)| (*row, span.from, std::cmp::Reverse(span.to)));
    for (row, span) in placed {
        lines.push(event(row + 1, span));
    }
    let events = lines.join(",\n");
    format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{events}\n]}}\n")
}

fn metadata(kind: &str, row: usize, key: &str, value: &str) -> String {
    format!(
        "{{\"ph\":\"M\",\"pid\":{PROCESS},\"tid\":{row},\"name\":\"{kind}\",\
         \"args\":{{\"{key}\":{value}}}}}"
    )
}

fn event(row: usize, span: &SpanRecord) -> String {
    let name = match &span.step {
        Some(step) if span.name == STEP => quoted(&step.name),
        _ => quoted(span.name),
    };
    let category = match (span.track, &span.step) {
        (Track::Waiting, _) => WAITING,
        (Track::Thread(_), Some(_)) => "step",
        (Track::Thread(_), None) => "build",
    };
    let mut line = format!(
        "{{\"ph\":\"X\",\"pid\":{PROCESS},\"tid\":{row},\"ts\":{},\"dur\":{},\"name\":{name},\
         \"cat\":\"{category}\"",
        microseconds(span.from),
        microseconds(span.to.saturating_sub(span.from)),
    );
    let mut args = Vec::new();
    if let Some(step) = &span.step {
        args.push(format!("\"step\":{}", step.number.0));
        args.push(format!("\"name\":{}", quoted(&step.name)));
    }
    for (key, note) in &span.notes {
        args.push(match note {
            Note::Number(number) => format!("{}:{number}", quoted(key)),
            Note::Time(time) => format!("{}:{}", quoted(&format!("{key}_us")), microseconds(*time)),
            Note::Text(text) => format!("{}:{}", quoted(key), quoted(text)),
        });
    }
    if !args.is_empty() {
        _ = write!(line, ",\"args\":{{{}}}", args.join(","));
    }
    line.push('}');
    line
}

/// Exact, as the nanoseconds are: sums have no error of rounding.
fn microseconds(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    let (whole, rest) = (nanoseconds / 1000, nanoseconds % 1000);
    if rest == 0 {
        whole.to_string()
    } else {
        format!("{whole}.{rest:03}")
    }
}

/// A text, freed of what a stranger may have put into it, as a JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in escape::one_line(text).chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Where each span is drawn.
struct Rows {
    names: Vec<String>,
    of_spans: Vec<usize>,
}

/// Something that needs a row of its own for a time.
struct Claim {
    purpose: &'static str,
    from: Duration,
    to: Duration,
    /// Which spans it is about.
    spans: Vec<usize>,
}

impl Rows {
    fn of(trace: &Trace) -> Self {
        let mut claims = claims(trace);
        claims.sort_by_key(|claim| (claim.from, claim.to));
        // For each purpose, in the order in which they came up, when its rows become free.
        let mut purposes: Vec<&str> = Vec::new();
        let mut free: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        let mut placed = Vec::new();
        for claim in claims {
            if !purposes.contains(&claim.purpose) {
                purposes.push(claim.purpose);
            }
            let rows = free.entry(claim.purpose).or_default();
            let row = rows.iter().position(|free| *free <= claim.from);
            let row = row.unwrap_or_else(|| {
                rows.push(Duration::ZERO);
                rows.len() - 1
            });
            rows[row] = claim.to;
            placed.push((claim.purpose, row, claim.spans));
        }
        // Waiting comes last.
        purposes.sort_by_key(|purpose| *purpose == WAITING);
        let mut names = Vec::new();
        let mut first = BTreeMap::new();
        for purpose in purposes {
            first.insert(purpose, names.len());
            let count = free.get(purpose).map_or(0, Vec::len);
            names.extend((1..=count).map(|number| match count {
                1 => purpose.to_owned(),
                _ => format!("{purpose} {number}"),
            }));
        }
        let mut of_spans = vec![0; trace.spans.len()];
        for (purpose, row, spans) in placed {
            let first = first.get(purpose).copied().unwrap_or_default();
            for span in spans {
                of_spans[span] = first + row;
            }
        }
        Self { names, of_spans }
    }
}

/// A thread has its row from the first of its spans to the last; each wait has one for itself.
fn claims(trace: &Trace) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut of_thread: BTreeMap<u64, usize> = BTreeMap::new();
    for (number, span) in trace.spans.iter().enumerate() {
        let new = |purpose| Claim {
            purpose,
            from: span.from,
            to: span.to,
            spans: vec![number],
        };
        match span.track {
            Track::Waiting => claims.push(new(WAITING)),
            Track::Thread(thread) => match of_thread.get(&thread) {
                Some(claim) => {
                    let claim: &mut Claim = &mut claims[*claim];
                    claim.from = claim.from.min(span.from);
                    claim.to = claim.to.max(span.to);
                    claim.spans.push(number);
                }
                None => {
                    of_thread.insert(thread, claims.len());
                    let purpose = trace.threads.get(&thread).copied();
                    claims.push(new(purpose.unwrap_or(UNNAMED)));
                }
            },
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};
    use kiln_base::events::StepNumber;
    use kiln_base::trace::TracedStep;
    use proptest::prelude::*;

    use super::*;

    fn span(name: &'static str, track: Track, from: u64, to: u64, step: Option<u32>) -> SpanRecord {
        SpanRecord {
            name,
            track,
            from: Duration::from_nanos(from),
            to: Duration::from_nanos(to),
            step: step.map(|number| TracedStep {
                number: StepNumber(number),
                name: Arc::from("[1/1] RUN echo \"a\\b\"\u{1b}[1m"),
            }),
            notes: Vec::new(),
        }
    }

    #[track_caller]
    fn check(trace: &Trace, expected: &Expect) {
        expected.assert_eq(&chrome_trace(trace));
    }

    #[test]
    fn a_build_with_a_step() {
        let main = Track::Thread(10);
        let mut write = span("write", Track::Thread(30), 6_000, 9_500, Some(1));
        write.notes = vec![
            ("bytes", Note::Number(512)),
            ("compress", Note::Time(Duration::from_nanos(1_001))),
            ("digest", Note::Text("sha256:ab".into())),
        ];
        let trace = Trace {
            spans: vec![
                span("wait for a slot", Track::Waiting, 1_000, 2_000, Some(1)),
                span("sandbox", main, 2_500, 5_000, Some(1)),
                span(STEP, main, 2_000, 6_000, Some(1)),
                write,
                span("build", main, 0, 10_000, None),
            ],
            threads: [(10, "main"), (30, "layers")].into(),
        };
        check(
            &trace,
            &expect![[r#"
            {"displayTimeUnit":"ms","traceEvents":[
            {"ph":"M","pid":1,"tid":0,"name":"process_name","args":{"name":"kiln"}},
            {"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"main"}},
            {"ph":"M","pid":1,"tid":1,"name":"thread_sort_index","args":{"sort_index":1}},
            {"ph":"M","pid":1,"tid":2,"name":"thread_name","args":{"name":"layers"}},
            {"ph":"M","pid":1,"tid":2,"name":"thread_sort_index","args":{"sort_index":2}},
            {"ph":"M","pid":1,"tid":3,"name":"thread_name","args":{"name":"waiting"}},
            {"ph":"M","pid":1,"tid":3,"name":"thread_sort_index","args":{"sort_index":3}},
            {"ph":"X","pid":1,"tid":1,"ts":0,"dur":10,"name":"build","cat":"build"},
            {"ph":"X","pid":1,"tid":1,"ts":2,"dur":4,"name":"[1/1] RUN echo \"a\\b\"","cat":"step","args":{"step":1,"name":"[1/1] RUN echo \"a\\b\""}},
            {"ph":"X","pid":1,"tid":1,"ts":2.500,"dur":2.500,"name":"sandbox","cat":"step","args":{"step":1,"name":"[1/1] RUN echo \"a\\b\""}},
            {"ph":"X","pid":1,"tid":2,"ts":6,"dur":3.500,"name":"write","cat":"step","args":{"step":1,"name":"[1/1] RUN echo \"a\\b\"","bytes":512,"compress_us":1.001,"digest":"sha256:ab"}},
            {"ph":"X","pid":1,"tid":3,"ts":1,"dur":1,"name":"wait for a slot","cat":"waiting","args":{"step":1,"name":"[1/1] RUN echo \"a\\b\""}}
            ]}
        "#]],
        );
    }

    #[test]
    fn an_empty_trace_is_a_document() {
        check(
            &Trace::default(),
            &expect![[r#"
                {"displayTimeUnit":"ms","traceEvents":[
                {"ph":"M","pid":1,"tid":0,"name":"process_name","args":{"name":"kiln"}}
                ]}
            "#]],
        );
    }

    #[test]
    fn threads_that_are_never_alive_together_share_a_row() {
        let trace = Trace {
            spans: vec![
                span("unpack layer", Track::Thread(1), 0, 5, None),
                span("unpack layer", Track::Thread(2), 1, 3, None),
                span("unpack layer", Track::Thread(3), 4, 9, None),
                span("unpack layer", Track::Thread(4), 5, 9, None),
            ],
            ..Trace::default()
        };
        assert_eq!(Rows::of(&trace).of_spans, [0, 1, 1, 0]);
    }

    proptest! {
        #[test]
        fn waits_that_overlap_have_rows_of_their_own(
            times in prop::collection::vec((0_u64..50, 0_u64..20), 0..30)
        ) {
            let spans = times.iter().map(|(from, long)| {
                span("wait", Track::Waiting, *from, from + long, None)
            });
            let trace = Trace { spans: spans.collect(), ..Trace::default() };
            let rows = Rows::of(&trace).of_spans;
            for (a, one) in trace.spans.iter().enumerate() {
                for (b, other) in trace.spans.iter().enumerate().skip(a + 1) {
                    let apart = one.to <= other.from || other.to <= one.from;
                    prop_assert!(rows[a] != rows[b] || apart);
                }
            }
        }

        #[test]
        fn no_name_breaks_the_document(name in ".*") {
            let text = quoted(&name);
            let inside = &text[1..text.len() - 1];
            prop_assert!(!inside.replace("\\\\", "").replace("\\\"", "").contains(['"', '\\']));
            prop_assert!(!text.contains(char::is_control));
        }
    }
}
