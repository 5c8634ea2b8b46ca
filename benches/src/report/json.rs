//! A report as JSON, and back: what was measured, to the nanosecond and the byte, with the figures
//! that follow from it.
//!
//! The format has a version. A field may be added within a version; readers skip what they don't
//! know. A change of meaning raises the version. Figures (`figure`, `times_kiln`, `reached`) are
//! written for other programs and not read back: they are computed again. What has no `measured_on`
//! is of the report's day, and what has no `machine` of the report's machine.

mod wire;

use serde::Deserialize;

use crate::model::Report;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The report as an indented JSON document.
pub(crate) fn json(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(&wire::Report::of(report))
        .unwrap_or_else(|error| unreachable!("texts and numbers have a JSON form: {error}"));
    text.push('\n');
    text
}

/// The report that a JSON document holds.
pub(crate) fn parse(text: &str) -> Result<Report, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let not_a_report = |error| format!("not a report of the benchmarks: {error}");
    let Versioned { version } = serde_json::from_str(text).map_err(not_a_report)?;
    if version != VERSION {
        return Err(format!(
            "the report has version {version}, and only version {VERSION} is read: measure again"
        ));
    }
    let report: wire::Report = serde_json::from_str(text).map_err(not_a_report)?;
    Ok(report.into_model())
}
