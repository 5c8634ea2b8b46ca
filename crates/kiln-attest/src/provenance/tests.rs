//! What provenance says, and what it must not say.

use expect_test::{ExpectFile, expect_file};
use kiln_oci::MediaType;
use serde_json::Value;

use super::*;
use crate::request::{ProvenanceMode, ProvenanceRequest, SlsaVersion};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn build() -> Build {
    Build {
        source: ConfigSource {
            uri: Some("https://user:token@example.com/app.git#main".to_owned()),
            digest: map(&[("sha1", "4b220de5058abfd01ff619c9d2ff6b09a049bea0")]),
            path: Some("Dockerfile".to_owned()),
        },
        request: Request {
            frontend: "dockerfile.v0".to_owned(),
            target: Some("final".to_owned()),
            build_args: map(&[("VERSION", "1.2")]),
            labels: map(&[("team", "x")]),
            options: map(&[("no-cache", "")]),
            secrets: vec![SecretUse {
                id: "npmrc".to_owned(),
                optional: true,
            }],
            ssh: vec![SecretUse {
                id: "default".to_owned(),
                optional: false,
            }],
            locals: Vec::new(),
        },
        materials: materials(),
        materials_complete: true,
        network: false,
        builder_platform: Platform::new("linux", "amd64"),
        vcs: map(&[
            ("revision", "4b22"),
            ("source", "https://me:pw@example.com/app.git"),
        ]),
        invocation_id: "x1y2z3".to_owned(),
        started: Timestamp::from_seconds(1_700_000_000),
        finished: Timestamp::new(1_700_000_060, 500_000_000),
        steps: steps(),
        sources: vec![SourceFile {
            filename: "Dockerfile".to_owned(),
            language: "Dockerfile".to_owned(),
            data: b"FROM alpine:3.20\n".to_vec(),
        }],
    }
}

fn materials() -> Vec<Material> {
    let amd64 = Platform::new("linux", "amd64");
    vec![
        Material::Http {
            url: "https://example.com/x.tgz".to_owned(),
            digest: Digest::sha256(b"x"),
        },
        Material::Git {
            url: "https://tok@example.com/app.git#main".to_owned(),
            commit: "4b220de5058abfd01ff619c9d2ff6b09a049bea0".to_owned(),
        },
        Material::Image {
            reference: "alpine:3.20".parse().unwrap(),
            platform: amd64.clone(),
            digest: Digest::sha256(b"a"),
        },
        Material::Image {
            reference: "alpine:3.20".parse().unwrap(),
            platform: amd64.clone(),
            digest: Digest::sha256(b"a"),
        },
        Material::LocalImage {
            reference: "example.com/own:1".parse().unwrap(),
            platform: amd64.clone(),
            digest: Digest::sha256(b"o"),
        },
    ]
}

fn steps() -> Vec<BuildStep> {
    let layer = Descriptor::new(
        MediaType::parse("application/vnd.oci.image.layer.v1.tar+gzip"),
        Digest::sha256(b"layer"),
        5,
    );
    vec![
        BuildStep {
            digest: "blake3:00".to_owned(),
            name: "[1/2] FROM alpine:3.20".to_owned(),
            op: StepOp::Source {
                identifier: "docker-image://docker.io/library/alpine".to_owned(),
                attributes: map(&[("platform", "linux/amd64")]),
            },
            inputs: Vec::new(),
            lines: vec![LineRange {
                source: 0,
                first: 1,
                last: 1,
            }],
            layers: vec![vec![layer]],
        },
        BuildStep {
            digest: "blake3:01".to_owned(),
            name: "[2/2] RUN make".to_owned(),
            op: StepOp::Exec {
                args: vec!["/bin/sh".to_owned(), "-c".to_owned(), "make".to_owned()],
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                user: String::new(),
                network: "none",
                mounts: vec![Mount {
                    kind: "secret".to_owned(),
                    dest: "/run/secrets/npmrc".to_owned(),
                    id: Some("npmrc".to_owned()),
                    input: None,
                    readonly: true,
                    attributes: BTreeMap::new(),
                }],
                files: Vec::new(),
                attributes: BTreeMap::new(),
            },
            inputs: vec![StepInput { step: 0, output: 0 }],
            lines: vec![LineRange {
                source: 0,
                first: 2,
                last: 3,
            }],
            layers: Vec::new(),
        },
    ]
}

#[track_caller]
fn check(request: &ProvenanceRequest, kind: &str, expected: &ExpectFile) {
    let predicate = build().predicate(request).unwrap();
    assert_eq!(predicate.kind(), kind);
    let value: Value = serde_json::from_str(predicate.as_json()).unwrap();
    let text = format!("{value:#}\n");
    for secret in ["token", "tok@", ":pw"] {
        assert!(!text.contains(secret), "{secret}");
    }
    expected.assert_eq(&text);
}

#[test]
fn the_long_form() {
    let request = ProvenanceRequest {
        reproducible: true,
        builder_id: "https://ci.example.com/1".to_owned(),
        ..ProvenanceRequest::default()
    };
    let expected = expect_file!["testdata/max.json"];
    check(&request, "https://slsa.dev/provenance/v1", &expected);
}

#[test]
fn the_short_form_leaves_out_what_may_be_private() {
    let request = ProvenanceRequest {
        mode: ProvenanceMode::Min,
        ..ProvenanceRequest::default()
    };
    let expected = expect_file!["testdata/min.json"];
    check(&request, "https://slsa.dev/provenance/v1", &expected);
    let said = build().predicate(&request).unwrap();
    for private in ["VERSION", "team", "npmrc", "make", "default", "RlJPTS"] {
        assert!(!said.as_json().contains(private), "{private}");
    }
}

#[test]
fn version_0_2() {
    let request = ProvenanceRequest {
        version: SlsaVersion::V02,
        ..ProvenanceRequest::default()
    };
    let expected = expect_file!["testdata/v0.2.json"];
    check(&request, "https://slsa.dev/provenance/v0.2", &expected);
}

#[test]
fn local_folders_are_no_materials() {
    let mut build = build();
    let request = ProvenanceRequest {
        complete_materials: true,
        ..ProvenanceRequest::default()
    };
    assert!(build.predicate(&request).is_ok());
    build.request.locals = vec!["context".to_owned(), "dockerfile".to_owned()];
    assert_eq!(
        build.predicate(&request).unwrap_err().to_string(),
        "the materials are not complete, as `complete-materials=true` demands: the local source \
         `context`, the local source `dockerfile` have no digest"
    );
    build.request.locals.clear();
    build.materials_complete = false;
    assert_eq!(
        build.predicate(&request).unwrap_err().to_string(),
        "the materials are not complete, as `complete-materials=true` demands: some inputs have \
         no digest"
    );
}
