//! Flags, read.

use kiln_cache::{Environment, parse_from, parse_to};

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Environment::new(variables)
}

/// What a flag says, in one line, or why it can't be understood.
#[track_caller]
fn check_to(flag: &str, variables: &[(&str, &str)], expected: &str) {
    let found = match parse_to(flag, &environment(variables)) {
        Ok(targets) => format!("{targets:?}"),
        Err(error) => error.to_string(),
    };
    assert!(
        found.contains(expected),
        "{found}\ndoes not have\n{expected}"
    );
}

#[track_caller]
fn check_from(flag: &str, variables: &[(&str, &str)], expected: &str) {
    let found = match parse_from(flag, &environment(variables)) {
        Ok(sources) => format!("{sources:?}"),
        Err(error) => error.to_string(),
    };
    assert!(
        found.contains(expected),
        "{found}\ndoes not have\n{expected}"
    );
}

#[test]
fn a_name_alone_is_a_registry() {
    check_from("r.example/a:b", &[], "Registry(RegistrySource");
    let sources = parse_from("a,b:2", &Environment::default()).expect("sources");
    assert_eq!(sources.len(), 2);
    check_to("r.example/a", &[], "shape: ImageManifest");
    check_from("A", &[], "`ref=A`");
}

#[test]
fn registry_options() {
    let flag = |options: &str| format!("type=registry,ref=r.example/a{options}");
    check_to(&flag(""), &[], "shape: ImageManifest }), mode: Min");
    check_to(&flag(",mode=max,ignore-error=true"), &[], "mode: Max");
    check_to(&flag(",ignore-error=1"), &[], "ignore_error: true");
    check_to(&flag(",oci-mediatypes=false"), &[], "Index(Docker)");
    check_to(&flag(",image-manifest=false"), &[], "Index(Oci)");
    check_to(
        &flag(",image-manifest=true,oci-mediatypes=false"),
        &[],
        "it can't be had with `oci-mediatypes=false`",
    );
    check_to(&flag(",registry.insecure=true"), &[], "insecure: true");
    check_to(
        &flag(",compression=zstd,compression-level=19,force-compression="),
        &[],
        "CompressionChoice { kind: Some(Zstd), level: Some(19), force: true }",
    );
    check_to(&flag(",compression-level=10"), &[], "from 0 to 9");
    check_to(&flag(",compression=estargz"), &[], "it is none of");
    check_to(&flag(",mode=most"), &[], "it is neither `min` nor `max`");
    check_to(
        &flag(",blah=1"),
        &[],
        "cache type `registry` has no option `blah`; it has",
    );
    check_to("type=registry", &[], "cache type `registry` needs `ref`");
    check_from(&flag(",mode=max"), &[], "has no option `mode`");
    check_to("mode=max", &[], "`mode=max` has no `type=`");
    check_to(
        "type=registry,ref",
        &[],
        "`ref` is not of the form `name=value`",
    );
}

#[test]
fn other_types() {
    check_to("type=inline", &[], "target: Inline");
    check_to(
        "type=inline,mode=max",
        &[],
        "an inline cache has `mode=min` only",
    );
    check_to(
        "type=local,dest=/c,tag=t,reset=true",
        &[],
        "tag: \"t\", reset: true",
    );
    check_from("type=local,src=/c", &[], "tag: \"latest\", digest: None");
    check_from("type=local,src=/c,digest=x", &[], "`digest=x`");
    check_from(
        "type=inline",
        &[],
        "`type=registry,ref=…` to read a cache that is in an image",
    );
    check_to(
        "type=azblob,name=x",
        &[],
        "cache type `azblob` is not supported; kiln has",
    );
}

#[test]
fn s3_takes_what_is_not_said_from_the_environment() {
    let variables = [
        ("AWS_REGION", "eu-north-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
        ("AWS_SESSION_TOKEN", "token"),
        ("HOME", "/root"),
    ];
    check_to(
        "type=s3,bucket=b,name=x;y,mode=max",
        &variables,
        "region: \"eu-north-1\", prefix: \"\", blobs_prefix: \"blobs/\", \
         manifests_prefix: \"manifests/\", names: [\"x\", \"y\"], endpoint_url: None, \
         use_path_style: false, touch_refresh: 86400s, upload_parallelism: 4, \
         retry_max_attempts: None, credentials: Some(S3Credentials { access_key_id: \"id\", \
         secret_access_key: [secret], session_token: Some([secret]) })",
    );
    check_to(
        "type=s3,bucket=b,access_key_id=a,secret_access_key=s",
        &variables,
        "session_token: None",
    );
    check_from(
        "type=s3,bucket=b",
        &[],
        "cache type `s3` needs `region` or `$AWS_REGION`",
    );
    check_from(
        "type=s3,region=r",
        &[],
        "cache type `s3` needs `bucket` or `$AWS_BUCKET`",
    );
    check_from(
        "type=s3,region=r,bucket=b,access_key_id=a",
        &[],
        "needs `secret_access_key` or `$AWS_SECRET_ACCESS_KEY`",
    );
    check_to(
        "type=s3,region=r,bucket=b,upload_parallelism=0",
        &[],
        "above 0",
    );
    check_to(
        "type=s3,region=r,bucket=b,touch_refresh=1x",
        &[],
        "it is not a duration",
    );
}

#[test]
fn gha_finds_the_workflow_s_service() {
    let token = ("ACTIONS_RUNTIME_TOKEN", "t");
    let results = ("ACTIONS_RESULTS_URL", "https://results/");
    let second = ("ACTIONS_CACHE_SERVICE_V2", "True");
    let first = ("ACTIONS_CACHE_URL", "https://first/");
    check_to(
        "type=gha",
        &[],
        "scope: \"buildkit\", access: None, timeout: 600s",
    );
    check_to("type=gha,scope=x,timeout=5m", &[], "timeout: 300s");
    check_from(
        "type=gha",
        &[token, results, second, first],
        "url: \"https://results/\", api: V2, token: [secret]",
    );
    check_from(
        "type=gha",
        &[token, results, first],
        "url: \"https://first/\", api: V1",
    );
    check_from(
        "type=gha,version=1",
        &[token, results, first, second],
        "api: V1",
    );
    check_from(
        "type=gha,url_v2=https://x",
        &[token],
        "url: \"https://x\", api: V2",
    );
    check_from(
        "type=gha,url=https://results-receiver.actions.githubusercontent.com,token=x",
        &[],
        "api: V2",
    );
    check_from("type=gha", &[results], "access: None");
}
