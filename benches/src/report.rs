//! A [`Report`](crate::model::Report) for its readers: Markdown for people, JSON for programs and
//! for the next run, SVG for those who would rather look.
//!
//! Everything here is a function from a value to a text, and equal values give equal texts. What
//! came from elsewhere (versions, reasons, error messages) is put on one line and escaped.
//!
//! Deliberately absent: measuring, and reading and writing files.

mod chart;
mod figure;
mod json;
mod markdown;
mod number;
#[cfg(test)]
mod tests;

pub(crate) use chart::charts;
pub(crate) use json::{json, parse};
pub(crate) use markdown::markdown;
