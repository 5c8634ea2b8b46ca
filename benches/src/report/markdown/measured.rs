//! Where and when something was measured, in words, if it is not what the page's head says.

use std::fmt::Write as _;

use super::super::number;
use super::{Page, inline};
use crate::model::{Growth, Machine, Report, Table};

/// A machine, as it stands behind "on a machine with".
pub(super) fn described(machine: &Machine) -> String {
    format!(
        "{} {} ({}) and {} of memory, Linux {}, {}",
        machine.cores,
        if machine.cores == 1 { "core" } else { "cores" },
        inline(&machine.processor),
        number::gibibytes(machine.memory),
        inline(&machine.kernel),
        inline(&machine.system),
    )
}

/// `on DATE`, and on which machine if that is another; nothing if both are the head's, as far as
/// the page shows them.
fn when(machine: &Machine, head: &Machine) -> Option<String> {
    let date = format!("on {}", inline(&machine.date));
    let mut text = date.clone();
    if described(machine) != described(head) {
        let _ = write!(text, " on a machine with {}", described(machine));
    }
    if machine.file_system != head.file_system {
        let file_system = inline(&machine.file_system);
        let _ = write!(text, "; what the programs store was on {file_system}");
    }
    (machine.date != head.date || text != date).then_some(text)
}

/// Whether the page has something of another day or machine.
pub(super) fn has_others(report: &Report) -> bool {
    let tables = report.tables.iter().flat_map(|table| {
        let rows = table.rows.iter().map(|row| &row.measured);
        rows.chain([&table.measured])
    });
    let growths = report.growths.iter().map(|growth| &growth.measured);
    let mut all = tables.chain(growths).flatten();
    all.any(|machine| when(machine, &report.machine).is_some())
}

/// Of a table: first what holds for it, then the rows of which that is not true.
pub(super) fn of_table(page: &mut Page, table: &Table, head: &Machine) {
    let own = table.measured.as_ref().unwrap_or(head);
    if let Some(when) = when(own, head) {
        page.line(&format!("Measured {when}."));
    }
    let mut others: Vec<(String, Vec<&str>)> = Vec::new();
    for row in &table.rows {
        let Some(when) = row.measured.as_ref().and_then(|machine| when(machine, own)) else {
            continue;
        };
        let name = row.program.name();
        match others.iter_mut().find(|(known, _)| *known == when) {
            Some((_, names)) => names.push(name),
            None => others.push((when, vec![name])),
        }
    }
    for (when, names) in others {
        let were = if names.len() == 1 { "was" } else { "were" };
        page.line(&format!("{} {were} measured {when}.", names.join(" and ")));
    }
}

/// The same of a plot.
pub(super) fn of_growth(page: &mut Page, growth: &Growth, head: &Machine) {
    if let Some(when) = growth
        .measured
        .as_ref()
        .and_then(|machine| when(machine, head))
    {
        page.line(&format!("Measured {when}."));
    }
}
