//! Each rule on a small tree.

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_disk::Tree;
use kiln_rootfs::optimise::{Level, Options, Report, Rule, optimise};

use super::tree::{Nothing, text, tree};

/// Options in words: rules by their names, `-PATTERN` to exclude, `+PATTERN` to preserve,
/// `@LOCALE` to keep.
pub(crate) fn options(words: &str) -> Options {
    let mut options = Options::at(Level::None);
    for word in words.split_ascii_whitespace() {
        match word.split_at(1) {
            ("-", pattern) => options.exclude.push(pattern.to_owned()),
            ("+", pattern) => options.preserve.push(pattern.to_owned()),
            ("@", locale) => options.locales.push(locale.to_owned()),
            _ => {
                options.rules.insert(word.parse::<Rule>().unwrap());
            }
        }
    }
    options
}

pub(crate) fn optimised(tree: &mut Tree, options: &Options) -> Report {
    let report = optimise(tree, &Nothing, options, &CancelToken::new()).unwrap();
    let mut copy = tree.clone();
    let again = optimise(&mut copy, &Nothing, options, &CancelToken::new()).unwrap();
    assert_eq!((again.gone, again.changed), (Vec::new(), Vec::new()));
    assert_eq!(again.before, report.after);
    report
}

pub(crate) fn report_text(report: &Report) -> String {
    let mut lines = String::new();
    for gone in &report.gone {
        let path = gone.path.escape_ascii();
        let what = if gone.is_whole { "" } else { "/*" };
        let (names, bytes, rule) = (gone.names, gone.bytes, gone.rule);
        lines += &format!("- {path}{what} {names} {bytes} {rule}\n");
    }
    for changed in &report.changed {
        let path = changed.path.escape_ascii();
        let (before, after, rule) = (changed.before, changed.after, changed.rule);
        lines += &format!("~ {path} {before} -> {after} {rule}\n");
    }
    for package in &report.packages {
        let mark = if package.is_development {
            ""
        } else {
            " (orphan)"
        };
        lines += &format!("package {} {}{mark}\n", package.name, package.version);
    }
    for note in &report.notes {
        lines += &format!("note: {} ({})\n", note.text, note.rule);
    }
    for (rule, totals) in &report.rules {
        lines += &format!("{rule}: {} files, {} bytes\n", totals.files, totals.bytes);
    }
    lines
}

#[track_caller]
fn check(words: &str, given: &str, expected: &Expect) {
    let mut tree = tree(given);
    let report = optimised(&mut tree, &options(words));
    expected.assert_eq(&format!("{}\n{}", report_text(&report), text(&tree)));
}

#[test]
fn caches_go_and_their_directories_stay() {
    check(
        "package-caches",
        "var/lib/apt/lists/partial/ 0700
         var/lib/apt/lists/deb.debian.org_InRelease 0644 x
         var/cache/apt/archives/x.deb 0644 xx
         var/cache/nginx/ 0700
         var/cache/debconf/config.dat 0644 x
         var/cache/debconf/config.dat-old 0644 x
         etc/passwd 0644 root:x:0:0::/root:/bin/sh\\napp:x:1:1::/srv/app:/bin/sh
         root/.npm/_cacache/a/b 0644 x
         root/.cache/huggingface/model 0644 x
         srv/app/.cache/pip/x 0644 x
         srv/other/.cache/pip/x 0644 x
         home/me/.cargo/registry/src/index/x.rs 0644 x
         home/me/.cargo/bin/tool 0755 x",
        &expect![[r#"
            - home/me/.cargo/registry/src 3 2 package-caches
            - root/.npm/_cacache 3 2 package-caches
            - srv/app/.cache/pip 2 2 package-caches
            - var/cache/apt/archives/x.deb 1 3 package-caches
            - var/cache/debconf/config.dat-old 1 2 package-caches
            - var/lib/apt/lists/deb.debian.org_InRelease 1 2 package-caches
            package-caches: 11 files, 13 bytes

            etc/
            etc/passwd 54
            home/
            home/me/
            home/me/.cargo/
            home/me/.cargo/bin/
            home/me/.cargo/bin/tool 2
            home/me/.cargo/registry/
            root/
            root/.cache/
            root/.cache/huggingface/
            root/.cache/huggingface/model 2
            root/.npm/
            srv/
            srv/app/
            srv/app/.cache/
            srv/other/
            srv/other/.cache/
            srv/other/.cache/pip/
            srv/other/.cache/pip/x 2
            var/
            var/cache/
            var/cache/apt/
            var/cache/apt/archives/
            var/cache/debconf/
            var/cache/debconf/config.dat 2
            var/cache/nginx/ 0700
            var/lib/
            var/lib/apt/
            var/lib/apt/lists/
            var/lib/apt/lists/partial/ 0700
        "#]],
    );
}

#[test]
fn licences_stay_and_manuals_go() {
    check(
        "documentation",
        "usr/share/doc/a/copyright 0644 x
         usr/share/doc/a/changelog.gz 0644 xxx
         usr/share/doc/a/examples/x 0644 x
         usr/share/doc/a/examples/y 0644 x
         usr/share/doc/b -> a
         usr/share/doc/c/README 0644 x
         usr/share/doc/d -> c
         usr/share/doc/e/LICENSES/MIT 0644 x
         usr/share/man/man1/x.1.gz 0644 x
         usr/share/common-licenses/GPL 0644 x",
        &expect![[r#"
            - usr/share/doc/a/examples 3 4 documentation
            - usr/share/doc/a/changelog.gz 1 4 documentation
            - usr/share/doc/c 2 2 documentation
            - usr/share/man/man1/x.1.gz 1 2 documentation
            - usr/share/doc/d 1 0 documentation
            documentation: 8 files, 12 bytes

            usr/
            usr/share/
            usr/share/common-licenses/
            usr/share/common-licenses/GPL 2
            usr/share/doc/
            usr/share/doc/a/
            usr/share/doc/a/copyright 2
            usr/share/doc/b -> a
            usr/share/doc/e/
            usr/share/doc/e/LICENSES/
            usr/share/doc/e/LICENSES/MIT 2
            usr/share/man/
            usr/share/man/man1/
        "#]],
    );
}

#[test]
fn logs_are_emptied_where_someone_may_write_them() {
    check(
        "logs temporary",
        "var/log/dpkg.log 0600 x
         var/log/dpkg.log.1 0600 x
         var/log/app/app.log.gz 0644 x
         var/log/nginx/access.log -> /dev/stdout
         var/log/data 0644 x
         srv/data = var/log/data
         tmp/ 1777
         tmp/a/b 0644 x
         var/tmp/c 0644 x
         var/tmpfile 0644 x",
        &expect![[r#"
            - tmp/a 2 2 temporary
            - var/log/app/app.log.gz 1 2 logs
            - var/log/dpkg.log.1 1 2 logs
            - var/tmp/c 1 2 temporary
            ~ var/log/dpkg.log 2 -> 0 logs
            logs: 2 files, 6 bytes
            temporary: 3 files, 4 bytes

            srv/
            srv/data 2
            tmp/ 1777
            var/
            var/log/
            var/log/app/
            var/log/data 2
            var/log/dpkg.log 0 0600
            var/log/nginx/
            var/log/nginx/access.log -> /dev/stdout
            var/tmp/
            var/tmpfile 2
        "#]],
    );
}

#[test]
fn languages_that_are_kept_stay() {
    check(
        "locales @de_AT.UTF-8",
        "usr/share/locale/de/x.mo 0644 x
         usr/share/locale/de_AT/x.mo 0644 x
         usr/share/locale/de_CH/x.mo 0644 x
         usr/share/locale/en_GB/x.mo 0644 x
         usr/share/locale/fr/LC_MESSAGES/x.mo 0644 x
         usr/share/locale/sr@latin/x.mo 0644 x
         usr/share/locale/locale.alias 0644 x
         usr/lib/locale/C.utf8/LC_CTYPE 0644 x
         usr/lib/locale/fr_FR.utf8/LC_CTYPE 0644 x
         srv/fr/x 0644 x",
        &expect![[r#"
            - usr/lib/locale/fr_FR.utf8 2 2 locales
            - usr/share/locale/de_CH 2 2 locales
            - usr/share/locale/fr 3 2 locales
            - usr/share/locale/sr@latin 2 2 locales
            locales: 9 files, 8 bytes

            srv/
            srv/fr/
            srv/fr/x 2
            usr/
            usr/lib/
            usr/lib/locale/
            usr/lib/locale/C.utf8/
            usr/lib/locale/C.utf8/LC_CTYPE 2
            usr/share/
            usr/share/locale/
            usr/share/locale/de/
            usr/share/locale/de/x.mo 2
            usr/share/locale/de_AT/
            usr/share/locale/de_AT/x.mo 2
            usr/share/locale/en_GB/
            usr/share/locale/en_GB/x.mo 2
            usr/share/locale/locale.alias 2
        "#]],
    );
}

#[test]
fn byte_code_goes_only_where_its_source_is() {
    check(
        "byte-code -srv/secret/*.py",
        "usr/lib/python3/a.py 0644 x
         usr/lib/python3/__pycache__/a.cpython-311.pyc 0644 x
         usr/lib/python3/__pycache__/a.cpython-311.opt-1.pyc 0644 x
         usr/lib/python3/only/__pycache__/b.cpython-311.pyc 0644 x
         usr/lib/python3/c.pyc 0644 x
         usr/lib/python3/d.py 0644 x
         usr/lib/python3/d.pyc 0644 x
         srv/secret/e.py 0644 x
         srv/secret/__pycache__/e.cpython-311.pyc 0644 x",
        &expect![[r#"
            - srv/secret/e.py 1 2 excluded
            - usr/lib/python3/__pycache__ 3 4 byte-code
            - usr/lib/python3/d.pyc 1 2 byte-code
            byte-code: 4 files, 6 bytes
            excluded: 1 files, 2 bytes

            srv/
            srv/secret/
            srv/secret/__pycache__/
            srv/secret/__pycache__/e.cpython-311.pyc 2
            usr/
            usr/lib/
            usr/lib/python3/
            usr/lib/python3/a.py 2
            usr/lib/python3/c.pyc 2
            usr/lib/python3/d.py 2
            usr/lib/python3/only/
            usr/lib/python3/only/__pycache__/
            usr/lib/python3/only/__pycache__/b.cpython-311.pyc 2
        "#]],
    );
}

#[test]
fn headers_and_static_libraries_go() {
    check(
        "development-files",
        "usr/include/x.h 0644 x
         usr/local/include/python3.11/pyconfig.h 0644 x
         usr/local/include/python3.11/Python.h 0644 x
         usr/lib/x86_64-linux-gnu/libx.a 0644 xx
         usr/lib/x86_64-linux-gnu/libx.la 0644 x
         usr/lib/x86_64-linux-gnu/pkgconfig/x.pc 0644 x
         srv/data.a 0644 x",
        &expect![[r#"
            - usr/include/x.h 1 2 development-files
            - usr/lib/x86_64-linux-gnu/pkgconfig/x.pc 1 2 development-files
            - usr/lib/x86_64-linux-gnu/libx.a 1 3 development-files
            - usr/local/include/python3.11/Python.h 1 2 development-files
            development-files: 4 files, 9 bytes

            srv/
            srv/data.a 2
            usr/
            usr/include/
            usr/lib/
            usr/lib/x86_64-linux-gnu/
            usr/lib/x86_64-linux-gnu/libx.la 2
            usr/lib/x86_64-linux-gnu/pkgconfig/
            usr/local/
            usr/local/include/
            usr/local/include/python3.11/
            usr/local/include/python3.11/pyconfig.h 2
        "#]],
    );
}

#[test]
fn what_is_preserved_stays_whatever_else_is_said() {
    check(
        "temporary documentation +/tmp/keep +usr/share/doc/**/*.txt -srv +srv/a/b -**/*.bak",
        "tmp/keep/x 0644 x
         tmp/go/x 0644 x
         usr/share/doc/a/x.txt 0644 x
         usr/share/doc/a/x.html 0644 x
         srv/a/b 0644 x
         srv/a/c 0644 x
         srv/d/e 0644 x
         etc/x.bak 0644 x
         etc/x.conf 0644 x",
        &expect![[r#"
            - etc/x.bak 1 2 excluded
            - srv/a/c 1 2 excluded
            - srv/d 2 2 excluded
            - tmp/go 2 2 temporary
            - usr/share/doc/a/x.html 1 2 documentation
            temporary: 2 files, 2 bytes
            documentation: 1 files, 2 bytes
            excluded: 4 files, 6 bytes

            etc/
            etc/x.conf 2
            srv/
            srv/a/
            srv/a/b 2
            tmp/
            tmp/keep/
            tmp/keep/x 2
            usr/
            usr/share/
            usr/share/doc/
            usr/share/doc/a/
            usr/share/doc/a/x.txt 2
        "#]],
    );
}

#[test]
fn an_exception_of_an_exclude_pattern_stays() {
    check(
        "-srv -!srv/a",
        "srv/a/b 0644 x
         srv/c 0644 x",
        &expect![[r#"
            - srv/c 1 2 excluded
            excluded: 1 files, 2 bytes

            srv/
            srv/a/
            srv/a/b 2
        "#]],
    );
}

#[test]
fn links_on_the_way_dont_make_documentation_of_something_else() {
    check(
        "documentation",
        "usr/share -> ..
         doc/dangling -> nowhere
         doc/README 0644 x",
        &expect![[r#"

            doc/
            doc/README 2
            doc/dangling -> nowhere
            usr/
            usr/share -> ..
        "#]],
    );
}

#[test]
fn many_files_of_a_directory_are_one_line_and_hard_links_count_once() {
    let mut given = String::from("usr/share/man/man1/x0 0644 xxxx\n");
    for number in 1..12 {
        given += &format!("usr/share/man/man1/x{number} = usr/share/man/man1/x0\n");
    }
    given += "srv/kept = usr/share/man/man1/x0\n";
    check(
        "documentation",
        &given,
        &expect![[r#"
        - usr/share/man/man1/* 12 0 documentation
        documentation: 0 files, 0 bytes

        srv/
        srv/kept 5
        usr/
        usr/share/
        usr/share/man/
        usr/share/man/man1/
    "#]],
    );
}

#[test]
fn levels_contain_each_other_and_rules_have_names() {
    let levels = [Level::None, Level::Safe, Level::Balanced, Level::Smallest];
    for pair in levels.windows(2) {
        assert!(pair[0].rules().is_subset(&pair[1].rules()));
    }
    assert_eq!(Level::Smallest.rules().len(), Rule::ALL.len());
    for rule in Rule::ALL {
        assert_eq!(rule.name().parse::<Rule>(), Ok(rule));
    }
    let error = "docs".parse::<Rule>().unwrap_err().to_string();
    expect!["`docs` is not a rule; the rules are package-caches, logs, temporary, documentation, locales, byte-code, development-packages, development-files, debug-symbols, excluded"].assert_eq(&error);
}

#[test]
fn patterns_that_cant_be_read_are_errors() {
    let mut tree = tree("");
    let options = options("-[");
    let error = optimise(&mut tree, &Nothing, &options, &CancelToken::new()).unwrap_err();
    assert_eq!(error.to_string(), "could not read an exclude pattern");
}
