//! `cargo xtask`: the project's own commands, in Rust, so that they run wherever kiln is built.
//!
//! Each command is a module with one entry function. What is deliberately absent: any knowledge of
//! how kiln works. These commands call `cargo`, `apt-get` and the `kiln` binary, as a person would.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program reports to its terminal"
)]

mod bench;
mod check;
mod compat;
mod counts;
mod fuzz;
mod hooks;
mod packages;
mod quickstart;
mod ranks;
mod run;
mod tally;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  tidy         check what the compiler does not: crate ranks, module headers, licences, file sizes
  check        formatting, lints, tidy and documentation; no test is run
  test         check, then every test; installs what the tests need where it may
  compat       run the tests of the language's and flags' rows, write docs/compatibility.md;
               with --check, compare it instead
  counts       count the instructions of the hot paths and compare them with benches/counts.toml;
               with --update, write it
  bench [NAME] measure kiln beside its peers; without names all of it, and write docs/benchmarks.md
               and what belongs to it; `bench --help` names the options
  quickstart   install what the host lacks, build kiln, make a base image, build and run an example
  fuzz [N]     run each fuzz target for N seconds (default 30); needs cargo-fuzz
  hooks        install a git hook that runs the quick checks before each commit";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["tidy"] => tidy::tidy(),
        ["check"] => check::check(),
        ["test"] => test::test(),
        ["compat"] => compat::compat(false),
        ["compat", "--check"] => compat::compat(true),
        ["counts"] => counts::counts(counts::Mode::Compare),
        ["counts", "--update"] => counts::counts(counts::Mode::Update),
        ["bench", words @ ..] => bench::bench(words),
        ["quickstart"] => quickstart::quickstart(),
        ["fuzz"] => fuzz::fuzz("30"),
        ["fuzz", seconds] => fuzz::fuzz(seconds),
        ["hooks"] => hooks::hooks(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
