//! Where a report goes: to the terminal at the end, or into the pages of `docs`, after each
//! workload.
//!
//! A file of the pages is either the older or the newer one, whatever ends this program.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::measure::complain;
use crate::merge::{Scope, merge};
use crate::model::Report;
use crate::options::Options;
use crate::report;
use crate::workloads;

/// Where people write what the figures of a workload mean, one file for each.
const NOTES: &str = "benches/notes";

/// Prints the names of all workloads.
pub(crate) fn list() {
    for name in workloads::names() {
        say(name);
    }
}

/// Where the report of a run goes.
#[derive(Debug)]
pub(crate) struct Output {
    folder: Option<PathBuf>,
    /// What is there already.
    old: Option<Report>,
    scope: Scope,
    /// Why the newest results are not there yet.
    unwritten: Option<String>,
}

impl Output {
    /// Reads what is there already; it is better to know before an hour of measuring that it can't
    /// be read.
    pub(crate) fn open(options: &Options) -> Result<Self, String> {
        let old = match &options.write {
            Some(folder) => read(&folder.join("benchmarks.json"))?,
            None => None,
        };
        let scope = if options.is_part() {
            Scope::Part
        } else {
            Scope::Whole
        };
        Ok(Self {
            folder: options.write.clone(),
            old,
            scope,
            unwritten: None,
        })
    }

    /// Writes what was found so far into the pages, if there are any. A failure is told, and the
    /// next call tries again.
    pub(crate) fn keep(&mut self, report: &Report) {
        let Some(folder) = &self.folder else {
            return;
        };
        let report = match &self.old {
            Some(old) => merge(old.clone(), report.clone(), self.scope),
            None => report.clone(),
        };
        self.unwritten = write_all(folder, &report).err();
        if let Some(why) = &self.unwritten {
            complain(&format!("  could not be written: {why}"));
        }
    }

    /// Prints what is not in the pages.
    pub(crate) fn end(self, report: &Report) -> Result<(), String> {
        let is_empty = report.tables.is_empty() && report.growths.is_empty();
        match &self.folder {
            _ if is_empty && report.left_out.is_empty() => {}
            Some(folder) if self.unwritten.is_none() => {
                let page = folder.join("benchmarks.md");
                complain(&format!("written: {}", page.display()));
            }
            _ => say(&report::markdown(report, &notes)),
        }
        self.unwritten.map_or(Ok(()), Err)
    }
}

fn read(json: &Path) -> Result<Option<Report>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("`{}`: {error}", json.display());
    match fs::read_to_string(json) {
        Ok(text) => report::parse(&text).map(Some).map_err(|why| failed(&why)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

fn write_all(folder: &Path, report: &Report) -> Result<(), String> {
    write(&folder.join("benchmarks.json"), &report::json(report))?;
    let page = report::markdown(report, &notes);
    write(&folder.join("benchmarks.md"), &page)?;
    for (name, chart) in report::charts(report) {
        write(&folder.join("benchmarks").join(name), &chart)?;
    }
    Ok(())
}

fn notes(name: &str) -> Option<String> {
    fs::read_to_string(Path::new(NOTES).join(format!("{name}.md"))).ok()
}

/// Writes beside the file, and puts that in its place.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut beside = path.as_os_str().to_owned();
    // Not a name of its own for each run: what a run that was killed left is taken by the next.
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::File::create(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // The error counts, not whether there was something to remove.
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use testkit::Scratch;

    use super::*;
    use crate::options::parse;

    fn open(folder: &Path, names: &str) -> Result<Output, String> {
        let words = format!("--write {} {names}", folder.display());
        let words = words.split_whitespace().map(str::to_owned);
        Output::open(&parse(words)?)
    }

    fn report(workload: &str) -> Report {
        let text = include_str!("report/tests/document.json");
        report::parse(&text.replace("\"steps\"", &format!("\"{workload}\""))).unwrap()
    }

    /// The workloads in the pages, and the files.
    fn shape(folder: &Path) -> (String, String) {
        let report = read(&folder.join("benchmarks.json")).unwrap().unwrap();
        let names: Vec<_> = report
            .tables
            .iter()
            .map(|table| table.name.as_str())
            .collect();
        let files = fs::read_dir(folder).unwrap().flatten();
        let mut files: Vec<_> = files
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        (names.join(" "), files.join(" "))
    }

    #[test]
    fn each_result_is_in_the_pages_at_once() {
        let folder = Scratch::folder("output");
        let files = "benchmarks benchmarks.json benchmarks.md".to_owned();
        let mut output = open(&folder, "steps").unwrap();
        output.keep(&report("steps"));
        assert_eq!(shape(&folder), ("steps".to_owned(), files.clone()));
        let mut output = open(&folder, "").unwrap();
        output.keep(&report("wide"));
        assert_eq!(shape(&folder), ("steps wide".to_owned(), files));
        output.end(&report("wide")).unwrap();
        let page = fs::read_to_string(folder.join("benchmarks.md")).unwrap();
        assert!(
            page.contains("`steps`") && page.contains("`wide`"),
            "{page}"
        );
    }

    #[test]
    fn pages_that_cannot_be_read_are_an_error_before_anything_is_measured() {
        let folder = Scratch::folder("output-broken");
        fs::write(folder.join("benchmarks.json"), "{}").unwrap();
        let error = open(&folder, "").unwrap_err();
        assert!(error.contains("benchmarks.json"), "{error}");
    }

    #[test]
    fn results_that_cannot_be_written_are_an_error_at_the_end_and_leave_the_older_file() {
        let folder = Scratch::folder("output-failing");
        let mut output = open(&folder, "").unwrap();
        output.keep(&report("steps"));
        // Nothing can be put into the place of a folder.
        fs::remove_file(folder.join("benchmarks.md")).unwrap();
        fs::create_dir(folder.join("benchmarks.md")).unwrap();
        let mut output = open(&folder, "").unwrap();
        output.keep(&report("wide"));
        let error = output.end(&report("wide")).unwrap_err();
        assert!(error.contains("benchmarks.md"), "{error}");
        assert!(!folder.join("benchmarks.md.new").exists());
    }
}
