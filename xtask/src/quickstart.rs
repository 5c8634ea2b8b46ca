//! `cargo xtask quickstart`: from a fresh Debian machine to a running image that kiln built.
//!
//! The steps are those of the README, with their own commands shown, so that the reader can repeat
//! them by hand.

use std::fs;

use crate::packages;
use crate::run::{self, Outcome};

const BASE: &str = "debian:bookworm";
const EXAMPLE: &str = "hello";

/// Does it all; stops at the first thing that fails.
pub(crate) fn quickstart() -> Outcome {
    say("1. What the host needs");
    packages::install(packages::QUICKSTART)?;
    if !run::is_root() {
        need_subordinate_ids()?;
    }

    say("2. Build kiln");
    run::run(&mut run::cargo(&["build", "--package=kiln", "--locked"]))?;

    say("3. Make a base image from Debian's packages, without a registry");
    if run::succeeds(kiln().args(["inspect", BASE])) {
        eprintln!("{BASE} is in the store already");
    } else {
        run::run(kiln().args(["bootstrap", BASE]))?;
    }

    say("4. Build examples/hello from it");
    run::run(kiln().args(["build", "--tag", EXAMPLE, "examples/hello"]))?;

    say("5. Run the result");
    run::run(kiln().args(["run", "--rm", EXAMPLE]))?;

    say("Done. Next: `kiln images`, `kiln --help`, or a Dockerfile of your own");
    eprintln!("kiln is at {}", kiln_path().display());
    Ok(())
}

fn say(heading: &str) {
    eprintln!("\n== {heading}");
}

fn kiln_path() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    run::root().join(target).join("debug/kiln")
}

fn kiln() -> std::process::Command {
    run::command(kiln_path())
}

/// Ids beyond the user's own are what a Debian image's files belong to.
fn need_subordinate_ids() -> Outcome {
    let user = run::read(run::command("id").arg("-un"))?;
    let user = user.trim();
    let id = run::read(run::command("id").arg("-u"))?;
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        let names_the_user = |line: &str| {
            let name = line.split(':').next().unwrap_or_default();
            name == user || name == id.trim()
        };
        if !text.lines().any(names_the_user) {
            return Err(format!(
                "`{user}` has no subordinate ids in `{file}`\n\n\
                 hint: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            ));
        }
    }
    Ok(())
}
