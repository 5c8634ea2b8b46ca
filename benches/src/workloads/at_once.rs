//! (i) Many builds at once on one store.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::bench::{Bench, Folder, median};
use crate::inputs::{self, BUSYBOX};
use crate::machine;
use crate::measure;
use crate::model::{Program, Sample, Table, Target, Unit};
use crate::programs::Job;
use crate::together::{self, NUMBER};

/// A loop of a shell: a few hundredths of a second of work.
const LOOP: &str = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";

/// Waits for another build's lock, as `--profile` calls them.
const WAITING: [&str; 2] = ["wait for the index", "wait for a lock"];

/// How many runs the longest wait is looked for in.
const WAITING_RUNS: usize = 3;

/// 10 builds.
pub(crate) fn ten(bench: &Bench) -> Result<Table, String> {
    at_once(bench, 10, "at-once-10")
}

/// 50 builds.
pub(crate) fn fifty(bench: &Bench) -> Result<Table, String> {
    at_once(bench, bench.size(50, 12), "at-once-50")
}

fn at_once(bench: &Bench, count: usize, name: &str) -> Result<Table, String> {
    let folder = bench.folder(name)?;
    for number in 0..=count {
        make(&folder.path().join(number.to_string()), number)?;
    }
    let all = folder.path().join(NUMBER);
    // The one beyond the others is measured alone, for what a build's work is.
    let alone = folder.path().join(count.to_string());
    let mut works: [Vec<Sample>; 2] = [Vec::new(), Vec::new()];
    let there = bench.there_but(name, |program| impossible(program, count));
    let rows = bench.in_turn_of(
        &there,
        bench.rounds(if count > 10 { 2 } else { 3 }),
        |program| {
            let own = match program {
                Program::Kiln => Some(0),
                Program::KilnRootless => Some(1),
                _ => None,
            };
            if let Some(own) = own {
                works[own].push(bench.build(program, &Job::new(&alone).no_cache())?);
            }
            let tag = format!("bench{NUMBER}");
            let job = Job {
                name: &tag,
                ..Job::new(&all).no_cache()
            };
            let one = bench.programs.build(program, &job)?;
            let own = bench.own_copy()?.into_os_string();
            bench.measure(&together::together(one, count, own))
        },
    );
    let mut table = Table {
        name: name.to_owned(),
        letter: 'i',
        title: format!("{count} builds at once on one store"),
        notes: "Each build has 100 files of its own, a COPY of them and five RUN that count to \
                30,000, with `--no-cache`. Fewer than all succeeding is a failure. "
            .to_owned(),
        unit: Unit::Whole,
        measured: None,
        rows,
        targets: Vec::new(),
    };
    expect_the_sum(&mut table, count, &works);
    match longest_waits(bench, &folder, count) {
        Ok(waits) => table.notes.push_str(&told(&waits)),
        Err(message) => bench.leave_out(format!("{name}: waits for locks"), message),
    }
    bench.programs.reset(Program::Kiln, &bench.scratch)?;
    Ok(table)
}

/// A wait of a build for another's lock: its name in the trace, and how long it was.
type Wait = (String, Duration);

/// The longest wait for a lock of any build, in each of a few runs that are not measured.
fn longest_waits(
    bench: &Bench,
    folder: &Folder,
    count: usize,
) -> Result<Vec<Option<Wait>>, String> {
    let runs = 0..WAITING_RUNS;
    runs.map(|_| longest_wait(bench, folder, count)).collect()
}

/// The longest wait for a lock in all builds of one run.
fn longest_wait(bench: &Bench, folder: &Folder, count: usize) -> Result<Option<Wait>, String> {
    let trace = |number: &str| folder.path().join(format!("trace-{number}.json"));
    let all = folder.path().join(NUMBER);
    let kiln = bench.programs.kiln(Program::Kiln)?;
    let one = kiln.build(&Job::new(&all).no_cache());
    let one = one.arg("--profile").arg(trace(NUMBER));
    let own = bench.own_copy()?.into_os_string();
    measure::settle();
    bench.run(&together::together(one, count, own))?;
    let mut all = Vec::new();
    for number in 0..count {
        let path = trace(&number.to_string());
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        all.extend(waits(&text)?);
    }
    Ok(all.into_iter().max_by_key(|(_, time)| *time))
}

/// What the notes say of the longest waits.
fn told(longest: &[Option<Wait>]) -> String {
    let each: Vec<String> = longest.iter().map(Option::as_ref).map(told_one).collect();
    format!(
        "In {} further runs of kiln with `--profile`, the longest waits of any build for a lock \
         were: {}. Waiting for a processor afterwards is included.",
        longest.len(),
        each.join(", "),
    )
}

fn told_one(wait: Option<&Wait>) -> String {
    match wait {
        Some((name, time)) => format!("a `{name}` of {} ms", milliseconds(*time)),
        None => "none".to_owned(),
    }
}

/// The waits for locks in a trace.
fn waits(trace: &str) -> Result<Vec<Wait>, String> {
    let trace: Value = serde_json::from_str(trace).map_err(|error| error.to_string())?;
    let events = trace.get("traceEvents").unwrap_or(&trace);
    let events = events.as_array().ok_or("a trace without events")?;
    let found = events.iter().filter_map(|event| {
        let name = event["name"].as_str()?;
        let micros = event["dur"].as_f64()?;
        let time = Duration::try_from_secs_f64(micros / 1e6).ok()?;
        WAITING.contains(&name).then(|| (name.to_owned(), time))
    });
    Ok(found.collect())
}

/// The context of one build.
fn make(dir: &Path, number: usize) -> Result<(), String> {
    let mut dockerfile = format!("{BUSYBOX}COPY files /files\n");
    for step in 0..5 {
        let _ = writeln!(
            dockerfile,
            "RUN [\"/busybox\", \"sh\", \"-c\", \"{LOOP}; echo {number} {step} > /out{step}\"]"
        );
    }
    inputs::write(&dir.join("Dockerfile"), "")?;
    inputs::context(dir, &dockerfile)?;
    inputs::files(&dir.join("files"), 100, 1_000 + number)
}

fn impossible(program: Program, count: usize) -> Option<&'static str> {
    match program {
        Program::Kaniko => Some("it has no store, and one root folder for one build"),
        Program::Buildah if count > 10 => Some("more than 10 at once would take minutes"),
        _ => None,
    }
}

/// kiln's target: the work of one build alone, so many times, over the cores, and 10 percent.
fn expect_the_sum(table: &mut Table, count: usize, works: &[Vec<Sample>; 2]) {
    let cores = u32::try_from(machine::cores()).unwrap_or(1);
    let count = u32::try_from(count).unwrap_or(1);
    let programs = [Program::Kiln, Program::KilnRootless];
    for (program, samples) in programs.into_iter().zip(works) {
        if samples.is_empty() {
            continue;
        }
        let work = median(samples).cpu;
        let sum = work * count / cores;
        let limit =
            Duration::from_millis(u64::try_from((sum + sum / 10).as_millis()).unwrap_or(u64::MAX));
        table.targets.push(Target::AtMost(program, limit));
        let _ = write!(
            table.notes,
            "One build alone by {} takes {} ms of processor time, so {count} take {} ms on \
             {cores} cores at best. ",
            program.name(),
            milliseconds(work),
            milliseconds(sum),
        );
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_found_in_a_trace() {
        let trace = r#"{"traceEvents": [
            {"name": "wait for the index", "ph": "X", "ts": 1, "dur": 2500.5},
            {"name": "copy", "ph": "X", "ts": 1, "dur": 9},
            {"name": "process_name", "ph": "M"}
        ]}"#;
        let found = waits(trace).unwrap();
        assert_eq!(
            found,
            [(
                "wait for the index".to_owned(),
                Duration::from_nanos(2_500_500)
            )]
        );
        waits("{}").unwrap_err();
    }
}
