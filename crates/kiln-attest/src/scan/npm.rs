//! npm's `package.json` of installed packages, and its lock files.

use serde_json::Value;

use crate::inventory::{Checksum, Ecosystem, Package};
use crate::purl::PackageUrl;

use super::text::{base64_to_hex, bounded, person};

/// How deep version 1 of the lock file may nest packages.
const MAX_DEPTH: usize = 64;

/// Whether the folder is that of an installed package: `…/node_modules/NAME` or
/// `…/node_modules/@SCOPE/NAME`.
pub(super) fn is_package_folder(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (_, above) = (parts.next(), parts.next());
    match above {
        Some("node_modules") => true,
        Some(scope) => scope.starts_with('@') && parts.next() == Some("node_modules"),
        None => false,
    }
}

/// The package of a `package.json`.
pub(super) fn package(bytes: &[u8]) -> Result<Vec<Package>, String> {
    let value = json(bytes)?;
    let (Some(name), Some(version)) = (text(&value, "name"), text(&value, "version")) else {
        // Folders inside packages have such files, too: they only set how files are loaded.
        return Ok(Vec::new());
    };
    let mut package = npm(&name, &version);
    package.licence = licence(&value);
    package.homepage = text(&value, "homepage");
    package.supplier = match &value["author"] {
        Value::String(author) => person(&bounded(author.split(" (").next().unwrap_or_default())),
        author => match (text(author, "name"), text(author, "email")) {
            (Some(name), Some(mail)) => person(&format!("{name} <{mail}>")),
            (Some(name), None) => person(&name),
            _ => None,
        },
    };
    Ok(vec![package])
}

/// The packages of a lock file of version 1, 2 or 3.
pub(super) fn lock(bytes: &[u8]) -> Result<Vec<Package>, String> {
    let value = json(bytes)?;
    let mut packages = Vec::new();
    if let Some(entries) = value["packages"].as_object() {
        for (path, entry) in entries {
            // Other paths are the project itself and its workspaces.
            let Some((_, name)) = path.rsplit_once("node_modules/") else {
                continue;
            };
            let name = text(entry, "name").unwrap_or_else(|| bounded(name));
            packages.extend(locked(&name, entry));
        }
    } else {
        dependencies(&value, 0, &mut packages);
    }
    Ok(packages)
}

fn dependencies(value: &Value, depth: usize, packages: &mut Vec<Package>) {
    let entries = value["dependencies"].as_object();
    for (name, entry) in entries.into_iter().flatten() {
        packages.extend(locked(&bounded(name), entry));
        if depth < MAX_DEPTH {
            dependencies(entry, depth + 1, packages);
        }
    }
}

fn locked(name: &str, entry: &Value) -> Option<Package> {
    let version = text(entry, "version")?;
    let mut package = npm(name, &version);
    package.licence = licence(entry);
    let integrity = text(entry, "integrity").unwrap_or_default();
    for sum in integrity.split_whitespace() {
        package.checksums.extend(checksum(sum));
    }
    Some(package)
}

/// A subresource integrity: `sha512-BASE64`.
fn checksum(text: &str) -> Option<Checksum> {
    let (algorithm, length, base64) = [("SHA512", 64), ("SHA256", 32), ("SHA1", 20)]
        .into_iter()
        .find_map(|(algorithm, length)| {
            let (name, base64) = text.split_once('-')?;
            name.eq_ignore_ascii_case(algorithm)
                .then_some((algorithm, length, base64))
        })?;
    let hex = base64_to_hex(base64, length)?;
    Some(Checksum { algorithm, hex })
}

fn npm(name: &str, version: &str) -> Package {
    let (scope, plain) = name.split_once('/').unwrap_or(("", name));
    let purl = PackageUrl::new("npm", scope, plain, version);
    Package {
        name: name.to_owned(),
        ..Package::new(Ecosystem::Npm, purl)
    }
}

/// `license` as text or, in old packages, as objects with a `type`.
fn licence(value: &Value) -> Option<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(bounded(text)),
        other => text(other, "type"),
    };
    if let Some(licence) = one(&value["license"]) {
        return Some(licence);
    }
    let many = value["licenses"].as_array()?;
    let names: Vec<String> = many.iter().filter_map(one).collect();
    (!names.is_empty()).then(|| bounded(&names.join(" OR ")))
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("is not JSON: {error}"))
}

fn text(value: &Value, key: &str) -> Option<String> {
    let text = value.get(key)?.as_str()?;
    (!text.is_empty()).then(|| bounded(text))
}
