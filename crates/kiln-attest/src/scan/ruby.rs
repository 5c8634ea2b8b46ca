//! Ruby's gem specifications, as `RubyGems` writes them when it installs a gem.
//!
//! They are programs. What `RubyGems` writes is regular, so that lines are enough: `s.name = "x"`.

use crate::inventory::{Ecosystem, Package};
use crate::purl::PackageUrl;

use super::text::bounded;

/// Whether `RubyGems` keeps specifications of installed gems in this folder.
pub(super) fn is_specification_folder(path: &str) -> bool {
    let path = path.strip_suffix("/default").unwrap_or(path);
    path.ends_with("/specifications") || path == "specifications"
}

/// The gem of a specification.
pub(super) fn parse(text: &str) -> Vec<Package> {
    let mut name = None;
    let mut version = None;
    let mut platform = String::new();
    let mut licences = Vec::new();
    let mut homepage = None;
    for line in text.lines() {
        let Some((attribute, value)) = attribute(line) else {
            continue;
        };
        let mut strings = strings(value);
        match attribute {
            "name" => name = name.or(strings.next()),
            "version" => version = version.or(strings.next()),
            "original_platform" | "platform" => {
                platform = strings.next().unwrap_or_default();
            }
            "license" | "licenses" => licences.extend(strings),
            "homepage" => homepage = homepage.or(strings.next()),
            _ => {}
        }
    }
    let (Some(name), Some(version)) = (name, version) else {
        return Vec::new();
    };
    let purl = PackageUrl::new("gem", "", &name, &version);
    let purl = match platform.as_str() {
        "" | "ruby" => purl,
        platform => purl.with("platform", platform),
    };
    vec![Package {
        licence: (!licences.is_empty()).then(|| bounded(&licences.join(" OR "))),
        homepage,
        ..Package::new(Ecosystem::Gem, purl)
    }]
}

/// The attribute that a line sets, and the rest of the line: `s.name = …`.
fn attribute(line: &str) -> Option<(&str, &str)> {
    let (target, value) = line.trim().split_once('=')?;
    let (_, attribute) = target.trim().split_once('.')?;
    Some((attribute, value))
}

/// The literal strings in a line: `["MIT".freeze, 'x']`.
fn strings(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(['"', '\''])?;
        let quote = char::from(rest.as_bytes()[start]);
        let after = &rest[start + 1..];
        let end = after.find(quote)?;
        rest = &after[end + 1..];
        Some(bounded(&after[..end]))
    })
}
