//! `cargo xtask bench`: kiln and its peers, measured side by side.
//!
//! A whole run writes `docs/benchmarks.md` and what belongs to it; what is less than that only
//! prints, unless `--write` says otherwise. What is measured, and how, is the business of the
//! crate `kiln-benches`.

use crate::packages;
use crate::run::{self, Outcome};

/// Where the pages are.
const PAGES: &str = "docs";

/// Builds kiln and the benchmarks, and runs these; the words are theirs but for `--write`, which
/// needs no folder here.
pub(crate) fn bench(words: &[&str]) -> Outcome {
    let words = arguments(words);
    let asks = ["--list", "--help", "-h"];
    if !words.iter().any(|word| asks.contains(word)) {
        install();
    }
    let packages = ["--package=kiln", "--package=kiln-benches"];
    let mut build = run::cargo(&["build", "--release", "--locked"]);
    run::run(build.args(packages))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = run::root().join(target).join("release/kiln-benches");
    // In this process's place: signals are the program's, and so is the exit code.
    run::replace_by(run::command(program).args(words))
}

/// What can't be installed is not fatal: what needs it is named as not compared.
fn install() {
    let needs = [packages::QUICKSTART, packages::BENCH].concat();
    if let Err(message) = packages::install(&needs) {
        eprintln!("warning: {message}");
        eprintln!("warning: peers and workloads that need these programs will be left out");
    }
    crate::test::add_user();
}

/// The words for `kiln-benches`: `--write` gets its folder, and a whole run gets `--write`.
fn arguments<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut all = Vec::new();
    for word in words {
        all.push(*word);
        if *word == "--write" {
            all.push(PAGES);
        }
    }
    if words.is_empty() {
        all.extend(["--write", PAGES]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_run_writes_without_being_asked() {
        assert_eq!(arguments(&[]), ["--write", "docs"]);
        assert_eq!(arguments(&["--quick"]), ["--quick"]);
        assert_eq!(
            arguments(&["--write", "steps"]),
            ["--write", "docs", "steps"]
        );
    }
}
