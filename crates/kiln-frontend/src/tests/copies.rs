//! COPY and ADD.

use expect_test::expect;

use super::check;

#[test]
fn sources_and_destinations() {
    check(
        r#"FROM debian
COPY a /b
COPY a b c/
WORKDIR /w
COPY a .
COPY a ./
COPY a x
COPY a x/
COPY a ../y/.
COPY ["a b", "c d/"]
COPY * /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [ 1/11] FROM docker.io/library/debian:latest
            1() context    -- [internal] load build context
            2(0,1) copy "a" from context to "/b"    -- [ 2/11] COPY a /b
            3(2,1) copy "a" "b" from context to "/c/"    -- [ 3/11] COPY a b c/
            4(3) workdir /w ""    -- [ 4/11] WORKDIR /w
            5(4,1) copy "a" from context to "/w/"    -- [ 5/11] COPY a .
            6(5,1) copy "a" from context to "/w/"    -- [ 6/11] COPY a ./
            7(6,1) copy "a" from context to "/w/x"    -- [ 7/11] COPY a x
            8(7,1) copy "a" from context to "/w/x/"    -- [ 8/11] COPY a x/
            9(8,1) copy "a" from context to "/y/"    -- [ 9/11] COPY a ../y/.
            10(9,1) copy "a b" from context to "/w/c d/"    -- [10/11] COPY [a b, c d/]
            11(10,1) copy "*" from context to "/" *    -- [11/11] COPY * /
            workdir /w
            base  base
            layer COPY a /b # buildkit
            layer COPY a b c/ # buildkit
            layer WORKDIR /w
            layer COPY a . # buildkit
            layer COPY a ./ # buildkit
            layer COPY a x # buildkit
            layer COPY a x/ # buildkit
            layer COPY a ../y/. # buildkit
            layer COPY a b c d/ # buildkit
            layer COPY * / # buildkit
        "#]],
    );
}

#[test]
fn options() {
    check(
        r#"FROM debian
COPY --chown=me:us --chmod=u=rwX,go=rX --exclude=*.md --exclude=!README.md --parents a/./b /c/
ADD --chown=1000 --chmod=0755 x.tar /y
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1() context    -- [internal] load build context
            2(0,1) copy "a/./b" from context to "/c/" chown me:us by 0 chmod u=rwX,go=rX exclude *.md exclude !README.md parents    -- [2/3] COPY --chown=me:us --chmod=u=rwX,go=rX --exclude=*.md --exclude=!README.md --parents a/./b /c/
            3(2,1) copy "x.tar" from context to "/y" chown 1000 by 0 chmod 0755 unpack *    -- [3/3] ADD --chown=1000 --chmod=0755 x.tar /y
            base  base
            layer COPY --parents --chown=me:us --chmod=u=rwX,go=rX a/./b /c/ # buildkit
            layer ADD --chown=1000 --chmod=0755 x.tar /y # buildkit
        "#]],
    );
}

#[test]
fn links() {
    check(
        r#"FROM debian
COPY --link a /b
COPY --link --chown=1:2 a /b
COPY --link --chown=www a /b
COPY --link --chmod=644 a /b
COPY --link=false a /c
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/6] FROM docker.io/library/debian:latest
            1() context    -- [internal] load build context
            2() scratch    -- FROM scratch
            3(2,1) copy "a" from context to "/b" no-follow    -- [2/6] COPY --link a /b
            4(0,3) merge    -- [2/6] COPY --link a /b (merge)
            5(2,1) copy "a" from context to "/b" chown 1:2 by 0 no-follow    -- [3/6] COPY --link --chown=1:2 a /b
            6(4,5) merge    -- [3/6] COPY --link --chown=1:2 a /b (merge)
            7(2,1,6) copy "a" from context to "/b" chown www by 2 no-follow    -- [4/6] COPY --link --chown=www a /b
            8(6,7) merge    -- [4/6] COPY --link --chown=www a /b (merge)
            9(8,1) copy "a" from context to "/b" chmod 644    -- [5/6] COPY --link --chmod=644 a /b
            10(9,1) copy "a" from context to "/c" *    -- [6/6] COPY --link=false a /c
            base  base
            layer COPY a /b # buildkit
            layer COPY --chown=1:2 a /b # buildkit
            layer COPY --chown=www a /b # buildkit
            layer COPY --chmod=644 a /b # buildkit
            layer COPY a /c # buildkit
            ? 5: `--link` has no effect together with `--chmod` @ "COPY --link --chmod=644 a /b"
        "#]],
    );
}

#[test]
fn links_from_stages() {
    check(
        r#"FROM debian AS x
FROM debian
COPY --link --from=x --chown=www a /b
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [x 1/1] FROM docker.io/library/debian:latest
            1() scratch    -- FROM scratch
            2(1,0,0) copy "a" from root to "/b" chown www by 2 no-follow    -- [stage-1 2/2] COPY --link --from=x --chown=www a /b
            3(0,2) merge *    -- [stage-1 2/2] COPY --link --from=x --chown=www a /b (merge)
            base  base
            layer COPY --chown=www a /b # buildkit
        "#]],
    );
}

#[test]
fn archives() {
    check(
        r#"FROM debian
ADD a.tar /
ADD --unpack=false a.tar /
ADD --unpack a.tar /
COPY a.tar /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/5] FROM docker.io/library/debian:latest
            1() context    -- [internal] load build context
            2(0,1) copy "a.tar" from context to "/" unpack    -- [2/5] ADD a.tar /
            3(2,1) copy "a.tar" from context to "/"    -- [3/5] ADD --unpack=false a.tar /
            4(3,1) copy "a.tar" from context to "/" unpack    -- [4/5] ADD --unpack a.tar /
            5(4,1) copy "a.tar" from context to "/" *    -- [5/5] COPY a.tar /
            base  base
            layer ADD a.tar / # buildkit
            layer ADD a.tar / # buildkit
            layer ADD a.tar / # buildkit
            layer COPY a.tar / # buildkit
        "#]],
    );
}

#[test]
fn heredocs() {
    check(
        r#"FROM debian
ENV V=value
COPY <<a <<-"b" file /d/
$V "${W:-q}" \$V
a
	$V
b
ADD <<c /e
# $V
c
"#,
        expect![[r##"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1() context    -- [internal] load build context
            2(0,1) copy "file" <<a 644 "value \"q\" $V\n" <<b 644 "$V\n" from context to "/d/"    -- [2/3] COPY <<a <<-b file /d/
            3(2) copy <<c 644 "# value\n" from nothing to "/e" unpack *    -- [3/3] ADD <<c /e
            env ["V=value"]
            base  base
            empty ENV V=value
            layer COPY file <<a <<b /d/ # buildkit
            layer ADD <<c /e # buildkit
            ? 4: usage of undefined variable `$W` @ "$V \"${W:-q}\" \\$V\n"
        "##]],
    );
}

#[test]
fn modes() {
    check(
        r#"FROM debian
COPY --chmod=888 a /
COPY --chmod=u+q a /
COPY --chmod=77777 a /
COPY --chmod= a /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: invalid mode `888`: it has to be octal and at most 7777 @ "--chmod=888"
            ! 3: invalid mode `u+q` @ "--chmod=u+q"
            ! 4: invalid mode `77777`: it has to be octal and at most 7777 @ "--chmod=77777"
        "#]],
    );
}

#[test]
fn patterns() {
    check(
        r#"FROM debian
COPY --exclude=[ a /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: syntax error in pattern `[` @ "--exclude=["
        "#]],
    );
}

#[test]
fn remote_sources() {
    check(
        r#"FROM debian
ADD https://example.com/a /
ADD git@example.com:a/b /
ADD https://example.com/a.git#main /
COPY http://example.com/a /
COPY ssh://a/b /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 5: `COPY` can't copy from a URL @ "http://example.com/a" -> that is what `ADD` is for
            ! 6: `COPY` can't copy from a git repository @ "ssh://a/b" -> that is what `ADD` is for
        "#]],
    );
}

#[test]
fn flags_for_remote_sources() {
    check(
        r#"FROM debian
ADD --checksum=sha256:00 a /
ADD --keep-git-dir a /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: `--checksum` needs a source that is fetched from elsewhere @ "--checksum=sha256:00"
            ! 3: `--keep-git-dir` needs a git repository as source @ "--keep-git-dir"
        "#]],
    );
}

#[test]
fn names_of_heredocs() {
    check(
        r#"FROM debian
COPY <<../a /x
b
../a
RUN <<a/b
#!/bin/sh
a/b
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: the heredoc's name `../a` can't be the name of a file @ "COPY <<../a /x\nb\n"
            ! 5: the heredoc's name `a/b` can't be the name of a file @ "RUN <<a/b\n#!/bin/sh\n"
        "#]],
    );
}
