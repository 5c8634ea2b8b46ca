//! Downloads from a server that does well, and from servers that don't.

use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kiln_base::{CancelToken, Secret, Timestamp};
use kiln_fetch::Network;
use kiln_fetch::http::{
    Client, Downloaded, HttpCredential, HttpError, HttpOutcome, HttpRequest, Retry, Validators,
};
use kiln_oci::{Algorithm, Digest, Digester};

use crate::server::{Answer, End, Server};

const RETRY: Retry = Retry {
    attempts: 3,
    first_wait: Duration::from_millis(1),
};

fn request(url: &str) -> HttpRequest<'_> {
    HttpRequest {
        url,
        credential: None,
        checksum: None,
        validators: None,
        size_limit: None,
        retry: RETRY,
    }
}

fn client() -> Client {
    Client::new(Network::default(), "kiln/test".to_owned())
}

/// Downloads, and returns what came with what is in the file.
fn fetch(request: &HttpRequest<'_>) -> Result<(HttpOutcome, String), HttpError> {
    fetch_by(&client(), request)
}

fn fetch_by(
    client: &Client,
    request: &HttpRequest<'_>,
) -> Result<(HttpOutcome, String), HttpError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, "what was there before, which is longer").expect("a file");
    let mut options = File::options();
    let mut file = options.write(true).open(&path).expect("a file");
    let outcome = client.fetch(request, &mut file, &CancelToken::new())?;
    let content = std::fs::read(&path).expect("a file");
    Ok((outcome, String::from_utf8(content).expect("text")))
}

fn downloaded(outcome: HttpOutcome) -> Downloaded {
    match outcome {
        HttpOutcome::Downloaded(downloaded) => downloaded,
        HttpOutcome::NotModified => panic!("not modified"),
    }
}

fn message(request: &HttpRequest<'_>, server: &Server) -> String {
    let error = fetch(request).expect_err("a failure");
    error.to_string().replace(&server.host, "HOST")
}

#[test]
fn a_file_comes_with_all_that_is_said_about_it() {
    let server = Server::start(|request| {
        assert_eq!(request.headers["user-agent"], "kiln/test");
        let headers = [
            ("ETag", "\"one\""),
            ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Content-Disposition", "attachment; filename=\"../b.txt\""),
        ];
        Answer::new(200, &headers, b"hello\n")
    });
    let (outcome, content) = fetch(&request(&server.url("/a.txt?x=y"))).unwrap();
    assert_eq!(content, "hello\n");
    let expected = Downloaded {
        digest: Digest::sha256(b"hello\n"),
        size: 6,
        etag: Some("\"one\"".to_owned()),
        last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        modified: Some(Timestamp::from_seconds(784_111_777)),
        file_name: "b.txt".to_owned(),
    };
    assert_eq!(outcome, HttpOutcome::Downloaded(expected));
}

#[test]
fn little_is_needed() {
    let server = Server::start(|_| Answer::new(200, &[], b""));
    let (outcome, content) = fetch(&request(&server.url("/a%20b"))).unwrap();
    let outcome = downloaded(outcome);
    assert_eq!((outcome.size, content.as_str()), (0, ""));
    assert_eq!((outcome.etag, outcome.modified), (None, None));
    assert_eq!(outcome.file_name, "a b");
}

#[test]
fn a_large_file_arrives_whole() {
    let content = "0123456789abcdef".repeat(100_000);
    let body = content.clone();
    let server = Server::start(move |_| Answer::new(200, &[], body.as_bytes()));
    let (outcome, actual) = fetch(&request(&server.url("/x"))).unwrap();
    assert_eq!(downloaded(outcome).size, 1_600_000);
    assert!(actual == content);
}

#[test]
fn compression_for_the_way_is_undone() {
    let server = Server::start(|request| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"hello\n").unwrap();
        let body = encoder.finish().unwrap();
        let answer = Answer::new(200, &[("Content-Encoding", "gzip")], &body);
        match request.target.as_str() {
            "/cut" => Answer::new(
                200,
                &[("Content-Encoding", "gzip")],
                &body[..body.len() - 9],
            ),
            _ => answer,
        }
    });
    let (outcome, content) = fetch(&request(&server.url("/a"))).unwrap();
    assert_eq!(downloaded(outcome).digest, Digest::sha256(b"hello\n"));
    assert_eq!(content, "hello\n");
    let result = fetch(&request(&server.url("/cut")));
    assert!(
        matches!(result, Err(HttpError::Interrupted { .. })),
        "{result:?}"
    );
}

#[test]
fn what_is_known_is_not_sent_again() {
    let server = Server::start(|request| {
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        match (
            request.target.as_str(),
            header("if-none-match"),
            header("if-modified-since"),
        ) {
            ("/tag", Some("W/\"1\""), None) | ("/time", None, Some("then")) => {
                Answer::new(304, &[], b"")
            }
            // This one knows no conditions.
            ("/same", ..) => Answer::new(200, &[("ETag", "\"1\"")], b"new").ending(End::Hang(1)),
            ("/always", ..) => Answer::new(304, &[], b""),
            _ => Answer::new(200, &[("ETag", "\"2\"")], b"new"),
        }
    });
    let known = |etag: Option<&str>, time: Option<&str>| Validators {
        etag: etag.map(str::to_owned),
        last_modified: time.map(str::to_owned),
        digest: Digest::sha256(b"old"),
    };
    let check = |path: &str, known: &Validators, checksum: Option<&Digest>, expected: &str| {
        let url = server.url(path);
        let request = HttpRequest {
            validators: Some(known),
            checksum,
            ..request(&url)
        };
        let actual = match fetch(&request) {
            Ok((HttpOutcome::NotModified, content)) => format!("not modified {content}"),
            Ok((HttpOutcome::Downloaded(_), content)) => content,
            Err(error) => error.to_string().replace(&server.host, "HOST"),
        };
        assert_eq!(actual, expected, "{path}");
    };
    let weak = known(Some("W/\"1\""), Some("then"));
    check("/tag", &weak, None, "not modified ");
    check("/time", &known(None, Some("then")), None, "not modified ");
    check("/same", &weak, None, "not modified ");
    check("/other", &weak, None, "new");
    let (old, new) = (Digest::sha256(b"old"), Digest::sha256(b"new"));
    check("/tag", &weak, Some(&old), "not modified ");
    check("/tag", &weak, Some(&new), "new");
    check(
        "/always",
        &known(None, None),
        None,
        "`http://HOST/always` answered with status 304",
    );
}

#[test]
fn checksums_are_compared() {
    let server = Server::start(|_| Answer::new(200, &[], b"hello\n"));
    let url = server.url("/a");
    let mut sha512 = Digester::new(Algorithm::Sha512);
    sha512.update(b"hello\n");
    let right = [Digest::sha256(b"hello\n"), sha512.finish()];
    for checksum in &right {
        let request = HttpRequest {
            checksum: Some(checksum),
            ..request(&url)
        };
        let (outcome, _) = fetch(&request).unwrap();
        assert_eq!(downloaded(outcome).digest, right[0]);
    }
    let wrong = Digest::sha256(b"other");
    let request = HttpRequest {
        checksum: Some(&wrong),
        ..request(&url)
    };
    let expected = format!(
        "`http://HOST/a` has the digest `{}` where `{wrong}` is expected",
        right[0]
    );
    assert_eq!(message(&request, &server), expected);
}

#[test]
fn credentials_stay_with_the_server_that_was_asked() {
    let other = Server::start(|request| match request.headers.get("authorization") {
        Some(_) => Answer::new(500, &[], b""),
        None => Answer::new(200, &[], b"other"),
    });
    let away = other.url("/away");
    let server = Server::start(move |request| {
        let to = |target: &str| Answer::new(302, &[("Location", target)], b"");
        match request.target.as_str() {
            "/here" => to("sub/../there"),
            "/away" => to(&away),
            "/round" => to("/round"),
            "/file" => to("file:///etc/passwd"),
            "/nowhere" => Answer::new(301, &[], b""),
            _ => match request.headers.get("authorization").map(String::as_str) {
                Some("Bearer s3cret") => Answer::new(200, &[], b"token"),
                Some("Basic YTpz") => Answer::new(200, &[], b"user"),
                _ => Answer::new(401, &[], b""),
            },
        }
    });
    let token = HttpCredential::Token(Secret::new("s3cret".to_owned()));
    let content = |url: &str| {
        let request = HttpRequest {
            credential: Some(&token),
            ..request(url)
        };
        let error = |error: HttpError| error.to_string().replace(&server.host, "HOST");
        fetch(&request).map_or_else(error, |(_, content)| content)
    };
    assert_eq!(content(&server.url("/here")), "token");
    assert_eq!(server.log(), ["GET /here *", "GET /there *"]);
    assert_eq!(content(&server.url("/away")), "other");
    assert_eq!(other.log(), ["GET /away"]);
    assert_eq!(
        content(&server.url("/round")),
        "`http://HOST/round` redirects more than 10 times"
    );
    assert_eq!(server.log().len(), 12);
    assert_eq!(
        content(&server.url("/file")),
        "`http://HOST/file` redirects to no HTTP address"
    );
    assert_eq!(
        content(&server.url("/nowhere")),
        "`http://HOST/nowhere` redirects to no HTTP address"
    );
    let with_user = server.url("/x").replace("http://", "http://a:s@");
    assert_eq!(fetch(&request(&with_user)).unwrap().1, "user");
}

#[test]
fn failures_say_what_to_do_and_keep_secrets() {
    let server = Server::start(|request| {
        let status = request.target[1..4].parse().expect("a status");
        Answer::new(status, &[], b"sorry")
    });
    let check = |path: &str, expected: &str| {
        let url = server.url(path).replace("http://", "http://me@");
        let with_user = message(&request(&url), &server);
        assert!(
            !with_user.contains("me@") && !with_user.contains("s3cret"),
            "{with_user}"
        );
        assert_eq!(message(&request(&server.url(path)), &server), expected);
    };
    check("/404", "there is nothing at `http://HOST/404` (status 404)");
    check(
        "/401?sig=s3cret",
        "`http://HOST/401?…` wants a credential (status 401): give it the secret `HTTP_AUTH_TOKEN_127.0.0.1` or `HTTP_AUTH_HEADER_127.0.0.1`",
    );
    check("/418", "`http://HOST/418` answered with status 418");
    assert!(!server.log().is_empty());
    let credential = HttpCredential::Header(Secret::new("s3cret".to_owned()));
    let url = server.url("/403?sig=s3cret");
    let denied = HttpRequest {
        credential: Some(&credential),
        ..request(&url)
    };
    let expected = "`http://HOST/403?…` refused the credential for `127.0.0.1` (status 403)";
    assert_eq!(message(&denied, &server), expected);
    assert_eq!(server.log(), ["GET /403?sig=s3cret *"]);
    let error = fetch(&denied).expect_err("a failure");
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    let not_http = message(&request("ftp://me:s3cret@example.com/x"), &server);
    assert_eq!(
        not_http,
        "`example.com/x` is not an HTTP address: its scheme is `ftp`"
    );
}

#[test]
fn failures_that_may_pass_are_tried_again() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        match (
            request.target.as_str(),
            count.fetch_add(1, Ordering::SeqCst),
        ) {
            ("/500", _) => Answer::new(500, &[], b""),
            ("/later", _) => Answer::new(429, &[("Retry-After", "3600")], b""),
            (_, 0) => Answer::new(503, &[("Retry-After", "0")], b"busy"),
            (_, 1) => Answer::new(200, &[], b"hello\n").ending(End::Cut(3)),
            _ => Answer::new(200, &[], b"hello\n"),
        }
    });
    let (_, content) = fetch(&request(&server.url("/a"))).unwrap();
    assert_eq!(content, "hello\n");
    assert_eq!(server.log().len(), 3);
    let failed = message(&request(&server.url("/500")), &server);
    assert_eq!(failed, "`http://HOST/500` answered with status 500");
    assert_eq!(server.log().len(), 3);
    let later = message(&request(&server.url("/later")), &server);
    assert_eq!(later, "`http://HOST/later` answered with status 429");
    assert_eq!(server.log().len(), 1);
}

#[test]
fn a_body_that_ends_early_is_an_error() {
    let server = Server::start(|_| Answer::new(200, &[], b"hello\n").ending(End::Cut(3)));
    let failed = message(&request(&server.url("/a?s=s3cret")), &server);
    assert_eq!(
        failed,
        "the download of `http://HOST/a?…` broke off after 3 bytes"
    );
    assert_eq!(server.log().len(), 3);
    let error = fetch(&request(&server.url("/a?s=s3cret"))).expect_err("a failure");
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
}

#[test]
fn a_limit_is_kept() {
    let server = Server::start(|_| Answer::new(200, &[], b"hello\n"));
    let url = server.url("/a");
    let limited = |limit| HttpRequest {
        size_limit: Some(limit),
        ..request(&url)
    };
    assert_eq!(fetch(&limited(6)).unwrap().1, "hello\n");
    let expected = "`http://HOST/a` is larger than the 5 bytes that are allowed";
    assert_eq!(message(&limited(5), &server), expected);
}

#[test]
fn a_cancelled_download_does_not_wait_for_the_server() {
    for path in ["/head", "/body"] {
        let cancel = CancelToken::new();
        let in_server = cancel.clone();
        let server = Server::start(move |request| {
            in_server.cancel();
            let length = if request.target == "/head" { 0 } else { 3 };
            Answer::new(200, &[], b"hello\n").ending(End::Hang(length))
        });
        let mut file = tempfile::tempfile().unwrap();
        let result = client().fetch(&request(&server.url(path)), &mut file, &cancel);
        assert!(matches!(result, Err(HttpError::Cancelled(_))), "{result:?}");
    }
}

#[test]
fn a_cancelled_build_does_not_wait_for_the_next_try() {
    let cancel = CancelToken::new();
    let in_server = cancel.clone();
    let server = Server::start(move |_| {
        in_server.cancel();
        Answer::new(503, &[("Retry-After", "30")], b"")
    });
    let mut file = tempfile::tempfile().unwrap();
    let result = client().fetch(&request(&server.url("/a")), &mut file, &cancel);
    assert!(matches!(result, Err(HttpError::Cancelled(_))), "{result:?}");
}

#[test]
fn nobody_and_nowhere() {
    let error = fetch(&request("http://127.0.0.1:1/a")).expect_err("a failure");
    assert_eq!(error.to_string(), "`http://127.0.0.1:1/a` can't be reached");
    let error = fetch(&request("http://nowhere.invalid/a")).expect_err("a failure");
    assert_eq!(
        error.to_string(),
        "the host of `http://nowhere.invalid/a` can't be found"
    );
}

#[test]
fn a_proxy_is_asked_but_not_for_this_machine() {
    let proxy = Server::start(|request| Answer::new(200, &[], request.target.as_bytes()));
    let server = Server::start(|_| Answer::new(200, &[], b"direct"));
    let network = Network {
        proxies: vec![
            ("HTTP_PROXY".to_owned(), proxy.host.clone()),
            ("no_proxy".to_owned(), "inner.example".to_owned()),
        ],
        ca_files: Vec::new(),
    };
    let client = Client::new(network, "kiln/test".to_owned());
    let content = |url: &str| Ok::<_, HttpError>(fetch_by(&client, &request(url))?.1);
    assert_eq!(content("http://a.example/x").unwrap(), "http://a.example/x");
    assert_eq!(content(&server.url("/x")).unwrap(), "direct");
    assert!(!format!("{client:?}").contains(&proxy.host));
    let excluded = content("http://inner.example/x");
    assert!(
        matches!(excluded, Err(HttpError::UnknownHost { .. })),
        "{excluded:?}"
    );
}

#[test]
fn an_unreadable_authority_is_an_error() {
    let network = Network {
        proxies: Vec::new(),
        ca_files: vec!["/nonexistent.pem".into()],
    };
    let client = Client::new(network, "kiln/test".to_owned());
    let error = fetch_by(&client, &request("https://127.0.0.1:1/a")).expect_err("a failure");
    let cause = std::error::Error::source(&error)
        .expect("a cause")
        .to_string();
    assert!(
        matches!(error, HttpError::Settings(_)) && cause.contains("/nonexistent.pem"),
        "{cause}"
    );
}

#[test]
fn the_file_is_written_from_its_start() {
    let server = Server::start(|_| Answer::new(200, &[], b"new"));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"older content").unwrap();
    let outcome = client().fetch(&request(&server.url("/a")), &mut file, &CancelToken::new());
    assert!(outcome.is_ok());
    std::io::Seek::rewind(&mut file).unwrap();
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "new");
}
