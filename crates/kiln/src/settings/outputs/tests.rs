//! Outputs as typed, and what they come to.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::super::Layer;
use super::super::env::tests::user;
use super::*;

/// `{:?}` without what an output leaves open.
fn short(output: &Output) -> String {
    const OPEN: [&str; 11] = [
        "names: [], ",
        "format: None, ",
        "compression: None, ",
        "force_compression: false, ",
        "file_times: None, ",
        "epoch: None, ",
        "annotations: [], ",
        "name_canonical: false, ",
        "dangling_prefix: None, ",
        "attestation_artifact: false, ",
        ", keep_nondistributable: false",
    ];
    let text = format!("{output:?}").replace(
        "attestation_artifact: false, keep_nondistributable: false",
        "",
    );
    OPEN.iter()
        .fold(text, |text, open| text.replace(open, ""))
        .replace(",  }", " }")
        .replace("{  }", "{}")
}

fn text_of(asked: Asked<'_>) -> String {
    let environment = user(&[("HOME", "/me"), ("DOCKER_HOST", "tcp://far:2375")]);
    let settings = Settings::resolve(&Layer::default(), BTreeMap::new(), &environment).unwrap();
    match resolve(asked, &settings, &environment) {
        Ok(outputs) => {
            let list = outputs.list.iter().map(|output| short(output) + "\n");
            let notes = outputs.notes.iter().map(|note| format!("note: {note}\n"));
            list.chain(notes).collect()
        }
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("error: {error}{cause}\n")
        }
    }
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check(specs: &[&str], expected: Expect) {
    let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
    expected.assert_eq(&text_of(Asked {
        specs: &specs,
        ..Asked::default()
    }));
}

/// Each output by itself.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check_each(specs: &[&str], expected: Expect) {
    let text: String = specs
        .iter()
        .map(|spec| {
            text_of(Asked {
                specs: &[(*spec).to_owned()],
                ..Asked::default()
            })
        })
        .collect();
    expected.assert_eq(&text);
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check_pushed(specs: &[&str], expected: Expect) {
    let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
    expected.assert_eq(&text_of(Asked {
        specs: &specs,
        push: true,
        tagged: true,
        ..Asked::default()
    }));
}

#[test]
fn files() {
    check(
        &["out", "-"],
        expect![[r#"
        Local { dest: "/here/out", split: None, mode: Copy }
        Tar { dest: Stdout, split: None }
    "#]],
    );
    check_each(
        &[
            "type=local,dest=out,platform-split=false,mode=delete",
            "type=tar,dest=a.tar,platform-split=true",
            "type=tar",
            "type=cacheonly",
            "",
        ],
        expect![[r#"
            Local { dest: "/here/out", split: Some(false), mode: Delete }
            Tar { dest: File("/here/a.tar"), split: Some(true) }
            Tar { dest: Stdout, split: None }
            CacheOnly
        "#]],
    );
}

#[test]
fn archives() {
    check_each(
        &[
            "type=oci,dest=a.tar",
            "type=docker,dest=-,name=a:1",
            "type=oci,tar=false,dest=d,compression=zstd,compression-level=9",
            "type=oci",
        ],
        expect![[r#"
            Archive { kind: Oci, image: ImageOptions {}, dest: File("/here/a.tar") }
            Archive { kind: Docker, image: ImageOptions { names: [Reference { registry: "docker.io", repository: "library/a", tag: Some("1"), digest: None }] }, dest: Stdout }
            Layout { image: ImageOptions { compression: Some(Zstd(ZstdLevel(9))) }, dest: "/here/d" }
            Archive { kind: Oci, image: ImageOptions {}, dest: Stdout }
        "#]],
    );
}

#[test]
fn the_store_and_registries() {
    check_each(
        &[
            "type=image",
            "type=image,unpack=true,name=a",
            "type=image,push=true,name=r.example/a",
            "type=image,push=true,store=false,\"name=r.example/a,r.example/b:1\"",
            "type=registry,oci-mediatypes=false,rewrite-timestamp=false",
            "type=registry,push-by-digest=true,registry.insecure=true,name-canonical=true,name=r.example/a",
        ],
        expect![[r#"
            Store { image: ImageOptions {}, unpack: false }
            Store { image: ImageOptions { names: [Reference { registry: "docker.io", repository: "library/a", tag: Some("latest"), digest: None }] }, unpack: true }
            Store { image: ImageOptions { names: [Reference { registry: "r.example", repository: "a", tag: Some("latest"), digest: None }] }, unpack: false }
            Push { image: ImageOptions { names: [Reference { registry: "r.example", repository: "a", tag: Some("latest"), digest: None }] }, by_digest: false, insecure: false }
            Push { image: ImageOptions { names: [Reference { registry: "r.example", repository: "a", tag: Some("latest"), digest: None }, Reference { registry: "r.example", repository: "b", tag: Some("1"), digest: None }] }, by_digest: false, insecure: false }
            Push { image: ImageOptions { format: Some(Docker), file_times: Some(Keep) }, by_digest: false, insecure: false }
            Push { image: ImageOptions { names: [Reference { registry: "r.example", repository: "a", tag: Some("latest"), digest: None }], name_canonical: true }, by_digest: true, insecure: true }
        "#]],
    );
}

#[test]
fn how_an_image_is_written() {
    check_each(
        &[
            "type=image,compression-level=9",
            "type=image,compression=zstd,compression-level=0,force-compression=true",
            "type=image,compression=uncompressed",
            "type=image,dangling-name-prefix=app,danging-name-empty-only=true",
            "type=image,oci-artifact=true,prefer-nondist-layers",
            "type=image,source-date-epoch=5,compatibility-version=30,attestation-inline=true",
            "type=image,annotation.A=1,annotation-index.b=2,annotation-manifest-descriptor[linux/amd64].c=3",
        ],
        expect![[r#"
            Store { image: ImageOptions { compression: Some(Gzip(GzipLevel(9))) }, unpack: false }
            Store { image: ImageOptions { compression: Some(Zstd(ZstdLevel(3))), force_compression: true }, unpack: false }
            Store { image: ImageOptions { compression: Some(None) }, unpack: false }
            Store { image: ImageOptions { dangling_prefix: Some("app") }, unpack: false }
            error: could not use the output `type=image,oci-artifact=true,prefer-nondist-layers`: `prefer-nondist-layers` is not of the form `NAME=VALUE`
            Store { image: ImageOptions { epoch: Some(Timestamp { seconds: 5, nanoseconds: 0 }) }, unpack: false }
            Store { image: ImageOptions { annotations: [Annotation { level: Index, platform: None, key: "b", value: "2" }, Annotation { level: ManifestDescriptor, platform: Some(Platform { os: "linux", architecture: "amd64", variant: None, os_version: None, os_features: [] }), key: "c", value: "3" }, Annotation { level: Manifest, platform: None, key: "A", value: "1" }] }, unpack: false }
        "#]],
    );
}

#[test]
fn push_goes_through_the_outputs_that_are_there() {
    check_pushed(
        &[],
        expect![[r#"
        Store { image: ImageOptions {}, unpack: false }
        Push { image: ImageOptions {}, by_digest: false, insecure: false }
    "#]],
    );
    check_pushed(
        &["type=image"],
        expect![[r#"
        Store { image: ImageOptions {}, unpack: false }
        Push { image: ImageOptions {}, by_digest: false, insecure: false }
    "#]],
    );
    check_pushed(
        &["type=registry"],
        expect![[r#"
        Push { image: ImageOptions {}, by_digest: false, insecure: false }
    "#]],
    );
    check_pushed(
        &["out"],
        expect![[r#"
        Local { dest: "/here/out", split: None, mode: Copy }
        Push { image: ImageOptions {}, by_digest: false, insecure: false }
    "#]],
    );
    check_pushed(
        &["type=oci,dest=a,name=b"],
        expect![[r#"
        Archive { kind: Oci, image: ImageOptions {}, dest: File("/here/a") }
        Push { image: ImageOptions {}, by_digest: false, insecure: false }
        note: `name` of the output type `oci` is not used: `-t` names the image
    "#]],
    );
}

#[test]
fn outputs_may_ask_for_different_packing() {
    check(
        &["type=oci,dest=a", "type=oci,dest=b,compression=zstd"],
        expect![[r#"
            Archive { kind: Oci, image: ImageOptions {}, dest: File("/here/a") }
            Archive { kind: Oci, image: ImageOptions { compression: Some(Zstd(ZstdLevel(3))) }, dest: File("/here/b") }
        "#]],
    );
}

#[test]
fn what_cannot_be_honoured_is_an_error() {
    check_each(
        &[
            "type=floppy",
            "type=oci,dest=a,zip=1",
            "type=local,dest=-",
            "type=local",
            "type=local,dest=a,mode=move",
            "type=tar,dest=/",
            "type=oci,dest=/",
            "type=local,dest=/dev/null",
            "type=oci,compression=estargz",
            "type=oci,compression=lz4",
            "type=oci,compression-level=40",
            "type=oci,compression-level=x",
            "type=oci,force-compression=maybe",
            "type=oci,compression=zstd,oci-mediatypes=false",
            "type=oci,source-date-epoch=now",
            "type=oci,compatibility-version=10",
            "type=docker",
            "type=docker,context=far",
            "type=registry,name=A",
            "type=registry,push=false",
            "type=registry,unpack=true",
            "type=image,push-by-digest=true",
            "type=image,registry.insecure=true",
            "type=image,store=false",
            "type=image,dest=a",
            "type=image,annotation-image.a=1",
            "type=cacheonly,dest=a",
            "type=tar,name=a",
        ],
        expect![[r#"
            error: could not use the output `type=floppy`: there is no output type `floppy`; the types are oci, docker, tar, local, image, registry, cacheonly
            error: the output type `oci` has no attribute `zip`
            error: `dest=-` is not possible: a directory can't go to standard output
            error: the output type `local` needs `dest=PATH`
            error: `mode=move` is not possible: expected `copy` or `delete`
            error: `/` is a directory: an archive needs a file
            error: `/` is a directory: an archive needs a file
            error: `/dev/null` is not a directory
            error: kiln can't write eStargz layers; every reader of those reads gzip, too
            error: `compression=lz4` is not possible: expected `gzip`, `zstd` or `uncompressed`
            error: gzip levels are 0 to 9, not 40
            error: `compression-level=x` is not possible: expected a number
            error: `force-compression=maybe` is not possible: expected `true` or `false`
            error: Docker's media types have no zstd layers
            error: `source-date-epoch=now` is not possible: expected a number of seconds
            error: `compatibility-version=10` is not possible: kiln writes images by the newest rules only, which are 30
            error: kiln can load images through Unix sockets only, but `DOCKER_HOST` is `tcp://far:2375`
            error: `context=far` is not possible: kiln loads into the engine whose socket `DOCKER_HOST` names
            error: `A` is not a name for an image: repository name `A` has to be lower case
            error: `push=false` is not possible: a registry is reached by pushing: use `type=image`
            error: `unpack=true` is not possible: only an image in the store is unpacked: use `type=image`
            error: `push-by-digest=true` is not possible: nothing is pushed: add `push=true`
            error: `registry.insecure=true` is not possible: nothing is pushed: add `push=true`
            error: an image that is neither stored nor pushed goes nowhere
            error: the output type `image` has no attribute `dest`
            error: an annotation can't be put on `image`: expected manifest, index, manifest-descriptor or index-descriptor
            error: the output type `cacheonly` has no attribute `dest`
            error: the output type `tar` has no attribute `name`
        "#]],
    );
    check(
        &["-", "type=oci"],
        expect![[r#"
        error: only one output can go to standard output
    "#]],
    );
}

#[test]
fn files_are_removed_below_the_working_directory_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut environment = user(&[]);
    folder.path().clone_into(&mut environment.cwd);
    let delete = |dest: &str| {
        let output = Output::Local {
            dest: environment.resolve(Path::new(dest)),
            split: None,
            mode: LocalMode::Delete,
        };
        check_deletes(&[output], &environment).is_ok()
    };
    assert!(delete("out"));
    assert!(delete("a/../out"));
    assert!(!delete("."));
    assert!(!delete("../out"));
    assert!(!delete("a/../../out"));
    assert!(!delete("/out"));
    std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
    assert!(!delete("link/out"));
}
