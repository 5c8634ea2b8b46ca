//! Trees in, packages and warnings out.

mod made;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use expect_test::{Expect, expect};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use kiln_base::CancelToken;
use kiln_sys::fs::Dir;
use proptest::prelude::*;

use self::made::{elf, rpm_header, rpmdb, zip};
use super::{ScanError, scan};
use crate::inventory::Inventory;

const OS_RELEASE: &str = "\
PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"
NAME=\"Debian GNU/Linux\"
VERSION_ID=\"12\"
ID=debian
";

fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn scanned(dir: &Path) -> Inventory {
    scan(&Dir::open(dir).unwrap(), &CancelToken::new()).unwrap()
}

fn show(inventory: &Inventory) -> String {
    let mut out = String::new();
    for package in inventory.packages.values() {
        let _ = writeln!(out, "{}", package.purl);
        for (name, value) in [
            ("licence", &package.licence),
            ("supplier", &package.supplier),
            ("homepage", &package.homepage),
        ] {
            if let Some(value) = value {
                let _ = writeln!(out, "  {name}: {value}");
            }
        }
        for sum in &package.checksums {
            let _ = writeln!(out, "  {}: {}", sum.algorithm, sum.hex);
        }
        let found: Vec<&str> = package.found_in.iter().map(String::as_str).collect();
        let _ = writeln!(out, "  in: {}", found.join(", "));
    }
    for warning in &inventory.warnings {
        let _ = writeln!(out, "warning: {}: {}", warning.path, warning.reason);
    }
    out
}

#[track_caller]
fn check(files: &[(&str, &[u8])], expected: &Expect) {
    let dir = tree(files);
    expected.assert_eq(&show(&scanned(dir.path())));
}

#[test]
fn dpkg() {
    let status = b"\
Package: libgcc-s1
Status: install ok installed
Priority: optional
Maintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>
Architecture: amd64
Multi-Arch: same
Source: gcc-12 (12.2.0-14+deb12u1)
Version: 12.2.0-14+deb12u1
Description: GCC support library
 Shared version of the support library.
 .
 Version: 9 is not a field here
Homepage: http://gcc.gnu.org/

Package: removed
Status: deinstall ok config-files
Version: 1.0
Architecture: all

Package: bash
Status: install ok installed
Maintainer: Matthias Klose <doko@debian.org>
Architecture: amd64
Version: 5.2.15-2+b7
";
    let copyright = b"\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: FSF
License: GPL-3+
 Text of the licence.

Files: x
License: GPL-2+ or Artistic
";
    check(
        &[
            ("usr/lib/os-release", OS_RELEASE.as_bytes()),
            ("var/lib/dpkg/status", status),
            (
                "var/lib/dpkg/status.d/base-files",
                b"Package: base-files\nVersion: 12.4\nArchitecture: arm64\n",
            ),
            ("var/lib/dpkg/status.d/base-files.md5sums", b"0123 usr/x\n"),
            ("usr/share/doc/bash/copyright", copyright),
        ],
        &expect![[r"
            pkg:deb/debian/base-files@12.4?arch=arm64&distro=debian-12
              in: var/lib/dpkg/status.d/base-files
            pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12
              licence: (GPL-2+ or Artistic) AND GPL-3+
              supplier: Person: Matthias Klose (doko@debian.org)
              in: var/lib/dpkg/status
            pkg:deb/debian/libgcc-s1@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2.0-14%2Bdeb12u1
              supplier: Person: Debian GCC Maintainers (debian-gcc@lists.debian.org)
              homepage: http://gcc.gnu.org/
              in: var/lib/dpkg/status
        "]],
    );
}

#[test]
fn apk() {
    let installed = b"\
C:Q1p78yvTLG094tHE1+dToJGbmYzQE=
P:musl
V:1.2.4-r2
A:x86_64
T:the musl c library
U:https://musl.libc.org/
L:MIT
o:musl
m:Timo Ter\xc3\xa4s <timo.teras@iki.fi>
F:lib
R:ld-musl-x86_64.so.1

P:libcrypto3
V:3.1.4-r0
A:x86_64
L:Apache-2.0
o:openssl
";
    check(
        &[
            ("etc/os-release", b"ID=alpine\nVERSION_ID=3.18.4\n"),
            ("lib/apk/db/installed", installed),
        ],
        &expect![[r"
            pkg:apk/alpine/libcrypto3@3.1.4-r0?arch=x86_64&distro=alpine-3.18.4&upstream=openssl
              licence: Apache-2.0
              in: lib/apk/db/installed
            pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.18.4
              licence: MIT
              supplier: Person: Timo Teräs (timo.teras@iki.fi)
              homepage: https://musl.libc.org/
              in: lib/apk/db/installed
        "]],
    );
}

#[test]
fn languages() {
    check(
        &[
            (
                "usr/lib/python3/dist-packages/Flask_Login-0.6.dist-info/METADATA",
                b"Metadata-Version: 2.1\nName: Flask_Login\nVersion: 0.6\nLicense: MIT\nAuthor: A B\nHome-page: https://example.com/f\n\nName: not-this\n",
            ),
            (
                "usr/lib/python3/dist-packages/old.egg-info",
                b"Name: old\nVersion: 1\nLicense: UNKNOWN\nAuthor: UNKNOWN\n",
            ),
            (
                "app/node_modules/@scope/pkg/package.json",
                br#"{"name":"@scope/pkg","version":"1.0.0","license":"ISC","author":"J D <j@d.example> (https://d.example)"}"#,
            ),
            ("app/node_modules/@scope/pkg/lib/package.json", br#"{"type":"module","name":"inner","version":"9"}"#),
            ("app/node_modules/old/package.json", br#"{"name":"old","version":"0.1.0","licenses":[{"type":"MIT"},{"type":"GPL-2.0"}]}"#),
            (
                "app/package-lock.json",
                br#"{"lockfileVersion":3,"packages":{"":{"name":"app","version":"1.0.0"},
                    "node_modules/@scope/pkg":{"version":"1.0.0","integrity":"sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
                    "node_modules/a/node_modules/b":{"version":"2.0.0"}}}"#,
            ),
            (
                "srv/package-lock.json",
                br#"{"lockfileVersion":1,"dependencies":{"x":{"version":"1.1.1","dependencies":{"y":{"version":"2.2.2"}}}}}"#,
            ),
            (
                "usr/lib/ruby/gems/3.1.0/specifications/default/json-2.6.1.gemspec",
                b"# -*- encoding: utf-8 -*-\nGem::Specification.new do |s|\n  s.name = \"json\".freeze\n  s.version = \"2.6.1\"\n  s.licenses = [\"Ruby\".freeze, \"BSD-2-Clause\".freeze]\n  s.homepage = \"https://flori.github.io/json\".freeze\nend\n",
            ),
            ("src/json.gemspec", b"s.name = \"not-installed\"\ns.version = \"1\"\n"),
            (
                "var/www/vendor/composer/installed.json",
                br#"{"packages":[{"name":"monolog/monolog","version":"3.5.0","license":["MIT"],"dist":{"shasum":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}}]}"#,
            ),
        ],
        &expect![[r"
            pkg:composer/monolog/monolog@3.5.0
              licence: MIT
              SHA1: da39a3ee5e6b4b0d3255bfef95601890afd80709
              in: var/www/vendor/composer/installed.json
            pkg:gem/json@2.6.1
              licence: Ruby OR BSD-2-Clause
              homepage: https://flori.github.io/json
              in: usr/lib/ruby/gems/3.1.0/specifications/default/json-2.6.1.gemspec
            pkg:npm/b@2.0.0
              in: app/package-lock.json
            pkg:npm/old@0.1.0
              licence: MIT OR GPL-2.0
              in: app/node_modules/old/package.json
            pkg:npm/x@1.1.1
              in: srv/package-lock.json
            pkg:npm/y@2.2.2
              in: srv/package-lock.json
            pkg:npm/%40scope/pkg@1.0.0
              licence: ISC
              supplier: Person: J D (j@d.example)
              SHA1: da39a3ee5e6b4b0d3255bfef95601890afd80709
              in: app/node_modules/@scope/pkg/package.json, app/package-lock.json
            pkg:pypi/flask-login@0.6
              licence: MIT
              supplier: Person: A B
              homepage: https://example.com/f
              in: usr/lib/python3/dist-packages/Flask_Login-0.6.dist-info/METADATA
            pkg:pypi/old@1
              in: usr/lib/python3/dist-packages/old.egg-info
        "]],
    );
}

#[test]
fn rpm() {
    check(
        &[
            ("etc/os-release", b"ID=fedora\nVERSION_ID=40\n"),
            (
                "usr/lib/sysimage/rpm/rpmdb.sqlite",
                &rpmdb(&[
                    rpm_header("bash", "5.2.26", "3.fc40", Some(1)),
                    rpm_header("gpg-pubkey", "1", "1", None),
                    rpm_header("zlib", "1.3", "1", None),
                ]),
            ),
            ("var/lib/rpm/Packages", b"\0\0\0\0Berkeley"),
        ],
        &expect![[r"
            pkg:rpm/fedora/bash@5.2.26-3.fc40?arch=x86_64&distro=fedora-40&epoch=1&upstream=src.rpm
              licence: GPLv3+
              supplier: Organization: Fedora Project
              in: usr/lib/sysimage/rpm/rpmdb.sqlite
            pkg:rpm/fedora/zlib@1.3-1?arch=x86_64&distro=fedora-40&upstream=src.rpm
              licence: GPLv3+
              supplier: Organization: Fedora Project
              in: usr/lib/sysimage/rpm/rpmdb.sqlite
            warning: var/lib/rpm/Packages: the RPM database is present, but its format is not read: its packages are missing
        "]],
    );
}

#[test]
fn programs() {
    let list = "path\texample.com/cmd/x\nmod\texample.com/X\t(devel)\t\ndep\tgolang.org/x/sys\tv0.15.0\th1:abc=\ndep\tgithub.com/old/mod\tv1.0.0\n=>\tgithub.com/Fork/mod/v2\tv2.0.1\th1:d=\nbuild\tGOOS=linux\n";
    let mut go = b"\xff Go buildinf:\x08\x02".to_vec();
    go.resize(32, 0);
    for text in [
        "go1.21.5".to_owned(),
        format!("{0}{list}{0}", "0123456789abcdef"),
    ] {
        go.push(0x80 | u8::try_from(text.len() & 127).unwrap());
        go.push(u8::try_from(text.len() >> 7).unwrap());
        go.extend(text.as_bytes());
    }
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(br#"{"packages":[{"name":"serde","version":"1.0.1","source":"crates.io"},{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"}]}"#).unwrap();
    let cargo = packed.finish().unwrap();
    let dir = tree(&[
        ("usr/bin/go", &elf(".go.buildinfo", &go)),
        ("usr/bin/rust", &elf(".dep-v0", &cargo)),
        (
            "usr/bin/old",
            &elf(".go.buildinfo", b"\xff Go buildinf:\x08\x00"),
        ),
        ("usr/bin/bad", &elf(".dep-v0", b"not packed")),
        ("usr/bin/cut", &elf(".dep-v0", &cargo)[..4096]),
        ("usr/share/data", &elf(".dep-v0", &cargo)),
    ]);
    for entry in fs::read_dir(dir.path().join("usr/bin")).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    expect![[r"
        pkg:cargo/serde@1.0.1
          in: usr/bin/rust
        pkg:golang/stdlib@1.21.5
          in: usr/bin/go
        pkg:golang/example.com/x
          in: usr/bin/go
        pkg:golang/github.com/fork/mod/v2@v2.0.1
          in: usr/bin/go
        pkg:golang/golang.org/x/sys@v0.15.0
          in: usr/bin/go
        warning: usr/bin/bad: has a damaged list of crates: corrupt deflate stream
        warning: usr/bin/cut: is not a whole program: failed to fill whole buffer
        warning: usr/bin/old: was made by Go before 1.18, whose list of modules is not read
    "]]
    .assert_eq(&show(&scanned(dir.path())));
}

#[test]
fn java() {
    let pom = |group: &str, name: &str| {
        format!("#made by Maven\nversion=1.2\ngroupId={group}\nartifactId={name}\n")
    };
    let inner = zip(&[(
        "META-INF/maven/org.inner/lib/pom.properties",
        pom("org.inner", "lib").as_bytes(),
    )]);
    let outer = zip(&[
        (
            "META-INF/maven/org.outer/app/pom.properties",
            pom("org.outer", "app").as_bytes(),
        ),
        ("BOOT-INF/lib/inner.jar", &inner),
        ("A.class", b"\xca\xfe"),
    ]);
    check(
        &[
            ("app/app.jar", &outer),
            ("app/broken.jar", b"PK\x05\x06"),
            ("app/cut.war", &outer[..outer.len() - 1]),
        ],
        &expect![[r"
            pkg:maven/org.inner/lib@1.2
              SHA256: 719d45bf9f090e2e4cbabb5d0a13e593b8c99a39a4016f4a33399fd34d283763
              in: app/app.jar
            pkg:maven/org.outer/app@1.2
              SHA256: dc333970aac42f6af3287d16c64e88ac88e0b0635f1cab2e1e928909a8476719
              in: app/app.jar
            warning: app/broken.jar: is not a whole archive
            warning: app/cut.war: is not a whole archive
        "]],
    );
}

#[test]
fn links_and_odd_nodes_lead_nowhere() {
    let outside = tree(&[("status", b"Package: outside\nVersion: 1\n")]);
    let dir = tree(&[
        ("etc/os-release", b"ID=x\n"),
        (
            "proc/1/node_modules/a/package.json",
            b"{\"name\":\"a\",\"version\":\"1\"}",
        ),
    ]);
    let dpkg = dir.path().join("var/lib/dpkg");
    fs::create_dir_all(&dpkg).unwrap();
    std::os::unix::fs::symlink(outside.path().join("status"), dpkg.join("status")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dpkg.join("status.d")).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("loop")).unwrap();
    let root = Dir::open(dir.path()).unwrap();
    root.mknod("installed.json", kiln_sys::fs::NodeKind::Fifo, 0o644)
        .unwrap();
    expect![[""]].assert_eq(&show(&scanned(dir.path())));
}

#[test]
fn damaged_files_are_warnings() {
    check(
        &[
            ("app/node_modules/a/package.json", b"{"),
            ("app/package-lock.json", b"[[["),
            ("v/composer/installed.json", b"\xff"),
            ("var/lib/rpm/rpmdb.sqlite", b"SQLite format 3\0"),
            ("var/lib/dpkg/status", b"\xff\xfe\0Package: x"),
        ],
        &expect![[r"
            warning: app/node_modules/a/package.json: is not JSON: EOF while parsing an object at line 1 column 1
            warning: app/package-lock.json: is not JSON: EOF while parsing a list at line 1 column 3
            warning: v/composer/installed.json: is not JSON: expected value at line 1 column 1
            warning: var/lib/dpkg/status: names no installed package
            warning: var/lib/rpm/rpmdb.sqlite: is a damaged RPM database
        "]],
    );
}

#[test]
fn a_cancelled_scan_stops() {
    let dir = tree(&[("a", b"")]);
    let cancel = CancelToken::new();
    cancel.cancel();
    let result = scan(&Dir::open(dir.path()).unwrap(), &cancel);
    assert!(matches!(result, Err(ScanError::Cancelled(_))));
}

/// Every place at which something is read, and honest content for it.
fn places() -> Vec<(&'static str, Vec<u8>)> {
    let go = elf(
        ".go.buildinfo",
        b"\xff Go buildinf:\x08\x02................\x05go1.2\x05aaaaa",
    );
    vec![
        ("etc/os-release", OS_RELEASE.into()),
        (
            "var/lib/dpkg/status",
            b"Package: a\nVersion: 1\nSource: x (2)\nMaintainer: A <b>\n\n".to_vec(),
        ),
        (
            "usr/share/doc/a/copyright",
            b"Format: x\nLicense: MIT or (ISC\n".to_vec(),
        ),
        (
            "lib/apk/db/installed",
            b"P:a\nV:1\nL:MIT\nm:A <b>\n\n".to_vec(),
        ),
        (
            "var/lib/rpm/rpmdb.sqlite",
            rpmdb(&[
                rpm_header("a", "1", "2", Some(3)),
                rpm_header("b", "1", "2", None),
            ]),
        ),
        (
            "a/b.dist-info/METADATA",
            b"Name: a\nVersion: 1\nAuthor: \"A\" <b@c>\n".to_vec(),
        ),
        (
            "node_modules/a/package.json",
            br#"{"name":"a","version":"1","author":{"name":"x"}}"#.to_vec(),
        ),
        (
            "package-lock.json",
            br#"{"dependencies":{"a":{"version":"1","integrity":"sha512-aa=="}}}"#.to_vec(),
        ),
        (
            "specifications/a.gemspec",
            b"s.name = 'a'\ns.version = \"1\"\n".to_vec(),
        ),
        (
            "composer/installed.json",
            br#"[{"name":"a/b","version":"1","license":["MIT"]}]"#.to_vec(),
        ),
        (
            "a.jar",
            zip(&[(
                "META-INF/maven/a/b/pom.properties",
                b"groupId=a\nartifactId=b\n",
            )]),
        ),
        ("bin/go", go),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Honest files with a few bytes changed, cut or put in: nothing panics, and what comes out is
    /// a document.
    #[test]
    fn damage_never_panics(
        which in 0_usize..12,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut files = places();
        let content = &mut files[which].1;
        for (place, byte) in changes {
            let place = place.index(content.len());
            content[place] = byte;
        }
        if let Some(cut) = cut {
            let cut = cut.index(content.len());
            content.truncate(cut);
        }
        check_document(&files);
    }

    #[test]
    fn random_bytes_never_panic(which in 0_usize..12, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut files = places();
        files[which].1 = bytes;
        check_document(&files);
    }
}

fn check_document(files: &[(&str, Vec<u8>)]) {
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(path, content)| (*path, &content[..]))
        .collect();
    let dir = tree(&files);
    let program = dir.path().join("bin/go");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    let inventory = scanned(dir.path());
    let info = crate::BillInfo {
        name: "x".to_owned(),
        subject: crate::BillSubject::Image,
        created: kiln_base::Timestamp::EPOCH,
        namespace: "https://example.com/x".to_owned(),
        tool: "kiln-0".to_owned(),
    };
    let document: serde_json::Value = serde_json::from_slice(&inventory.spdx(&info)).unwrap();
    let ids: std::collections::BTreeSet<&str> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["SPDXID"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), document["packages"].as_array().unwrap().len());
    let other: serde_json::Value = serde_json::from_slice(&inventory.cyclonedx(&info)).unwrap();
    let found = other["components"].as_array().unwrap().len();
    // SPDX lists what was scanned as a package, too.
    assert_eq!(found + 1, ids.len());
}
