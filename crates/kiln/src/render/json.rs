//! Progress as JSON lines; docs/events.md describes the format.

use std::time::Duration;

use kiln_base::events::{BuildEvent, CacheVerdict, StepOutcome, Stream};
use serde_json::{Value, json};

use super::view::Work;

/// The version of the format: raised when a field changes its meaning or goes, not when one comes.
const VERSION: u32 = 1;

/// The first line.
pub(crate) fn first_line(work: Work) -> String {
    line(json!({
        "event": "started",
        "command": work.name(),
        "version": VERSION,
        "kiln": env!("CARGO_PKG_VERSION"),
    }))
}

/// The line for one event, `now` after the build began.
pub(crate) fn event_line(event: &BuildEvent, now: Duration) -> String {
    let mut document = match event {
        BuildEvent::StepDeclared { step, name } => {
            json!({"event": "step-declared", "step": step.0, "name": &**name})
        }
        BuildEvent::StepStarted { step, .. } => json!({"event": "step-started", "step": step.0}),
        BuildEvent::StepOutput {
            step,
            stream,
            bytes,
        } => json!({
            "event": "step-output",
            "step": step.0,
            "stream": match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            },
            "text": String::from_utf8_lossy(bytes),
        }),
        BuildEvent::StepProgress { step, progress } => json!({
            "event": "step-progress",
            "step": step.0,
            "item": progress.item,
            "done": progress.done,
            "total": progress.total,
        }),
        BuildEvent::StepExplained { step, verdict } => {
            let (cache, reason) = match verdict {
                CacheVerdict::Hit(reason) => ("hit", reason),
                CacheVerdict::Miss(reason) => ("miss", reason),
                CacheVerdict::NotAsked(reason) => ("not-asked", reason),
            };
            json!({"event": "step-explained", "step": step.0, "cache": cache, "reason": reason})
        }
        BuildEvent::StepFinished { step, outcome, .. } => finished(step.0, outcome),
        BuildEvent::Warning { message, line } => {
            json!({"event": "warning", "message": message, "line": line})
        }
    };
    let at = match event {
        BuildEvent::StepStarted { at, .. } | BuildEvent::StepFinished { at, .. } => *at,
        _ => now,
    };
    document["at"] = millis(at);
    line(document)
}

fn finished(step: u32, outcome: &StepOutcome) -> Value {
    let mut document = json!({"event": "step-finished", "step": step});
    document["outcome"] = match outcome {
        StepOutcome::Done => "done",
        StepOutcome::Cached => "cached",
        StepOutcome::Failed(_) => "failed",
        StepOutcome::Cancelled => "cancelled",
    }
    .into();
    if let StepOutcome::Failed(message) = outcome {
        document["error"] = message.as_str().into();
    }
    document
}

/// The last line of work that gave a result; `result` is what `--metadata-file` holds.
pub(crate) fn success_line(result: &Value, now: Duration) -> String {
    line(json!({"event": "finished", "at": millis(now), "exit_code": 0, "result": result}))
}

/// The last line of work that failed.
pub(crate) fn failure_line(
    exit_code: u8,
    messages: &[String],
    hints: &[String],
    now: Duration,
) -> String {
    line(json!({
        "event": "finished",
        "at": millis(now),
        "exit_code": exit_code,
        "errors": messages,
        "hints": hints,
    }))
}

/// Seconds, to the millisecond.
fn millis(time: Duration) -> Value {
    (f64::from(u32::try_from(time.as_millis()).unwrap_or(u32::MAX)) / 1000.0).into()
}

#[expect(clippy::needless_pass_by_value, reason = "called with `json!`")]
fn line(document: Value) -> String {
    format!("{document}\n")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::samples;
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(events: &[(u64, BuildEvent)], expected: Expect) {
        let text: String = events
            .iter()
            .map(|(millis, event)| event_line(event, Duration::from_millis(*millis)))
            .collect();
        expected.assert_eq(&text);
    }

    #[test]
    fn every_line_is_a_document() {
        check(
            &samples::two_steps(),
            expect![[r#"
            {"at":0.0,"event":"step-declared","name":"[1/2] FROM debian:bookworm","step":1}
            {"at":0.0,"event":"step-declared","name":"[2/2] RUN make","step":2}
            {"at":0.001,"event":"step-started","step":1}
            {"at":0.002,"event":"step-finished","outcome":"cached","step":1}
            {"at":0.005,"event":"step-started","step":2}
            {"at":0.125,"event":"step-output","step":2,"stream":"stdout","text":"cc -c a.c\n"}
            {"at":0.2,"event":"step-output","step":2,"stream":"stdout","text":"a.c:1: \u001b[33mwarning"}
            {"at":0.305,"event":"step-output","step":2,"stream":"stdout","text":"\u001b[0m: nothing here\nno newline"}
            {"at":0.505,"event":"step-finished","outcome":"done","step":2}
        "#]],
        );
    }

    #[test]
    fn failures_and_transfers() {
        check(
            &samples::parallel_failure()[4..],
            expect![[r#"
            {"at":0.05,"event":"step-output","step":1,"stream":"stdout","text":"tick\n"}
            {"at":0.06,"event":"step-output","step":2,"stream":"stdout","text":"oops\n"}
            {"at":0.07,"error":"exit code 1","event":"step-finished","outcome":"failed","step":2}
            {"at":0.08,"event":"step-finished","outcome":"cancelled","step":1}
        "#]],
        );
        check(
            &samples::transfer()[1..],
            expect![[r#"
            {"at":0.0,"event":"step-started","step":1}
            {"at":0.001,"cache":"miss","event":"step-explained","reason":"the base image changed","step":1}
            {"at":0.1,"done":1000000,"event":"step-progress","item":"sha256:ab12","step":1,"total":30000000}
            {"at":0.2,"done":2000000,"event":"step-progress","item":"sha256:ab12","step":1,"total":30000000}
            {"at":5.1,"done":20000000,"event":"step-progress","item":"sha256:ab12","step":1,"total":30000000}
            {"at":6.0,"done":30000000,"event":"step-progress","item":"sha256:ab12","step":1,"total":30000000}
            {"at":6.5,"event":"step-finished","outcome":"done","step":1}
            {"at":6.5,"event":"warning","line":3,"message":"`MAINTAINER` is deprecated"}
            {"at":6.5,"event":"warning","line":null,"message":"no tag"}
        "#]],
        );
    }

    #[test]
    fn the_last_line_has_the_exit_code() {
        let failure = failure_line(
            2,
            &["could not build".to_owned()],
            &["look".to_owned()],
            Duration::from_millis(1500),
        );
        expect![[r#"
            {"at":1.5,"errors":["could not build"],"event":"finished","exit_code":2,"hints":["look"]}
        "#]].assert_eq(&failure);
    }
}
