//! `cargo xtask compat`: `docs/compatibility.md` from the results of the tests that show each row of
//! the Dockerfile language and of the build surface.
//!
//! The tests write one small JSON file each into a folder. What a row's state is, nobody writes by
//! hand: neither here nor in the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{self, Outcome};

/// The variable that tells the tests where their results go.
pub(crate) const VARIABLE: &str = "KILN_COMPAT_RESULTS";

const PAGE: &str = "docs/compatibility.md";

const HEAD: &str = "\
# What of the Dockerfile language and of `docker buildx` kiln has

Each row has a test that shows it by its effect, as root and as an ordinary user.
`cargo xtask compat` writes this page from those tests' results, and `cargo xtask test` fails when it is not up to date; so don't edit it.

*works*: as in BuildKit and buildx. *differs*: it is there, and the note says in what it is another way. *missing*: kiln says so in a clear error, and the note says why.
Tests are in `tests/e2e/compat`.
";

/// What one test said about its row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    place: u64,
    section: String,
    title: String,
    name: String,
    state: String,
    note: String,
    test: String,
}

/// Runs the rows' tests and writes the page, or compares it.
pub(crate) fn compat(check: bool) -> Outcome {
    let folder = new_folder()?;
    run::run(&mut run::cargo(&["build", "--package=kiln", "--locked"]))?;
    let mut test = run::cargo(&["test", "--package=kiln-tests", "--locked"]);
    test.args(["--no-fail-fast", "--", "compat::"]);
    let tested = run::run(test.env(VARIABLE, &folder));
    let compared = if check {
        compare(&folder)
    } else {
        write(&folder)
    };
    tested.and(compared)
}

/// An empty folder for results.
pub(crate) fn new_folder() -> Outcome<PathBuf> {
    let folder = run::root().join("target/compat-results");
    let emptied = match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(&folder),
    };
    emptied.map_err(|error| format!("could not empty `{}`: {error}", folder.display()))?;
    Ok(folder)
}

/// Fails unless the page says what the results say. A row whose test could not run on this machine
/// is left as it stands.
pub(crate) fn compare(folder: &Path) -> Outcome {
    let rows = read_rows(folder)?;
    let page = read_page()?;
    let wrong = differences(&page, &rows);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "`{PAGE}` is not what the tests say\n{wrong}\nhint: cargo xtask compat"
    ))
}

fn write(folder: &Path) -> Outcome {
    let rows = read_rows(folder)?;
    let path = run::root().join(PAGE);
    std::fs::write(&path, render(&rows))
        .map_err(|error| format!("could not write `{PAGE}`: {error}"))
}

fn read_page() -> Outcome<String> {
    std::fs::read_to_string(run::root().join(PAGE))
        .map_err(|error| format!("could not read `{PAGE}`: {error}"))
}

fn read_rows(folder: &Path) -> Outcome<Vec<Row>> {
    let failed = |error: std::io::Error| format!("could not read `{}`: {error}", folder.display());
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let text = std::fs::read_to_string(entry.map_err(failed)?.path()).map_err(failed)?;
        let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        rows.push(row(&value));
    }
    rows.sort_by_key(|row| row.place);
    Ok(rows)
}

fn row(value: &Value) -> Row {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Row {
        place: value["place"].as_u64().unwrap_or_default(),
        section: text("section"),
        title: text("title"),
        name: text("row"),
        state: text("state"),
        note: text("note"),
        test: text("test"),
    }
}

fn render(rows: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(row.state.as_str()).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let _ = writeln!(page, "\n{} rows: {}.", rows.len(), counts.join(", "));
    let mut section = "";
    for row in rows {
        if row.section != section {
            section = &row.section;
            let _ = writeln!(page, "\n## {section} {}\n", row.title);
            page.push_str("| row | state | note | test |\n|---|---|---|---|\n");
        }
        page.push_str(&line(row));
    }
    page
}

/// One row of the table; what is between bars may have none itself.
fn line(row: &Row) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let test = row.test.strip_prefix("compat::").unwrap_or(&row.test);
    let (name, note) = (cell(&row.name), cell(&row.note));
    format!("| {name} | {} | {note} | `{test}` |\n", row.state)
}

fn differences(page: &str, rows: &[Row]) -> String {
    let mut wrong = String::new();
    for row in rows {
        let line = line(row);
        if !page.contains(&line) {
            let _ = write!(wrong, "  it lacks: {line}");
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let values = [
            r#"{"test":"compat::run::a","section":"1.2","title":"Flags","row":"a|b","place":0,"state":"works","note":""}"#,
            r#"{"test":"compat::run::c","section":"2.1","title":"Build","row":"c","place":1,"state":"missing","note":"no"}"#,
        ];
        values
            .iter()
            .map(|text| row(&serde_json::from_str(text).unwrap()))
            .collect()
    }

    #[test]
    fn rows_are_tables_by_section() {
        let page = render(&rows());
        let (_, tables) = page.split_once("2 rows: 1 missing, 1 works.\n").unwrap();
        assert_eq!(
            tables,
            "\n## 1.2 Flags\n\n| row | state | note | test |\n|---|---|---|---|\n\
             | a\\|b | works |  | `run::a` |\n\
             \n## 2.1 Build\n\n| row | state | note | test |\n|---|---|---|---|\n\
             | c | missing | no | `run::c` |\n"
        );
    }

    #[test]
    fn a_changed_state_is_a_difference_and_a_row_that_did_not_run_is_none() {
        let page = render(&rows());
        let mut changed = rows();
        assert_eq!(differences(&page, &changed[..1]), "");
        changed[1].state = "works".to_owned();
        assert_eq!(
            differences(&page, &changed),
            "  it lacks: | c | works | no | `run::c` |\n"
        );
    }
}
