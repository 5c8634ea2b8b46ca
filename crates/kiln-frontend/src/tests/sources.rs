//! Mounts, fetched sources, named contexts.

use expect_test::expect;

use super::{check, check_with, options};
use crate::{Allow, ImageName, LowerOptions, NamedContext, NoCache};

#[test]
fn a_bind_mount_is_a_copy_of_the_context() {
    check(
        "FROM debian\nWORKDIR /w\nRUN --mount=source=go.mod,target=go.mod go x",
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1(0) workdir /w ""    -- [2/3] WORKDIR /w
            2() scratch    -- FROM scratch
            3() context    -- [internal] load build context
            4(2,3) copy "/go.mod" from context to "/go.mod" no-follow    -- [internal] load /go.mod of the build context
            5(1,4) run ["/bin/sh", "-c", "go x"] in /w Bind { target: "/w/go.mod", input: 1, source: "/go.mod", read_only: true } *    -- [3/3] RUN --mount=source=go.mod,target=go.mod go x
            workdir /w
            base  base
            layer WORKDIR /w
            layer RUN /bin/sh -c go x # buildkit
        "#]],
    );
}

#[test]
fn a_bind_mount_of_a_stage_is_that_stage() {
    check(
        "FROM debian AS a\nRUN make\nFROM scratch\nRUN --mount=from=a,src=/out,dst=/in,rw --mount=from=busybox,target=/b [\"/b/x\"]",
        expect![[r#"
            needs docker.io/library/busybox:latest for linux/amd64
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [a 1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "make"]    -- [a 2/2] RUN make
            2() scratch    -- FROM scratch
            3() image docker.io/library/busybox:latest linux/amd64    -- FROM docker.io/library/busybox:latest
            4(2,1,3) run ["/b/x"] Bind { target: "/b", input: 2, source: "/", read_only: true } Bind { target: "/in", input: 1, source: "/out", read_only: false } *    -- [stage-1 1/1] RUN --mount=from=a,src=/out,dst=/in,rw --mount=from=busybox,target=/b ["/b/x"]
            layer RUN /b/x # buildkit
        "#]],
    );
}

#[test]
fn caches_secrets_and_agents() {
    check(
        "FROM debian\nARG D=cache\nRUN --mount=type=cache,target=/var/$D,sharing=locked,uid=7 --mount=type=tmpfs,target=/t,size=1m --mount=type=secret,id=key --mount=type=secret,id=tok,env=TOKEN,required --mount=type=ssh x",
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "x"] D="cache" SSH_AUTH_SOCK="/run/buildkit/ssh_agent.0" Secret { id: "tok", target: None, env: Some("TOKEN"), required: true, owner: FileOwner { uid: 0, gid: 0, mode: 256 } } Ssh { id: "default", target: "/run/buildkit/ssh_agent.0", required: false, owner: FileOwner { uid: 0, gid: 0, mode: 384 } } Secret { id: "key", target: Some("/run/secrets/key"), env: None, required: false, owner: FileOwner { uid: 0, gid: 0, mode: 256 } } Tmpfs { target: "/t", size: Some(1048576) } Cache(CacheMount { target: "/var/cache", id: "/var/cache", namespace: "", sharing: Locked, from: None, read_only: false, owner: FileOwner { uid: 7, gid: 0, mode: 493 } }) *    -- [2/2] RUN --mount=type=cache,target=/var/cache,sharing=locked,uid=7 --mount=type=tmpfs,target=/t,size=1m --mount=type=secret,id=key --mount=type=secret,id=tok,env=TOKEN,required --mount=type=ssh x
            base  base
            empty ARG D=cache
            layer RUN |1 D=cache /bin/sh -c x # buildkit
        "#]],
    );
}

#[test]
fn mounts_that_can_t_be() {
    check(
        "FROM debian\nRUN --mount=type=cache,target=/ x",
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: `/` can't be the target of a mount @ "--mount=type=cache,target=/"
        "#]],
    );
    check(
        "FROM debian\nRUN --mount=type=bind x",
        expect![[r#"
        needs docker.io/library/debian:latest for linux/amd64
        ! 2: the mount has no `target` @ "--mount=type=bind"
    "#]],
    );
    check(
        "FROM debian\nRUN --mount=from=later,target=/x x\nFROM debian AS later",
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [later 1/1] FROM docker.io/library/debian:latest
            base  base
        "#]],
    );
}

#[test]
fn sources_are_asked_for() {
    check(
        "FROM debian\nADD https://a.b/c/d.tar /x/\nADD --unpack=true https://a.b/c/d.tar /x/\nADD https://h/r.git?branch=v1#:doc /doc",
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            needs https://a.b/c/d.tar
            needs https://h/r.git#refs/heads/v1:doc
            0() image docker.io/library/debian:latest linux/amd64    -- [1/4] FROM docker.io/library/debian:latest
            1() http https://a.b/c/d.tar as "d.tar"    -- fetch https://a.b/c/d.tar
            2(0,1) copy "/d.tar" from root to "/x/"    -- [2/4] ADD https://a.b/c/d.tar /x/
            3(2,1) copy "/d.tar" from root to "/x/" unpack    -- [3/4] ADD --unpack=true https://a.b/c/d.tar /x/
            4() git https://h/r.git#refs/heads/v1:doc    -- fetch https://h/r.git#refs/heads/v1:doc
            5(3,4) copy "/" from root to "/doc" *    -- [4/4] ADD https://h/r.git?branch=v1#:doc /doc
            base  base
            layer ADD https://a.b/c/d.tar /x/ # buildkit
            layer ADD https://a.b/c/d.tar /x/ # buildkit
            layer ADD https://h/r.git?branch=v1#:doc /doc # buildkit
        "#]],
    );
}

#[test]
fn sources_of_several_kinds_make_one_layer() {
    check(
        "FROM scratch\nADD --chown=1:1 https://a.b/c a.tar <<x /d/\nhi\nx",
        expect![[r#"
            needs https://a.b/c
            0() scratch    -- FROM scratch
            1() http https://a.b/c as "c"    -- fetch https://a.b/c
            2(0,1) copy "/c" from root to "/0/" no-follow    -- [internal] gather source 1
            3() context    -- [internal] load build context
            4(2,3) copy "a.tar" from context to "/1/" unpack no-follow    -- [internal] gather source 2
            5(4) copy <<x 644 "hi\n" from nothing to "/2/" no-follow    -- [internal] gather source 3
            6(0,5) copy "/0" "/1" "/2" from root to "/d/" chown 1:1 by 0 *    -- [1/1] ADD --chown=1:1 https://a.b/c a.tar <<x /d/
            layer ADD --chown=1:1 https://a.b/c a.tar <<x /d/ # buildkit
        "#]],
    );
}

#[test]
fn checksums() {
    check(
        "FROM scratch\nADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://a/b /\nADD --checksum=abc https://h/r.git /g",
        expect![[r#"
            needs https://a/b with sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d
            needs https://h/r.git
            0() scratch    -- FROM scratch
            1() http https://a/b as "b"    -- fetch https://a/b
            2(0,1) copy "/b" from root to "/"    -- [1/2] ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://a/b /
            3() git https://h/r.git    -- fetch https://h/r.git
            4(2,3) copy "/" from root to "/g" *    -- [2/2] ADD --checksum=abc https://h/r.git /g
            layer ADD https://a/b / # buildkit
            layer ADD https://h/r.git /g # buildkit
        "#]],
    );
    check(
        "FROM scratch\nADD --checksum=abc https://a/b /",
        expect![[r#"
            ! 2: `abc` is not a checksum: `abc` is not a digest of the form `algorithm:hex` @ "--checksum=abc" -> write `sha256:` and 64 hexadecimal digits
        "#]],
    );
    check(
        "FROM scratch\nADD --checksum=abc a /",
        expect![[r#"
        ! 2: `--checksum` needs a source that is fetched from elsewhere @ "--checksum=abc"
    "#]],
    );
    check(
        "FROM scratch\nADD --keep-git-dir=true https://h/r.git?keep-git-dir=false /",
        expect![[r#"
            ! 2: `--keep-git-dir` contradicts `keep-git-dir` of the address @ "--keep-git-dir=true"
        "#]],
    );
}

fn with_contexts(contexts: &[(&str, NamedContext)]) -> LowerOptions {
    let contexts = contexts.iter();
    LowerOptions {
        contexts: contexts
            .map(|(name, context)| ((*name).to_owned(), context.clone()))
            .collect(),
        ..options()
    }
}

#[test]
fn a_named_context_stands_for_an_image_a_stage_and_files() {
    let image = |name: &str| NamedContext::Image(ImageName::Reference(name.parse().unwrap()));
    check_with(
        &with_contexts(&[
            ("debian", image("busybox")),
            ("tools", NamedContext::Files(3)),
            ("build", image("full")),
        ]),
        "FROM debian:latest AS build\nRUN never\nFROM debian\nCOPY --from=tools a /a\nCOPY --from=build b /b\nRUN --mount=from=tools,target=/t x",
        expect![[r#"
            needs docker.io/library/busybox:latest for linux/amd64
            needs docker.io/library/full:latest for linux/amd64
            0() image docker.io/library/full:latest linux/amd64    -- [build 1/1] FROM docker.io/library/full:latest
            1() image docker.io/library/busybox:latest linux/amd64    -- [stage-1 1/4] FROM docker.io/library/busybox:latest
            2() context 3    -- [internal] load build context
            3(1,2) copy "a" from context to "/a"    -- [stage-1 2/4] COPY --from=tools a /a
            4(3,0) copy "b" from root to "/b"    -- [stage-1 3/4] COPY --from=build b /b
            5() scratch    -- FROM scratch
            6(5,2) copy "/" from context to "/" no-follow    -- [internal] load / of the build context
            7(4,6) run ["/bin/sh", "-c", "x"] Bind { target: "/t", input: 1, source: "/", read_only: true } *    -- [stage-1 4/4] RUN --mount=from=tools,target=/t x
            base  base
            layer COPY a /a # buildkit
            layer COPY b /b # buildkit
            layer RUN /bin/sh -c x # buildkit
        "#]],
    );
    check_with(
        &with_contexts(&[("src", NamedContext::Files(2))]),
        "FROM src\nENV a=b",
        expect![[r#"
            0() scratch    -- FROM scratch
            1() context 2    -- [internal] load build context
            2(0,1) copy "/" from context to "/" no-follow *    -- [internal] load a context as base
            env ["a=b"]
            layer FROM a build context
            empty ENV a=b
        "#]],
    );
}

#[test]
fn what_was_not_allowed_is_refused() {
    let options = LowerOptions {
        allow: Allow {
            network_host: false,
            security_insecure: false,
        },
        ..options()
    };
    let text = "FROM debian\nRUN --network=host x\nRUN --security=insecure x\nRUN --network=none x";
    check_with(
        &options,
        text,
        expect![[r#"
        needs docker.io/library/debian:latest for linux/amd64
        ! 2: `RUN --network=host` was not allowed by who started the build @ "--network=host" -> allow it: `--allow network.host`
        ! 3: `RUN --security=insecure` was not allowed by who started the build @ "--security=insecure" -> allow it: `--allow security.insecure`
    "#]],
    );
}

#[test]
fn some_stages_ignore_the_cache() {
    let options = LowerOptions {
        no_cache: NoCache::Stages(vec!["B".to_owned()]),
        ..options()
    };
    let text = "FROM debian AS a\nRUN a\nFROM a AS b\nRUN b\nFROM b\nRUN c";
    check_with(
        &options,
        text,
        expect![[r#"
        needs docker.io/library/debian:latest for linux/amd64
        0() image docker.io/library/debian:latest linux/amd64    -- [a 1/2] FROM docker.io/library/debian:latest
        1(0) run ["/bin/sh", "-c", "a"]    -- [a 2/2] RUN a
        2(1) run ["/bin/sh", "-c", "b"] no-cache    -- [b 1/1] RUN b
        3(2) run ["/bin/sh", "-c", "c"] *    -- [stage-2 1/1] RUN c
        base  base
        layer RUN /bin/sh -c a # buildkit
        layer RUN /bin/sh -c b # buildkit
        layer RUN /bin/sh -c c # buildkit
    "#]],
    );
}
