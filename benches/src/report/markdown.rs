//! The report as `docs/benchmarks.md`: one sentence per line, readable as text.
//!
//! What people wrote about a workload comes in by the argument and stands below its table, so that
//! it survives the next run.

mod growth;
mod measured;
mod summary;
mod workload;

use crate::model::{Machine, ProgramFacts, Report};

/// Where the charts are, seen from the page.
const CHARTS: &str = "benchmarks";

/// The whole page. `notes` gives what was written by hand about a workload or a growth, by its
/// name: Markdown, without a heading.
pub(crate) fn markdown(report: &Report, notes: &dyn Fn(&str) -> Option<String>) -> String {
    let mut page = Page::default();
    page.line("# Benchmarks");
    page.line("");
    page.line("<!-- Written by `cargo xtask bench`. Explanations are in benches/notes. -->");
    page.line("");
    machine(&mut page, &report.machine);
    if measured::has_others(report) {
        page.line("What is of another day, or another machine, says so below its title.");
    }
    summary::write(&mut page, report);
    method(&mut page, report);
    programs(&mut page, &report.programs);
    for table in &report.tables {
        workload::write(&mut page, table, &report.machine);
        page.notes(notes(&table.name).as_deref());
    }
    if !report.growths.is_empty() {
        page.heading("How cost grows");
        page.line(
            "Medians of kiln's time while one size grows; both axes of the charts are logarithmic.",
        );
        for growth in &report.growths {
            growth::write(&mut page, growth, &report.machine);
            page.notes(notes(&growth.name).as_deref());
        }
    }
    if !report.left_out.is_empty() {
        page.heading("Left out");
        for left_out in &report.left_out {
            let (what, why) = (inline(&left_out.what), sentence(&left_out.why));
            let stays = if is_there(report, &left_out.what) {
                " What is shown of it is from before."
            } else {
                ""
            };
            page.line(&format!("- {what}: {why}{stays}"));
        }
    }
    page.text
}

/// Whether the page has a workload of this name.
fn is_there(report: &Report, name: &str) -> bool {
    let tables = report.tables.iter().map(|table| &table.name);
    let growths = report.growths.iter().map(|growth| &growth.name);
    tables.chain(growths).any(|known| known == name)
}

fn machine(page: &mut Page, machine: &Machine) {
    page.line(&format!(
        "Measured on {} on a machine with {}.",
        inline(&machine.date),
        measured::described(machine),
    ));
    page.line(&format!(
        "What the programs store is on {}.",
        inline(&machine.file_system)
    ));
}

fn method(page: &mut Page, report: &Report) {
    page.heading("How it is measured");
    page.line("```sh\ncargo xtask bench\n```");
    page.line("");
    let tables = report.tables.iter().map(|table| &table.name);
    let growths = report.growths.iter().map(|growth| &growth.name);
    let names = tables.chain(growths).map(|name| code(name));
    let names = names.collect::<Vec<_>>().join(", ");
    if !names.is_empty() {
        page.line(&format!(
            "With names behind it, it measures only these: {names}."
        ));
    }
    for sentence in [
        "Programs are measured in turn, A B A B, on the same inputs.",
        "Times are the medians of all rounds; min–max are the shortest and the longest.",
        "× kiln is how many times kiln's time a program takes: above 1 it is slower than kiln.",
        "CPU is the processor time of all processes, a daemon's included.",
        "Peak is the resident memory of the largest process, a daemon included, in the worst round.",
        "Read and written are what block devices were asked for, so what the page cache holds is not in them.",
        "A MB has 1,000,000 bytes.",
    ] {
        page.line(sentence);
    }
}

fn programs(page: &mut Page, programs: &[ProgramFacts]) {
    let found = || {
        let found = programs.iter().filter_map(|facts| {
            let version = facts.version.as_ref().ok()?;
            Some([facts.program.name(), version, &facts.settings])
        });
        found.map(|cells| cells.map(cell))
    };
    page.line("");
    if found().next().is_some() {
        page.line("| program | version | how it is started |");
        page.line("|---|---|---|");
        for cells in found() {
            page.row(&cells);
        }
        page.line("");
    }
    for facts in programs {
        if let Err(why) = &facts.version {
            let name = facts.program.name();
            page.line(&format!("{name} is not compared: {}", sentence(why)));
        }
    }
}

/// The page as far as it is written.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// Adds a line. There are never two empty lines in a row.
    fn line(&mut self, line: &str) {
        if !(line.is_empty() && self.text.ends_with("\n\n")) {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    /// Adds a heading of a section.
    fn heading(&mut self, title: &str) {
        self.line("");
        self.line(&format!("## {title}"));
        self.line("");
    }

    /// Adds a row of a table; the cells are escaped already.
    fn row(&mut self, cells: &[String]) {
        self.line(&format!("| {} |", cells.join(" | ")));
    }

    /// Adds what was written by hand.
    fn notes(&mut self, notes: Option<&str>) {
        if let Some(notes) = notes.map(str::trim).filter(|it| !it.is_empty()) {
            self.line("");
            self.line(notes);
        }
    }

    /// Adds a picture with what it says for those who don't see it.
    fn picture(&mut self, name: &str, says: &str) {
        let name = inline(name);
        self.line("");
        self.line(&format!("![{says}]({CHARTS}/{name}.svg)"));
        self.line("");
    }
}

/// The longest text that comes from elsewhere, in characters: a failure may bring a whole log.
const LONGEST: usize = 300;

/// A text from elsewhere on one line, cut where it is very long, and without what Markdown would
/// take for HTML.
fn inline(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(printable).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text,
    };
    cut.replace('<', "&lt;")
}

/// A name as code.
fn code(name: &str) -> String {
    format!("`{}`", inline(name))
}

/// The same with a full stop.
fn sentence(text: &str) -> String {
    let text = inline(text);
    let end = if text.ends_with(['.', '!', '?', '…']) {
        ""
    } else {
        "."
    };
    format!("{text}{end}")
}

/// The same for a cell of a table.
fn cell(text: &str) -> String {
    inline(text).replace('|', "\\|")
}
