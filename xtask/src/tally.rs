//! Counting what test runners report: passed, failed, skipped.
//!
//! A test that can't run on this machine prints `skipped: <test>: <what is missing>` to its
//! standard error and returns; the runner calls it passed. Here it is counted as skipped, so that
//! a green line never hides a test that did not run.

use std::collections::BTreeSet;
use std::fmt;

/// Whose summary lines count. nextest shows the output of each test's own process, where libtest
/// sums up that one test; counting both would count it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `cargo test`.
    Libtest,
    /// `cargo nextest run`.
    Nextest,
}

/// A sum over all runners. `Display` is the last line of `cargo xtask test`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
    skipped: BTreeSet<String>,
}

impl Tally {
    /// Counts one check that is not a test of a runner.
    pub(crate) fn check(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Takes one line of a test runner's output.
    pub(crate) fn line(&mut self, runner: Runner, line: &str) {
        let line = line.trim_start();
        if let Some(skipped) = line.strip_prefix("skipped: ") {
            self.skipped.insert(skipped.to_owned());
            return;
        }
        let (start, ignored) = match runner {
            Runner::Libtest => ("test result: ", " ignored"),
            Runner::Nextest => ("Summary [", " skipped"),
        };
        if let Some(result) = line.strip_prefix(start) {
            self.passed += number_before(result, " passed");
            self.failed += number_before(result, " failed") + number_before(result, " timed out");
            self.ignored += number_before(result, ignored);
        }
    }

    /// What could not run, one reason each.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = &str> {
        self.skipped.iter().map(String::as_str)
    }

    /// How many failed.
    pub(crate) fn failures(&self) -> usize {
        self.failed
    }

    /// Whether something failed.
    pub(crate) fn has_failures(&self) -> bool {
        self.failed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.skipped.len();
        let passed = self.passed.saturating_sub(skipped);
        let skipped = skipped + self.ignored;
        write!(
            f,
            "{passed} passed, {} failed, {skipped} skipped",
            self.failed
        )
    }
}

/// The number right before the first `word`, or 0.
fn number_before(text: &str, word: &str) -> usize {
    let Some((before, _)) = text.split_once(word) else {
        return 0;
    };
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(runner: Runner, lines: &[&str], expected: &str) {
        let mut tally = Tally::default();
        for line in lines {
            tally.line(runner, line);
        }
        assert_eq!(tally.to_string(), expected);
    }

    #[test]
    fn sums_libtest_results() {
        check(
            Runner::Libtest,
            &[
                "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
                "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out",
            ],
            "17 passed, 3 failed, 1 skipped",
        );
    }

    #[test]
    fn sums_nextest_results() {
        check(
            Runner::Nextest,
            &[
                "test result: ok. 1 passed; 0 failed",
                "     Summary [   1.203s] 120 tests run: 118 passed (1 slow), 2 failed, 3 skipped",
            ],
            "118 passed, 2 failed, 3 skipped",
        );
    }

    #[test]
    fn a_skipped_test_is_not_a_passed_one() {
        check(
            Runner::Libtest,
            &[
                "skipped: runs_in_docker: no `dockerd` on PATH",
                "    skipped: runs_in_docker: no `dockerd` on PATH",
                "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            ],
            "4 passed, 0 failed, 1 skipped",
        );
    }
}
