//! `kiln doctor`: what this machine allows, and how to get what is missing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use kiln_sys::namespace::{Answer, Check, Grade, Probe, probe};
use serde_json::{Value, json};

use super::Invocation;
use crate::args::DoctorArgs;
use crate::error::{CliError, Exit};
use crate::style::{Style, Tone};
use crate::terminal::print;

pub(super) fn doctor(args: &DoctorArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let found = probe()?;
    let root = invocation.settings.root.display().to_string();
    if args.json {
        print(&format!("{:#}\n", as_json(&found, &root)))?;
    } else {
        print(&as_text(&found, &root, invocation.style))?;
    }
    // The documented meaning: 0 if a build could run.
    match found.grade {
        Some(_) => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::from(Exit::Resources.code())),
    }
}

fn as_text(found: &Probe, root: &str, style: Style) -> String {
    let mut text = String::new();
    let widest = found
        .checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or(0);
    for check in &found.checks {
        let name = check.name;
        _ = match &check.answer {
            Answer::Yes { detail } => {
                writeln!(
                    text,
                    "{}  {name:widest$}  {detail}",
                    style.paint(Tone::Success, "yes")
                )
            }
            Answer::No { reason, .. } => {
                writeln!(
                    text,
                    "{}   {name:widest$}  {reason}",
                    style.paint(Tone::Warning, "no")
                )
            }
        };
    }
    _ = writeln!(text, "\nthe store is at `{root}`");
    _ = match found.grade {
        Some(grade) => {
            writeln!(
                text,
                "builds run as: {}",
                style.paint(Tone::Success, describe(grade))
            )
        }
        None => writeln!(
            text,
            "{}",
            style.paint(Tone::Error, "no build can run here")
        ),
    };
    for remedy in remedies(&found.checks) {
        _ = writeln!(text, "{}: {remedy}", style.paint(Tone::Hint, "hint"));
    }
    text
}

const fn describe(grade: Grade) -> &'static str {
    match grade {
        Grade::Root => "root",
        Grade::RootlessMapped => "an ordinary user with subordinate ids",
        Grade::RootlessSingle => {
            "an ordinary user with a single id (a file of another owner is recorded, or refused)"
        }
    }
}

/// What to do, each once, in the order of the checks.
fn remedies(checks: &[Check]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let remedies = checks.iter().filter_map(|check| match &check.answer {
        Answer::No { remedy, .. } => remedy.as_deref(),
        Answer::Yes { .. } => None,
    });
    remedies.filter(|remedy| seen.insert(*remedy)).collect()
}

fn as_json(found: &Probe, root: &str) -> Value {
    let checks = found.checks.iter().map(|check| match &check.answer {
        Answer::Yes { detail } => json!({"name": check.name, "works": true, "detail": detail}),
        Answer::No { reason, remedy } => {
            json!({"name": check.name, "works": false, "reason": reason, "remedy": remedy})
        }
    });
    json!({
        "version": 1,
        "can_build": found.grade.is_some(),
        "grade": found.grade.map(Grade::name),
        "root": root,
        "checks": checks.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn found() -> Probe {
        let no = |name, reason: &str| Check {
            name,
            answer: Answer::No {
                reason: reason.to_owned(),
                remedy: Some("apt-get install -y uidmap".to_owned()),
            },
        };
        let yes = Check {
            name: "user namespaces",
            answer: Answer::Yes {
                detail: "allowed".to_owned(),
            },
        };
        Probe {
            grade: Some(Grade::RootlessSingle),
            checks: vec![
                yes,
                no("newuidmap", "not installed"),
                no("newgidmap", "not installed"),
            ],
        }
    }

    #[test]
    fn the_text_ends_with_what_to_do() {
        expect![[r#"
            yes  user namespaces  allowed
            no   newuidmap        not installed
            no   newgidmap        not installed

            the store is at `/var/lib/kiln`
            builds run as: an ordinary user with a single id (a file of another owner is recorded, or refused)
            hint: apt-get install -y uidmap
        "#]].assert_eq(&as_text(&found(), "/var/lib/kiln", Style::plain()));
    }

    #[test]
    fn the_same_as_json() {
        expect![[r#"
            {
              "can_build": true,
              "checks": [
                {
                  "detail": "allowed",
                  "name": "user namespaces",
                  "works": true
                },
                {
                  "name": "newuidmap",
                  "reason": "not installed",
                  "remedy": "apt-get install -y uidmap",
                  "works": false
                },
                {
                  "name": "newgidmap",
                  "reason": "not installed",
                  "remedy": "apt-get install -y uidmap",
                  "works": false
                }
              ],
              "grade": "rootless (single id)",
              "root": "/r",
              "version": 1
            }
        "#]]
        .assert_eq(&format!("{:#}\n", as_json(&found(), "/r")));
    }
}
