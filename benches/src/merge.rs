//! A new report over the one that is there: what was not measured now stays, and says of which day
//! and machine it is.
//!
//! Reports of different machines are merged, too: figures are compared within a table, and a table
//! (or a row, where a run was of some programs only) that is of another machine is marked as such.
//! Refusing would lose a long run because the kernel was updated since the last one.
//!
//! Deliberately absent: which build of a program an older table is of. The day tells.

use crate::model::{Growth, LeftOut, Machine, ProgramFacts, Report, Table};
use crate::workloads;

/// What the new run means to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything: rows of programs that are no longer there go with the older table, and so do
    /// workloads that are no more.
    Whole,
    /// Some workloads, or some programs: everything else stays.
    Part,
}

/// The new report, with what only the old one has: workloads, and programs of workloads. To merge
/// the same again changes nothing.
pub(crate) fn merge(old: Report, new: Report, scope: Scope) -> Report {
    let mut merged = new;
    let (now, then) = (merged.machine.clone(), old.machine);
    let is_wanted = |name: &str| scope == Scope::Part || place(name).is_some();
    add_left_out(&mut merged, old.left_out, &is_wanted);
    for table in old.tables {
        let table = of_then(table, &then, &now);
        match merged.tables.iter_mut().find(|new| new.name == table.name) {
            Some(new) if scope == Scope::Part => add_rows(new, table),
            None if is_wanted(&table.name) => merged.tables.push(table),
            Some(_) | None => {}
        }
    }
    for growth in old.growths {
        let is_new = !merged.growths.iter().any(|new| new.name == growth.name);
        if is_new && is_wanted(&growth.name) {
            let measured = other(growth.measured.unwrap_or_else(|| then.clone()), &now);
            merged.growths.push(Growth { measured, ..growth });
        }
    }
    add_programs(&mut merged, old.programs);
    merged.tables.sort_by_key(|table| place(&table.name));
    merged.growths.sort_by_key(|growth| place(&growth.name));
    merged
}

/// The place of a workload in the report.
fn place(name: &str) -> Option<usize> {
    workloads::names().position(|known| known == name)
}

/// A machine, if it or the day is another.
fn other(machine: Machine, now: &Machine) -> Option<Machine> {
    (machine != *now).then_some(machine)
}

/// A table of an older report as one of a new report's.
fn of_then(mut table: Table, then: &Machine, now: &Machine) -> Table {
    let measured = table.measured.unwrap_or_else(|| then.clone());
    table.measured = other(measured, now);
    table
}

/// Rows of programs that were not measured now.
fn add_rows(new: &mut Table, old: Table) {
    for mut row in old.rows {
        if !new.rows.iter().any(|known| known.program == row.program) {
            row.measured = row.measured.or_else(|| old.measured.clone());
            new.rows.push(row);
        }
    }
    new.rows.sort_by_key(|row| row.program);
}

/// What was left out before, of workloads that are not measured now.
fn add_left_out(merged: &mut Report, old: Vec<LeftOut>, is_wanted: &dyn Fn(&str) -> bool) {
    for left_out in old {
        let name = left_out.what.split(':').next().unwrap_or_default();
        let again = merged.tables.iter().any(|table| table.name == name)
            || merged.growths.iter().any(|growth| growth.name == name)
            || merged.left_out.iter().any(|new| new.what == left_out.what);
        if !again && is_wanted(name) {
            merged.left_out.push(left_out);
        }
    }
}

/// What is known of programs that are not there now, but have rows.
fn add_programs(merged: &mut Report, old: Vec<ProgramFacts>) {
    for old in old.into_iter().filter(|facts| facts.version.is_ok()) {
        let mut rows = merged.tables.iter().flat_map(|table| &table.rows);
        let has_rows = rows.any(|row| row.program == old.program);
        let new = merged.programs.iter_mut();
        let mut new = new.filter(|new| new.program == old.program && new.version.is_err());
        if let Some(facts) = new.next().filter(|_| has_rows) {
            *facts = old;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::model::{Program, Row, Unit};

    /// A report of a day and a number of cores, from lines: `WORKLOAD PROGRAM...` are its tables,
    /// `growth-…` its growths, and `- WHAT` what it left out.
    fn report(day: &str, cores: usize, lines: &str) -> Report {
        let mut report = Report {
            machine: Machine {
                date: day.to_owned(),
                processor: String::new(),
                cores,
                memory: 0,
                kernel: String::new(),
                system: String::new(),
                file_system: String::new(),
            },
            programs: Vec::new(),
            tables: Vec::new(),
            growths: Vec::new(),
            left_out: Vec::new(),
        };
        let mut there = vec![Program::Kiln];
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(what) = line.strip_prefix("- ") {
                let (what, why) = (what.to_owned(), "why".to_owned());
                report.left_out.push(LeftOut { what, why });
                continue;
            }
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default().to_owned();
            let programs = words.map(|word| match word {
                "kiln" => Program::Kiln,
                "docker" => Program::Docker,
                _ => panic!("{word}"),
            });
            let programs: Vec<Program> = programs.collect();
            there.extend(&programs);
            if name.starts_with("growth") {
                report.growths.push(growth(name));
            } else {
                report.tables.push(table(name, &programs));
            }
        }
        let facts = |program| ProgramFacts {
            program,
            version: there
                .contains(&program)
                .then(|| format!("of {day}"))
                .ok_or_else(|| "not there".to_owned()),
            settings: String::new(),
        };
        report.programs = [Program::Kiln, Program::Docker].map(facts).to_vec();
        report
    }

    fn table(name: String, programs: &[Program]) -> Table {
        let row = |program: &Program| Row {
            program: *program,
            samples: Vec::new(),
            failure: None,
            measured: None,
        };
        Table {
            name,
            letter: 'a',
            title: String::new(),
            notes: String::new(),
            unit: Unit::Whole,
            measured: None,
            rows: programs.iter().map(row).collect(),
            targets: Vec::new(),
        }
    }

    const fn growth(name: String) -> Growth {
        Growth {
            name,
            axis: String::new(),
            title: String::new(),
            curves: Vec::new(),
            measured: None,
        }
    }

    /// The lines of a report again, with the day and the cores of what is not of its own.
    fn lines(report: &Report) -> String {
        let when = |machine: &Option<Machine>| match machine {
            Some(machine) => format!("@{}/{}", machine.date, machine.cores),
            None => String::new(),
        };
        let mut text = String::new();
        for facts in &report.programs {
            let version = facts.version.as_ref().unwrap_or_else(|why| why);
            let _ = writeln!(text, "{}: {version}", facts.program.name());
        }
        for table in &report.tables {
            let _ = write!(text, "{}{}", table.name, when(&table.measured));
            for row in &table.rows {
                let _ = write!(text, " {}{}", row.program.name(), when(&row.measured));
            }
            text += "\n";
        }
        for growth in &report.growths {
            let _ = writeln!(text, "{}{}", growth.name, when(&growth.measured));
        }
        for left_out in &report.left_out {
            let _ = writeln!(text, "- {}", left_out.what);
        }
        text
    }

    #[track_caller]
    fn check(reports: &[Report], scope: Scope, expected: &Expect) {
        let merged = reports.iter().cloned().reduce(|old, new| {
            let merged = merge(old, new.clone(), scope);
            // What was written once may be the older report the next time.
            let again = merge(merged.clone(), new, scope);
            assert_eq!(lines(&again), lines(&merged));
            merged
        });
        expected.assert_eq(&lines(&merged.unwrap()));
    }

    #[test]
    fn other_workloads_stay_in_their_order_with_their_days() {
        check(
            &[
                report("1st", 2, "wide kiln\ngrowth-steps\n- large-layer: Docker"),
                report("2nd", 2, "small-files kiln\n- no peer"),
                report("3rd", 4, "growth-layers\nsteps kiln"),
            ],
            Scope::Part,
            &expect![[r"
                kiln: of 3rd
                Docker: not there
                steps kiln
                small-files@2nd/2 kiln
                wide@1st/2 kiln
                growth-steps@1st/2
                growth-layers
                - no peer
                - large-layer: Docker
            "]],
        );
    }

    #[test]
    fn other_programs_of_a_workload_stay_and_what_was_left_out_of_it_goes() {
        check(
            &[
                report("1st", 2, "steps kiln docker\n- steps: Kaniko"),
                report("2nd", 2, "steps kiln"),
                report("3rd", 2, "steps kiln\n- no peer"),
            ],
            Scope::Part,
            &expect![[r"
                kiln: of 3rd
                Docker: of 1st
                steps kiln Docker@1st/2
                - no peer
            "]],
        );
    }

    #[test]
    fn a_workload_that_failed_keeps_its_older_table() {
        check(
            &[
                report("1st", 2, "steps kiln\nwide kiln\n- steps: Docker"),
                report("2nd", 2, "wide kiln\n- steps"),
            ],
            Scope::Whole,
            &expect![[r"
                kiln: of 2nd
                Docker: not there
                steps@1st/2 kiln
                wide kiln
                - steps
                - steps: Docker
            "]],
        );
    }

    #[test]
    fn a_whole_run_keeps_no_programs_and_workloads_that_are_gone() {
        check(
            &[
                report(
                    "1st",
                    2,
                    "steps kiln docker\nno-more kiln\n- no-more: Docker",
                ),
                report("2nd", 2, "steps kiln"),
            ],
            Scope::Whole,
            &expect![[r"
                kiln: of 2nd
                Docker: not there
                steps kiln
            "]],
        );
    }

    #[test]
    fn a_whole_run_that_is_under_way_keeps_programs_of_older_tables() {
        check(
            &[
                report("1st", 2, "steps kiln docker\nwide kiln docker"),
                report("2nd", 2, "steps kiln"),
            ],
            Scope::Whole,
            &expect![[r"
                kiln: of 2nd
                Docker: of 1st
                steps kiln
                wide@1st/2 kiln Docker
            "]],
        );
    }

    #[test]
    fn what_is_measured_again_on_the_same_day_is_not_marked() {
        check(
            &[
                report("1st", 2, "steps kiln"),
                report("1st", 2, "wide kiln"),
            ],
            Scope::Part,
            &expect![[r"
                kiln: of 1st
                Docker: not there
                steps kiln
                wide kiln
            "]],
        );
    }
}
