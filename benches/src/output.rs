//! Where a report goes: to the terminal, or into the pages of `docs`, where what was not measured
//! now stays as it was.

use std::fs;
use std::path::Path;

use crate::measure::complain;
use crate::model::{Report, Table};
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

/// Prints a report, or writes it.
pub(crate) fn show(report: Report, options: &Options) -> Result<(), String> {
    let Some(folder) = &options.write else {
        say(&report::markdown(&report, &notes));
        return Ok(());
    };
    let json = folder.join("benchmarks.json");
    let report = match fs::read_to_string(&json) {
        Ok(text) if options.is_part() => merge(report::parse(&text)?, report),
        _ => report,
    };
    write(&json, &report::json(&report))?;
    let page = report::markdown(&report, &notes);
    write(&folder.join("benchmarks.md"), &page)?;
    for (name, chart) in report::charts(&report) {
        write(&folder.join("benchmarks").join(name), &chart)?;
    }
    complain(&format!("written: {}", json.with_extension("md").display()));
    Ok(())
}

fn notes(name: &str) -> Option<String> {
    fs::read_to_string(Path::new(NOTES).join(format!("{name}.md"))).ok()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

/// The new report, with what only the old one has: workloads, and programs of workloads.
fn merge(old: Report, new: Report) -> Report {
    let mut merged = new;
    for left_out in old.left_out {
        let name = left_out.what.split(':').next().unwrap_or_default();
        let again = merged.tables.iter().any(|table| table.name == name)
            || merged.growths.iter().any(|growth| growth.name == name)
            || merged.left_out.iter().any(|new| new.what == left_out.what);
        if !again {
            merged.left_out.push(left_out);
        }
    }
    for (facts, old) in merged.programs.iter_mut().zip(old.programs) {
        if facts.program == old.program && facts.version.is_err() && old.version.is_ok() {
            *facts = old;
        }
    }
    for table in old.tables {
        match merged.tables.iter_mut().find(|new| new.name == table.name) {
            Some(new) => add_rows(new, table),
            None => merged.tables.push(table),
        }
    }
    for growth in old.growths {
        if !merged.growths.iter().any(|new| new.name == growth.name) {
            merged.growths.push(growth);
        }
    }
    let place = |name: &str| workloads::names().position(|known| known == name);
    merged.tables.sort_by_key(|table| place(&table.name));
    merged.growths.sort_by_key(|growth| place(&growth.name));
    merged
}

/// Rows of programs that were not measured now.
fn add_rows(new: &mut Table, old: Table) {
    for row in old.rows {
        if !new.rows.iter().any(|known| known.program == row.program) {
            new.rows.push(row);
        }
    }
    new.rows.sort_by_key(|row| row.program);
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LeftOut, Machine, Program, ProgramFacts, Row, Unit};

    fn report(table: &str, program: Program, left_out: &str) -> Report {
        let facts = ProgramFacts {
            program,
            version: Ok("1".to_owned()),
            settings: String::new(),
        };
        Report {
            machine: Machine {
                date: "2026-01-01".to_owned(),
                processor: String::new(),
                cores: 2,
                memory: 0,
                kernel: String::new(),
                system: String::new(),
                file_system: String::new(),
            },
            programs: vec![facts],
            tables: vec![Table {
                name: table.to_owned(),
                letter: 'a',
                title: String::new(),
                notes: String::new(),
                unit: Unit::Whole,
                rows: vec![Row {
                    program,
                    samples: Vec::new(),
                    failure: None,
                }],
                targets: Vec::new(),
            }],
            growths: Vec::new(),
            left_out: vec![LeftOut {
                what: left_out.to_owned(),
                why: "why".to_owned(),
            }],
        }
    }

    fn shape(report: &Report) -> String {
        let tables = report.tables.iter().map(|table| {
            let rows = table.rows.iter().map(|row| row.program.name());
            format!("{}={}", table.name, rows.collect::<Vec<_>>().join("+"))
        });
        let left_out = report.left_out.iter().map(|left_out| left_out.what.clone());
        tables.chain(left_out).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn other_workloads_stay_in_their_order() {
        let old = report("steps", Program::Kiln, "large-layer: Docker");
        let new = report("small-files", Program::Kiln, "no peer");
        assert_eq!(
            shape(&merge(old, new)),
            "steps=kiln small-files=kiln no peer large-layer: Docker"
        );
    }

    #[test]
    fn other_programs_of_a_workload_stay_and_what_was_left_out_of_it_goes() {
        let old = report("steps", Program::Docker, "steps: Kaniko");
        let new = report("steps", Program::Kiln, "no peer");
        assert_eq!(shape(&merge(old, new)), "steps=kiln+Docker no peer");
    }
}
