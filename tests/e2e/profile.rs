//! `--profile`: a trace that a viewer can read, of every part of a build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Absent, Kiln, Program, Scratch, Who};

use crate::base;

/// The page that explains each span.
const PAGE: &str = include_str!("../../docs/dev/profile.md");

const DOCKERFILE: &str = "FROM debian:bookworm\nCOPY one two /files/\nRUN echo made > /made\n";

/// A trace, checked for what is true of each.
struct Trace {
    /// What each span is inside of, as names joined by ` > `; times and numbers are left out.
    paths: BTreeSet<String>,
    rows: BTreeSet<String>,
    steps: BTreeMap<u64, String>,
}

impl Trace {
    /// Reads a trace, and checks that it is one: complete events of known names, which on each row
    /// lie apart or inside each other, and of which those of a step say which it is.
    #[track_caller]
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut trace = Self {
            paths: BTreeSet::new(),
            rows: BTreeSet::new(),
            steps: BTreeMap::new(),
        };
        let mut open: BTreeMap<u64, Vec<(u64, String)>> = BTreeMap::new();
        for event in document["traceEvents"].as_array().unwrap() {
            assert_eq!(event["pid"], 1, "{event}");
            match event["ph"].as_str().unwrap() {
                "M" if event["name"] == "thread_name" => {
                    trace.rows.insert(name_of(&event["args"]));
                }
                "M" => {}
                "X" => {
                    let row = event["tid"].as_u64().unwrap();
                    trace.add(event, open.entry(row).or_default());
                }
                other => panic!("an event of kind {other}"),
            }
        }
        trace
    }

    #[track_caller]
    fn add(&mut self, event: &Value, open: &mut Vec<(u64, String)>) {
        let (from, long) = (nanoseconds(&event["ts"]), nanoseconds(&event["dur"]));
        while open.last().is_some_and(|(end, _)| *end <= from) {
            open.pop();
        }
        if let Some((end, around)) = open.last() {
            assert!(from + long <= *end, "{event} ends after `{around}`");
        }
        let mut name = name_of(event);
        let args = &event["args"];
        if let Some(step) = args["step"].as_u64() {
            let title = name_of(args);
            assert_ne!(title, "", "{event}");
            let known = self.steps.entry(step).or_insert_with(|| title.clone());
            assert_eq!(*known, title, "two names for step {step}");
            if name == title {
                "step".clone_into(&mut name);
            }
        }
        assert_eq!(event["cat"] == "build", args["step"].is_null(), "{event}");
        let row = format!("\n| `{name}` |");
        assert!(PAGE.contains(&row), "docs/dev/profile.md lacks `{name}`");
        let mut path: Vec<&str> = open.iter().map(|(_, name)| name.as_str()).collect();
        path.push(&name);
        self.paths.insert(path.join(" > "));
        // Any thread takes up what the solver has to do, the one that began it among them.
        if let ["build", "solve", rest @ ..] = path.as_slice() {
            self.paths.insert(rest.join(" > "));
        }
        open.push((from + long, name));
    }

    #[track_caller]
    fn has(&self, paths: &[&str]) {
        for path in paths {
            assert!(self.paths.contains(*path), "no {path} in {:#?}", self.paths);
        }
    }

    #[track_caller]
    fn lacks(&self, name: &str) {
        let parts = |path: &String| path.split(" > ").any(|part| part == name);
        assert!(!self.paths.iter().any(parts), "{:#?}", self.paths);
    }

    #[track_caller]
    fn has_step(&self, text: &str) {
        let is_it = |name: &String| name.contains(text);
        assert!(self.steps.values().any(is_it), "{:?}", self.steps);
    }
}

fn name_of(event: &Value) -> String {
    event["name"].as_str().unwrap().to_owned()
}

/// A time of an event, which is in microseconds with up to three digits behind the point.
fn nanoseconds(time: &Value) -> u64 {
    let text = time.to_string();
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    assert!(rest.len() <= 3, "{text}");
    format!("{whole}{rest:0<3}").parse().unwrap()
}

struct Test {
    kiln: Kiln,
    context: PathBuf,
    /// Where traces go.
    out: PathBuf,
}

impl Test {
    fn new(who: Who, name: &str, dockerfile: &str) -> Result<Self, Absent> {
        let kiln = base::with_base(who)?;
        let name = format!("profile-{name}-{}", who.name());
        let (context, out) = (
            Scratch::folder(&name),
            Scratch::folder(&format!("{name}-out")),
        );
        base::open_to_all(&[&out, &context]);
        // No other test's, or earlier run's, results are hit.
        fs::write(context.join("one"), &name).unwrap();
        fs::write(context.join("two"), "two\n").unwrap();
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        Ok(Self { kiln, context, out })
    }

    fn command(&self, trace: &Path) -> Program {
        let flag = format!("--profile={}", trace.display());
        self.kiln
            .command()
            .args(["build", &flag])
            .arg(&self.context)
    }

    #[track_caller]
    fn build(&self, name: &str) -> Trace {
        let path = self.out.join(name);
        let _ = self.command(&path).run().ok();
        Trace::read(&path)
    }
}

fn run(name: &str, who: Who, dockerfile: &str, body: impl FnOnce(&Test)) {
    base::run(&format!("profile::{name} as {}", who.name()), || {
        body(&Test::new(who, name, dockerfile)?);
        Ok(())
    });
}

#[test]
fn a_build_is_traced_from_the_command_line_to_the_image() {
    for who in [Who::Root, Who::User] {
        let name = "a_build_is_traced_from_the_command_line_to_the_image";
        run(name, who, DOCKERFILE, |test| {
            let trace = test.build("cold");
            trace.has(&[
                "arguments",
                "settings",
                "namespace",
                "open the store",
                "build > plan > parse",
                "build > plan > lower",
                "fast key",
                "slow key > select",
                "slow key > digest",
                "look up",
                "step > mount",
                "step > copy",
                "step > sandbox",
                "step > commit",
                "step > record",
                "build > export > step",
                "layer > diff",
                "layer > write",
                "end the record",
                "wait for a slot",
            ]);
            assert!(trace.rows.contains("main"), "{:?}", trace.rows);
            trace.has_step("COPY one two");
            trace.has_step("RUN echo made");

            let again = test.build("cached");
            again.has(&["look up", "build > export > step"]);
            again.lacks("sandbox");
            again.lacks("copy");
        });
    }
}

#[test]
fn a_failed_build_is_traced() {
    for who in [Who::Root, Who::User] {
        let dockerfile = format!("{DOCKERFILE}RUN exit 3\nRUN echo never\n");
        run("a_failed_build_is_traced", who, &dockerfile, |test| {
            let path = test.out.join("failed");
            let finished = test.command(&path).run();
            assert_eq!(finished.code, Some(2), "{finished}");
            let trace = Trace::read(&path);
            trace.has(&["step > sandbox", "end the record"]);
            trace.lacks("export");
            trace.has_step("RUN exit 3");
        });
    }
}

#[test]
fn a_cancelled_build_is_traced() {
    for who in [Who::Root, Who::User] {
        let dockerfile = format!("{DOCKERFILE}RUN touch /files/begun; sleep 1000\n");
        run("a_cancelled_build_is_traced", who, &dockerfile, |test| {
            let (path, log) = (test.out.join("cancelled"), test.out.join("log"));
            let mut build = test.command(&path).arg("--progress=plain").start(&log);
            let started = Instant::now();
            let begun = || fs::read_to_string(&log).is_ok_and(|log| log.contains("sleep 1000"));
            while !begun() {
                assert!(started.elapsed() < Duration::from_mins(1));
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = Program::new("kill")
                .args(["-s", "INT", &build.id().to_string()])
                .run()
                .ok();
            let log = fs::read_to_string(&log).unwrap();
            assert_eq!(build.wait().unwrap().code(), Some(8), "{log}");
            Trace::read(&path).has(&["step"]);
        });
    }
}

#[test]
fn a_trace_in_the_context_is_no_part_of_it() {
    let name = "a_trace_in_the_context_is_no_part_of_it";
    let dockerfile = "FROM debian:bookworm\nCOPY . /files/\n";
    run(name, Who::Root, dockerfile, |test| {
        let path = test.context.join("trace.json");
        let _ = test.command(&path).run().ok();
        Trace::read(&path).has(&["step > copy"]);
        let _ = test.command(&path).run().ok();
        Trace::read(&path).lacks("copy");
    });
}

#[test]
fn a_place_that_can_t_be_written_is_told_before_the_build() {
    let name = "a_place_that_can_t_be_written_is_told_before_the_build";
    run(name, Who::Root, DOCKERFILE, |test| {
        let finished = test.command(&test.out.join("nowhere/trace")).run();
        assert!(!finished.success(), "{finished}");
        assert!(finished.stderr.contains("nowhere/trace"), "{finished}");
        assert!(!finished.stderr.contains("RUN"), "{finished}");
    });
}

#[test]
fn bake_and_pull_have_traces() {
    run("bake_and_pull_have_traces", Who::Root, DOCKERFILE, |test| {
        let file = test.context.join("docker-bake.json");
        fs::write(file, r#"{"target": {"default": {"context": "."}}}"#).unwrap();
        let path = test.out.join("bake");
        let flag = format!("--profile={}", path.display());
        let command = test.kiln.command().cwd(&test.context);
        let _ = command.args(["bake", &flag]).run().ok();
        Trace::read(&path).has(&["bake files", "step > sandbox"]);

        // Nobody listens there: what was tried is traced.
        let name = "127.0.0.1:1/nothing:1";
        let finished = test.kiln.run(&["pull", &flag, name]);
        assert_eq!(finished.code, Some(3), "{finished}");
        let trace = Trace::read(&path);
        trace.has(&["step > resolve"]);
        trace.has_step("pull 127.0.0.1:1/nothing:1");
    });
}
