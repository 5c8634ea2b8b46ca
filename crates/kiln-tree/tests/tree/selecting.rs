//! Which files a source names.

use expect_test::expect;

use crate::text_tree::check;

const PROJECT: &str = "
    .dockerignore *.log node_modules docs/** !docs/api/index.md
    main.go one
    main_test.go two
    debug.log three
    arr[0].txt four
    cmd/
    cmd/kiln/
    cmd/kiln/main.go five
    cmd/other/
    cmd/other/main.go six
    docs/
    docs/guide.md seven
    docs/api/
    docs/api/index.md eight
    node_modules/
    node_modules/left-pad.js nine
";

#[test]
fn a_directory_stands_for_its_contents_without_what_is_ignored() {
    check(
        PROJECT,
        "",
        "COPY . /app",
        &expect![[r#"
        app/ 755 0:0 @0
        app/.dockerignore 644 0:0 @10 *.log node_modules docs/** !docs/api/index.md
        app/arr[0].txt 644 0:0 @50 four
        app/cmd/ 755 0:0 @60
        app/cmd/kiln/ 755 0:0 @70
        app/cmd/kiln/main.go 644 0:0 @80 five
        app/cmd/other/ 755 0:0 @90
        app/cmd/other/main.go 644 0:0 @100 six
        app/docs/ 755 0:0 @110
        app/docs/api/ 755 0:0 @130
        app/docs/api/index.md 644 0:0 @140 eight
        app/main.go 644 0:0 @20 one
        app/main_test.go 644 0:0 @30 two
    "#]],
    );
}

#[test]
fn wildcards_name_files_and_the_contents_of_directories() {
    check(
        PROJECT,
        "",
        "COPY *.go /src/",
        &expect![[r#"
        src/ 755 0:0 @9000
        src/main.go 644 0:0 @20 one
        src/main_test.go 644 0:0 @30 two
    "#]],
    );
    check(
        PROJECT,
        "",
        "COPY cmd/*/main.go /src/",
        &expect![[r#"
        src/ 755 0:0 @9000
        src/main.go 644 0:0 @100 six
    "#]],
    );
    check(
        PROJECT,
        "",
        "COPY cmd/* /src/",
        &expect![[r#"
        src/ 755 0:0 @90
        src/main.go 644 0:0 @100 six
    "#]],
    );
    check(
        PROJECT,
        "",
        "COPY arr[[]0].txt /src/",
        &expect![[r#"
        src/ 755 0:0 @9000
        src/arr[0].txt 644 0:0 @50 four
    "#]],
    );
    check(
        PROJECT,
        "",
        "COPY main*.go /last",
        &expect![[r#"
        last 644 0:0 @30 two
    "#]],
    );
}

#[test]
fn a_wildcard_may_match_nothing() {
    check(PROJECT, "", "COPY *.rs /src/", &expect![[""]]);
    check(PROJECT, "", "COPY *.log /src/", &expect![[""]]);
    check(
        PROJECT,
        "",
        "COPY nowhere/*.go /src/",
        &expect![[r#"
        COPY nowhere/*.go /src/: `nowhere/*.go` not found in the build context
    "#]],
    );
    check(PROJECT, "", "COPY main.go/* /src/", &expect![[""]]);
    check(
        PROJECT,
        "",
        "COPY [.go /src/",
        &expect![[r#"
        COPY [.go /src/: syntax error in pattern `[.go`
    "#]],
    );
}

#[test]
fn a_literal_source_has_to_exist() {
    check(
        PROJECT,
        "",
        "
        COPY mian.go /
        COPY cmd/kilm/main.go /
        COPY entirely-different /
        COPY main.go/below /
        COPY debug.log /
        COPY node_modules/left-pad.js /
        COPY docs/guide.md /
        COPY --from=0 usr/bin/env /
        ",
        &expect![[r#"
            COPY mian.go /: `mian.go` not found in the build context (did you mean `main.go`?)
            COPY cmd/kilm/main.go /: `cmd/kilm/main.go` not found in the build context (did you mean `cmd/kiln/main.go`?)
            COPY entirely-different /: `entirely-different` not found in the build context
            COPY main.go/below /: `main.go/below` not found in the build context
            COPY debug.log /: `debug.log` is in the build context but excluded by its ignore file
            COPY node_modules/left-pad.js /: `node_modules/left-pad.js` is in the build context but excluded by its ignore file
            COPY docs/guide.md /: `docs/guide.md` is in the build context but excluded by its ignore file
            COPY --from=0 usr/bin/env /: `usr/bin/env` not found in the stage or image
        "#]],
    );
}

#[test]
fn sources_stay_in_their_root() {
    check(
        PROJECT,
        "",
        "
        COPY ../../main.go /a
        COPY /main.go /b
        COPY ./cmd/../main.go /c
        COPY cmd/kiln/ /d
        COPY cmd/kiln/. /e
        ",
        &expect![[r#"
            a 644 0:0 @20 one
            b 644 0:0 @20 one
            c 644 0:0 @20 one
            d/ 755 0:0 @70
            d/main.go 644 0:0 @80 five
            e/ 755 0:0 @70
            e/main.go 644 0:0 @80 five
        "#]],
    );
}

#[test]
fn excludes_are_relative_to_each_directory() {
    check(
        PROJECT,
        "",
        "COPY --exclude=*.go --exclude=docs --exclude=arr* . /app/",
        &expect![[r#"
            app/ 755 0:0 @0
            app/.dockerignore 644 0:0 @10 *.log node_modules docs/** !docs/api/index.md
            app/cmd/ 755 0:0 @60
            app/cmd/kiln/ 755 0:0 @70
            app/cmd/kiln/main.go 644 0:0 @80 five
            app/cmd/other/ 755 0:0 @90
            app/cmd/other/main.go 644 0:0 @100 six
        "#]],
    );
    check(
        PROJECT,
        "",
        "COPY --exclude=**/*.go --exclude=!cmd/other/main.go . /app/",
        &expect![[r#"
            app/ 755 0:0 @0
            app/.dockerignore 644 0:0 @10 *.log node_modules docs/** !docs/api/index.md
            app/arr[0].txt 644 0:0 @50 four
            app/cmd/ 755 0:0 @60
            app/cmd/kiln/ 755 0:0 @70
            app/cmd/other/ 755 0:0 @90
            app/cmd/other/main.go 644 0:0 @100 six
            app/docs/ 755 0:0 @110
            app/docs/api/ 755 0:0 @130
            app/docs/api/index.md 644 0:0 @140 eight
        "#]],
    );
    check(
        PROJECT,
        "",
        "COPY --exclude=*_test.go main*.go /app/",
        &expect![[r#"
            app/ 755 0:0 @9000
            app/main.go 644 0:0 @20 one
        "#]],
    );
}

const NESTED: &str = "
    test/
    test/a/
    test/a/b/
    test/a/b/c/ 700
    test/a/b/c/d/
    test/a/b/c/d/e/
    test/a/b/c/d/e/bay 1
    test/a/b/c/d/foo 2
    test/a/b/c2/
    test/a/b/c2/d/
    test/a/b/c2/d/e/
    test/a/b/c2/d/e/baz 3
    test/a/b2/
    test/a/b2/c/
    test/a/b2/c/d/
    test/a/b2/c/d/e/
    test/a/b2/c/d/e/bar 4
";

#[test]
fn parents_are_kept_below_the_pivot() {
    check(
        NESTED,
        "",
        "COPY --from=0 --parents /test/a/b/./c/d /out/",
        &expect![[r#"
            out/ 755 0:0 @30
            out/c/ 700 0:0 @40
            out/c/d/ 755 0:0 @50
            out/c/d/e/ 755 0:0 @60
            out/c/d/e/bay 644 0:0 @70 1
            out/c/d/foo 644 0:0 @80 2
        "#]],
    );
    check(
        NESTED,
        "",
        "COPY --from=0 --parents ./test/a/b/c/d/foo /out/",
        &expect![[r#"
            out/ 755 0:0 @0
            out/test/ 755 0:0 @10
            out/test/a/ 755 0:0 @20
            out/test/a/b/ 755 0:0 @30
            out/test/a/b/c/ 700 0:0 @40
            out/test/a/b/c/d/ 755 0:0 @50
            out/test/a/b/c/d/foo 644 0:0 @80 2
        "#]],
    );
    check(
        NESTED,
        "",
        "COPY --from=0 --parents /test/a/b*/./c/**/e /out/",
        &expect![[r#"
            out/ 755 0:0 @130
            out/c/ 755 0:0 @140
            out/c/d/ 755 0:0 @150
            out/c/d/e/ 755 0:0 @160
            out/c/d/e/bar 644 0:0 @170 4
            out/c/d/e/bay 644 0:0 @70 1
        "#]],
    );
    check(
        NESTED,
        "",
        "COPY --from=0 --parents /test/a/b/c*/./d/**/baz /test/a/b*/./c/**/bar /out/",
        &expect![[r#"
            out/ 755 0:0 @130
            out/c/ 755 0:0 @140
            out/c/d/ 755 0:0 @150
            out/c/d/e/ 755 0:0 @160
            out/c/d/e/bar 644 0:0 @170 4
            out/d/ 755 0:0 @100
            out/d/e/ 755 0:0 @110
            out/d/e/baz 644 0:0 @120 3
        "#]],
    );
}

#[test]
fn parents_of_something_missing() {
    check(
        NESTED,
        "",
        "
        COPY --from=0 --parents /test/nowhere /out/
        COPY --from=0 --parents /test/a/b3*/c /out/
        ",
        &expect![[r#"
            COPY --from=0 --parents /test/nowhere /out/: `/test/nowhere` not found in the stage or image
            out/ 755 0:0 @0
        "#]],
    );
}

#[test]
fn named_links_are_followed_and_links_inside_are_kept() {
    let source = "
        real/
        real/file text
        real/inner -> file
        dir -> real
        abs -> /real
        file -> real/inner
        loop -> loop
        gone -> nowhere
        out -> ../../../../etc
    ";
    check(
        source,
        "",
        "
        COPY dir /a
        COPY abs/file /b
        COPY file /c/
        COPY loop /
        COPY gone /
        COPY out /
        COPY d* /e/
        ",
        &expect![[r#"
            COPY loop /: could not find `loop`: Too many levels of symbolic links (os error 40)
            COPY gone /: `gone` is a symbolic link that leads nowhere in the build context
            COPY out /: `out` is a symbolic link that leads nowhere in the build context
            a/ 755 0:0 @10
            a/file 644 0:0 @20 text
            a/inner 0:0 @30 -> file
            b 644 0:0 @20 text
            c/ 755 0:0 @9000
            c/file 644 0:0 @20 text
            e/ 755 0:0 @10
            e/file 644 0:0 @20 text
            e/inner 0:0 @30 -> file
        "#]],
    );
}

#[test]
fn links_do_not_lead_to_what_is_ignored() {
    check(
        "
        .dockerignore secret private !private/public
        secret text
        private/
        private/secret text
        private/public text
        link -> secret
        dir -> private
        ",
        "",
        "
        COPY link /a
        COPY l* /a
        COPY dir/secret /a
        COPY dir/public /b
        COPY dir /c
        ",
        &expect![[r#"
            COPY link /a: `link` is in the build context but excluded by its ignore file
            COPY l* /a: `l*` is a symbolic link that leads nowhere in the build context
            COPY dir/secret /a: `dir/secret` is in the build context but excluded by its ignore file
            b 644 0:0 @50 text
            c/ 755 0:0 @30
            c/public 644 0:0 @50 text
        "#]],
    );
}

#[test]
fn parents_are_no_links() {
    check(
        "real/\nreal/file text\ndir -> real\nlink -> real/file",
        "",
        "
        COPY --parents dir/file /a/
        COPY --parents link /b/
        COPY --parents --exclude=real/file real/file /c/
        ",
        &expect![[r#"
            COPY --parents dir/file /a/: `dir/file` leads through a symbolic link, which `--parents` does not follow
            b/ 755 0:0 @0
            b/link 0:0 @40 -> real/file
            c/ 755 0:0 @0
        "#]],
    );
}
