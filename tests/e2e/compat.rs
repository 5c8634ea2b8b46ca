//! The rows of the Dockerfile language and of the build surface: each is shown by its effect.
//!
//! What there is stands in [`rows`] and nowhere else. A row's test is named after the row, runs as
//! root and as an ordinary user, and says what came out: it works, it is missing (then the error is
//! a clear one), or it differs. Where the variable `KILN_COMPAT_RESULTS` names a folder, the
//! outcome is written there; `cargo xtask compat` makes `docs/compatibility.md` from these files.

mod add;
mod arguments;
mod bake;
mod build_flags;
mod caches;
mod copy;
mod expansion;
mod instructions;
mod lab;
mod lint;
pub(crate) mod net;
mod others;
mod outputs;
mod reproducible;
mod rows;
mod run;
mod sandbox;
mod stages;

use std::any::type_name;
use std::fs;
use std::path::Path;

use serde_json::json;
use testkit::{Absent, Program, Who};

use lab::Lab;

/// What a row comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As BuildKit does it.
    Works,
    /// It is not there, and this is why.
    Missing(String),
    /// It is there, and this is what BuildKit does in another way.
    Differs(String),
}

/// Shows one row, as root and as an ordinary user. The row is known by the name of the test that
/// calls this.
#[track_caller]
fn row<F: Fn(&Lab) -> Result<(), Absent>>(body: F) {
    let test = type_name::<F>().trim_end_matches("::{{closure}}");
    let (_, test) = test.split_once("::").unwrap();
    let row = rows::find(test).unwrap_or_else(|| panic!("no row has the test `{test}`"));
    let slug = rows::slug(row.name).replace('_', "-");
    let mut outcome = None;
    for who in [Who::Root, Who::User] {
        let tried = Lab::new(who, &slug).and_then(|lab| {
            body(&lab)?;
            Ok(lab.outcome())
        });
        match tried {
            Ok(seen) => {
                let before = outcome.get_or_insert_with(|| seen.clone());
                assert_eq!(*before, seen, "root and user see different things");
            }
            Err(absent) => testkit::skip(&format!("{test} as {}", who.name()), &absent),
        }
    }
    if let (Some(folder), Some(outcome)) = (std::env::var_os("KILN_COMPAT_RESULTS"), outcome) {
        record(Path::new(&folder), &row, test, &outcome);
    }
}

fn record(folder: &Path, row: &rows::Row, test: &str, outcome: &Outcome) {
    let (state, note) = match outcome {
        Outcome::Works => ("works", ""),
        Outcome::Missing(reason) => ("missing", reason.as_str()),
        Outcome::Differs(how) => ("differs", how.as_str()),
    };
    let result = json!({
        "test": test,
        "section": row.section,
        "title": row.title,
        "row": row.name,
        "place": row.place,
        "state": state,
        "note": note,
    });
    let name = format!("{}.json", test.replace("::", "."));
    fs::write(folder.join(name), result.to_string()).unwrap();
}

#[test]
fn every_row_has_a_test_and_every_test_a_row() {
    // Not by its path: a file that is built anew takes the place of the one that runs.
    let listed = Program::new("/proc/self/exe")
        .args(["--list", "--format", "terse", "compat::"])
        .run()
        .ok();
    let listed = listed.text();
    let mut tests: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|test| test.starts_with("compat::") && test.matches("::").count() == 2)
        .collect();
    tests.sort_unstable();
    let mut rows: Vec<String> = rows::all().map(|row| row.test()).collect();
    rows.sort_unstable();
    assert_eq!(tests, rows);
}
