//! Composer's `installed.json`.

use serde_json::Value;

use crate::inventory::{Checksum, Ecosystem, Package};
use crate::purl::PackageUrl;

use super::text::bounded;

/// The packages: a list in version 1, an object with a list in version 2.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Package>, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("is not JSON: {error}"))?;
    let list = value.as_array().or_else(|| value["packages"].as_array());
    Ok(list.into_iter().flatten().filter_map(package).collect())
}

fn package(value: &Value) -> Option<Package> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(bounded);
    let name = text(&value["name"])?;
    let (vendor, plain) = name.split_once('/').unwrap_or(("", &name));
    let version = text(&value["version"]).unwrap_or_default();
    let purl = PackageUrl::new("composer", vendor, plain, &version);
    let licences = value["license"].as_array();
    let licences: Vec<String> = licences.into_iter().flatten().filter_map(text).collect();
    let sum = text(&value["dist"]["shasum"])
        .filter(|sum| sum.len() == 40 && sum.bytes().all(|b| b.is_ascii_hexdigit()));
    Some(Package {
        name: name.clone(),
        // Composer's list means that any of them may be chosen.
        licence: (!licences.is_empty()).then(|| bounded(&licences.join(" OR "))),
        homepage: text(&value["homepage"]),
        checksums: sum
            .into_iter()
            .map(|sum| Checksum {
                algorithm: "SHA1",
                hex: sum.to_ascii_lowercase(),
            })
            .collect(),
        ..Package::new(Ecosystem::Composer, purl)
    })
}
