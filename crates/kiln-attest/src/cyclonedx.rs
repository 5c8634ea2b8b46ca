//! An [`Inventory`] as a `CycloneDX` 1.6 document: <https://cyclonedx.org/docs/1.6/json/>.

use kiln_base::Timestamp;
use kiln_oci::Digest;
use serde_json::{Map, Value, json};

use crate::bill::{BillInfo, BillSubject, clean, is_url};
use crate::inventory::{Inventory, OsRelease, Package};
use crate::licence;

/// Ids within the document of what is no package.
const ROOT: &str = "root";
const OS: &str = "operating-system";

impl Inventory {
    /// The inventory as a `CycloneDX` document in JSON: equal inventories give equal bytes.
    pub fn cyclonedx(&self, info: &BillInfo) -> Vec<u8> {
        let mut components = Vec::new();
        if let Some(os) = self.os.as_ref().filter(|os| !os.id.is_empty()) {
            components.push(operating_system(os));
        }
        components.extend(self.packages.values().map(component));
        let parts: Vec<Value> = components
            .iter()
            .map(|part| part["bom-ref"].clone())
            .collect();
        let created = Timestamp::from_seconds(info.created.seconds()).to_string();
        let mut document = Map::new();
        let mut set = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
        set(
            "$schema",
            "http://cyclonedx.org/schema/bom-1.6.schema.json".into(),
        );
        set("bomFormat", "CycloneDX".into());
        set("specVersion", "1.6".into());
        set("serialNumber", serial_number(&info.namespace).into());
        set("version", 1.into());
        set(
            "metadata",
            json!({
                "timestamp": created,
                "tools": { "components": [tool(info)] },
                "component": root(info),
            }),
        );
        set("components", components.into());
        set("dependencies", json!([{ "ref": ROOT, "dependsOn": parts }]));
        if !self.warnings.is_empty() {
            set(
                "compositions",
                json!([{ "aggregate": "incomplete", "assemblies": [ROOT] }]),
            );
            set("annotations", self.annotations(&created, info).into());
        }
        Value::Object(document).to_string().into_bytes()
    }

    /// What could not be read.
    fn annotations(&self, created: &str, info: &BillInfo) -> Vec<Value> {
        let said = self.warnings.iter().map(|warning| {
            let text = format!("incomplete: `{}`: {}", warning.path, warning.reason);
            json!({
                "subjects": [ROOT],
                "annotator": { "component": tool(info) },
                "timestamp": created,
                "text": clean(&text),
            })
        });
        said.collect()
    }
}

fn tool(info: &BillInfo) -> Value {
    let (name, version) = info.tool.split_once('-').unwrap_or((&info.tool, ""));
    json!({ "type": "application", "name": name, "version": version })
}

/// The thing that was scanned.
fn root(info: &BillInfo) -> Value {
    let name = clean(&info.name);
    match &info.subject {
        BillSubject::Image => json!({ "bom-ref": ROOT, "type": "container", "name": name }),
        BillSubject::Disk {
            file,
            digest,
            image,
        } => json!({
            "bom-ref": ROOT,
            "type": "file",
            "name": name,
            "hashes": [{ "alg": hash_name(digest.algorithm().name()), "content": digest.hex() }],
            "properties": [
                { "name": "kiln:file", "value": clean(file) },
                { "name": "kiln:image", "value": image.as_str() },
            ],
        }),
    }
}

fn operating_system(os: &OsRelease) -> Value {
    let mut map = Map::new();
    map.insert("bom-ref".to_owned(), OS.into());
    map.insert("type".to_owned(), "operating-system".into());
    map.insert("name".to_owned(), clean(&os.id).into());
    if !os.version.is_empty() {
        map.insert("version".to_owned(), clean(&os.version).into());
    }
    if !os.pretty_name.is_empty() {
        map.insert("description".to_owned(), clean(&os.pretty_name).into());
    }
    Value::Object(map)
}

fn component(package: &Package) -> Value {
    let purl = package.purl.to_string();
    let mut map = Map::new();
    let mut set = |name: &str, value: Value| drop(map.insert(name.to_owned(), value));
    set("bom-ref", purl.as_str().into());
    set("type", "library".into());
    set("name", clean(&package.name).into());
    if !package.version.is_empty() {
        set("version", clean(&package.version).into());
    }
    set("purl", purl.into());
    if let Some(text) = &package.licence {
        set("licenses", json!([licence(text)]));
    }
    if let Some(supplier) = &package.supplier {
        set("supplier", self::supplier(supplier));
    }
    if let Some(url) = package.homepage.as_deref().filter(|text| is_url(text)) {
        set(
            "externalReferences",
            json!([{ "type": "website", "url": url }]),
        );
    }
    if !package.checksums.is_empty() {
        let sums = package.checksums.iter();
        let sums = sums.map(|sum| json!({ "alg": hash_name(sum.algorithm), "content": sum.hex }));
        set("hashes", sums.collect());
    }
    let places = package.found_in.iter();
    let places: Vec<Value> = places
        .map(|path| json!({ "location": clean(path) }))
        .collect();
    set("evidence", json!({ "occurrences": places }));
    Value::Object(map)
}

/// An expression where SPDX knows all of its names, and what the package says otherwise.
fn licence(text: &str) -> Value {
    let licence = licence::read(text);
    if licence.others.is_empty() && licence.expression != "NONE" {
        json!({ "expression": licence.expression })
    } else {
        json!({ "license": { "name": clean(text) } })
    }
}

/// SPDX's `Person: NAME (MAIL)`.
fn supplier(text: &str) -> Value {
    let (kind, rest) = text.split_once(": ").unwrap_or(("", text));
    let (name, mail) = match rest
        .strip_suffix(')')
        .and_then(|rest| rest.split_once(" ("))
    {
        Some((name, mail)) => (name, Some(mail)),
        None => (rest, None),
    };
    let name = clean(name);
    match mail {
        Some(mail) if kind == "Person" => {
            json!({ "name": name, "contact": [{ "name": name, "email": clean(mail) }] })
        }
        _ => json!({ "name": clean(rest) }),
    }
}

/// `SHA256` as `CycloneDX` writes it.
fn hash_name(algorithm: &str) -> String {
    let name = algorithm.to_uppercase();
    match name.strip_prefix("SHA") {
        Some(bits) => format!("SHA-{bits}"),
        None => name,
    }
}

/// A UUID of version 8 made from the document's name.
fn serial_number(namespace: &str) -> String {
    let digest = Digest::sha256(namespace.as_bytes());
    let hex = digest.hex();
    let part = |range: std::ops::Range<usize>| &hex[range];
    let (low, mid, high) = (part(0..8), part(8..12), part(13..16));
    let (clock, node) = (part(17..20), part(20..32));
    format!("urn:uuid:{low}-{mid}-8{high}-8{clock}-{node}")
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;
    use crate::{Checksum, Ecosystem, PackageUrl};

    #[test]
    fn a_document() {
        let mut inventory = Inventory {
            os: Some(OsRelease {
                id: "debian".to_owned(),
                version: "12".to_owned(),
                pretty_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            }),
            ..Inventory::default()
        };
        inventory.add(Package {
            licence: Some("GPL-3+ AND MIT".to_owned()),
            supplier: Some("Person: Matthias Klose (doko@debian.org)".to_owned()),
            homepage: Some("http://example.com/bash".to_owned()),
            checksums: [Checksum {
                algorithm: "SHA1",
                hex: "da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned(),
            }]
            .into(),
            found_in: ["var/lib/dpkg/status".to_owned()].into(),
            ..Package::new(
                Ecosystem::Deb,
                PackageUrl::new("deb", "debian", "bash", "5.2").with("arch", "amd64"),
            )
        });
        inventory.add(Package {
            licence: Some("see LICENSE".to_owned()),
            homepage: Some("javascript:alert(1)".to_owned()),
            found_in: ["a\nb".to_owned()].into(),
            ..Package::new(Ecosystem::Npm, PackageUrl::new("npm", "@s", "x y", ""))
        });
        inventory.warn("var/lib/rpm/Packages", "not read");
        let digest = Digest::sha256(b"x");
        let info = BillInfo {
            name: "app".to_owned(),
            subject: BillSubject::Disk {
                file: "disk.ext4".to_owned(),
                digest: digest.clone(),
                image: digest,
            },
            created: Timestamp::new(1_700_000_000, 123),
            namespace: "https://example.com/spdx/app-7b0e".to_owned(),
            tool: "kiln-0.1.0".to_owned(),
        };
        let document: Value = serde_json::from_slice(&inventory.cyclonedx(&info)).unwrap();
        expect_file!["cyclonedx_testdata/document.json"].assert_eq(&format!("{document:#}\n"));
        let other: Value = serde_json::from_slice(&inventory.spdx(&info)).unwrap();
        let root = format!("{:#}\n", other["packages"][0]);
        expect_file!["cyclonedx_testdata/spdx_root.json"].assert_eq(&root);
    }
}
