//! One workload: its table, what failed, and the targets.

use super::super::figure::Figure;
use super::super::number;
use super::{Page, code, inline, measured, sentence};
use crate::model::{Machine, Program, Row, Table, Target, Unit};

pub(super) fn write(page: &mut Page, table: &Table, head: &Machine) {
    page.heading(&format!("{}. {}", table.letter, inline(&table.title)));
    page.line(&format!("{}{}.", code(&table.name), rounds(table)));
    measured::of_table(page, table, head);
    if let Unit::Part(parts) = table.unit {
        page.line(&format!(
            "Times are of one of {parts} equal parts, after a run without them was taken off; memory and bytes are of the whole run."
        ));
    }
    if !table.notes.trim().is_empty() {
        page.line(table.notes.trim());
    }
    page.line("");
    page.line("| program | median | min–max | × kiln | CPU | peak MB | read MB | written MB |");
    page.line("|---|--:|--:|--:|--:|--:|--:|--:|");
    for row in &table.rows {
        page.row(&cells(table, row));
    }
    page.line("");
    for row in &table.rows {
        let name = row.program.name();
        match &row.failure {
            Some(why) => page.line(&format!("{name} failed: {}", sentence(why))),
            None if row.samples.is_empty() => page.line(&format!("{name} has no samples.")),
            None => {}
        }
    }
    page.line("");
    for target in &table.targets {
        page.line(&format!("- {}", verdict(table, target)));
    }
}

/// `, 5 rounds`, or how many at least and at most.
fn rounds(table: &Table) -> String {
    let counts = || {
        let counts = table.rows.iter().map(|row| row.samples.len());
        counts.filter(|count| *count > 0)
    };
    match (counts().min(), counts().max()) {
        (Some(1), Some(1)) => ", one round".to_owned(),
        (Some(least), Some(most)) if least == most => format!(", {most} rounds"),
        (Some(least), Some(most)) => format!(", {least} to {most} rounds"),
        _ => String::new(),
    }
}

fn cells(table: &Table, row: &Row) -> Vec<String> {
    let mut cells = vec![row.program.name().to_owned()];
    let (Some(figure), Some((low, high))) = (row.figure(table.unit), row.range(table.unit)) else {
        cells.push("failed".to_owned());
        cells.resize(8, "–".to_owned());
        return cells;
    };
    let times = match (row.program, table.times_kiln(row)) {
        (Program::Kiln, _) => "1".to_owned(),
        (_, Some(times)) => number::digits(times),
        (_, None) => "–".to_owned(),
    };
    cells.extend([
        number::time(figure.wall),
        if row.samples.len() > 1 {
            number::range(low, high)
        } else {
            "–".to_owned()
        },
        times,
        number::time(figure.cpu),
        number::megabytes(figure.peak),
        number::megabytes(figure.read),
        number::megabytes(figure.written),
    ]);
    cells
}

/// Whether a target was reached, and what is there instead.
fn verdict(table: &Table, target: &Target) -> String {
    let goal = match *target {
        Target::Times(program, times) if (times - 1.0).abs() < f64::EPSILON => {
            format!("not slower than {}", program.name())
        }
        Target::Times(program, times) => {
            let least = number::plain(times);
            format!("{least} times faster than {}", program.name())
        }
        Target::AtMost(program, time) => {
            let most = number::plain_time(time);
            format!("at most {most} for {}", program.name())
        }
        Target::Memory(program, bytes) => {
            let most = number::plain_megabytes(bytes);
            format!("at most {most} MB of memory for {}", program.name())
        }
    };
    let Some(outcome) = table.outcome(target) else {
        return format!("Target not measured: {goal}.");
    };
    let found = match (outcome.figure, target) {
        (Figure::Times(rival, times), Target::Times(program, _)) if rival == *program => {
            format!("it is {} times", number::digits(times))
        }
        // The target names the builder, the figure the faster way to it.
        (Figure::Times(rival, times), _) => {
            let times = number::digits(times);
            format!("it is {times} times, by {}", rival.name())
        }
        (Figure::Time(time), _) => format!("it takes {}", number::time(time)),
        (Figure::Memory(bytes), _) => format!("it needs {} MB", number::megabytes(bytes)),
    };
    let verdict = if outcome.reached {
        "reached"
    } else {
        "**not reached**"
    };
    format!("Target {verdict}: {goal}; {found}.")
}
