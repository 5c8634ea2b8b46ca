//! Packages for development, and what is left of them in databases.

use expect_test::{Expect, expect};

use super::rules::{optimised, options, report_text};
use super::tree::{content, text, tree};

#[track_caller]
fn check(words: &str, given: &str, show: &[&str], expected: &Expect) {
    let mut tree = tree(given);
    let report = optimised(&mut tree, &options(words));
    let mut out = format!("{}\n{}", report_text(&report), text(&tree));
    for path in show {
        out += &format!("\n{path}:\n{}", content(&tree, path));
    }
    expected.assert_eq(&out);
}

fn deb(name: &str, fields: &str) -> String {
    let fields = fields.replace("; ", "\\n");
    let section = if fields.contains("Section:") {
        ""
    } else {
        "\\nSection: misc"
    };
    format!(
        "Package: {name}\\nStatus: install ok installed{section}\\nArchitecture: amd64\\n\
         Version: 1.0\\n{fields}\\n\\n"
    )
}

const FILES: &str = "
    lib -> usr/lib
    bin -> usr/bin
    usr/bin/gcc-12 0755 x
    usr/bin/cc -> /etc/alternatives/cc
    etc/alternatives/cc -> /usr/bin/gcc-12
    var/lib/dpkg/alternatives/cc 0644 auto\\n/usr/bin/cc\\n\\n/usr/bin/gcc-12\\n20\\n\\n
    usr/lib/libcc1.so.0 0644 xx
    usr/lib/libz.so.1 0644 x
    usr/include/zlib.h 0644 x
    usr/share/both 0644 x
    var/lib/dpkg/info/gcc.list 0644 /.\\n/usr\\n/usr/bin\\n/usr/bin/gcc-12\\n/usr/share/both
    var/lib/dpkg/info/gcc.md5sums 0644 x
    var/lib/dpkg/info/gcc.extra.list 0644 x
    var/lib/dpkg/info/libcc1.list 0644 /.\\n/lib\\n/lib/libcc1.so.0
    var/lib/dpkg/info/zlib1g:amd64.list 0644 /.\\n/usr/lib\\n/lib/libz.so.1\\n/usr/share/both
    var/lib/dpkg/info/zlib1g-dev:amd64.list 0644 /usr/include\\n/usr/include/zlib.h
    var/lib/dpkg/info/zlib1g-dev:amd64.triggers 0644 interest /x
    var/lib/dpkg/triggers/File 0644 /x zlib1g-dev\\n/y libc-bin
    var/lib/apt/extended_states 0644 Package: libcc1\\nArchitecture: amd64\\nAuto-Installed: 1
";

fn status(app: &str) -> String {
    let text = [
        deb("gcc", "Section: devel; Depends: libcc1 (>= 1)"),
        deb("libcc1", "Section: libs"),
        deb("zlib1g", "Multi-Arch: same"),
        deb("zlib1g-dev", "Multi-Arch: same; Depends: zlib1g (= 1.0)"),
        deb("app", app),
    ];
    format!("{FILES}\nvar/lib/dpkg/status 0644 {}", text.concat())
}

#[test]
fn development_packages_go_with_their_rows() {
    check(
        "development-packages",
        &status("Depends: zlib1g"),
        &[
            "var/lib/dpkg/status",
            "var/lib/apt/extended_states",
            "var/lib/dpkg/triggers/File",
        ],
        &expect![[r#"
            - usr/bin/gcc-12 1 2 development-packages
            - usr/include/zlib.h 1 2 development-packages
            - usr/lib/libcc1.so.0 1 3 development-packages
            - usr/include 1 0 development-packages
            ~ var/lib/dpkg/status 562 -> 217 development-packages
            ~ var/lib/apt/extended_states 54 -> 0 development-packages
            ~ var/lib/dpkg/triggers/File 26 -> 12 development-packages
            package gcc 1.0
            package libcc1 1.0 (orphan)
            package zlib1g-dev 1.0
            development-packages: 12 files, 580 bytes

            bin -> usr/bin
            etc/
            etc/alternatives/
            lib -> usr/lib
            usr/
            usr/bin/
            usr/lib/
            usr/lib/libz.so.1 2
            usr/share/
            usr/share/both 2
            var/
            var/lib/
            var/lib/apt/
            var/lib/apt/extended_states 0
            var/lib/dpkg/
            var/lib/dpkg/alternatives/
            var/lib/dpkg/info/
            var/lib/dpkg/info/gcc.extra.list 2
            var/lib/dpkg/info/zlib1g:amd64.list 43
            var/lib/dpkg/status 217
            var/lib/dpkg/triggers/
            var/lib/dpkg/triggers/File 12

            var/lib/dpkg/status:
            Package: zlib1g
            Status: install ok installed
            Section: misc
            Architecture: amd64
            Version: 1.0
            Multi-Arch: same

            Package: app
            Status: install ok installed
            Section: misc
            Architecture: amd64
            Version: 1.0
            Depends: zlib1g



            var/lib/apt/extended_states:

            var/lib/dpkg/triggers/File:
            /y libc-bin
        "#]],
    );
}

#[test]
fn what_is_needed_or_preserved_stays() {
    check(
        "development-packages +usr/include/zlib.h",
        &status("Depends: zlib1g, c-compiler | gcc"),
        &[],
        &expect![[r#"
            note: package `gcc` stays: `app` needs it (development-packages)
            note: package `zlib1g-dev` stays: `/usr/include/zlib.h` is preserved (development-packages)

            bin -> usr/bin
            etc/
            etc/alternatives/
            etc/alternatives/cc -> /usr/bin/gcc-12
            lib -> usr/lib
            usr/
            usr/bin/
            usr/bin/cc -> /etc/alternatives/cc
            usr/bin/gcc-12 2
            usr/include/
            usr/include/zlib.h 2
            usr/lib/
            usr/lib/libcc1.so.0 3
            usr/lib/libz.so.1 2
            usr/share/
            usr/share/both 2
            var/
            var/lib/
            var/lib/apt/
            var/lib/apt/extended_states 54
            var/lib/dpkg/
            var/lib/dpkg/alternatives/
            var/lib/dpkg/alternatives/cc 39
            var/lib/dpkg/info/
            var/lib/dpkg/info/gcc.extra.list 2
            var/lib/dpkg/info/gcc.list 49
            var/lib/dpkg/info/gcc.md5sums 2
            var/lib/dpkg/info/libcc1.list 25
            var/lib/dpkg/info/zlib1g-dev:amd64.list 33
            var/lib/dpkg/info/zlib1g-dev:amd64.triggers 12
            var/lib/dpkg/info/zlib1g:amd64.list 43
            var/lib/dpkg/status 580
            var/lib/dpkg/triggers/
            var/lib/dpkg/triggers/File 26
        "#]],
    );
}

#[test]
fn a_library_that_a_program_outside_of_packages_needs_stays() {
    let given = status("Depends: zlib1g");
    let given = format!("{given}\nsrv/app 0755 elf:needs=libcc1.so.0");
    check(
        "development-packages",
        &given,
        &[],
        &expect![[r#"
        - usr/bin/gcc-12 1 2 development-packages
        - usr/include/zlib.h 1 2 development-packages
        - usr/include 1 0 development-packages
        ~ var/lib/dpkg/status 562 -> 310 development-packages
        ~ var/lib/dpkg/triggers/File 26 -> 12 development-packages
        package gcc 1.0
        package zlib1g-dev 1.0
        development-packages: 10 files, 405 bytes

        bin -> usr/bin
        etc/
        etc/alternatives/
        lib -> usr/lib
        srv/
        srv/app 573
        usr/
        usr/bin/
        usr/lib/
        usr/lib/libcc1.so.0 3
        usr/lib/libz.so.1 2
        usr/share/
        usr/share/both 2
        var/
        var/lib/
        var/lib/apt/
        var/lib/apt/extended_states 54
        var/lib/dpkg/
        var/lib/dpkg/alternatives/
        var/lib/dpkg/info/
        var/lib/dpkg/info/gcc.extra.list 2
        var/lib/dpkg/info/libcc1.list 25
        var/lib/dpkg/info/zlib1g:amd64.list 43
        var/lib/dpkg/status 310
        var/lib/dpkg/triggers/
        var/lib/dpkg/triggers/File 12
    "#]],
    );
}

#[test]
fn another_choice_takes_the_place_of_one_that_goes() {
    let given = status("Depends: zlib1g").replace(
        "/usr/bin/gcc-12\\n20\\n\\n",
        "cc.1\\n/usr/share/man/cc.1\\n\\n/usr/bin/gcc-12\\n20\\n/usr/share/gcc.1\\n\
         /usr/bin/tcc\\n5\\n\\n\\n",
    );
    let given = given.replace("/usr/bin/cc\\n\\ncc.1", "/usr/bin/cc\\ncc.1");
    let given = format!("{given}\nusr/bin/tcc 0755 x");
    check(
        "development-packages",
        &given,
        &["var/lib/dpkg/alternatives/cc"],
        &expect![[r#"
            - usr/bin/gcc-12 1 2 development-packages
            - usr/include/zlib.h 1 2 development-packages
            - usr/lib/libcc1.so.0 1 3 development-packages
            - usr/include 1 0 development-packages
            ~ var/lib/dpkg/status 562 -> 217 development-packages
            ~ var/lib/apt/extended_states 54 -> 0 development-packages
            ~ var/lib/dpkg/triggers/File 26 -> 12 development-packages
            ~ var/lib/dpkg/alternatives/cc 97 -> 60 development-packages
            package gcc 1.0
            package libcc1 1.0 (orphan)
            package zlib1g-dev 1.0
            development-packages: 9 files, 578 bytes

            bin -> usr/bin
            etc/
            etc/alternatives/
            etc/alternatives/cc -> /usr/bin/tcc
            lib -> usr/lib
            usr/
            usr/bin/
            usr/bin/cc -> /etc/alternatives/cc
            usr/bin/tcc 2
            usr/lib/
            usr/lib/libz.so.1 2
            usr/share/
            usr/share/both 2
            var/
            var/lib/
            var/lib/apt/
            var/lib/apt/extended_states 0
            var/lib/dpkg/
            var/lib/dpkg/alternatives/
            var/lib/dpkg/alternatives/cc 60
            var/lib/dpkg/info/
            var/lib/dpkg/info/gcc.extra.list 2
            var/lib/dpkg/info/zlib1g:amd64.list 43
            var/lib/dpkg/status 217
            var/lib/dpkg/triggers/
            var/lib/dpkg/triggers/File 12

            var/lib/dpkg/alternatives/cc:
            auto
            /usr/bin/cc
            cc.1
            /usr/share/man/cc.1

            /usr/bin/tcc
            5


        "#]],
    );
}

#[test]
fn apk_packages_go_with_their_rows() {
    check(
        "development-packages",
        "etc/apk/world 0644 busybox\\n.build-deps\\napp
         lib/apk/db/triggers 0644 Q1gcc= /usr/lib\\nQ1bb= /bin
         lib/apk/db/installed 0644 C:Q1bb=\\nP:busybox\\nV:1\\nF:bin\\nR:busybox\\n\\nC:Q1gcc=\\nP:gcc\\nV:12\\nD:so:libisl.so.23 binutils\\nF:usr\\nF:usr/bin\\nR:gcc\\nF:usr/lib/gcc\\nR:cc1\\n\\nP:isl\\nV:0.26\\np:so:libisl.so.23=23.3\\nF:usr/lib\\nR:libisl.so.23\\n\\nP:binutils\\nV:2\\nF:usr/bin\\nR:ld\\n\\nP:.build-deps\\nV:1\\nD:gcc\\n\\nP:app\\nV:1\\nD:so:libz.so.1\\n\\nP:zlib\\nV:1\\np:so:libz.so.1=1.3\\nF:usr/lib\\nR:libz.so.1\\n\\n
         bin/busybox 0755 x
         usr/bin/gcc 0755 x
         usr/bin/ld 0755 x
         usr/lib/gcc/cc1 0755 x
         usr/lib/libisl.so.23 0755 x
         usr/lib/libz.so.1 0755 x",
        &["etc/apk/world", "lib/apk/db/installed", "lib/apk/db/triggers"],
        &expect![[r#"
            - usr/bin/gcc 1 2 development-packages
            - usr/bin/ld 1 2 development-packages
            - usr/lib/libisl.so.23 1 2 development-packages
            - usr/lib/gcc/cc1 1 2 development-packages
            - usr/lib/gcc 1 0 development-packages
            - usr/bin 1 0 development-packages
            ~ lib/apk/db/installed 327 -> 119 development-packages
            ~ etc/apk/world 24 -> 12 development-packages
            ~ lib/apk/db/triggers 27 -> 11 development-packages
            package gcc 12
            package isl 0.26 (orphan)
            package binutils 2
            package .build-deps 1
            development-packages: 6 files, 244 bytes

            bin/
            bin/busybox 2
            etc/
            etc/apk/
            etc/apk/world 12
            lib/
            lib/apk/
            lib/apk/db/
            lib/apk/db/installed 119
            lib/apk/db/triggers 11
            usr/
            usr/lib/
            usr/lib/libz.so.1 2

            etc/apk/world:
            busybox
            app

            lib/apk/db/installed:
            C:Q1bb=
            P:busybox
            V:1
            F:bin
            R:busybox

            P:app
            V:1
            D:so:libz.so.1

            P:zlib
            V:1
            p:so:libz.so.1=1.3
            F:usr/lib
            R:libz.so.1



            lib/apk/db/triggers:
            Q1bb= /bin
        "#]],
    );
}

#[test]
fn rpm_is_told_of() {
    check(
        "development-packages",
        "var/lib/rpm/rpmdb.sqlite 0644 x",
        &[],
        &expect![[r#"
            note: rpm's database is not understood: its packages stay (development-packages)

            var/
            var/lib/
            var/lib/rpm/
            var/lib/rpm/rpmdb.sqlite 2
        "#]],
    );
}
