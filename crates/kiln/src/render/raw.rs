//! Progress as BuildKit's JSON lines (`--progress=rawjson`): one `SolveStatus` document a line.
//!
//! What reads them was written for BuildKit, so the fields, the base64 and the times of day are
//! its; kiln's own format is [`super::json`]. BuildKit's digests of vertices stand for its own
//! graph: here they are digests of a step's number and name, which is enough to tell steps apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kiln_base::Timestamp;
use kiln_base::events::{BuildEvent, CacheVerdict, Progress, StepNumber, StepOutcome, Stream};
use kiln_oci::Digest;
use serde_json::{Value, json};

/// Turns events into documents.
#[derive(Debug)]
pub(crate) struct Raw {
    /// When the work began.
    began: Timestamp,
    steps: BTreeMap<StepNumber, Step>,
}

#[derive(Debug)]
struct Step {
    digest: String,
    name: Arc<str>,
    started: Option<Duration>,
}

impl Raw {
    /// Documents for work that began at this time.
    pub(crate) const fn new(began: Timestamp) -> Self {
        Self {
            began,
            steps: BTreeMap::new(),
        }
    }

    /// The line for one event, `now` after the work began.
    pub(crate) fn line(&mut self, event: &BuildEvent, now: Duration) -> String {
        let document = match event {
            BuildEvent::StepDeclared { step, name } => {
                self.declare(*step, name);
                vertexes(&self.vertex(*step))
            }
            BuildEvent::StepStarted { step, at } => {
                self.step(*step).started = Some(*at);
                vertexes(&self.vertex(*step))
            }
            BuildEvent::StepOutput {
                step,
                stream,
                bytes,
            } => self.log(*step, *stream, bytes, now),
            BuildEvent::StepExplained { step, verdict } => {
                let text = match verdict {
                    CacheVerdict::Hit(reason) => format!("cache hit: {reason}\n"),
                    CacheVerdict::Miss(reason) => format!("cache miss: {reason}\n"),
                    CacheVerdict::NotAsked(reason) => format!("cache not asked: {reason}\n"),
                };
                self.log(*step, Stream::Stderr, text.as_bytes(), now)
            }
            BuildEvent::StepProgress { step, progress } => self.status(*step, progress, now),
            BuildEvent::StepFinished { step, outcome, at } => self.finish(*step, outcome, *at),
            BuildEvent::Warning { message, line } => warning_document(message, *line),
        };
        format!("{document}\n")
    }

    fn declare(&mut self, step: StepNumber, name: &Arc<str>) {
        let digest = Digest::sha256(format!("{} {name}", step.0).as_bytes());
        let step_state = Step {
            digest: digest.to_string(),
            name: Arc::clone(name),
            started: None,
        };
        self.steps.insert(step, step_state);
    }

    fn step(&mut self, step: StepNumber) -> &mut Step {
        if !self.steps.contains_key(&step) {
            self.declare(step, &Arc::from(""));
        }
        self.steps.entry(step).or_insert_with(|| Step {
            digest: String::new(),
            name: Arc::from(""),
            started: None,
        })
    }

    fn vertex(&mut self, step: StepNumber) -> Value {
        let began = self.began;
        let state = self.step(step);
        let mut vertex = json!({"digest": state.digest, "name": &*state.name});
        if let Some(at) = state.started {
            vertex["started"] = time(began, at);
        }
        vertex
    }

    fn finish(&mut self, step: StepNumber, outcome: &StepOutcome, at: Duration) -> Value {
        let began = self.began;
        self.step(step).started.get_or_insert(at);
        let mut vertex = self.vertex(step);
        vertex["completed"] = time(began, at);
        match outcome {
            StepOutcome::Done => {}
            StepOutcome::Cached => vertex["cached"] = true.into(),
            StepOutcome::Failed(message) => vertex["error"] = message.as_str().into(),
            StepOutcome::Cancelled => vertex["error"] = "context canceled".into(),
        }
        vertexes(&vertex)
    }

    fn log(&mut self, step: StepNumber, stream: Stream, bytes: &[u8], now: Duration) -> Value {
        let timestamp = time(self.began, now);
        let stream = match stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        json!({"logs": [{
            "vertex": self.step(step).digest,
            "stream": stream,
            "data": BASE64.encode(bytes),
            "timestamp": timestamp,
        }]})
    }

    fn status(&mut self, step: StepNumber, progress: &Progress, now: Duration) -> Value {
        let began = self.began;
        let state = self.step(step);
        let mut status = json!({
            "id": progress.item,
            "vertex": state.digest,
            "current": progress.done,
            "timestamp": time(began, now),
            "started": time(began, state.started.unwrap_or(now)),
        });
        if let Some(total) = progress.total {
            status["total"] = total.into();
            if total == progress.done {
                status["completed"] = time(began, now);
            }
        }
        json!({"statuses": [status]})
    }
}

/// A warning as `buildx.build.warnings` has it, too.
pub(crate) fn warning(message: &str, line: Option<u32>) -> Value {
    let mut warning = json!({"level": 1, "short": BASE64.encode(message)});
    if let Some(line) = line {
        warning["range"] = json!([{"start": {"line": line}, "end": {"line": line}}]);
    }
    warning
}

fn warning_document(message: &str, line: Option<u32>) -> Value {
    json!({"warnings": [warning(message, line)]})
}

fn vertexes(vertex: &Value) -> Value {
    json!({"vertexes": [vertex]})
}

/// The time of day, as RFC 3339 has it.
fn time(began: Timestamp, after: Duration) -> Value {
    let nanoseconds = u64::from(began.nanoseconds()) + u64::from(after.subsec_nanos());
    let carried = nanoseconds / 1_000_000_000;
    let whole = after.as_secs().saturating_add(carried);
    let seconds = began.seconds().saturating_add_unsigned(whole);
    let rest = u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0);
    Timestamp::new(seconds, rest).to_string().into()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::samples;
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(events: &[(u64, BuildEvent)], expected: Expect) {
        let mut raw = Raw::new(Timestamp::new(1_700_000_000, 999_500_000));
        let text: String = events
            .iter()
            .map(|(millis, event)| raw.line(event, Duration::from_millis(*millis)))
            .collect();
        expected.assert_eq(&text);
    }

    #[test]
    fn steps_and_their_output() {
        check(
            &samples::two_steps(),
            expect![[r#"
            {"vertexes":[{"digest":"sha256:16b26d690f9a4675acf68fbb8d1582ee8496d64410765ebe9744390c7f2a57a2","name":"[1/2] FROM debian:bookworm"}]}
            {"vertexes":[{"digest":"sha256:c66c3c1011d638e146121df968f3447275c003214ecf49805e3f1cc7e04fd853","name":"[2/2] RUN make"}]}
            {"vertexes":[{"digest":"sha256:16b26d690f9a4675acf68fbb8d1582ee8496d64410765ebe9744390c7f2a57a2","name":"[1/2] FROM debian:bookworm","started":"2023-11-14T22:13:21.0005Z"}]}
            {"vertexes":[{"cached":true,"completed":"2023-11-14T22:13:21.0015Z","digest":"sha256:16b26d690f9a4675acf68fbb8d1582ee8496d64410765ebe9744390c7f2a57a2","name":"[1/2] FROM debian:bookworm","started":"2023-11-14T22:13:21.0005Z"}]}
            {"vertexes":[{"digest":"sha256:c66c3c1011d638e146121df968f3447275c003214ecf49805e3f1cc7e04fd853","name":"[2/2] RUN make","started":"2023-11-14T22:13:21.0045Z"}]}
            {"logs":[{"data":"Y2MgLWMgYS5jCg==","stream":1,"timestamp":"2023-11-14T22:13:21.1245Z","vertex":"sha256:c66c3c1011d638e146121df968f3447275c003214ecf49805e3f1cc7e04fd853"}]}
            {"logs":[{"data":"YS5jOjE6IBtbMzNtd2FybmluZw==","stream":1,"timestamp":"2023-11-14T22:13:21.1995Z","vertex":"sha256:c66c3c1011d638e146121df968f3447275c003214ecf49805e3f1cc7e04fd853"}]}
            {"logs":[{"data":"G1swbTogbm90aGluZyBoZXJlCm5vIG5ld2xpbmU=","stream":1,"timestamp":"2023-11-14T22:13:21.3045Z","vertex":"sha256:c66c3c1011d638e146121df968f3447275c003214ecf49805e3f1cc7e04fd853"}]}
            {"vertexes":[{"completed":"2023-11-14T22:13:21.5045Z","digest":"sha256:c66c3c1011d638e146121df968f3447275c003214ecf49805e3f1cc7e04fd853","name":"[2/2] RUN make","started":"2023-11-14T22:13:21.0045Z"}]}
        "#]],
        );
    }

    #[test]
    fn failures() {
        check(
            &samples::parallel_failure()[4..],
            expect![[r#"
            {"logs":[{"data":"dGljawo=","stream":1,"timestamp":"2023-11-14T22:13:21.0495Z","vertex":"sha256:0fc5165686190ca845407c03ad4572e801265487ce3d352487f32016af34ed05"}]}
            {"logs":[{"data":"b29wcwo=","stream":1,"timestamp":"2023-11-14T22:13:21.0595Z","vertex":"sha256:5749fdd6b67e4204b3047ba33540bc87f60c84d784a46c6307c78299f8fa67e9"}]}
            {"vertexes":[{"completed":"2023-11-14T22:13:21.0695Z","digest":"sha256:5749fdd6b67e4204b3047ba33540bc87f60c84d784a46c6307c78299f8fa67e9","error":"exit code 1","name":"","started":"2023-11-14T22:13:21.0695Z"}]}
            {"vertexes":[{"completed":"2023-11-14T22:13:21.0795Z","digest":"sha256:0fc5165686190ca845407c03ad4572e801265487ce3d352487f32016af34ed05","error":"context canceled","name":"","started":"2023-11-14T22:13:21.0795Z"}]}
        "#]],
        );
    }

    #[test]
    fn transfers_and_warnings() {
        check(
            &samples::transfer(),
            expect![[r#"
            {"vertexes":[{"digest":"sha256:2a0bb32dc1dd8c860471055ae19d4a373342506b20917a1fabe896c7c868e339","name":"[1/1] FROM app"}]}
            {"vertexes":[{"digest":"sha256:2a0bb32dc1dd8c860471055ae19d4a373342506b20917a1fabe896c7c868e339","name":"[1/1] FROM app","started":"2023-11-14T22:13:20.9995Z"}]}
            {"logs":[{"data":"Y2FjaGUgbWlzczogdGhlIGJhc2UgaW1hZ2UgY2hhbmdlZAo=","stream":2,"timestamp":"2023-11-14T22:13:21.0005Z","vertex":"sha256:2a0bb32dc1dd8c860471055ae19d4a373342506b20917a1fabe896c7c868e339"}]}
            {"statuses":[{"current":1000000,"id":"sha256:ab12","started":"2023-11-14T22:13:20.9995Z","timestamp":"2023-11-14T22:13:21.0995Z","total":30000000,"vertex":"sha256:2a0bb32dc1dd8c860471055ae19d4a373342506b20917a1fabe896c7c868e339"}]}
            {"statuses":[{"current":2000000,"id":"sha256:ab12","started":"2023-11-14T22:13:20.9995Z","timestamp":"2023-11-14T22:13:21.1995Z","total":30000000,"vertex":"sha256:2a0bb32dc1dd8c860471055ae19d4a373342506b20917a1fabe896c7c868e339"}]}
            {"statuses":[{"current":20000000,"id":"sha256:ab12","started":"2023-11-14T22:13:20.9995Z","timestamp":"2023-11-14T22:13:26.0995Z","total":30000000,"vertex":"sha256:2a0bb32dc1dd8c860471055ae19d4a373342506b20917a1fabe896c7c868e339"}]}
            {"statuses":[{"completed":"2023-11-14T22:13:26.9995Z","current":30000000,"id":"sha256:ab12","started":"2023-11-14T22:13:20.9995Z","timestamp":"2023-11-14T22:13:26.9995Z","total":30000000,"vertex":"sha256:2a0bb32dc1dd8c860471055ae19d4a373342506b20917a1fabe896c7c868e339"}]}
            {"vertexes":[{"completed":"2023-11-14T22:13:27.4995Z","digest":"sha256:2a0bb32dc1dd8c860471055ae19d4a373342506b20917a1fabe896c7c868e339","name":"[1/1] FROM app","started":"2023-11-14T22:13:20.9995Z"}]}
            {"warnings":[{"level":1,"range":[{"end":{"line":3},"start":{"line":3}}],"short":"YE1BSU5UQUlORVJgIGlzIGRlcHJlY2F0ZWQ="}]}
            {"warnings":[{"level":1,"short":"bm8gdGFn"}]}
        "#]],
        );
    }
}
