//! Flags in, a request or an error out.

use expect_test::{Expect, expect};

use super::*;

/// `--attest` values one on a line; lines with `provenance:` and `sbom:` are the short flags.
#[track_caller]
fn check(flags: &str, expected: &Expect) {
    let mut attest = Vec::new();
    let (mut provenance, mut sbom) = (None, None);
    for line in flags.lines() {
        if let Some(text) = line.strip_prefix("provenance:") {
            provenance = Some(text);
        } else if let Some(text) = line.strip_prefix("sbom:") {
            sbom = Some(text);
        } else {
            attest.push(line.to_owned());
        }
    }
    let text = match AttestRequest::parse(&attest, provenance, sbom) {
        Ok(request) => show(&request),
        Err(error) => format!("error: {error}"),
    };
    expected.assert_eq(&text);
}

fn show(request: &AttestRequest) -> String {
    let mut parts = Vec::new();
    if request.sbom.is_some() {
        parts.push("sbom".to_owned());
    }
    if let Some(p) = &request.provenance {
        let mut text = format!("provenance {:?} {:?} {}", p.mode, p.version, p.filename);
        for (name, on) in [
            ("reproducible", p.reproducible),
            ("inline-only", p.inline_only),
            ("complete-materials", p.complete_materials),
        ] {
            if on {
                text.push(' ');
                text.push_str(name);
            }
        }
        if !p.builder_id.is_empty() {
            text.push_str(" by ");
            text.push_str(&p.builder_id);
        }
        parts.push(text);
    }
    parts.join("; ")
}

#[test]
fn nothing_is_made_unasked() {
    check("", &expect![""]);
    check("provenance:\nsbom:", &expect![""]);
}

#[test]
fn the_short_flags_take_booleans_and_parameters() {
    check(
        "provenance:true",
        &expect!["provenance Max V1 provenance.json"],
    );
    check("provenance:false", &expect![""]);
    check("sbom:1", &expect!["sbom"]);
    check("sbom:F", &expect![""]);
    check(
        "provenance:mode=min",
        &expect!["provenance Min V1 provenance.json"],
    );
    check(
        "provenance:mode=max,version=v0.2,inline-only=true,builder-id=https://ci/1",
        &expect!["provenance Max V02 provenance.json inline-only by https://ci/1"],
    );
    check(
        "sbom:true\nprovenance:mode=full",
        &expect!["sbom; provenance Max V1 provenance.json"],
    );
}

#[test]
fn the_long_flag_comes_first_and_the_first_counts() {
    check(
        "type=provenance,mode=min\nprovenance:mode=max",
        &expect!["provenance Min V1 provenance.json"],
    );
    check("type=sbom,disabled=true\nsbom:true", &expect![""]);
    check(
        "type=SBOM\nTYPE=provenance, Disabled=false,filename=p.json,reproducible=true",
        &expect!["sbom; provenance Max V1 p.json reproducible"],
    );
}

#[test]
fn what_is_wrong_is_said() {
    check(
        "mode=max",
        &expect!["error: `mode=max` does not say a type: add `type=sbom` or `type=provenance`"],
    );
    check(
        "type=slsa",
        &expect!["error: `slsa` is not a type of attestation: use `sbom` or `provenance`"],
    );
    check(
        "provenance:max",
        &expect![
            "error: the attestation parameter `max` of `type=provenance,max` is not of the form `key=value`"
        ],
    );
    check(
        "provenance:mode=most",
        &expect!["error: the attestation parameter `mode` can't be `most`: use `min` or `max`"],
    );
    check(
        "provenance:version=v2",
        &expect!["error: the attestation parameter `version` can't be `v2`: use `v1` or `v0.2`"],
    );
    check(
        "provenance:colour=red",
        &expect!["error: `colour` is not a parameter of the attestation `provenance`"],
    );
    check(
        "provenance:filename=../x",
        &expect![
            "error: the attestation parameter `filename` can't be `../x`: use a file name without a folder"
        ],
    );
    check(
        "provenance:capture-usage=true",
        &expect!["error: `capture-usage=true` is not supported by kiln: leave it out"],
    );
    check(
        "type=sbom,disabled=maybe",
        &expect![
            "error: the attestation parameter `disabled` can't be `maybe`: use `true` or `false`"
        ],
    );
    check(
        "type=sbom,\"a",
        &expect!["error: the attestation parameters `type=sbom,\"a` have an unmatched quote"],
    );
}

#[test]
fn only_the_default_generator_can_stand_for_our_scanner() {
    check(
        "sbom:generator=docker/buildkit-syft-scanner:stable-1",
        &expect!["sbom"],
    );
    check(
        "sbom:generator=docker.io/docker/buildkit-syft-scanner",
        &expect!["sbom"],
    );
    check(
        "sbom:generator=example.com/scanner:1",
        &expect![
            "error: the generator image `example.com/scanner:1` can't be started: kiln scans with its own scanner, leave `generator` out"
        ],
    );
    check(
        "sbom:generator=docker/buildkit-syft-scanner-x",
        &expect![
            "error: the generator image `docker/buildkit-syft-scanner-x` can't be started: kiln scans with its own scanner, leave `generator` out"
        ],
    );
}

#[test]
fn build_arguments_ask_too() {
    let args = BTreeMap::from([
        (
            "BUILDKIT_ATTEST_PROVENANCE".to_owned(),
            "mode=min".to_owned(),
        ),
        ("BUILDKIT_ATTEST_SBOM".to_owned(), String::new()),
        ("OTHER".to_owned(), "x".to_owned()),
    ]);
    let request = AttestRequest::default()
        .with_build_args(&args)
        .expect("valid");
    assert_eq!(show(&request), "sbom; provenance Min V1 provenance.json");
    let flags = AttestRequest::parse(&[], Some("mode=max"), None).expect("valid");
    let both = flags.with_build_args(&args).expect("valid");
    assert_eq!(show(&both), "sbom; provenance Max V1 provenance.json");
}
