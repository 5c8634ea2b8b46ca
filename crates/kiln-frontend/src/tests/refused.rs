//! What is not there yet, or not there at all.

use expect_test::expect;
use kiln_oci::Platform;

use super::{check, check_with, options, with_args};
use crate::LowerOptions;

#[test]
fn mounts() {
    check(
        r#"FROM debian
RUN --mount=type=cache,target=/c a
RUN --mount=type=secret,id=x a
RUN --mount=target=/x,from=y a
RUN --mount=type=nope a
ENV T=tmpfs
RUN --mount=type=$T,target=/x a
"#,
        expect![[r#"
            needs docker.io/library/y:latest for linux/amd64
            needs docker.io/library/debian:latest for linux/amd64
            ! 5: unsupported mount type `nope` @ "--mount=type=nope" -> the types are bind, cache, tmpfs, secret, ssh
        "#]],
    );
}

#[test]
fn privileges_and_devices() {
    check(
        r#"FROM debian
RUN --security=insecure a
RUN --device=x a
RUN []
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 3: `RUN --device` is not supported @ "--device=x"
            ! 4: `RUN` has nothing to run @ "RUN []"
        "#]],
    );
}

#[test]
fn what_is_not_needed_is_not_refused() {
    check(
        r#"FROM debian AS a
RUN --mount=type=cache,target=/c x
FROM scratch
COPY b /
"#,
        expect![[r#"
            0() scratch    -- FROM scratch
            1() context    -- [internal] load build context
            2(0,1) copy "b" from context to "/" *    -- [stage-1 1/1] COPY b /
            layer COPY b / # buildkit
        "#]],
    );
}

#[test]
fn another_frontend() {
    check(
        r#"# syntax=example.com/frontend:1
FROM debian
"#,
        expect![[r#"
            ! 1: the frontend `example.com/frontend:1` is not supported @ "example.com/frontend:1" -> kiln reads Dockerfiles itself: remove the line, or use `docker/dockerfile:1`
        "#]],
    );
}

#[test]
fn the_frontend_of_docker() {
    check(
        r#"# syntax=docker/dockerfile:1.7-labs@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
FROM debian
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            base  base
        "#]],
    );
}

#[test]
fn the_upstream_frontend_of_docker() {
    check(
        r#"# syntax=docker.io/docker/dockerfile-upstream:master
FROM debian
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            base  base
        "#]],
    );
}

#[test]
fn another_frontend_as_argument() {
    check_with(
        &with_args(&[("BUILDKIT_SYNTAX", "example.com/frontend")]),
        r#"FROM debian
"#,
        expect![[r#"
            ! 1: the frontend `example.com/frontend` is not supported @ "" -> kiln reads Dockerfiles itself: remove the line, or use `docker/dockerfile:1`
        "#]],
    );
}

#[test]
fn another_platform() {
    check(
        r#"FROM --platform=linux/arm64 debian
RUN x
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/arm64
            0() image docker.io/library/debian:latest linux/arm64    -- [1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] *    -- [2/2] RUN x
            base  base
            layer RUN /bin/sh -c x # buildkit
            ? 1: `--platform` has the constant value `linux/arm64` @ "--platform=linux/arm64" -> leave it out and give the build `--platform`, or use a variable
            ? 1: the base `debian` is for `linux/amd64`, not for `linux/arm64` @ "debian" -> its programs may not run
        "#]],
    );
}

#[test]
fn another_platform_that_is_not_needed() {
    check(
        r#"FROM --platform=linux/arm64 debian AS x
FROM debian
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [stage-1 1/1] FROM docker.io/library/debian:latest
            base  base
            ? 1: `--platform` has the constant value `linux/arm64` @ "--platform=linux/arm64" -> leave it out and give the build `--platform`, or use a variable
        "#]],
    );
}

#[test]
fn the_same_platform_in_other_words() {
    check(
        r#"FROM --platform=linux/x86_64 debian
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            base  base
            ? 1: `--platform` has the constant value `linux/x86_64` @ "--platform=linux/x86_64" -> leave it out and give the build `--platform`, or use a variable
        "#]],
    );
}

#[test]
fn a_wrong_platform() {
    check(
        r#"FROM --platform=a/b/c/d debian
"#,
        expect![[r#"
            ! 1: `a/b/c/d` is not a platform of the form `os/architecture/variant` @ "--platform=a/b/c/d"
        "#]],
    );
}

#[test]
fn a_foreign_target() {
    check_with(
        &LowerOptions {
            target_platform: Platform::new("linux", "arm64"),
            ..options()
        },
        r#"FROM debian
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/arm64
            0() image docker.io/library/debian:latest linux/arm64 *    -- [1/1] FROM docker.io/library/debian:latest
            base  base
            ? 1: the base `debian` is for `linux/amd64`, not for `linux/arm64` @ "debian" -> its programs may not run
        "#]],
    );
}

#[test]
fn a_cross_build() {
    check_with(
        &LowerOptions {
            target_platform: Platform::new("linux", "arm64"),
            ..options()
        },
        r#"FROM --platform=$BUILDPLATFORM debian AS build
ARG TARGETARCH
RUN x
FROM scratch
COPY --from=build /x /
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [build 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] TARGETARCH="arm64"    -- [build 2/2] RUN x
            2() scratch    -- FROM scratch
            3(2,1) copy "/x" from root to "/" *    -- [stage-1 1/1] COPY --from=build /x /
            layer COPY /x / # buildkit
        "#]],
    );
}

#[test]
fn wrong_names_of_images() {
    check(
        r#"FROM UPPER
"#,
        expect![[r#"
            ! 1: `UPPER` is neither a stage nor the name of an image: repository name `UPPER` has to be lower case @ "UPPER"
        "#]],
    );
}

#[test]
fn every_error_of_a_stage_is_told() {
    check(
        r#"FROM debian
EXPOSE x
STOPSIGNAL y
VOLUME $z
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: invalid port `x` @ "x"
            ! 3: `y` is not a signal @ "y"
            ! 4: a volume can't be the empty path @ "$z"
        "#]],
    );
}
