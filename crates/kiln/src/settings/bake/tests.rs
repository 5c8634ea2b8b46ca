//! Command lines and bake files, and what they come to.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::super::env::tests::user;
use super::super::{Settings, build};
use super::*;
use crate::args::{Command, parse};

const FILE: &str = r#"
variable "TAG" { default = "1" }
group "default" { targets = ["app"] }
target "base" {}
target "app" {
  context = "ctx"
  dockerfile = "sub/D"
  contexts = { base = "target:base", Tools = "cwd://" }
  args = { A = "1" }
  labels = { l = "x" }
  tags = ["app:${TAG}"]
  target = "final"
  platforms = ["linux/amd64", "linux/arm64"]
  network = "none"
  extra-hosts = { a = "1.2.3.4", b = "::1,1.1.1.1" }
  no-cache-filter = ["x"]
  ulimits = ["nofile=1:2"]
  shm-size = "1m"
  annotations = ["index:k=v"]
  attest = ["type=sbom"]
  cache-to = ["type=inline"]
  output = ["type=oci,dest=out.tar"]
}
target "wild" {
  context = "https://example.com/a.git"
  entitlements = ["network.host"]
  secret = ["id=s,src=/etc/s"]
  ssh = ["default"]
  output = ["/elsewhere"]
}
"#;

fn baked(
    line: &str,
    variables: &[(&str, &str)],
) -> Result<(BakeArgs, BakeInput, Environment), BakeArgsError> {
    let environment = user(&[&[("HOME", "/me")], variables].concat());
    let words = ["kiln", "bake"].into_iter().chain(line.split_whitespace());
    let Command::Bake(args) = parse(words.map(Into::into)).unwrap().command else {
        panic!("not a bake")
    };
    let input = input(
        &args,
        &environment,
        Timestamp::from_seconds(0),
        &mut FILE.as_bytes(),
    )?;
    Ok((*args, input, environment))
}

fn wholly(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    format!("error: {}\n", texts.join(": "))
}

/// Whether a command line may be baked, and the overrides that its flags are short for.
fn verdict(line: &str, variables: &[(&str, &str)]) -> String {
    let (args, input, environment) = match baked(&format!("-f - {line}"), variables) {
        Ok(baked) => baked,
        Err(error) => return wholly(&error),
    };
    let bake = match kiln_bake::read(&input) {
        Ok(bake) => bake,
        Err(error) => return wholly(&error),
    };
    match check_permissions(&args, &bake, &environment) {
        Ok(()) => format!("{} {:?}\n", bake.build_order().join(" "), input.overrides),
        Err(error) => wholly(&error),
    }
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check(lines: &[&str], variables: &[(&str, &str)], expected: Expect) {
    let mut text = String::new();
    for line in lines {
        _ = writeln!(text, "$ {line}\n{}", verdict(line, variables).trim_end());
    }
    expected.assert_eq(&text);
}

#[test]
fn flags_are_overrides() {
    check(
        &[
            "",
            "base",
            "--set app.tags=x --push --load --no-cache --pull=false",
            "--sbom true --provenance mode=max",
            "--call check,format=json",
            "--check",
            "--var TAG",
            "nothing",
            "https://example.com/a.git",
        ],
        &[],
        expect![[r#"
            $ 
            base app []
            $ base
            base []
            $ --set app.tags=x --push --load --no-cache --pull=false
            base app ["app.tags=x", "*.push=true", "*.load=true", "*.no-cache=true", "*.pull=false"]
            $ --sbom true --provenance mode=max
            base app ["*.attest=type=sbom,disabled=false", "*.attest=type=provenance,mode=max"]
            $ --call check,format=json
            base app ["*.call=check"]
            $ --check
            base app ["*.call=check"]
            $ --var TAG
            error: could not use `--var TAG`: expected `NAME=VALUE`
            $ nothing
            error: unknown target `nothing`
            hint: there are `base`, `app`, `wild`, `default`
            $ https://example.com/a.git
            error: could not read `https://example.com/a.git`: kiln bakes files of this machine only
        "#]],
    );
}

#[test]
fn more_than_usual_has_to_be_allowed() {
    check(
        &[
            "wild",
            "wild --allow network.host --allow ssh --allow fs.read=/etc --allow fs.write=/elsewhere",
            "wild --allow network.host --allow ssh --allow fs=*",
            "wild --set wild.entitlements=security.insecure --allow fs=/ --allow ssh",
            "wild --allow everything",
        ],
        &[],
        expect![[r#"
            $ wild
            error: the bake file asks for more than was allowed: network.host, fs.read=/etc/s, fs.write=/elsewhere, ssh
            $ wild --allow network.host --allow ssh --allow fs.read=/etc --allow fs.write=/elsewhere
            wild []
            $ wild --allow network.host --allow ssh --allow fs=*
            wild []
            $ wild --set wild.entitlements=security.insecure --allow fs=/ --allow ssh
            error: the bake file asks for more than was allowed: network.host
            $ wild --allow everything
            error: could not use `--allow everything`: there is no such permission
        "#]],
    );
    check(
        &["wild --allow network.host --allow ssh"],
        &[("BUILDX_BAKE_ENTITLEMENTS_FS", "0")],
        expect![[r#"
            $ wild --allow network.host --allow ssh
            wild []
        "#]],
    );
    check(
        &["wild"],
        &[("BUILDX_BAKE_ENTITLEMENTS_FS", "maybe")],
        expect![[r#"
            $ wild
            error: could not use `BUILDX_BAKE_ENTITLEMENTS_FS=maybe`: expected `true` or `false`
        "#]],
    );
}

#[test]
fn the_environment_sets_variables_unless_it_may_not() {
    let tags = |variables: &[(&str, &str)]| {
        let (_, input, _) = baked("-f -", variables).unwrap();
        let bake = kiln_bake::read(&input).unwrap();
        bake.targets["app"].tags.clone().unwrap().join(" ")
    };
    assert_eq!(tags(&[("TAG", "2")]), "app:2");
    let off = ("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", "1");
    assert_eq!(tags(&[("TAG", "2"), off]), "app:1");
}

#[test]
fn a_target_is_a_build() {
    let (_, input, environment) = baked("-f -", &[]).unwrap();
    let bake = kiln_bake::read(&input).unwrap();
    let mut target = bake.targets["app"].clone();
    let links = build::target::links(&target).unwrap();
    assert_eq!(links, [("base".to_owned(), "base".to_owned())]);
    target.contexts.remove("Tools");
    let flags = build::target::flags(&target).unwrap();
    let layer = super::super::Layer::default();
    let settings = Settings::resolve(&layer, BTreeMap::new(), &environment).unwrap();
    let plan = build::resolve(&flags, &settings, &environment, &mut std::io::empty()).unwrap();
    let request = plan.request;
    let text = format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n",
        request.context,
        request.dockerfile,
        (request.target, request.build_args, request.labels),
        request.steps,
        request.cache,
        (request.cache_to, request.attest),
        request.annotations,
        request.tags
    );
    expect![[r#"
        Directory("/here/ctx")
        Path("/here/ctx/sub/D")
        (Some("final"), {"A": "1"}, {"l": "x"})
        StepSettings { network: None, extra_hosts: [("a", "1.2.3.4"), ("b", "::1"), ("b", "1.1.1.1")], allow: Allow { network_host: false, security_insecure: false }, shm_size: Some(1048576), ulimits: [Ulimit { name: "nofile", soft: Some(1), hard: Some(2) }], cgroup_parent: None, resources: {} }
        IgnoreStages(["x"])
        ([CacheTarget { target: Inline, mode: Min, compression: CompressionChoice { kind: None, level: None, force: false }, ignore_error: false }], AttestRequest { sbom: Some(SbomRequest), provenance: None })
        [Annotation { level: Index, platform: None, key: "k", value: "v" }]
        [Reference { registry: "docker.io", repository: "library/app", tag: Some("1"), digest: None }]
    "#]].assert_eq(&text);
    assert_eq!(request.platforms.len(), 2);
    assert_eq!(request.outputs.len(), 1);
}

#[test]
fn lists() {
    let check = |text: &str| listing(text).map_err(|error| error.to_string());
    assert_eq!(check("targets"), Ok((true, false)));
    assert_eq!(check("type=variables,format=json"), Ok((false, true)));
    assert!(check("groups").is_err());
    assert!(check("format=json").is_err());
}
