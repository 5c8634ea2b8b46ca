//! Reading tables, and comparing them with kiln's answers.

use std::collections::BTreeMap;
use std::fs;

use super::{Lets, folder};

/// Characters that a line of a table can't have or show, and what stands for them.
const PICTURES: [(&str, &str); 10] = [
    ("\n", "␤"),
    ("\t", "␉"),
    ("\r", "␍"),
    ("\u{b}", "␋"),
    ("\u{c}", "␌"),
    ("\0", "␀"),
    ("\u{feff}", "‹BOM›"),
    ("\u{a0}", "‹NBSP›"),
    ("", "∅"),
    (" ", "␠"),
];

/// A text as a cell.
pub(crate) fn show(text: &str) -> String {
    if text.is_empty() {
        return "∅".to_owned();
    }
    let mut cell = text.to_owned();
    for (character, picture) in &PICTURES[..7] {
        cell = cell.replace(character, picture);
    }
    if let Some(rest) = cell.strip_prefix(' ') {
        cell = format!("␠{rest}");
    }
    if let Some(rest) = cell.strip_suffix(' ') {
        cell = format!("{rest}␠");
    }
    cell
}

/// A cell as the text that it stands for.
fn read(cell: &str) -> String {
    let mut text = cell.to_owned();
    for (character, picture) in PICTURES {
        text = text.replace(picture, character);
    }
    text
}

/// Where kiln answers otherwise than BuildKit, on purpose: by input the answer.
fn differences(table: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder().join("differences.txt")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows = lines.filter_map(|line| {
        let (name, rest) = line.split_once('\t').unwrap();
        let (input, answer) = rest.split_once(" ⇒ ").unwrap();
        (name == table).then(|| (input.to_owned(), answer.to_owned()))
    });
    rows.collect()
}

/// Collects what differs, and says all of it at once.
struct Comparison {
    table: &'static str,
    on_purpose: BTreeMap<String, String>,
    failed: Vec<String>,
    rows: usize,
}

impl Comparison {
    fn new(table: &'static str) -> Self {
        let on_purpose = differences(table);
        Self {
            table,
            on_purpose,
            failed: Vec::new(),
            rows: 0,
        }
    }

    fn row(&mut self, input: &str, expected: &str, answer: &str, is_same: bool) {
        self.rows += 1;
        match self.on_purpose.remove(input) {
            Some(ours) if ours == answer && !is_same => {}
            Some(ours) if is_same => {
                self.failed
                    .push(format!("{input}\n    no longer differs ({ours})"));
            }
            Some(ours) => {
                self.failed.push(format!(
                    "{input}\n    expected {ours}\n    got      {answer}"
                ));
            }
            None if is_same => {}
            None => {
                self.failed.push(format!(
                    "{input}\n    BuildKit {expected}\n    kiln     {answer}"
                ));
            }
        }
    }

    fn finish(self, least: usize) {
        let (table, rows) = (self.table, self.rows);
        assert!(rows >= least, "{table} has only {rows} rows of {least}");
        let unknown: Vec<_> = self.on_purpose.keys().collect();
        assert!(unknown.is_empty(), "not in {table}: {unknown:?}");
        let failed = self.failed.len();
        assert!(
            failed == 0,
            "{failed} of {rows} rows of {table}:\n{}",
            self.failed.join("\n")
        );
    }
}

/// Compares each row of a table, whose first `inputs` columns are the input, with the answer that is
/// computed from its decoded cells. A table has at least `least` rows.
#[track_caller]
pub(crate) fn check(
    table: &'static str,
    inputs: usize,
    least: usize,
    answer: impl Fn(&[String], &Lets) -> String,
) {
    let text = fs::read_to_string(folder().join(table).with_extension("txt")).unwrap();
    let mut lets = Lets::new();
    let mut comparison = Comparison::new(table);
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("# ") || line == "#" {
            continue;
        }
        if let Some((name, value)) = line
            .strip_prefix("let ")
            .and_then(|set| set.split_once('='))
        {
            lets.insert(name.to_owned(), read(&value.replace('∅', "")));
            continue;
        }
        let cells: Vec<&str> = line.split('\t').collect();
        let (input, expected) = (cells[..inputs].join("\t"), cells[inputs..].join("\t"));
        let decoded: Vec<String> = cells.iter().map(|cell| read(cell)).collect();
        let got = answer(&decoded, &lets);
        comparison.row(&input, &expected, &got, got == expected);
    }
    comparison.finish(least);
}

/// Compares each file of a table with what is computed from it: its lines, or the numbers of the
/// lines that have errors.
#[track_caller]
pub(crate) fn check_files(
    table: &'static str,
    least: usize,
    answer: impl Fn(&str) -> Result<Vec<String>, Vec<usize>>,
) {
    let text = fs::read_to_string(folder().join(table).with_extension("txt")).unwrap();
    let mut comparison = Comparison::new(table);
    for case in text.split("\n=== ").skip(1) {
        let (name, body) = case.split_once('\n').unwrap();
        let with = |mark: char| {
            let lines = body.lines().filter_map(move |line| line.strip_prefix(mark));
            lines.map(|line| line.strip_prefix(' ').unwrap_or(line))
        };
        let file: Vec<String> = with('|').map(read).collect();
        let expected: Vec<&str> = with('>').collect();
        let error = with('!').next();
        let got = answer(&file.join("\n"));
        let is_same = match (&got, error) {
            (Ok(lines), None) => *lines == expected,
            (Err(lines), Some(error)) => is_in(lines, error),
            _ => false,
        };
        let expected = error.map_or(expected.join(" / "), |lines| format!("! {lines}"));
        let got = match got {
            Ok(lines) => lines.join(" / "),
            Err(lines) => format!("! {lines:?}"),
        };
        comparison.row(name, &expected, &got, is_same);
    }
    comparison.finish(least);
}

/// Whether one of the numbers is in the range `first-last`, or in any where that is `?`.
fn is_in(numbers: &[usize], range: &str) -> bool {
    if range == "?" {
        return true;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let range = first.parse().unwrap()..=last.parse().unwrap();
    numbers.iter().any(|number| range.contains(number))
}
