//! Blobs that are sent before their digest is known.

use std::io::{self, Cursor, Read};

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_oci::Digest;
use kiln_registry::{Client, RegistryError};

use crate::fake::{Auth, Fake, Fault};
use crate::support::{client, plain, reference, shown};

const CONTENT: &[u8] = b"the content of a blob";

/// Gives the content in small pieces, as something does that is being made.
struct Pieces(Cursor<Vec<u8>>);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(4);
        self.0.read(&mut buffer[..length])
    }
}

fn pieces() -> Box<dyn Read + Send> {
    Box::new(Pieces(Cursor::new(CONTENT.to_vec())))
}

/// Begins an upload, streams the content, and finishes it under `digest`.
fn upload(client: &Client, fake: &Fake, digest: &Digest) -> Result<(), RegistryError> {
    let cancel = CancelToken::new();
    let mut upload = client.begin_upload(&reference(&fake.host, "a/b:1"), &cancel)?;
    if let Err(error) = client.stream_upload(&mut upload, &|| Ok(pieces()), &cancel) {
        client.cancel_upload(upload, &cancel)?;
        return Err(error);
    }
    let size = CONTENT.len() as u64;
    client.finish_upload(upload, digest, size, &cancel)
}

/// Uploads after `prepare`, and compares the outcome, the requests, and what the registry has then.
#[track_caller]
fn check(prepare: impl FnOnce(&Fake), expected: &Expect) {
    let fake = Fake::start();
    prepare(&fake);
    let client = client(&[(&fake.host, plain())], None);
    let digest = Digest::sha256(CONTENT);
    let outcome = match upload(&client, &fake, &digest) {
        Ok(()) => "pushed".to_owned(),
        Err(error) => shown(&error, &fake.host),
    };
    let log = fake.log();
    let key = format!("/v2/a/b/blobs/{digest}");
    let has = match fake.state().blobs.get(&key) {
        Some(stored) if stored == CONTENT => "the blob",
        Some(_) => "another blob",
        None => "no blob",
    };
    let left = fake.state().uploads.len();
    let text = format!("{outcome}\n{log}\n{has}, {left} uploads");
    let text = text
        .replace(digest.as_str(), "H")
        .replace(&digest.as_str().replace(':', "%3A"), "D");
    expected.assert_eq(&text);
}

#[test]
fn a_blob_gets_its_name_at_the_end() {
    check(
        |_| {},
        &expect![[r#"
            pushed
            POST /v2/a/b/blobs/uploads/
            PATCH /v2/a/b/blobs/uploads/u0?state=s
            PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D
            the blob, 0 uploads"#]],
    );
}

#[test]
fn an_end_that_fails_for_a_moment_is_asked_for_again() {
    for fault in [
        Fault::Drop,
        Fault::Status(429, Vec::new(), ""),
        Fault::Status(502, Vec::new(), ""),
    ] {
        check(
            |fake| fake.fail("PUT", fault, 1),
            &expect![[r#"
                pushed
                POST /v2/a/b/blobs/uploads/
                PATCH /v2/a/b/blobs/uploads/u0?state=s
                PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D
                PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D
                the blob, 0 uploads"#]],
        );
    }
}

#[test]
fn an_end_whose_answer_is_lost_has_been_one() {
    check(
        |fake| fake.fail("PUT", Fault::Lose, 1),
        &expect![[r#"
            pushed
            POST /v2/a/b/blobs/uploads/
            PATCH /v2/a/b/blobs/uploads/u0?state=s
            PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D
            PUT /v2/a/b/blobs/uploads/u0?state=s&digest=D
            HEAD /v2/a/b/blobs/H
            the blob, 0 uploads"#]],
    );
}

#[test]
fn a_registry_that_takes_no_stream_is_told_to_forget_it() {
    for status in [400, 411, 416, 501] {
        let fake = Fake::start();
        fake.fail("PATCH", Fault::Status(status, Vec::new(), ""), 1);
        let client = client(&[(&fake.host, plain())], None);
        let error = upload(&client, &fake, &Digest::sha256(CONTENT)).expect_err("refused");
        assert_eq!(
            shown(&error, &fake.host),
            format!("could not send a blob of `a/b` at `HOST`: the registry answered {status}")
        );
        assert!(fake.state().uploads.is_empty());
        assert!(fake.state().blobs.is_empty());
    }
}

#[test]
fn a_stream_that_breaks_off_is_not_taken_up_again() {
    let fake = Fake::start();
    fake.fail("PATCH", Fault::DropUpload(8), 1);
    let client = client(&[(&fake.host, plain())], None);
    upload(&client, &fake, &Digest::sha256(CONTENT)).expect_err("broken off");
    let log = fake.log();
    assert_eq!(log.matches("PATCH").count(), 1, "{log}");
    assert!(log.ends_with("DELETE /v2/a/b/blobs/uploads/u0?state=s"));
    assert!(fake.state().uploads.is_empty());
}

#[test]
fn a_stream_that_can_t_be_read_is_told() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("a bad disk"))
        }
    }
    let fake = Fake::start();
    let client = client(&[(&fake.host, plain())], None);
    let cancel = CancelToken::new();
    let begun = client.begin_upload(&reference(&fake.host, "a/b:1"), &cancel);
    let mut upload = begun.expect("begun");
    let open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(Broken)) };
    let error = client
        .stream_upload(&mut upload, &open, &cancel)
        .expect_err("it can't be read");
    expect!["could not send a blob of `a/b` at `HOST`: the content can't be read or written here"]
        .assert_eq(&shown(&error, &fake.host));
}

#[test]
fn another_digest_is_refused() {
    let fake = Fake::start();
    let client = client(&[(&fake.host, plain())], None);
    upload(&client, &fake, &Digest::sha256(b"something else")).expect_err("refused");
    assert!(fake.state().blobs.is_empty());
}

/// A registry that wants `auth`, and a client that can log in there.
fn logged_in(auth: Auth) -> (Fake, Client, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("auth.json");
    let fake = Fake::start();
    let known = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, fake.host);
    std::fs::write(&file, known).expect("written");
    fake.require(auth);
    let client = client(&[(&fake.host, plain())], Some(&file));
    (fake, client, directory)
}

#[test]
fn a_token_that_ended_meanwhile_is_renewed() {
    let (fake, client, _directory) = logged_in(Auth::Bearer("Basic dTpw"));
    let ended = |fake: &Fake| {
        let challenge = format!("Bearer realm=\"http://{}/token\"", fake.host);
        Fault::Status(401, vec![("WWW-Authenticate", challenge)], "")
    };
    fake.fail("PATCH", ended(&fake), 1);
    fake.fail("PUT", ended(&fake), 1);
    upload(&client, &fake, &Digest::sha256(CONTENT)).expect("pushed");
    assert_eq!(fake.state().blobs.len(), 1);
}

#[test]
fn a_blob_is_looked_for_and_taken_from_elsewhere() {
    let fake = Fake::start();
    let client = client(&[(&fake.host, plain())], None);
    let cancel = CancelToken::new();
    let name = reference(&fake.host, "a/b:1");
    let digest = fake.add_blob("c/d", CONTENT);
    let has = || client.has_blob(&name, &digest, &cancel).expect("an answer");
    let mount = |from: &str| client.mount_blob(&name, &digest, from, &cancel);
    assert!(!has());
    assert!(!mount("no/such").expect("an answer"));
    assert!(fake.state().uploads.is_empty());
    assert!(mount("c/d").expect("an answer"));
    assert!(has());
}

#[test]
fn an_upload_is_cancelled_by_a_token_of_its_own() {
    let (fake, client, _directory) = logged_in(Auth::Scoped("Basic dTpw"));
    let cancel = CancelToken::new();
    let begin = |name: &str| {
        let begun = client.begin_upload(&reference(&fake.host, name), &cancel);
        begun.expect("begun")
    };
    let mut upload = begin("a/b:1");
    client
        .stream_upload(&mut upload, &|| Ok(pieces()), &cancel)
        .expect("sent");
    client.cancel_upload(upload, &cancel).expect("cancelled");
    assert!(fake.state().uploads.is_empty());
    // Neither the token that others use nor what others ask for has changed.
    begin("a/b:1");
    begin("c/d:1");
    expect![[r#"
        POST /v2/a/b/blobs/uploads/
        GET /token?service=fake&scope=repository%3Aa%2Fb%3Apull%2Cpush *
        POST /v2/a/b/blobs/uploads/ *
        PATCH /v2/a/b/blobs/uploads/u0?state=s *
        DELETE /v2/a/b/blobs/uploads/u0?state=s *
        GET /token?service=fake&scope=repository%3Aa%2Fb%3Adelete *
        DELETE /v2/a/b/blobs/uploads/u0?state=s *
        POST /v2/a/b/blobs/uploads/ *
        GET /token?service=fake&scope=repository%3Ac%2Fd%3Apull%2Cpush *
        POST /v2/c/d/blobs/uploads/ *"#]]
    .assert_eq(&fake.log());
}

#[test]
fn a_registry_that_lets_nobody_cancel_has_still_declined_a_mount() {
    let fake = Fake::start();
    fake.fail("DELETE", Fault::Status(403, Vec::new(), ""), 1);
    let client = client(&[(&fake.host, plain())], None);
    let cancel = CancelToken::new();
    let name = reference(&fake.host, "a/b:1");
    let digest = Digest::sha256(CONTENT);
    let mounted = client.mount_blob(&name, &digest, "c/d", &cancel);
    assert!(!mounted.expect("an answer"));
    assert!(fake.log().contains("DELETE"));
}

#[test]
fn nothing_is_deleted_at_another_place() {
    let (fake, other) = (Fake::start(), Fake::start());
    let target = format!("http://{}/index?all=true", other.host);
    let elsewhere = Fault::Status(202, vec![("Location", target)], "");
    fake.fail("POST", elsewhere, 2);
    let client = client(&[(&fake.host, plain())], None);
    let cancel = CancelToken::new();
    let name = reference(&fake.host, "a/b:1");
    let upload = client.begin_upload(&name, &cancel).expect("begun");
    client.cancel_upload(upload, &cancel).expect("left to them");
    let digest = Digest::sha256(CONTENT);
    let mounted = client.mount_blob(&name, &digest, "c/d", &cancel);
    assert!(!mounted.expect("an answer"));
    assert_eq!(other.log(), "");
}
