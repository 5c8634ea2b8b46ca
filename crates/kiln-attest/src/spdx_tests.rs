use std::collections::BTreeSet;

use expect_test::expect;

use super::*;
use crate::{Checksum, Ecosystem, PackageUrl};

fn info() -> SpdxInfo {
    SpdxInfo {
        name: "example.com/app:1".to_owned(),
        created: Timestamp::new(1_700_000_000, 123),
        namespace: "https://example.com/spdx/app-7b0e".to_owned(),
        tool: "kiln-0.1.0".to_owned(),
    }
}

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
        licence: Some("GPL-3+ AND Beerware".to_owned()),
        supplier: Some("Person: Matthias Klose (doko@debian.org)".to_owned()),
        homepage: Some("http://example.com/bash".to_owned()),
        checksums: BTreeSet::from([Checksum {
            algorithm: "SHA1",
            hex: "da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned(),
        }]),
        found_in: BTreeSet::from(["var/lib/dpkg/status".to_owned()]),
        ..Package::new(
            Ecosystem::Deb,
            PackageUrl::new("deb", "debian", "bash", "5.2").with("arch", "amd64"),
        )
    });
    inventory.add(Package {
        licence: Some("see\u{1b}[31m LICENSE\nfile".to_owned()),
        homepage: Some("javascript:alert(1)".to_owned()),
        found_in: BTreeSet::from(["a\nb".to_owned()]),
        ..Package::new(Ecosystem::Npm, PackageUrl::new("npm", "@s", "x y", ""))
    });
    inventory.warn("var/lib/rpm/Packages", "not read");
    let document: Value = serde_json::from_slice(&inventory.spdx(&info())).unwrap();
    expect![[r#"
        {
          "SPDXID": "SPDXRef-DOCUMENT",
          "annotations": [
            {
              "annotationDate": "2023-11-14T22:13:20Z",
              "annotationType": "OTHER",
              "annotator": "Tool: kiln-0.1.0",
              "comment": "incomplete: `var/lib/rpm/Packages`: not read"
            }
          ],
          "creationInfo": {
            "created": "2023-11-14T22:13:20Z",
            "creators": [
              "Tool: kiln-0.1.0"
            ]
          },
          "dataLicense": "CC0-1.0",
          "documentNamespace": "https://example.com/spdx/app-7b0e",
          "hasExtractedLicensingInfos": [
            {
              "extractedText": "Beerware",
              "licenseId": "LicenseRef-Beerware",
              "name": "Beerware"
            },
            {
              "extractedText": "see\u001b[31m LICENSE\nfile",
              "licenseId": "LicenseRef-see--31m-LICENSE-file-5de3e819d6dc",
              "name": "see [31m LICENSE file"
            }
          ],
          "name": "example.com/app:1",
          "packages": [
            {
              "SPDXID": "SPDXRef-DocumentRoot",
              "copyrightText": "NOASSERTION",
              "downloadLocation": "NOASSERTION",
              "filesAnalyzed": false,
              "licenseConcluded": "NOASSERTION",
              "licenseDeclared": "NOASSERTION",
              "name": "example.com/app:1",
              "primaryPackagePurpose": "CONTAINER"
            },
            {
              "SPDXID": "SPDXRef-OperatingSystem",
              "copyrightText": "NOASSERTION",
              "description": "Debian GNU/Linux 12 (bookworm)",
              "downloadLocation": "NOASSERTION",
              "filesAnalyzed": false,
              "licenseConcluded": "NOASSERTION",
              "licenseDeclared": "NOASSERTION",
              "name": "debian",
              "primaryPackagePurpose": "OPERATING-SYSTEM",
              "versionInfo": "12"
            },
            {
              "SPDXID": "SPDXRef-Package-deb-bash-20f82f86a5e7be73",
              "checksums": [
                {
                  "algorithm": "SHA1",
                  "checksumValue": "da39a3ee5e6b4b0d3255bfef95601890afd80709"
                }
              ],
              "copyrightText": "NOASSERTION",
              "downloadLocation": "NOASSERTION",
              "externalRefs": [
                {
                  "referenceCategory": "PACKAGE-MANAGER",
                  "referenceLocator": "pkg:deb/debian/bash@5.2?arch=amd64",
                  "referenceType": "purl"
                }
              ],
              "filesAnalyzed": false,
              "homepage": "http://example.com/bash",
              "licenseConcluded": "NOASSERTION",
              "licenseDeclared": "GPL-3.0-or-later AND LicenseRef-Beerware",
              "name": "bash",
              "sourceInfo": "found in: var/lib/dpkg/status",
              "supplier": "Person: Matthias Klose (doko@debian.org)",
              "versionInfo": "5.2"
            },
            {
              "SPDXID": "SPDXRef-Package-npm-x-y-3930bdefaf92c62f",
              "copyrightText": "NOASSERTION",
              "downloadLocation": "NOASSERTION",
              "externalRefs": [
                {
                  "referenceCategory": "PACKAGE-MANAGER",
                  "referenceLocator": "pkg:npm/%40s/x%20y",
                  "referenceType": "purl"
                }
              ],
              "filesAnalyzed": false,
              "licenseConcluded": "NOASSERTION",
              "licenseDeclared": "LicenseRef-see--31m-LICENSE-file-5de3e819d6dc",
              "name": "x y",
              "sourceInfo": "found in: a b"
            }
          ],
          "relationships": [
            {
              "relatedSpdxElement": "SPDXRef-DocumentRoot",
              "relationshipType": "DESCRIBES",
              "spdxElementId": "SPDXRef-DOCUMENT"
            },
            {
              "relatedSpdxElement": "SPDXRef-OperatingSystem",
              "relationshipType": "CONTAINS",
              "spdxElementId": "SPDXRef-DocumentRoot"
            },
            {
              "relatedSpdxElement": "SPDXRef-Package-deb-bash-20f82f86a5e7be73",
              "relationshipType": "CONTAINS",
              "spdxElementId": "SPDXRef-DocumentRoot"
            },
            {
              "relatedSpdxElement": "SPDXRef-Package-npm-x-y-3930bdefaf92c62f",
              "relationshipType": "CONTAINS",
              "spdxElementId": "SPDXRef-DocumentRoot"
            }
          ],
          "spdxVersion": "SPDX-2.3"
        }"#]]
    .assert_eq(&format!("{document:#}"));
    let predicate = inventory.predicate(&info());
    assert_eq!(predicate.kind(), "https://spdx.dev/Document");
    assert_eq!(predicate.as_json().as_bytes(), inventory.spdx(&info()));
}

#[test]
fn homepages_are_addresses() {
    assert!(is_url("https://example.com/a?b#c"));
    assert!(is_url("http://example.com:80/"));
    for text in [
        "",
        "example.com",
        "https://",
        "https://a b",
        "https://a/\u{1}",
        "javascript:x",
        "https://a/<b>",
    ] {
        assert!(!is_url(text), "{text}");
    }
}
