//! Measures the kiln program, and beside it whatever peers the machine has, on the same inputs in
//! turn: A B A B. Prints Markdown, or writes the pages of `docs`.
//!
//! ```text
//! cargo xtask bench [--quick] [--rounds N] [--only PROGRAM,...] [--write DIR] [NAME...]
//! ```
//!
//! Figures are of whole commands: wall time, processor time, peak resident memory of the largest
//! process, bytes read from and written to devices; a daemon's work is counted as its client's. A
//! peer that is not there is named as not compared, with the reason.
//! Deliberately absent: pass or fail. A benchmark is read, not asserted; noisy machines would make
//! it lie.

mod bases;
mod bench;
mod family;
mod inputs;
mod machine;
mod measure;
mod model;
mod options;
mod output;
mod programs;
mod report;
mod together;
mod workloads;

use std::cell::RefCell;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use bases::Bases;
use bench::Bench;
use measure::complain;
use model::{Growth, Report, Table};
use options::Options;
use programs::{Programs, Registry};
use testkit::Scratch;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match words.split_first() {
        Some((word, words)) if word == measure::HELPER => return measure::helper(words),
        Some((word, words)) if word == together::HELPER => return together::helper(words),
        _ => {}
    }
    let words = words.iter().map(|word| word.to_string_lossy().into_owned());
    match options::parse(words).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    if options.list {
        output::list();
        return Ok(());
    }
    let scratch = Scratch::folder("bench");
    let bench = Bench {
        programs: Programs::start(&scratch, &options.programs)?,
        bases: Bases::start(&scratch)?,
        registry: Registry::start(&scratch, "registry")?,
        quick: options.quick,
        rounds: options.rounds,
        left_out: RefCell::new(Vec::new()),
        scratch,
    };
    let tables = tables(&bench, options);
    let growths = growths(&bench, options);
    let report = Report {
        machine: machine::describe(&bench.scratch),
        programs: bench.programs.facts(),
        tables,
        growths,
        left_out: bench.left_out.take(),
    };
    drop(bench);
    output::show(report, options)
}

fn tables(bench: &Bench, options: &Options) -> Vec<Table> {
    let wanted = workloads::ALL.iter();
    let wanted = wanted.filter(|workload| options.wants(workload.name));
    wanted
        .filter_map(|workload| one(bench, workload.name, workload.run))
        .collect()
}

fn growths(bench: &Bench, options: &Options) -> Vec<Growth> {
    let wanted = workloads::GROWING.iter();
    let wanted = wanted.filter(|growing| options.wants(growing.name));
    wanted
        .filter_map(|growing| one(bench, growing.name, growing.run))
        .collect()
}

/// Runs one workload; one that fails is left out.
fn one<T>(bench: &Bench, name: &str, run: fn(&Bench) -> Result<T, String>) -> Option<T> {
    complain(&format!("{name}:"));
    let began = Instant::now();
    let found = run(bench).map_err(|message| bench.leave_out(name, message));
    complain(&format!("  done in {:.0} s", began.elapsed().as_secs_f64()));
    found.ok()
}
