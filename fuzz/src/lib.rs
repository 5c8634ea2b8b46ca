//! What the fuzz targets share.
//!
//! A seed is text that a person can read: parts between lines of `%%` ([`parts`]), and archives
//! written line by line ([`archive::assemble`]), so that a changed letter gives another archive and
//! not a wrong checksum. Deliberately absent: anything that only one target needs.

pub mod archive;
pub mod build;
pub mod disk;
pub mod watchdog;

/// The parts of a text, which lines of `%%` stand between: the first, and the second where there is
/// one.
pub fn parts(text: &str) -> (&str, &str) {
    text.split_once("\n%%\n").unwrap_or((text, ""))
}
