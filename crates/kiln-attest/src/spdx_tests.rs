//! A document, whole.

use std::collections::BTreeSet;

use expect_test::expect_file;

use super::*;
use crate::{Checksum, Ecosystem, PackageUrl};

fn info() -> BillInfo {
    BillInfo {
        name: "example.com/app:1".to_owned(),
        subject: BillSubject::Image,
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
    expect_file!["spdx_testdata/document.json"].assert_eq(&format!("{document:#}\n"));
    let predicate = inventory.predicate(&info());
    assert_eq!(predicate.kind(), "https://spdx.dev/Document");
    assert_eq!(predicate.as_json().as_bytes(), inventory.spdx(&info()));
}
