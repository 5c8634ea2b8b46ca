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
//!
//! With `--write`, each workload's result is in the pages before the next one begins; a workload
//! that fails keeps its older table. Ctrl-C, SIGTERM and SIGHUP give the workload under way up, end
//! all that was started, keep what was measured before, and exit with 128 and the signal's number.
//! Tables that were measured on another day or machine say so: see [`merge`].
//!
//! Deliberately absent: pass or fail. A benchmark is read, not asserted; noisy machines would make
//! it lie.

mod bases;
mod bench;
mod family;
mod inputs;
mod interrupt;
mod machine;
mod measure;
mod merge;
mod model;
mod options;
mod output;
mod programs;
mod progress;
mod report;
mod together;
mod workloads;

use std::ffi::OsString;
use std::process::ExitCode;

use bench::Bench;
use measure::complain;
use model::{Growth, Report, Table};
use options::Options;
use output::Output;
use progress::Progress;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match words.split_first() {
        Some((word, words)) if word == measure::HELPER => return measure::helper(words),
        Some((word, words)) if word == together::HELPER => return together::helper(words),
        _ => {}
    }
    let words = words.iter().map(|word| word.to_string_lossy().into_owned());
    let ended = options::parse(words).and_then(|options| run(&options));
    if let Err(error) = &ended {
        complain(&format!("error: {error}"));
    }
    match (interrupt::exit_code(), ended) {
        (Some(code), _) => code.into(),
        (None, Ok(())) => ExitCode::SUCCESS,
        (None, Err(_)) => ExitCode::FAILURE,
    }
}

fn run(options: &Options) -> Result<(), String> {
    if options.list {
        output::list();
        return Ok(());
    }
    let _watch = interrupt::watch()?;
    let mut output = Output::open(options)?;
    let bench = Bench::start(options)?;
    let mut report = Report {
        machine: machine::describe(&bench.scratch),
        programs: bench.programs.facts(),
        tables: Vec::new(),
        growths: Vec::new(),
        left_out: Vec::new(),
    };
    let progress = measure_all(&bench, options, &mut report, &mut output);
    drop(bench);
    let ended = output.end(&report);
    if let Some(ending) = progress.ending() {
        complain(&ending);
    }
    ended
}

/// What a workload found.
enum Found {
    Table(Table),
    Growth(Growth),
}

/// Runs the workloads that are wanted. One that fails is left out.
fn measure_all(
    bench: &Bench,
    options: &Options,
    report: &mut Report,
    output: &mut Output,
) -> Progress {
    let names: Vec<&str> = workloads::names()
        .filter(|name| options.wants(name))
        .collect();
    progress::each(
        &names,
        |name| measure_one(bench, name),
        |name, found| {
            match found {
                Ok(Found::Table(table)) => report.tables.push(table),
                Ok(Found::Growth(growth)) => report.growths.push(growth),
                Err(why) => bench.leave_out(name, why),
            }
            report.left_out.clone_from(&bench.left_out.borrow());
            output.keep(report);
        },
        interrupt::came,
        complain,
    )
}

fn measure_one(bench: &Bench, name: &str) -> Result<Found, String> {
    let table = workloads::ALL.iter().find(|it| it.name == name);
    let growth = workloads::GROWING.iter().find(|it| it.name == name);
    match (table, growth) {
        (Some(workload), _) => (workload.run)(bench).map(Found::Table),
        (None, Some(growing)) => (growing.run)(bench).map(Found::Growth),
        (None, None) => Err("there is no such workload".to_owned()),
    }
}
