//! `cargo xtask test`: the checks and every test, and one line at the end that sums them up.
//!
//! Unit tests run under `cargo nextest` where that is installed, otherwise under `cargo test`. The
//! end-to-end tests always run in one process, since they share a base image and a Docker daemon.

use crate::check;
use crate::compat;
use crate::counts;
use crate::packages;
use crate::run::{self, Outcome};
use crate::tally::{Runner, Tally};

/// The ordinary user of the end-to-end tests; `testkit` knows the same name.
const USER: &str = "kiln-test";

/// Runs everything. Fails when something failed; a skipped test is not a failure.
pub(crate) fn test() -> Outcome {
    install();
    let mut tally = Tally::default();
    check::check_into(&mut tally)?;
    unit_tests(&mut tally)?;
    end_to_end_tests(&mut tally)?;
    counts::counts_into(&mut tally);
    for skipped in tally.skipped() {
        eprintln!("skipped: {skipped}");
    }
    println!("{tally}");
    if tally.has_failures() {
        return Err("some tests failed".to_owned());
    }
    Ok(())
}

/// What can't be installed is not fatal: the tests that need it say so, and are counted.
fn install() {
    let needs = [packages::QUICKSTART, packages::TESTS, packages::COUNTS].concat();
    if let Err(message) = packages::install(&needs) {
        eprintln!("warning: {message}");
        eprintln!("warning: tests that need these programs will be skipped");
    }
    add_user();
}

/// Adds the ordinary user where there is none; without it, what runs as this one is skipped.
pub(crate) fn add_user() {
    if run::is_root() && !run::succeeds(run::command("id").arg(USER)) {
        eprintln!("Adding the user `{USER}`: what runs kiln without root runs it as this one");
        let mut useradd = run::command("useradd");
        useradd.args(["--create-home", "--shell=/bin/sh", USER]);
        if let Err(message) = run::run(&mut useradd) {
            eprintln!("warning: {message}");
        }
    }
}

fn unit_tests(tally: &mut Tally) -> Outcome {
    let everything_else = [
        "--workspace",
        "--exclude",
        "kiln-tests",
        "--locked",
        "--no-fail-fast",
    ];
    if run::succeeds(&mut run::cargo(&["nextest", "--version"])) {
        let mut nextest = run::cargo(&["nextest", "run"]);
        nextest.args(everything_else);
        nextest.args([
            "--color=never",
            "--status-level=fail",
            "--success-output=final",
        ]);
        // Passing tests are shown in full only for their `skipped:` lines.
        watch(tally, Runner::Nextest, &mut nextest)?;
        let mut doc = run::cargo(&["test", "--doc", "--color=never"]);
        doc.args(everything_else);
        return watch(tally, Runner::Libtest, &mut doc);
    }
    let mut test = run::cargo(&["test", "--color=never"]);
    test.args(everything_else).args(["--", "--show-output"]);
    watch(tally, Runner::Libtest, &mut test)
}

fn end_to_end_tests(tally: &mut Tally) -> Outcome {
    let built = run::run(&mut run::cargo(&["build", "--package=kiln", "--locked"]));
    if let Err(message) = built {
        eprintln!("error: {message}");
        tally.check(false);
        return Ok(());
    }
    let results = compat::new_folder()?;
    let mut test = run::cargo(&["test", "--package=kiln-tests", "--locked", "--color=never"]);
    test.args(["--no-fail-fast", "--", "--show-output"]);
    test.env(compat::VARIABLE, &results);
    watch(tally, Runner::Libtest, &mut test)?;
    let compared = compat::compare(&results);
    if let Err(message) = &compared {
        eprintln!("error: {message}");
    }
    tally.check(compared.is_ok());
    Ok(())
}

/// Runs a test runner and counts what it says. A runner that fails without counting a failed test
/// (it did not compile, or it crashed) counts as one failure.
fn watch(tally: &mut Tally, runner: Runner, command: &mut std::process::Command) -> Outcome {
    let mut own = tally.clone();
    let succeeded = run::watch(command, |line| own.line(runner, line))?;
    if !succeeded && own.failures() == tally.failures() {
        eprintln!("error: `{}` failed", run::display(command));
        own.check(false);
    }
    *tally = own;
    Ok(())
}
