//! `cargo xtask fuzz`: each fuzz target for a while.
//!
//! Not part of `test`: it needs a nightly toolchain and `cargo-fuzz`, and it has no end.

use std::fs;

use crate::run::{self, Outcome};

/// Runs every target under `fuzz/fuzz_targets` for `seconds`.
pub(crate) fn fuzz(seconds: &str) -> Outcome {
    if !run::succeeds(run::command("cargo").args(["+nightly", "fuzz", "--version"])) {
        return Err("fuzzing needs a nightly toolchain and cargo-fuzz\n\n\
             hint: rustup toolchain install nightly && cargo install cargo-fuzz"
            .to_owned());
    }
    let folder = run::root().join("fuzz/fuzz_targets");
    let targets =
        fs::read_dir(&folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
    for target in targets {
        let target = target.map_err(|error| error.to_string())?.path();
        let Some(name) = target.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        let limit = format!("-max_total_time={seconds}");
        run::run(run::command("cargo").args(["+nightly", "fuzz", "run", name, "--", &limit]))?;
    }
    Ok(())
}
