//! ARG and ENV, and where they are seen.

use expect_test::expect;

use super::{check, check_with, with_args};

#[test]
fn global_arguments_are_for_from() {
    check(
        r#"ARG IMAGE=debian
ARG TAG=${IMAGE}-1 P
FROM $IMAGE:${TAG} AS x
RUN $IMAGE
ARG TAG
RUN $TAG
"#,
        expect![[r#"
            needs docker.io/library/debian:debian-1 for linux/amd64
            0() image docker.io/library/debian:debian-1 linux/amd64    -- [x 1/3] FROM docker.io/library/debian:debian-1
            1(0) run ["/bin/sh", "-c", "$IMAGE"]    -- [x 2/3] RUN $IMAGE
            2(1) run ["/bin/sh", "-c", "$TAG"] TAG="debian-1" *    -- [x 3/3] RUN debian-1
            base  base
            layer RUN /bin/sh -c $IMAGE # buildkit
            empty ARG TAG=debian-1
            layer RUN |1 TAG=debian-1 /bin/sh -c $TAG # buildkit
        "#]],
    );
}

#[test]
fn build_arguments_win() {
    check_with(
        &with_args(&[("A", "a"), ("B", "b"), ("D", "d")]),
        r#"ARG A=1
FROM debian:$A
ARG A
ARG B=2
ARG C=$B
RUN x
"#,
        expect![[r#"
            needs docker.io/library/debian:a for linux/amd64
            0() image docker.io/library/debian:a linux/amd64    -- [1/2] FROM docker.io/library/debian:a
            1(0) run ["/bin/sh", "-c", "x"] A="a" B="b" C="b" *    -- [2/2] RUN x
            base  base
            empty ARG A=a
            empty ARG B=b
            empty ARG C=b
            layer RUN |3 A=a B=b C=b /bin/sh -c x # buildkit
            unused D
        "#]],
    );
}

#[test]
fn defaults_are_not_expanded_where_a_value_is_given() {
    check_with(
        &with_args(&[("A", "a"), ("B", "b")]),
        r#"ARG A=${X:?unused}
FROM debian
ARG B=${X:?unused}
RUN x
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] B="b" *    -- [2/2] RUN x
            base  base
            empty ARG B=b
            layer RUN |1 B=b /bin/sh -c x # buildkit
        "#]],
    );
}

#[test]
fn arguments_without_value() {
    check(
        r#"FROM debian
ARG A
ARG B=
RUN $A$B
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "$A$B"] B="" *    -- [2/2] RUN $A
            base  base
            empty ARG A
            empty ARG B=
            layer RUN |2 A= B= /bin/sh -c $A$B # buildkit
        "#]],
    );
}

#[test]
fn arguments_are_not_configuration() {
    check(
        r#"FROM debian
ARG A=1
ENV B=$A
ARG A=2
ENV A=3
RUN x
ARG A=4
RUN y
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] A="3" B="1"    -- [2/3] RUN x
            2(1) run ["/bin/sh", "-c", "y"] A="4" B="1" *    -- [3/3] RUN y
            env ["B=1", "A=3"]
            base  base
            empty ARG A=1
            empty ENV B=1
            empty ARG A=2
            empty ENV A=3
            layer RUN |1 A=3 /bin/sh -c x # buildkit
            empty ARG A=4
            layer RUN |1 A=4 /bin/sh -c y # buildkit
        "#]],
    );
}

#[test]
fn arguments_end_with_their_stage() {
    check(
        r#"FROM debian AS a
ARG A=1
RUN x
FROM debian
RUN y
FROM a
RUN z
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [a 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] A="1"    -- [a 2/2] RUN x
            2(1) run ["/bin/sh", "-c", "z"] A="1" *    -- [stage-2 1/1] RUN z
            base  base
            empty ARG A=1
            layer RUN |1 A=1 /bin/sh -c x # buildkit
            layer RUN |1 A=1 /bin/sh -c z # buildkit
        "#]],
    );
}

#[test]
fn environment_is_seen_from_the_next_instruction_on() {
    check(
        r#"FROM debian
ENV A=1 B=$A
ENV A=2 C=$A D=${B:-none}
RUN x
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] A="2" B="" C="1" D="none" *    -- [2/2] RUN x
            env ["A=2", "B=", "C=1", "D=none"]
            base  base
            empty ENV A=1 B=
            empty ENV A=2 C=1 D=none
            layer RUN /bin/sh -c x # buildkit
            ? 2: usage of undefined variable `$A` @ "B=$A"
        "#]],
    );
}

#[test]
fn environment_of_the_base() {
    check(
        r#"FROM full
ENV BASE=no NEW=$BASE PATH=/x:$PATH
RUN x
"#,
        expect![[r#"
            needs docker.io/library/full:latest for linux/amd64
            0() image docker.io/library/full:latest linux/amd64    -- [1/2] FROM docker.io/library/full:latest
            1(0) run ["/bin/bash", "-c", "x"] PATH="/x:/bin" BASE="no" NEW="yes" in /srv as app *    -- [2/2] RUN x
            user app
            env ["PATH=/x:/bin", "BASE=no", "NEW=yes"]
            entrypoint Some(["/entry"])
            cmd Some(["run"])
            workdir /srv
            shell Some(["/bin/bash", "-c"])
            base  base
            empty ENV BASE=no NEW=yes PATH=/x:/bin
            layer RUN /bin/bash -c x # buildkit
        "#]],
    );
}

#[test]
fn automatic_arguments_are_declared() {
    check(
        r#"FROM debian
ARG TARGETPLATFORM
ARG TARGETARCH BUILDOS TARGETVARIANT TARGETSTAGE
RUN x
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] TARGETPLATFORM="linux/amd64" TARGETARCH="amd64" BUILDOS="linux" TARGETVARIANT="" TARGETSTAGE="default" *    -- [2/2] RUN x
            base  base
            empty ARG TARGETPLATFORM=linux/amd64
            empty ARG TARGETARCH=amd64 BUILDOS=linux TARGETVARIANT= TARGETSTAGE=default
            layer RUN |5 TARGETPLATFORM=linux/amd64 TARGETARCH=amd64 BUILDOS=linux TARGETVARIANT= TARGETSTAGE=default /bin/sh -c x # buildkit
        "#]],
    );
}

#[test]
fn automatic_arguments_in_from() {
    check(
        r#"FROM --platform=$BUILDPLATFORM debian:$TARGETARCH AS last
ARG TARGETSTAGE
RUN x
"#,
        expect![[r#"
            needs docker.io/library/debian:amd64 for linux/amd64
            0() image docker.io/library/debian:amd64 linux/amd64    -- [last 1/2] FROM docker.io/library/debian:amd64
            1(0) run ["/bin/sh", "-c", "x"] TARGETSTAGE="last" *    -- [last 2/2] RUN x
            base  base
            empty ARG TARGETSTAGE=last
            layer RUN |1 TARGETSTAGE=last /bin/sh -c x # buildkit
        "#]],
    );
}

#[test]
fn automatic_arguments_can_be_overridden() {
    check_with(
        &with_args(&[("TARGETARCH", "mine")]),
        r#"FROM debian:$TARGETARCH
ARG TARGETARCH
RUN x
"#,
        expect![[r#"
            needs docker.io/library/debian:mine for linux/amd64
            0() image docker.io/library/debian:mine linux/amd64    -- [1/2] FROM docker.io/library/debian:mine
            1(0) run ["/bin/sh", "-c", "x"] TARGETARCH="mine" *    -- [2/2] RUN x
            base  base
            empty ARG TARGETARCH=mine
            layer RUN |1 TARGETARCH=mine /bin/sh -c x # buildkit
        "#]],
    );
}

#[test]
fn proxies_reach_processes_only() {
    check_with(
        &with_args(&[
            ("http_proxy", "p:1"),
            ("HTTPS_PROXY", "p:2"),
            ("No_Proxy", "n"),
        ]),
        r#"FROM debian
RUN x
ARG HTTPS_PROXY
RUN y
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] (HTTP_PROXY="p:1") (http_proxy="p:1") (HTTPS_PROXY="p:2") (https_proxy="p:2") (NO_PROXY="n") (no_proxy="n")    -- [2/3] RUN x
            2(1) run ["/bin/sh", "-c", "y"] HTTPS_PROXY="p:2" (HTTP_PROXY="p:1") (http_proxy="p:1") (HTTPS_PROXY="p:2") (https_proxy="p:2") (NO_PROXY="n") (no_proxy="n") *    -- [3/3] RUN y
            base  base
            layer RUN /bin/sh -c x # buildkit
            empty ARG HTTPS_PROXY=p:2
            layer RUN |1 HTTPS_PROXY=p:2 /bin/sh -c y # buildkit
        "#]],
    );
}

#[test]
fn undefined_variables_are_warned_of() {
    check(
        r#"FROM debian
ENV PYTHON_VERSION=3
WORKDIR /a/$PYTHON_VERSON
ARG KNOWN
LABEL a=$KNOWN b=$NOPE c=$NOPE
COPY $X /$1
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1(0) workdir /a ""    -- [2/3] WORKDIR /a/
            2() context    -- [internal] load build context
            3(1,2) copy "" from context to "/" *    -- [3/3] COPY  /
            env ["PYTHON_VERSION=3"]
            workdir /a/
            labels {"a": "", "b": "", "c": ""}
            base  base
            empty ENV PYTHON_VERSION=3
            layer WORKDIR /a/
            empty ARG KNOWN
            empty LABEL a= b= c=
            layer COPY  / # buildkit
            ? 3: usage of undefined variable `$PYTHON_VERSON` @ "/a/$PYTHON_VERSON" -> did you mean `$PYTHON_VERSION`?
            ? 5: usage of undefined variable `$NOPE` @ "b=$NOPE"
            ? 5: usage of undefined variable `$NOPE` @ "c=$NOPE"
            ? 6: usage of undefined variable `$X` @ "$X"
            ? 6: usage of undefined variable `$1` @ "/$1"
        "#]],
    );
}

#[test]
fn an_empty_base() {
    check(
        r#"ARG A
FROM $A
"#,
        expect![[r#"
            ! 2: the base `$A` is empty after expansion @ "$A" -> give the `ARG` before the first `FROM` a default, or pass `--build-arg`
        "#]],
    );
}

#[test]
fn an_empty_platform() {
    check(
        r#"ARG P
FROM --platform=$P debian
"#,
        expect![[r#"
            ! 2: the platform is empty after expansion @ "--platform=$P"
        "#]],
    );
}

#[test]
fn required_variables() {
    check(
        r#"FROM debian
ENV A="${B:?b is missing}"
WORKDIR ${
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: failed to expand `"${B:?b is missing}"`: B: b is missing @ "A=\"${B:?b is missing}\""
            ! 3: failed to expand `${`: missing `}` in substitution @ "${"
        "#]],
    );
}

#[test]
fn expansion_in_every_instruction() {
    check(
        r#"FROM debian
ENV D=/d P=80 U=u S=TERM M=644 O=1:2
WORKDIR $D/x
USER $U
EXPOSE $P $P/udp
VOLUME $D ["$D"]
STOPSIGNAL SIG$S
LABEL $U=$D
COPY --chown=$O --chmod=$M --exclude=$U $U/* ${D}/
CMD echo $D
ENTRYPOINT ["$D"]
SHELL ["$D"]
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1(0) workdir /d/x ""    -- [2/3] WORKDIR /d/x
            2() context    -- [internal] load build context
            3(1,2) copy "u/*" from context to "/d/" chown 1:2 by 0 chmod 644 exclude $U *    -- [3/3] COPY --chown=1:2 --chmod=644 --exclude=u u/* /d/
            user u
            ports {"80/tcp", "80/udp"}
            env ["D=/d", "P=80", "U=u", "S=TERM", "M=644", "O=1:2"]
            entrypoint Some(["$D"])
            cmd Some(["/bin/sh", "-c", "echo $D"])
            volumes {"/d", "[/d]"}
            workdir /d/x
            labels {"u": "/d"}
            stopsignal Some("SIGTERM")
            shell Some(["$D"])
            base  base
            empty ENV D=/d P=80 U=u S=TERM M=644 O=1:2
            layer WORKDIR /d/x
            empty USER u
            empty EXPOSE [80/tcp 80/udp]
            empty VOLUME [/d [/d]]
            empty STOPSIGNAL SIGTERM
            empty LABEL u=/d
            layer COPY --chown=1:2 --chmod=644 u/* /d/ # buildkit
            empty CMD ["/bin/sh" "-c" "echo $D"]
            empty ENTRYPOINT ["$D"]
            empty SHELL [$D]
            ? 10: the shell form of `CMD` keeps signals from the program @ "CMD echo $D" -> write `CMD ["program", "argument"]`
        "#]],
    );
}

#[test]
fn the_backtick_escapes() {
    check(
        r#"# escape=`
FROM debian
ENV A=`$B C=c:\d
RUN echo `
  x
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "echo   x"] A="$B" C="c:\\d" *    -- [2/2] RUN echo   x
            env ["A=$B", "C=c:\\d"]
            base  base
            empty ENV A=$B C=c:\d
            layer RUN /bin/sh -c echo   x # buildkit
        "#]],
    );
}

#[test]
fn build_arguments_that_nothing_declares() {
    let arguments = [
        "USED",
        "TYPO",
        "ELSEWHERE",
        "GLOBAL",
        "HTTPS_PROXY",
        "SOURCE_DATE_EPOCH",
        "BUILDKIT_INLINE_CACHE",
        "TARGETARCH",
    ];
    check_with(
        &with_args(&arguments.map(|name| (name, "x"))),
        "ARG GLOBAL\nFROM debian AS other\nARG ELSEWHERE\nFROM debian\nARG USED\n",
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [stage-1 1/1] FROM docker.io/library/debian:latest
            base  base
            empty ARG USED=x
            unused TYPO
        "#]],
    );
}
