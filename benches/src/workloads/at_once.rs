//! (i) Many builds at once on one store.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::bench::{Bench, median};
use crate::inputs::{self, BUSYBOX};
use crate::machine;
use crate::model::{Program, Sample, Table, Target, Unit};
use crate::programs::Job;
use crate::together::{self, NUMBER};
use crate::workloads::wide::LOOP;

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
    let rows = bench.in_turn(bench.rounds(3), |program| {
        if let Some(why) = impossible(program, count) {
            return Err(why.to_owned());
        }
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
    });
    let mut table = Table {
        name: name.to_owned(),
        letter: 'i',
        title: format!("{count} builds at once on one store"),
        notes: "Each build has 100 files of its own, a COPY of them and five RUN that count to \
                100,000, with `--no-cache`. Fewer than all succeeding is a failure. "
            .to_owned(),
        unit: Unit::Whole,
        rows,
        targets: Vec::new(),
    };
    expect_the_sum(&mut table, count, &works);
    Ok(table)
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
        Program::Buildah if count > 10 => Some("not asked for more than 10: it would take minutes"),
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
        let limit = sum + sum / 10;
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
