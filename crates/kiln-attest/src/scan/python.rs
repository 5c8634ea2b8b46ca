//! Python's `METADATA` and `PKG-INFO`: <https://packaging.python.org/specifications/core-metadata>.

use crate::inventory::{Ecosystem, Package};
use crate::purl::PackageUrl;

use super::text::{Fields, field, paragraphs, person};

/// The package of a metadata file.
pub(super) fn parse(text: &str) -> Vec<Package> {
    // What follows the first empty line is prose.
    paragraphs(text)
        .take(1)
        .filter_map(|fields| package(&fields))
        .collect()
}

fn package(fields: &Fields) -> Option<Package> {
    let name = field(fields, "name")?;
    let version = field(fields, "version").unwrap_or_default();
    // Names are equal where they differ in case or in these characters.
    let normal = name.to_ascii_lowercase().replace(['_', '.'], "-");
    let author = field(fields, "author").and_then(person);
    let author = author.or_else(|| field(fields, "author-email").and_then(person));
    let licence = field(fields, "license-expression").or_else(|| field(fields, "license"));
    Some(Package {
        name: name.to_owned(),
        licence: licence.filter(|text| *text != "UNKNOWN").map(str::to_owned),
        supplier: author.filter(|text| text != "Person: UNKNOWN"),
        homepage: field(fields, "home-page").map(str::to_owned),
        ..Package::new(
            Ecosystem::Pypi,
            PackageUrl::new("pypi", "", &normal, version),
        )
    })
}
