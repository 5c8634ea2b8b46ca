//! `os-release`: which distribution this is.

use crate::inventory::OsRelease;

use super::text::bounded;

/// Where the file is, most wanted first.
pub(super) const PATHS: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// What the file says.
pub(super) fn parse(text: &str) -> OsRelease {
    let mut os = OsRelease::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let value = bounded(value.trim().trim_matches(['"', '\'']));
        match name.trim() {
            "ID" => os.id = value,
            "VERSION_ID" => os.version = value,
            "PRETTY_NAME" => os.pretty_name = value,
            _ => {}
        }
    }
    os
}
