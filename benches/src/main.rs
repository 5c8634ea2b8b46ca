//! Measures the kiln program, and beside it whatever peers the machine has, on the same inputs in
//! turn: A B A B. Prints Markdown.
//!
//! ```text
//! cargo build --release && cargo run --release -p kiln-benches [-- NAME...]
//! ```
//!
//! Figures are of whole processes: wall time, and the peak resident memory of the largest process
//! that the command started, itself included. A peer that is not there is named as not compared.
//! Deliberately absent: pass or fail. A benchmark is read, not asserted; noisy machines would make
//! it lie.

mod measure;
#[expect(dead_code, reason = "the harness that fills it in is being written")]
mod model;
mod tools;
mod workloads;

use std::process::ExitCode;

use tools::Tools;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &[String]) -> Result<(), String> {
    let scratch =
        tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let tools = Tools::find(scratch.path())?;
    say(&tools.describe());
    for workload in workloads::ALL {
        if wanted.is_empty() || wanted.iter().any(|name| name == workload.name) {
            say(&(workload.run)(&tools, scratch.path())?);
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn say(text: &str) {
    println!("{text}");
}
