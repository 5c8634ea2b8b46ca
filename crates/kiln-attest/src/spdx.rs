//! An [`Inventory`] as an SPDX 2.3 document: <https://spdx.github.io/spdx-spec/v2.3/>.

use std::collections::BTreeMap;

use kiln_base::Timestamp;
use kiln_oci::Digest;
use serde_json::{Map, Value, json};

use crate::bill::{BillInfo, BillSubject, clean, is_url};
use crate::inventory::{Inventory, OsRelease, Package, Warning};
use crate::licence;
use crate::statement::Predicate;

/// The type of a predicate that is an SPDX document.
pub const SPDX_PREDICATE: &str = "https://spdx.dev/Document";

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const ROOT: &str = "SPDXRef-DocumentRoot";
const OS: &str = "SPDXRef-OperatingSystem";

impl Inventory {
    /// The inventory as an SPDX document in JSON: equal inventories give equal bytes.
    pub fn spdx(&self, info: &BillInfo) -> Vec<u8> {
        self.document(info).to_string().into_bytes()
    }

    /// The SPDX document as the predicate of a statement.
    pub fn predicate(&self, info: &BillInfo) -> Predicate {
        Predicate::of(SPDX_PREDICATE, &self.document(info))
    }

    fn document(&self, info: &BillInfo) -> Value {
        let created = Timestamp::from_seconds(info.created.seconds()).to_string();
        let mut packages = vec![root(info)];
        let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", ROOT)];
        if let Some(os) = self.os.as_ref().filter(|os| !os.id.is_empty()) {
            packages.push(operating_system(os));
            relationships.push(relationship(ROOT, "CONTAINS", OS));
        }
        let mut extracted = BTreeMap::new();
        for package in self.packages.values() {
            let id = package_id(package);
            relationships.push(relationship(ROOT, "CONTAINS", &id));
            packages.push(describe(package, &id, &mut extracted));
        }
        let mut document = Map::new();
        document.insert("spdxVersion".to_owned(), "SPDX-2.3".into());
        document.insert("dataLicense".to_owned(), "CC0-1.0".into());
        document.insert("SPDXID".to_owned(), DOCUMENT.into());
        document.insert("name".to_owned(), clean(&info.name).into());
        document.insert(
            "documentNamespace".to_owned(),
            info.namespace.as_str().into(),
        );
        let creators = [format!("Tool: {}", info.tool)];
        let creation = json!({ "created": created, "creators": creators });
        document.insert("creationInfo".to_owned(), creation);
        document.insert("packages".to_owned(), packages.into());
        document.insert("relationships".to_owned(), relationships.into());
        if !extracted.is_empty() {
            let extracted: Vec<Value> = extracted.into_iter().map(extracted_licence).collect();
            document.insert("hasExtractedLicensingInfos".to_owned(), extracted.into());
        }
        if !self.warnings.is_empty() {
            let warnings = self.warnings.iter();
            let said: Vec<Value> = warnings
                .map(|w| annotation(w, &created, &info.tool))
                .collect();
            document.insert("annotations".to_owned(), said.into());
        }
        Value::Object(document)
    }
}

/// The thing that was scanned.
fn root(info: &BillInfo) -> Value {
    let mut map = package_map(ROOT, &info.name);
    map.insert("licenseDeclared".to_owned(), "NOASSERTION".into());
    let purpose = match &info.subject {
        BillSubject::Image => "CONTAINER",
        BillSubject::Disk {
            file,
            digest,
            image,
        } => {
            let sum = json!({
                "algorithm": digest.algorithm().name().to_uppercase(),
                "checksumValue": digest.hex(),
            });
            map.insert("checksums".to_owned(), json!([sum]));
            map.insert("packageFileName".to_owned(), clean(file).into());
            map.insert(
                "sourceInfo".to_owned(),
                format!("made from the image {image}").into(),
            );
            "FILE"
        }
    };
    map.insert("primaryPackagePurpose".to_owned(), purpose.into());
    Value::Object(map)
}

fn operating_system(os: &OsRelease) -> Value {
    let mut map = package_map(OS, &os.id);
    if !os.version.is_empty() {
        map.insert("versionInfo".to_owned(), clean(&os.version).into());
    }
    if !os.pretty_name.is_empty() {
        map.insert("description".to_owned(), clean(&os.pretty_name).into());
    }
    map.insert("licenseDeclared".to_owned(), "NOASSERTION".into());
    map.insert(
        "primaryPackagePurpose".to_owned(),
        "OPERATING-SYSTEM".into(),
    );
    Value::Object(map)
}

fn package_map(id: &str, name: &str) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("SPDXID".to_owned(), id.into());
    map.insert("name".to_owned(), clean(name).into());
    map.insert("downloadLocation".to_owned(), "NOASSERTION".into());
    map.insert("filesAnalyzed".to_owned(), false.into());
    map.insert("licenseConcluded".to_owned(), "NOASSERTION".into());
    map.insert("copyrightText".to_owned(), "NOASSERTION".into());
    map
}

fn describe(package: &Package, id: &str, extracted: &mut BTreeMap<String, String>) -> Value {
    let mut map = package_map(id, &package.name);
    if !package.version.is_empty() {
        map.insert("versionInfo".to_owned(), clean(&package.version).into());
    }
    let declared = match package.licence.as_deref().map(licence::read) {
        None => "NOASSERTION".to_owned(),
        Some(licence) => {
            extracted.extend(licence.others);
            licence.expression
        }
    };
    map.insert("licenseDeclared".to_owned(), declared.into());
    if let Some(supplier) = &package.supplier {
        map.insert("supplier".to_owned(), clean(supplier).into());
    }
    if let Some(homepage) = package.homepage.as_deref().filter(|text| is_url(text)) {
        map.insert("homepage".to_owned(), homepage.into());
    }
    let found: Vec<String> = package.found_in.iter().map(|path| clean(path)).collect();
    let told = format!("found in: {}", found.join(", "));
    map.insert("sourceInfo".to_owned(), told.into());
    if !package.checksums.is_empty() {
        let sums = package.checksums.iter();
        let sums: Vec<Value> = sums
            .map(|sum| json!({ "algorithm": sum.algorithm, "checksumValue": sum.hex }))
            .collect();
        map.insert("checksums".to_owned(), sums.into());
    }
    let purl = json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": package.purl.to_string(),
    });
    map.insert("externalRefs".to_owned(), json!([purl]));
    Value::Object(map)
}

/// An id that says what it names, and that no other package of the inventory has.
fn package_id(package: &Package) -> String {
    let name: String = package
        .name
        .chars()
        .take(64)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let digest = Digest::sha256(package.purl.to_string().as_bytes());
    let short = digest.hex().get(..16).unwrap_or_default();
    format!(
        "SPDXRef-Package-{}-{name}-{short}",
        package.ecosystem.name()
    )
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn extracted_licence((reference, text): (String, String)) -> Value {
    json!({ "licenseId": reference, "name": clean(&text), "extractedText": text })
}

fn annotation(warning: &Warning, created: &str, tool: &str) -> Value {
    json!({
        "annotationType": "OTHER",
        "annotator": format!("Tool: {tool}"),
        "annotationDate": created,
        "comment": clean(&format!("incomplete: `{}`: {}", warning.path, warning.reason)),
    })
}

#[cfg(test)]
#[path = "spdx_tests.rs"]
mod tests;
