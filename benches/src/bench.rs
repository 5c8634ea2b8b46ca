//! One run of the benchmarks: what every workload needs, and the rounds A B A B.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testkit::Scratch;

use crate::bases::Bases;
use crate::interrupt;
use crate::measure::{Invocation, complain, measure, run};
use crate::model::{LeftOut, Program, Row, Sample};
use crate::options::Options;
use crate::programs::{self, Job, Programs, Registry};

/// What every workload needs.
#[derive(Debug)]
pub(crate) struct Bench {
    /// kiln and its peers.
    pub(crate) programs: Programs,
    /// The registry that images are pushed to; emptied before each run that pushes.
    pub(crate) registry: Registry,
    /// Images to build on, in a registry of their own.
    pub(crate) bases: Bases,
    /// Where inputs and states are.
    pub(crate) scratch: PathBuf,
    /// Small inputs and one round: a test of the harness, whose figures mean nothing.
    pub(crate) quick: bool,
    /// How many rounds, where the user says so.
    pub(crate) rounds: Option<usize>,
    /// What was left out so far.
    pub(crate) left_out: RefCell<Vec<LeftOut>>,
}

impl Bench {
    /// Looks for the programs, and starts the daemons that are needed; these end with the value.
    pub(crate) fn start(options: &Options) -> Result<Self, String> {
        let scratch = Scratch::folder("bench");
        let bench = Self {
            programs: Programs::start(&scratch, &options.programs)?,
            bases: Bases::start(&scratch)?,
            registry: Registry::start(&scratch, "registry")?,
            quick: options.quick,
            rounds: options.rounds,
            left_out: RefCell::new(Vec::new()),
            scratch,
        };
        interrupt::check()?;
        Ok(bench)
    }

    /// How many rounds, where nobody says otherwise.
    pub(crate) fn rounds(&self, usual: usize) -> usize {
        let quick = if self.quick { 1 } else { usual };
        self.rounds.unwrap_or(quick)
    }

    /// A size, or the one of a quick run.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Notes what is not measured. Of a workload that is given up nothing is noted.
    pub(crate) fn leave_out(&self, what: impl Into<String>, why: impl Into<String>) {
        if interrupt::came() {
            return;
        }
        let (what, why) = (what.into(), why.into());
        complain(&format!("left out: {what}: {why}"));
        self.left_out.borrow_mut().push(LeftOut { what, why });
    }

    /// An empty folder for a workload's inputs, that goes away with the value.
    pub(crate) fn folder(&self, name: &str) -> Result<Folder, String> {
        Folder::new(&self.scratch.join(name))
    }

    /// A copy of this program that every user can run.
    pub(crate) fn own_copy(&self) -> Result<PathBuf, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let copy = self.scratch.join("bin/kiln-benches");
        programs::copy_program(&own, &copy).map_err(|error| error.to_string())?;
        Ok(copy)
    }

    /// The repository of a program's cache, of one that keeps none elsewhere.
    pub(crate) fn cache(&self, program: Program) -> Option<String> {
        let host = self.registry.host();
        (program == Program::Kaniko).then(|| format!("{host}/cache"))
    }

    /// Measures one command.
    pub(crate) fn measure(&self, invocation: &Invocation) -> Result<Sample, String> {
        measure(invocation, &self.scratch)
    }

    /// Runs one command, and measures nothing.
    pub(crate) fn run(&self, invocation: &Invocation) -> Result<(), String> {
        run(invocation, &self.scratch).map(drop)
    }

    /// Measures one build.
    pub(crate) fn build(&self, program: Program, job: &Job<'_>) -> Result<Sample, String> {
        self.measure(&self.programs.build(program, job)?)
    }

    /// Measures one build of a program that has nothing, into a registry that has nothing.
    pub(crate) fn cold(&self, program: Program, job: &Job<'_>) -> Result<Sample, String> {
        self.programs.reset(program, &self.scratch)?;
        if job.push {
            self.registry.empty()?;
        }
        self.build(program, job)
    }

    /// Does something with every builder that is there, in turn, as often as there are rounds. One
    /// that fails, or that has had its time, has no further turn. Afterwards all stores are emptied.
    pub(crate) fn in_turn(
        &self,
        rounds: usize,
        once: impl FnMut(Program) -> Result<Sample, String>,
    ) -> Vec<Row> {
        self.in_turn_of(&self.programs.builders(), rounds, once)
    }

    /// The builders that are there, without those for which there is a reason.
    pub(crate) fn there_but(
        &self,
        workload: &str,
        reason: impl Fn(Program) -> Option<&'static str>,
    ) -> Vec<Program> {
        let mut there = self.programs.builders();
        there.retain(|program| {
            let why = reason(*program);
            if let Some(why) = why {
                self.leave_out(format!("{workload}: {}", program.name()), why);
            }
            why.is_none()
        });
        there
    }

    /// The same with some programs only.
    pub(crate) fn in_turn_of(
        &self,
        programs: &[Program],
        rounds: usize,
        mut once: impl FnMut(Program) -> Result<Sample, String>,
    ) -> Vec<Row> {
        let empty = |program: &Program| Row {
            program: *program,
            samples: Vec::new(),
            failure: None,
            measured: None,
        };
        let mut rows: Vec<Row> = programs.iter().map(empty).collect();
        let mut times = vec![Duration::ZERO; rows.len()];
        for round in 1..=rounds {
            for (row, time) in rows.iter_mut().zip(&mut times) {
                if row.failure.is_some() || (self.rounds.is_none() && *time > patience(row.program))
                {
                    continue;
                }
                let began = Instant::now();
                let measured = once(row.program);
                *time += began.elapsed();
                match measured {
                    Ok(sample) => {
                        complain(&progress(round, rounds, row.program, &sample));
                        row.samples.push(sample);
                    }
                    // Nobody reads the rows of a workload that is given up.
                    Err(_) if interrupt::came() => return rows,
                    Err(message) => {
                        complain(&format!("  {} failed: {message}", row.program.name()));
                        row.failure = Some(message);
                        row.samples.clear();
                    }
                }
            }
        }
        self.reset(&rows);
        rows
    }

    /// Gives the disk back.
    fn reset(&self, rows: &[Row]) {
        for row in rows {
            if let Err(message) = self.programs.reset(row.program, &self.scratch) {
                complain(&format!("  could not empty its store: {message}"));
            }
        }
    }
}

/// How long a program may be busy with one workload before it has no further turn: a whole run has
/// to end while somebody waits for it. Does not count where the rounds are given.
const fn patience(program: Program) -> Duration {
    match program {
        Program::Kiln | Program::KilnRootless => Duration::from_mins(1),
        Program::BuildKit
        | Program::Docker
        | Program::Buildah
        | Program::Kaniko
        | Program::Builderd
        | Program::Mkfs => Duration::from_secs(20),
    }
}

fn progress(round: usize, rounds: usize, program: Program, sample: &Sample) -> String {
    format!(
        "  {round}/{rounds} {:<15} {:>9.1} ms, cpu {:>9.1} ms, peak {:>5} MB, read {} MB, written {} MB",
        program.name(),
        sample.wall.as_secs_f64() * 1e3,
        sample.cpu.as_secs_f64() * 1e3,
        sample.peak >> 20,
        sample.read >> 20,
        sample.written >> 20,
    )
}

/// What is left of a run when another without the parts is taken off; see
/// [`crate::model::Unit::Part`].
pub(crate) fn without(whole: Sample, base: Sample) -> Sample {
    Sample {
        wall: whole.wall.saturating_sub(base.wall),
        cpu: whole.cpu.saturating_sub(base.cpu),
        ..whole
    }
}

/// The middle of several samples, each figure for itself; the largest of the peaks.
pub(crate) fn median(samples: &[Sample]) -> Sample {
    fn middle<T: Ord + Copy + Default>(values: impl Iterator<Item = T>) -> T {
        let mut values: Vec<T> = values.collect();
        values.sort();
        values.get(values.len() / 2).copied().unwrap_or_default()
    }
    Sample {
        wall: middle::<Duration>(samples.iter().map(|sample| sample.wall)),
        cpu: middle::<Duration>(samples.iter().map(|sample| sample.cpu)),
        peak: samples.iter().map(|sample| sample.peak).max().unwrap_or(0),
        read: middle(samples.iter().map(|sample| sample.read)),
        written: middle(samples.iter().map(|sample| sample.written)),
    }
}

/// A folder that is removed when the value goes away.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes it, and empties it first.
    pub(crate) fn new(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => std::fs::create_dir_all(path).map_err(failed),
        }?;
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A few thousand files more or less in the scratch folder stop nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(milliseconds: u64, peak: u64) -> Sample {
        Sample {
            wall: Duration::from_millis(milliseconds),
            cpu: Duration::from_millis(milliseconds / 2),
            peak,
            ..Sample::default()
        }
    }

    #[test]
    fn the_median_is_of_times_and_the_largest_of_peaks() {
        let samples = [sample(30, 7), sample(10, 9), sample(20, 8)];
        assert_eq!(median(&samples), sample(20, 9));
        assert_eq!(median(&[]), Sample::default());
    }

    #[test]
    fn parts_are_what_is_left_of_times_only() {
        assert_eq!(without(sample(30, 7), sample(10, 9)), sample(20, 7));
        assert_eq!(without(sample(10, 7), sample(30, 9)), sample(0, 7));
    }
}
