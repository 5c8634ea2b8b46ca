//! A build as a table of fixed width.

use std::fmt::Write as _;

use super::{BuildRecord, StepStatus, human_bytes, human_duration, thousandths};
use crate::escape::{one_line, padded, shortened};

/// Narrower tables than this are not drawn; the terminal wraps.
const MIN_WIDTH: usize = 40;
/// The widest drawing of time, in columns.
const MAX_BAR: usize = 30;
/// Time, size and status, with the spaces between.
const NUMBERS: usize = 8 + 11 + 10;

/// The build as a table for a terminal of `width` columns, with a line for each step.
pub fn table(record: &BuildRecord, width: usize) -> String {
    let width = width.max(MIN_WIDTH);
    // The bar comes last in importance: the name keeps 20 columns.
    let bar = width.saturating_sub(NUMBERS + 22).min(MAX_BAR);
    let name = width - NUMBERS - if bar > 4 { bar + 1 } else { 0 };
    let mut out = String::new();
    headline(&mut out, record, width);
    let span = record.span();
    for step in &record.steps {
        let size = step.bytes.map(human_bytes).unwrap_or_default();
        let time = match step.status {
            StepStatus::Cached => String::new(),
            _ => human_duration(step.duration),
        };
        let mut line = padded(&shortened(&step.name, name), name);
        line.push_str(&format_args!("{time:>8}{size:>11}  ").to_string());
        line.push_str(&padded(step.status.word(), 8));
        line.truncate(line.trim_end().len());
        if bar > 4 {
            let drawn = draw(
                thousandths(step.start, span),
                thousandths(step.start + step.duration, span),
                bar,
                step.status,
            );
            line = format!("{} {drawn}", padded(&line, width - bar - 1));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if let Some(error) = &record.error {
        out.push('\n');
        if let Some((file, line)) = &error.place {
            let _ = write!(out, "{}:{line}: ", one_line(file));
        }
        out.push_str(&one_line(&error.message));
        out.push('\n');
        for cause in &error.causes {
            let _ = writeln!(out, "caused by: {}", one_line(cause));
        }
    }
    out
}

fn headline(out: &mut String, record: &BuildRecord, width: usize) {
    let _ = writeln!(
        out,
        "{}",
        shortened(
            &format!(
                "{} {} in {}",
                record.name,
                record.status.word(),
                human_duration(record.duration)
            ),
            width
        )
    );
    let (all, cached) = (record.steps.len(), record.count(StepStatus::Cached));
    let _ = writeln!(out, "{all} steps, {cached} cached\n");
}

/// A line of `columns` that shows when a step ran, in thousandths of the whole.
fn draw(start: u64, end: u64, columns: usize, status: StepStatus) -> String {
    let at = |thousandths: u64| {
        let thousandths = usize::try_from(thousandths).unwrap_or(1000);
        thousandths * columns / 1000
    };
    let first = at(start).min(columns - 1);
    let last = at(end).clamp(first + 1, columns);
    let mark = match status {
        StepStatus::Done => '█',
        StepStatus::Cached => '·',
        StepStatus::Failed => '▓',
        StepStatus::Cancelled => '░',
    };
    let mut line = " ".repeat(first);
    line.extend(std::iter::repeat_n(mark, last - first));
    line
}
