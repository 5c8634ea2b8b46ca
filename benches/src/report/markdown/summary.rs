//! The table at the top: every workload, every program, one figure each.

use super::super::number;
use super::{Page, cell};
use crate::model::{Program, Report, Table};

pub(super) fn write(page: &mut Page, report: &Report) {
    if report.tables.is_empty() {
        return;
    }
    page.heading("Summary");
    page.line("What kiln takes, and how many times as long the others take.");
    page.picture(
        "overview",
        "Bars: the time of each program on each workload",
    );
    let programs = programs(report);
    let names = programs.iter().map(|program| program.name().to_owned());
    let mut head = vec!["workload".to_owned()];
    head.extend(names);
    head.push("targets reached".to_owned());
    page.row(&head);
    page.line(&format!("|{}", "---|".repeat(head.len())));
    for table in &report.tables {
        let mut cells = vec![format!("{}. {}", table.letter, cell(&table.title))];
        cells.extend(programs.iter().map(|program| figure(table, *program)));
        cells.push(targets(table));
        page.row(&cells);
    }
}

/// The programs that have a row in some table, kiln first.
fn programs(report: &Report) -> Vec<Program> {
    let rows = report.tables.iter().flat_map(|table| &table.rows);
    let found: std::collections::BTreeSet<Program> = rows.map(|row| row.program).collect();
    found.into_iter().collect()
}

fn figure(table: &Table, program: Program) -> String {
    let Some(row) = table.row(program) else {
        return "–".to_owned();
    };
    let Some(figure) = row.figure(table.unit) else {
        return "failed".to_owned();
    };
    match table.times_kiln(row) {
        Some(times) if program != Program::Kiln => format!("{}×", number::digits(times)),
        _ => number::time(figure.wall),
    }
}

fn targets(table: &Table) -> String {
    if table.targets.is_empty() {
        return "–".to_owned();
    }
    let outcomes = table.targets.iter().map(|target| table.outcome(target));
    let (mut reached, mut known) = (0, 0);
    for outcome in outcomes.flatten() {
        known += 1;
        reached += usize::from(outcome.reached);
    }
    match table.targets.len() - known {
        0 => format!("{reached} of {known}"),
        unknown => format!("{reached} of {known}, {unknown} not measured"),
    }
}
