//! `cargo xtask check`: everything that can be said about the code without running it.

use std::process::Command;

use crate::run::{self, Outcome};
use crate::tally::Tally;
use crate::tidy;

/// Runs all checks, and fails when one of them does.
pub(crate) fn check() -> Outcome {
    let mut tally = Tally::default();
    check_into(&mut tally)?;
    if tally.has_failures() {
        Err("some checks failed".to_owned())
    } else {
        Ok(())
    }
}

/// Runs all checks and counts each; goes on after a failure.
pub(crate) fn check_into(tally: &mut Tally) -> Outcome {
    need_components()?;
    let checks = [
        run::run(&mut run::cargo(&["fmt", "--all", "--check"])),
        tidy::tidy(),
        run::run(&mut run::cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ])),
        run::run(&mut documentation()),
    ];
    for result in checks {
        if let Err(message) = &result {
            eprintln!("error: {message}");
        }
        tally.check(result.is_ok());
    }
    Ok(())
}

fn documentation() -> Command {
    let mut doc = run::cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    doc
}

fn need_components() -> Outcome {
    for component in ["fmt", "clippy"] {
        if !run::succeeds(&mut run::cargo(&[component, "--version"])) {
            return Err(format!(
                "`cargo {component}` is not installed\n\nhint: rustup component add rustfmt clippy"
            ));
        }
    }
    Ok(())
}
