//! Stages: what is needed, in which order, and from where.

use expect_test::expect;

use super::{check, check_with, options, with_target};
use crate::{LowerOptions, NoCache};

#[test]
fn one_stage() {
    check(
        r#"FROM debian
RUN a
RUN b
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "a"]    -- [2/3] RUN a
            2(1) run ["/bin/sh", "-c", "b"] *    -- [3/3] RUN b
            base  base
            layer RUN /bin/sh -c a # buildkit
            layer RUN /bin/sh -c b # buildkit
        "#]],
    );
}

#[test]
fn from_scratch() {
    check(
        r#"FROM scratch
COPY a /
"#,
        expect![[r#"
            0() scratch    -- FROM scratch
            1() context    -- [internal] load build context
            2(0,1) copy "a" from context to "/" *    -- [1/1] COPY a /
            layer COPY a / # buildkit
        "#]],
    );
}

#[test]
fn several_stages() {
    check(
        r#"FROM debian AS build
RUN make
FROM scratch
COPY --from=build /out /
COPY --from=0 /other /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [build 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "make"]    -- [build 2/2] RUN make
            2() scratch    -- FROM scratch
            3(2,1) copy "/out" from root to "/"    -- [stage-1 1/2] COPY --from=build /out /
            4(3,1) copy "/other" from root to "/" *    -- [stage-1 2/2] COPY --from=0 /other /
            layer COPY /out / # buildkit
            layer COPY /other / # buildkit
        "#]],
    );
}

#[test]
fn stages_that_are_not_needed_are_not_built() {
    check_with(
        &with_target("c"),
        r#"FROM a AS a
RUN x
FROM b AS b
RUN y
FROM b AS c
RUN z
"#,
        expect![[r#"
            needs docker.io/library/b:latest for linux/amd64
            0() image docker.io/library/b:latest linux/amd64    -- [b 1/2] FROM docker.io/library/b:latest
            1(0) run ["/bin/sh", "-c", "y"]    -- [b 2/2] RUN y
            2(1) run ["/bin/sh", "-c", "z"] *    -- [c 1/1] RUN z
            base  base
            layer RUN /bin/sh -c y # buildkit
            layer RUN /bin/sh -c z # buildkit
        "#]],
    );
}

#[test]
fn a_target_by_name_and_number() {
    check_with(
        &with_target("ONE"),
        r#"FROM debian AS One
RUN a
FROM debian AS two
RUN b
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [one 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "a"] *    -- [one 2/2] RUN a
            base  base
            layer RUN /bin/sh -c a # buildkit
            ? 1: the stage name `One` should be in lower case @ "One" -> write `one`
        "#]],
    );
}

#[test]
fn a_target_by_number() {
    check_with(
        &with_target("0"),
        r#"FROM debian AS one
RUN a
FROM debian AS two
RUN b
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [one 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "a"] *    -- [one 2/2] RUN a
            base  base
            layer RUN /bin/sh -c a # buildkit
        "#]],
    );
}

#[test]
fn an_unknown_target() {
    check_with(
        &with_target("tow"),
        r#"FROM debian AS one
FROM debian AS two
"#,
        expect![[r#"
            ! 1: there is no stage `tow` to build @ "" -> the stages are: one, two
        "#]],
    );
}

#[test]
fn a_stage_on_a_stage() {
    check(
        r#"FROM debian AS base
ENV A=b
ARG C=d
WORKDIR /w
USER u
RUN one
FROM base
RUN two $A $C
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [base 1/3] FROM docker.io/library/debian:latest
            1(0) workdir /w ""    -- [base 2/3] WORKDIR /w
            2(1) run ["/bin/sh", "-c", "one"] A="b" C="d" in /w as u    -- [base 3/3] RUN one
            3(2) run ["/bin/sh", "-c", "two $A $C"] A="b" C="d" in /w as u *    -- [stage-1 1/1] RUN two b d
            user u
            env ["A=b"]
            workdir /w
            base  base
            empty ENV A=b
            empty ARG C=d
            layer WORKDIR /w
            empty USER u
            layer RUN |1 C=d /bin/sh -c one # buildkit
            layer RUN |1 C=d /bin/sh -c two $A $C # buildkit
        "#]],
    );
}

#[test]
fn a_later_stage_of_the_same_name_counts() {
    check(
        r#"FROM a AS x
RUN 1
FROM b AS x
RUN 2
FROM scratch
COPY --from=x /a /
"#,
        expect![[r#"
            needs docker.io/library/b:latest for linux/amd64
            0() image docker.io/library/b:latest linux/amd64    -- [x 1/2] FROM docker.io/library/b:latest
            1(0) run ["/bin/sh", "-c", "2"]    -- [x 2/2] RUN 2
            2() scratch    -- FROM scratch
            3(2,1) copy "/a" from root to "/" *    -- [stage-2 1/1] COPY --from=x /a /
            layer COPY /a / # buildkit
            ? 3: another stage is also named `x` @ "x" -> the name stands for the last one only
        "#]],
    );
}

#[test]
fn a_base_is_the_stage_named_before() {
    check(
        r#"FROM debian AS debian
RUN 1
FROM debian
RUN 2
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [debian 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "1"]    -- [debian 2/2] RUN 1
            2(1) run ["/bin/sh", "-c", "2"] *    -- [stage-1 1/1] RUN 2
            base  base
            layer RUN /bin/sh -c 1 # buildkit
            layer RUN /bin/sh -c 2 # buildkit
        "#]],
    );
}

#[test]
fn copy_from_an_image() {
    check(
        r#"FROM scratch
COPY --from=busybox:1 /bin/sh /bin/
COPY --from=busybox:1 /bin/ls /bin/
"#,
        expect![[r#"
            needs docker.io/library/busybox:1 for linux/amd64
            0() scratch    -- FROM scratch
            1() image docker.io/library/busybox:1 linux/amd64    -- FROM docker.io/library/busybox:1
            2(0,1) copy "/bin/sh" from root to "/bin/"    -- [1/2] COPY --from=busybox:1 /bin/sh /bin/
            3(2,1) copy "/bin/ls" from root to "/bin/" *    -- [2/2] COPY --from=busybox:1 /bin/ls /bin/
            layer COPY /bin/sh /bin/ # buildkit
            layer COPY /bin/ls /bin/ # buildkit
        "#]],
    );
}

#[test]
fn copy_from_scratch() {
    check(
        r#"FROM debian
COPY --from=scratch / /x
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/2] FROM docker.io/library/debian:latest
            1() scratch    -- FROM scratch
            2(0,1) copy "/" from root to "/x" *    -- [2/2] COPY --from=scratch / /x
            base  base
            layer COPY / /x # buildkit
        "#]],
    );
}

#[test]
fn copy_from_a_later_stage() {
    check_with(
        &with_target("a"),
        r#"FROM debian AS a
COPY --from=b /x /
FROM debian AS b
COPY --from=a /y /
"#,
        expect![[r#"
            ! 2: cannot copy from stage `b`: it has to come before the stage that copies @ "--from=b"
        "#]],
    );
}

#[test]
fn errors_of_stages_that_are_not_needed() {
    check(
        r#"FROM debian AS a
COPY --from=9 /x /
COPY --from=a /x /
COPY --from=$y /x /
COPY --from=Ü /x /
FROM debian
"#,
        expect![[r#"
            ! 2: there is no stage 9 @ "--from=9"
            ! 3: the stage `a` copies from itself @ "--from=a"
            ! 4: variables are not expanded in `--from` @ "--from=$y" -> begin a stage with `FROM $NAME AS name` and copy from that
            ! 5: `Ü` is neither a stage nor the name of an image: `Ü` is not a repository name @ "--from=Ü"
        "#]],
    );
}

#[test]
fn the_same_work_is_done_once() {
    check(
        r#"FROM debian AS a
RUN x
FROM debian AS b
RUN x
FROM scratch
COPY --from=a /1 /
COPY --from=b /2 /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [a 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"]    -- [a 2/2] RUN x
            2() scratch    -- FROM scratch
            3(2,1) copy "/1" from root to "/"    -- [stage-2 1/2] COPY --from=a /1 /
            4(3,1) copy "/2" from root to "/" *    -- [stage-2 2/2] COPY --from=b /2 /
            layer COPY /1 / # buildkit
            layer COPY /2 / # buildkit
        "#]],
    );
}

#[test]
fn a_base_without_layers_is_scratch() {
    check(
        r#"FROM hollow
COPY a /
"#,
        expect![[r#"
            needs docker.io/library/hollow:latest for linux/amd64
            0() scratch    -- FROM scratch
            1() context    -- [internal] load build context
            2(0,1) copy "a" from context to "/" *    -- [2/2] COPY a /
            layer COPY a / # buildkit
        "#]],
    );
}

#[test]
fn triggers_of_a_base() {
    check(
        r#"FROM onbuild
RUN after
"#,
        expect![[r#"
            needs docker.io/library/onbuild:latest for linux/amd64
            0() image docker.io/library/onbuild:latest linux/amd64    -- [1/4] FROM docker.io/library/onbuild:latest
            1() context    -- [internal] load build context
            2(0,1) copy "." from context to "/src"    -- [2/4] ONBUILD COPY . /src
            3(2) run ["/bin/sh", "-c", "make $WHAT"]    -- [3/4] ONBUILD RUN make $WHAT
            4(3) run ["/bin/sh", "-c", "after"] *    -- [4/4] RUN after
            base  base
            layer COPY . /src # buildkit
            layer RUN /bin/sh -c make $WHAT # buildkit
            layer RUN /bin/sh -c after # buildkit
        "#]],
    );
}

#[test]
fn triggers_of_a_stage() {
    check(
        r#"FROM debian AS parent
ONBUILD RUN child $V
ONBUILD ENV V=w
RUN own
FROM parent AS child
RUN more
FROM child
RUN grandchild
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [parent 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "own"]    -- [parent 2/2] RUN own
            2(1) run ["/bin/sh", "-c", "child $V"]    -- [child 1/2] ONBUILD RUN child $V
            3(2) run ["/bin/sh", "-c", "more"] V="w"    -- [child 2/2] RUN more
            4(3) run ["/bin/sh", "-c", "grandchild"] V="w" *    -- [stage-2 1/1] RUN grandchild
            env ["V=w"]
            base  base
            layer RUN /bin/sh -c own # buildkit
            layer RUN /bin/sh -c child $V # buildkit
            empty ENV V=w
            layer RUN /bin/sh -c more # buildkit
            layer RUN /bin/sh -c grandchild # buildkit
        "#]],
    );
}

#[test]
fn triggers_of_the_result() {
    check(
        r#"FROM debian
ONBUILD COPY <<EOF /x
body
EOF
ONBUILD RUN a
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            onbuild ["COPY <<EOF /x\nbody\nEOF", "RUN a"]
            base  base
        "#]],
    );
}

#[test]
fn triggers_that_copy_from_an_image() {
    check(
        r#"FROM chained
"#,
        expect![[r#"
            needs docker.io/library/chained:latest for linux/amd64
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/chained:latest linux/amd64    -- [1/2] FROM docker.io/library/chained:latest
            1() image docker.io/library/debian:latest linux/amd64    -- FROM docker.io/library/debian:latest
            2(0,1) copy "/etc/x" from root to "/x" *    -- [2/2] ONBUILD COPY --from=debian /etc/x /x
            base  base
            layer COPY /etc/x /x # buildkit
        "#]],
    );
}

#[test]
fn broken_triggers() {
    check(
        r#"FROM broken
"#,
        expect![[r#"
            needs docker.io/library/broken:latest for linux/amd64
            ! 1: the base's `ONBUILD RUNN make` can't be run: unknown instruction `RUNN` @ "FROM broken"
        "#]],
    );
}

#[test]
fn names_that_are_odd() {
    check(
        r#"FROM a AS scratch
FROM b AS x
FROM c AS x
"#,
        expect![[r#"
            needs docker.io/library/c:latest for linux/amd64
            0() image docker.io/library/c:latest linux/amd64 *    -- [x 1/1] FROM docker.io/library/c:latest
            base  base
            ? 1: the stage name `scratch` is reserved @ "scratch" -> it means something else after `FROM` and in `--from`
            ? 3: another stage is also named `x` @ "x" -> the name stands for the last one only
        "#]],
    );
}

#[test]
fn no_cache() {
    check_with(
        &LowerOptions {
            no_cache: NoCache::All,
            ..options()
        },
        r#"FROM debian
RUN a
COPY b /
WORKDIR /c
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/4] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "a"] no-cache    -- [2/4] RUN a
            2() context    -- [internal] load build context
            3(1,2) copy "b" from context to "/" no-cache    -- [3/4] COPY b /
            4(3) workdir /c "" no-cache *    -- [4/4] WORKDIR /c
            workdir /c
            base  base
            layer RUN /bin/sh -c a # buildkit
            layer COPY b / # buildkit
            layer WORKDIR /c
        "#]],
    );
}

#[test]
fn steps_are_numbered() {
    check(
        r#"FROM debian AS s
RUN 1
RUN 2
RUN 3
RUN 4
RUN 5
RUN 6
RUN 7
RUN 8
RUN 9
FROM s
RUN 10
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [s  1/10] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "1"]    -- [s  2/10] RUN 1
            2(1) run ["/bin/sh", "-c", "2"]    -- [s  3/10] RUN 2
            3(2) run ["/bin/sh", "-c", "3"]    -- [s  4/10] RUN 3
            4(3) run ["/bin/sh", "-c", "4"]    -- [s  5/10] RUN 4
            5(4) run ["/bin/sh", "-c", "5"]    -- [s  6/10] RUN 5
            6(5) run ["/bin/sh", "-c", "6"]    -- [s  7/10] RUN 6
            7(6) run ["/bin/sh", "-c", "7"]    -- [s  8/10] RUN 7
            8(7) run ["/bin/sh", "-c", "8"]    -- [s  9/10] RUN 8
            9(8) run ["/bin/sh", "-c", "9"]    -- [s 10/10] RUN 9
            10(9) run ["/bin/sh", "-c", "10"] *    -- [stage-1 1/1] RUN 10
            base  base
            layer RUN /bin/sh -c 1 # buildkit
            layer RUN /bin/sh -c 2 # buildkit
            layer RUN /bin/sh -c 3 # buildkit
            layer RUN /bin/sh -c 4 # buildkit
            layer RUN /bin/sh -c 5 # buildkit
            layer RUN /bin/sh -c 6 # buildkit
            layer RUN /bin/sh -c 7 # buildkit
            layer RUN /bin/sh -c 8 # buildkit
            layer RUN /bin/sh -c 9 # buildkit
            layer RUN /bin/sh -c 10 # buildkit
        "#]],
    );
}
