//! `cargo xtask fuzz`: each fuzz target for a while.
//!
//! Not part of `test`: it needs `cargo-fuzz`, and it has no end. libFuzzer's instrumentation needs a
//! compiler that takes unstable options: a nightly toolchain where there is one, otherwise the
//! toolchain at hand with `RUSTC_BOOTSTRAP=1`. Whoever sets `RUSTC_BOOTSTRAP` asks for the latter.
//! The address sanitizer is used where the toolchain has its runtime.
//!
//! A target begins with the texts in `fuzz/seeds/<target>` and the words in
//! `fuzz/dictionaries/<target>.dict`; what it learns stays in `fuzz/corpus`, what it finds in
//! `fuzz/artifacts`. A finding ends its target, and the others still run.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{self, Outcome};

/// Limits for every target: the longest input in bytes, the time in seconds that one may take, and
/// the memory in MiB.
const LIMITS: [&str; 3] = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048"];

/// Which compiler builds the targets.
#[derive(Clone, Copy)]
enum Toolchain {
    Nightly,
    /// The one at hand, told to take unstable options.
    Bootstrap,
}

/// Runs every target under `fuzz/fuzz_targets` for `seconds`.
pub(crate) fn fuzz(seconds: &str) -> Outcome {
    if !run::succeeds(&mut run::cargo(&["fuzz", "--version"])) {
        return Err("fuzzing needs cargo-fuzz\n\nhint: cargo install cargo-fuzz".to_owned());
    }
    let toolchain = Toolchain::find();
    let sanitizer = toolchain.sanitizer()?;
    let fuzz = |verb: &str| {
        let mut command = toolchain.cargo();
        command.args(["fuzz", verb, "--sanitizer", sanitizer]);
        command
    };
    run::run(&mut fuzz("build"))?;
    let mut failed = Vec::new();
    for target in targets()? {
        let mut command = fuzz("run");
        command.args(arguments(&target, seconds)?);
        if run::run(&mut command).is_err() {
            failed.push(target);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let names = failed.join(", ");
    Err(format!(
        "found something with: {names}\n\nhint: the inputs are in `fuzz/artifacts`"
    ))
}

impl Toolchain {
    fn find() -> Self {
        let is_asked_for = std::env::var_os("RUSTC_BOOTSTRAP").is_some();
        if !is_asked_for && run::succeeds(run::command("cargo").args(["+nightly", "--version"])) {
            Self::Nightly
        } else {
            Self::Bootstrap
        }
    }

    fn cargo(self) -> Command {
        self.tool("cargo")
    }

    fn tool(self, program: &str) -> Command {
        let mut command = run::command(program);
        match self {
            Self::Nightly => command.arg("+nightly"),
            Self::Bootstrap => command.env("RUSTC_BOOTSTRAP", "1"),
        };
        command
    }

    /// `address`, or `none` where the toolchain does not have that sanitizer's runtime.
    fn sanitizer(self) -> Outcome<&'static str> {
        let libraries = run::read(self.tool("rustc").args(["--print", "target-libdir"]))?;
        let entries = fs::read_dir(libraries.trim())
            .map_err(|error| format!("`{}`: {error}", libraries.trim()))?;
        let mut names = entries.flatten().map(|entry| entry.file_name());
        let is_there = names.any(|name| name.to_string_lossy().contains("_rt.asan"));
        Ok(if is_there { "address" } else { "none" })
    }
}

/// The names of the targets, sorted.
fn targets() -> Outcome<Vec<String>> {
    let folder = run::root().join("fuzz/fuzz_targets");
    let failed = |error| format!("`{}`: {error}", folder.display());
    let mut names = Vec::new();
    for target in fs::read_dir(&folder).map_err(failed)? {
        let path = target.map_err(failed)?.path();
        names.extend(
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

/// What `cargo fuzz run` is given: the target, what it has learnt, its seeds, and libFuzzer's flags.
fn arguments(target: &str, seconds: &str) -> Outcome<Vec<String>> {
    // The first folder is the one that is written to.
    let learnt = format!("fuzz/corpus/{target}");
    fs::create_dir_all(run::root().join(&learnt))
        .map_err(|error| format!("`{learnt}`: {error}"))?;
    let mut arguments = vec![target.to_owned(), learnt];
    let seeds = format!("fuzz/seeds/{target}");
    if is_there(&seeds) {
        arguments.push(seeds);
    }
    arguments.push("--".to_owned());
    arguments.push(format!("-max_total_time={seconds}"));
    arguments.extend(LIMITS.map(str::to_owned));
    let words = format!("fuzz/dictionaries/{target}.dict");
    if is_there(&words) {
        arguments.push(format!("-dict={words}"));
    }
    Ok(arguments)
}

fn is_there(path: &str) -> bool {
    run::root().join(Path::new(path)).exists()
}
