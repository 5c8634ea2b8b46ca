//! What the client does when a registry fails.

use std::time::Instant;

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_oci::{Digest, MediaType};
use kiln_registry::HostConfig;

use crate::fake::{Auth, Fake, Fault};
use crate::support::{client, layer, plain, pull, push, reference, shown};

const INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

fn start() -> Fake {
    let fake = Fake::start();
    fake.add_manifest("a/b", "1", INDEX_TYPE, INDEX);
    fake
}

/// Resolves `a/b:1` after `prepare`, and compares the outcome and the requests.
#[track_caller]
fn check(prepare: impl FnOnce(&Fake), expected: &Expect) {
    let fake = start();
    prepare(&fake);
    let client = client(&[(&fake.host, plain())], None);
    let outcome = match client.resolve(&reference(&fake.host, "a/b:1"), &CancelToken::new()) {
        Ok(resolved) => format!("{} bytes", resolved.bytes.len()),
        Err(error) => shown(&error, &fake.host),
    };
    expected.assert_eq(&format!("{outcome}\n{}", fake.log()));
}

fn status(status: u16) -> Fault {
    Fault::Status(status, Vec::new(), "")
}

#[test]
fn a_manifest_is_fetched() {
    check(
        |_| {},
        &expect![[r#"
            88 bytes
            GET /v2/a/b/manifests/1"#]],
    );
}

#[test]
fn server_errors_are_tried_again_and_then_told() {
    check(
        |fake| fake.fail("GET", status(500), 2),
        &expect![[r#"
        88 bytes
        GET /v2/a/b/manifests/1
        GET /v2/a/b/manifests/1
        GET /v2/a/b/manifests/1"#]],
    );
    check(
        |fake| fake.fail("GET", status(503), 9),
        &expect![[r#"
        could not fetch manifest `1` of `a/b` at `HOST`: the registry answered 503
        GET /v2/a/b/manifests/1
        GET /v2/a/b/manifests/1
        GET /v2/a/b/manifests/1"#]],
    );
    check(
        |fake| fake.fail("GET", Fault::Drop, 1),
        &expect![[r#"
        88 bytes
        GET /v2/a/b/manifests/1
        GET /v2/a/b/manifests/1"#]],
    );
}

#[test]
fn refusals_are_not_tried_again() {
    check(
        |fake| fake.fail("GET", status(403), 9),
        &expect![[r#"
        could not fetch manifest `1` of `a/b` at `HOST`: access was denied (no credentials are known for it)
        GET /v2/a/b/manifests/1"#]],
    );
    check(
        |fake| fake.state().manifests.clear(),
        &expect![[r#"
        could not fetch manifest `1` of `a/b` at `HOST`: the registry does not have it: manifest unknown
        GET /v2/a/b/manifests/1"#]],
    );
    check(
        |fake| fake.fail("GET", status(418), 9),
        &expect![[r#"
        could not fetch manifest `1` of `a/b` at `HOST`: the registry answered 418
        GET /v2/a/b/manifests/1"#]],
    );
}

#[test]
fn patience_is_bounded() {
    let limited = |seconds: &str| Fault::Status(429, vec![("Retry-After", seconds.to_owned())], "");
    let begun = Instant::now();
    check(
        |fake| fake.fail("GET", limited("1"), 1),
        &expect![[r#"
        88 bytes
        GET /v2/a/b/manifests/1
        GET /v2/a/b/manifests/1"#]],
    );
    assert!(begun.elapsed().as_millis() >= 1000);
    check(
        |fake| fake.fail("GET", limited("3600"), 9),
        &expect![[r#"
            could not fetch manifest `1` of `a/b` at `HOST`: the registry limits the rate of requests: the next is allowed after 3600 seconds
            GET /v2/a/b/manifests/1"#]],
    );
}

#[test]
fn wrong_and_cut_documents_are_told_apart() {
    let hidden = |text: String| text.replace(Digest::sha256(INDEX).as_str(), "RIGHT");
    let run = |fault: Fault| {
        let fake = start();
        fake.fail("GET", fault, 9);
        let client = client(&[(&fake.host, plain())], None);
        let result = client.resolve(&reference(&fake.host, "a/b:1"), &CancelToken::new());
        let error = result.expect_err("a bad document");
        let damaged: Vec<u8> = INDEX.iter().map(|byte| byte ^ 1).collect();
        hidden(shown(&error, &fake.host)).replace(Digest::sha256(&damaged).as_str(), "WRONG")
    };
    expect!["could not fetch manifest `1` of `a/b` at `HOST`: expected `RIGHT`, but the registry gave `WRONG`"].assert_eq(&run(Fault::Damage));
    expect![
        "could not fetch manifest `1` of `a/b` at `HOST`: the transfer broke off after 10 bytes"
    ]
    .assert_eq(&run(Fault::Truncate(10)));
}

#[test]
fn a_digest_that_was_asked_for_is_checked() {
    let fake = start();
    let wanted = Digest::sha256(b"other");
    fake.add_manifest("a/b", wanted.as_str(), INDEX_TYPE, INDEX);
    let client = client(&[(&fake.host, plain())], None);
    let pinned = reference(&fake.host, "a/b").with_digest(wanted.clone());
    let error = client
        .resolve(&pinned, &CancelToken::new())
        .expect_err("another document");
    let text = shown(&error, &fake.host).replace(wanted.as_str(), "WANTED");
    let text = text.replace(Digest::sha256(INDEX).as_str(), "FOUND");
    expect!["could not fetch manifest `WANTED` of `a/b` at `HOST`: expected `WANTED`, but the registry gave `FOUND`"].assert_eq(&text);
}

#[test]
fn a_loopback_registry_needs_no_configuration() {
    let fake = start();
    let client = client(&[], None);
    let name = reference(&fake.host, "a/b:1");
    for _ in 0..2 {
        let descriptor = client
            .head(&name, &CancelToken::new())
            .expect("the manifest");
        assert_eq!(descriptor.digest, Digest::sha256(INDEX));
    }
}

#[test]
fn nobody_listening_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let client = client(&[], None);
    let result = client.resolve(&reference(&host, "a/b:1"), &CancelToken::new());
    let error = result.expect_err("nobody is there");
    expect!["could not fetch manifest `1` of `a/b` at `HOST`: the registry can't be reached"]
        .assert_eq(&shown(&error, &host));
}

#[test]
fn basic_credentials_are_used_once_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("auth.json");
    let fake = start();
    fake.require(Auth::Basic("Basic dTpw"));
    let auth = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, fake.host);
    std::fs::write(&file, auth).expect("written");
    let name = reference(&fake.host, "a/b:1");

    let with = client(&[(&fake.host, plain())], Some(&file));
    with.resolve(&name, &CancelToken::new())
        .expect("the manifest");
    with.resolve(&name, &CancelToken::new())
        .expect("the manifest");
    expect![[r#"
        GET /v2/a/b/manifests/1
        GET /v2/a/b/manifests/1 *
        GET /v2/a/b/manifests/1 *"#]]
    .assert_eq(&fake.log());

    let without = client(&[(&fake.host, plain())], None);
    let error = without
        .resolve(&name, &CancelToken::new())
        .expect_err("refused");
    assert!(error.is_authentication());
    expect!["could not fetch manifest `1` of `a/b` at `HOST`: access was denied (no credentials are known for it): authentication required"].assert_eq(&shown(&error, &fake.host));
}

#[test]
fn tokens_are_fetched_kept_and_renewed() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("auth.json");
    let fake = start();
    let auth = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, fake.host);
    std::fs::write(&file, auth).expect("written");
    let name = reference(&fake.host, "a/b:1");
    let cancel = CancelToken::new();

    fake.require(Auth::Bearer("Basic dTpw"));
    let client = client(&[(&fake.host, plain())], Some(&file));
    client.resolve(&name, &cancel).expect("the manifest");
    client.resolve(&name, &cancel).expect("the manifest");
    // The registry no longer takes the token it gave.
    let refused = Fault::Status(
        401,
        vec![(
            "WWW-Authenticate",
            format!("Bearer realm=\"http://{}/token\"", fake.host),
        )],
        "",
    );
    fake.fail("GET /v2", refused, 1);
    client.resolve(&name, &cancel).expect("the manifest");
    expect![[r#"
        GET /v2/a/b/manifests/1
        GET /token?service=fake&scope=repository%3Aa%2Fb%3Apull *
        GET /v2/a/b/manifests/1 *
        GET /v2/a/b/manifests/1 *
        GET /v2/a/b/manifests/1 *
        GET /token?scope=repository%3Aa%2Fb%3Apull *
        GET /v2/a/b/manifests/1 *"#]]
    .assert_eq(&fake.log());

    fake.require(Auth::Bearer("Basic something-else"));
    fake.state().manifests.clear();
    let other = reference(&fake.host, "c/d:1");
    let error = client.resolve(&other, &cancel).expect_err("refused");
    assert!(error.is_authentication());
    expect!["could not fetch manifest `1` of `c/d` at `HOST`: the token service `127.0.0.1` answered 401: incorrect username or password"].assert_eq(&shown(&error, &fake.host));
}

#[test]
fn identity_tokens_are_exchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    let fake = start();
    let auth = format!(
        r#"{{"auths":{{"{}":{{"identitytoken":"refresh-me"}}}}}}"#,
        fake.host
    );
    std::fs::write(&file, auth).expect("written");
    fake.require(Auth::Bearer("refresh_token=refresh-me"));
    let client = client(&[(&fake.host, plain())], Some(&file));
    let name = reference(&fake.host, "a/b:1");
    client
        .resolve(&name, &CancelToken::new())
        .expect("the manifest");
    expect![[r#"
        GET /v2/a/b/manifests/1
        POST /token
        GET /v2/a/b/manifests/1 *"#]]
    .assert_eq(&fake.log());
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("auth.json");
    let (fake, other) = (start(), Fake::start());
    fake.require(Auth::Basic("Basic dTpw"));
    let auth = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, fake.host);
    std::fs::write(&file, auth).expect("written");
    let digest = other.add_blob("cdn", b"content");
    fake.add_blob("a/b", b"content");
    let client = client(&[(&fake.host, plain())], Some(&file));
    let name = reference(&fake.host, "a/b:1");
    client
        .resolve(&name, &CancelToken::new())
        .expect("the manifest");
    let target = format!("http://{}/v2/cdn/blobs/{digest}", other.host);
    fake.fail(
        "GET /v2/a/b/blobs",
        Fault::Status(307, vec![("Location", target)], ""),
        1,
    );
    let bytes = pull(&client, &name, &digest, 7, 0).expect("the blob");
    assert_eq!(bytes, b"content");
    // No star: the request had no authorisation.
    assert_eq!(other.log(), format!("GET /v2/cdn/blobs/{digest}"));
    assert!(
        fake.log()
            .ends_with(&format!("GET /v2/a/b/blobs/{digest} *"))
    );
}

#[test]
fn credentials_do_not_follow_an_upload_to_another_host() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("auth.json");
    let (fake, other) = (start(), Fake::start());
    fake.require(Auth::Basic("Basic dTpw"));
    let auth = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, fake.host);
    std::fs::write(&file, auth).expect("written");
    let client = client(&[(&fake.host, plain())], Some(&file));
    let name = reference(&fake.host, "a/b:1");
    client
        .resolve(&name, &CancelToken::new())
        .expect("the manifest");
    let target = format!("http://{}/elsewhere", other.host);
    fake.fail(
        "POST /v2/a/b/blobs/uploads",
        Fault::Status(202, vec![("Location", target)], ""),
        1,
    );
    // It may ask for a credential, too, and does not get one.
    other.require(Auth::Basic("Basic dTpw"));
    push(&client, &name, b"content", &[]).expect_err("refused there");
    let log = other.log();
    assert!(log.starts_with("PUT /elsewhere?digest="), "{log}");
    assert!(!log.contains('*'), "{log}");
}

/// Streams a blob to a registry that answers `start` by leading elsewhere, and gives what came there.
fn stream_elsewhere(start: &'static str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("auth.json");
    let (fake, other) = (self::start(), Fake::start());
    fake.require(Auth::Basic("Basic dTpw"));
    let auth = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, fake.host);
    std::fs::write(&file, auth).expect("written");
    let client = client(&[(&fake.host, plain())], Some(&file));
    let name = reference(&fake.host, "a/b:1");
    let cancel = CancelToken::new();
    client.resolve(&name, &cancel).expect("the manifest");
    let target = format!("http://{}/elsewhere", other.host);
    fake.fail(start, Fault::Status(202, vec![("Location", target)], ""), 1);
    // It may ask for a credential, too, and does not get one.
    other.require(Auth::Basic("Basic dTpw"));
    let mut upload = client.begin_upload(&name, &cancel).expect("begun");
    let open = || -> std::io::Result<Box<dyn std::io::Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(b"content")))
    };
    let digest = Digest::sha256(b"content");
    client
        .stream_upload(&mut upload, &open, &cancel)
        .and_then(|()| client.finish_upload(upload, &digest, 7, &cancel))
        .expect_err("refused there");
    other
        .log()
        .replace(&digest.as_str().replace(':', "%3A"), "D")
}

#[test]
fn credentials_do_not_follow_a_stream_to_another_host() {
    assert_eq!(stream_elsewhere("POST /v2"), "PATCH /elsewhere");
    assert_eq!(stream_elsewhere("PATCH /v2"), "PUT /elsewhere?digest=D");
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let fake = start();
    let content = b"0123456789";
    let digest = fake.add_blob("a/b", content);
    let client = client(&[(&fake.host, plain())], None);
    let name = reference(&fake.host, "a/b:1");
    assert_eq!(pull(&client, &name, &digest, 10, 0).expect("all"), content);
    assert_eq!(
        pull(&client, &name, &digest, 10, 4).expect("the rest"),
        b"456789"
    );
    assert_eq!(pull(&client, &name, &digest, 10, 10).expect("nothing"), b"");
    fake.fail("GET /v2/a/b/blobs", Fault::Truncate(5), 1);
    let error = pull(&client, &name, &digest, 10, 0).expect_err("broken off");
    assert!(error.is_interrupted());
    let text = shown(&error, &fake.host).replace(digest.as_str(), "D");
    expect!["could not fetch blob `D` of `a/b` at `HOST`: the transfer broke off after 5 bytes"]
        .assert_eq(&text);
    let error = pull(&client, &name, &digest, 9, 0).expect_err("too long");
    let text = shown(&error, &fake.host).replace(digest.as_str(), "D");
    expect!["could not fetch blob `D` of `a/b` at `HOST`: the registry gives more than 9 bytes"]
        .assert_eq(&text);
    let missing = Digest::sha256(b"missing");
    let error = pull(&client, &name, &missing, 9, 0).expect_err("not there");
    assert!(error.is_not_found());
}

#[test]
fn mirrors_are_asked_first_and_may_fail() {
    let (mirror, fake) = (Fake::start(), start());
    let config = HostConfig {
        mirrors: vec![format!("http://{}/proxy", mirror.host)],
        ..plain()
    };
    let client = client(&[(&fake.host, config)], None);
    let name = reference(&fake.host, "a/b:1");
    client
        .resolve(&name, &CancelToken::new())
        .expect("from the registry");
    assert_eq!(mirror.log(), "GET /v2/proxy/a/b/manifests/1");
    assert_eq!(fake.log(), "GET /v2/a/b/manifests/1");
    mirror.add_manifest("proxy/a/b", "1", INDEX_TYPE, INDEX);
    client
        .resolve(&name, &CancelToken::new())
        .expect("from the mirror");
    assert_eq!(fake.log(), "");
}

/// Pushes `content` to `a/b` after `prepare`, and compares the outcome and the requests.
#[track_caller]
fn check_push(prepare: impl FnOnce(&Fake), mounts: &[&str], expected: &Expect) {
    let fake = start();
    prepare(&fake);
    let client = client(&[(&fake.host, plain())], None);
    let content = b"the content of a blob";
    let name = reference(&fake.host, "a/b:1");
    let outcome = match push(&client, &name, content, mounts) {
        Ok(()) => {
            let key = format!("/v2/a/b/blobs/{}", layer(content).digest);
            assert_eq!(
                fake.state().blobs.get(&key).map(Vec::as_slice),
                Some(&content[..])
            );
            "pushed".to_owned()
        }
        Err(error) => shown(&error, &fake.host),
    };
    let digest = Digest::sha256(content);
    let text = format!("{outcome}\n{}", fake.log());
    let text = text
        .replace(digest.as_str(), "D")
        .replace(&digest.as_str().replace(':', "%3A"), "D");
    expected.assert_eq(&text);
}

#[test]
fn a_blob_is_pushed_in_one_request() {
    check_push(
        |_| {},
        &[],
        &expect![[r#"
        pushed
        HEAD /v2/a/b/blobs/D
        POST /v2/a/b/blobs/uploads/
        PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D"#]],
    );
}

#[test]
fn a_blob_that_is_there_is_not_pushed() {
    check_push(
        |fake| drop(fake.add_blob("a/b", b"the content of a blob")),
        &[],
        &expect![[r#"
            pushed
            HEAD /v2/a/b/blobs/D"#]],
    );
}

#[test]
fn a_blob_is_mounted_or_the_begun_upload_used() {
    check_push(
        |fake| drop(fake.add_blob("c/d", b"the content of a blob")),
        &["c/d"],
        &expect![[r#"
            pushed
            HEAD /v2/a/b/blobs/D
            POST /v2/a/b/blobs/uploads/?mount=D&from=c%2Fd"#]],
    );
    check_push(
        |_| {},
        &["c/d"],
        &expect![[r#"
        pushed
        HEAD /v2/a/b/blobs/D
        POST /v2/a/b/blobs/uploads/?mount=D&from=c%2Fd
        PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D"#]],
    );
}

#[test]
fn an_upload_goes_on_where_it_broke_off() {
    check_push(
        |fake| fake.fail("PUT", Fault::DropUpload(8), 1),
        &[],
        &expect![[r#"
            pushed
            HEAD /v2/a/b/blobs/D
            POST /v2/a/b/blobs/uploads/
            PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D
            HEAD /v2/a/b/blobs/D
            GET /v2/a/b/blobs/uploads/u0?state=s
            PATCH /v2/a/b/blobs/uploads/u0?state=s
            PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D"#]],
    );
}

#[test]
fn a_registry_that_takes_no_whole_blobs_gets_parts() {
    check_push(
        |fake| fake.fail("PUT", status(413), 1),
        &[],
        &expect![[r#"
            pushed
            HEAD /v2/a/b/blobs/D
            POST /v2/a/b/blobs/uploads/
            PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D
            POST /v2/a/b/blobs/uploads/
            PATCH /v2/a/b/blobs/uploads/u1?state=s
            PUT /v2/a/b/blobs/uploads/u1?state=s&digest=D"#]],
    );
}

#[test]
fn an_upload_in_parts_is_ended_again_where_that_failed() {
    for (fault, looks) in [(status(503), ""), (Fault::Lose, "\nHEAD /v2/a/b/blobs/D")] {
        let fake = start();
        let client = client(&[(&fake.host, plain())], None);
        fake.fail("PUT /v2/a/b/blobs/uploads/u0", status(413), 1);
        fake.fail("PUT /v2/a/b/blobs/uploads/u1", fault, 1);
        let content = b"the content of a blob";
        push(&client, &reference(&fake.host, "a/b:1"), content, &[]).expect("pushed");
        let put = "PUT /v2/a/b/blobs/uploads/u1?state=s&digest=";
        let log = fake.log();
        assert_eq!(log.matches(put).count(), 2, "{log}");
        let log = log.replace(layer(content).digest.as_str(), "D");
        assert!(log.ends_with(looks), "{log}");
    }
}

#[test]
fn an_upload_that_is_refused_is_told() {
    let denied = Fault::Status(
        403,
        Vec::new(),
        r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#,
    );
    check_push(
        |fake| fake.fail("POST", denied, 9),
        &[],
        &expect![[r#"
        could not push blob `D` of `a/b` at `HOST`: access was denied (no credentials are known for it): read only
        HEAD /v2/a/b/blobs/D
        POST /v2/a/b/blobs/uploads/"#]],
    );
}

#[test]
fn a_manifest_is_pushed_and_its_digest_compared() {
    let fake = start();
    let client = client(&[(&fake.host, plain())], None);
    let name = reference(&fake.host, "a/b:2");
    let cancel = CancelToken::new();
    let media_type = MediaType::parse(INDEX_TYPE);
    client
        .push_manifest(&name, &media_type, INDEX, &cancel)
        .expect("pushed");
    let resolved = client.resolve(&name, &cancel).expect("the manifest");
    assert_eq!(resolved.bytes, INDEX);
    let lie = vec![("Docker-Content-Digest", Digest::sha256(b"x").to_string())];
    fake.fail("PUT", Fault::Status(201, lie, ""), 1);
    assert!(
        client
            .push_manifest(&name, &media_type, INDEX, &cancel)
            .is_err()
    );
}

#[test]
fn a_cancelled_attempt_ends() {
    let fake = start();
    fake.fail(
        "GET",
        Fault::Status(503, vec![("Retry-After", "2".to_owned())], ""),
        9,
    );
    let client = client(&[(&fake.host, plain())], None);
    let cancel = CancelToken::new();
    let other = cancel.clone();
    let handle = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        other.cancel();
    });
    let begun = Instant::now();
    let error = client
        .resolve(&reference(&fake.host, "a/b:1"), &cancel)
        .expect_err("cancelled");
    handle.join().expect("joined");
    assert!(error.is_cancelled());
    assert!(begun.elapsed().as_millis() < 1500);
}
