//! Caches in a bucket: one in this process, which computes every request's signature itself, by
//! another implementation of SHA-256 and of HMAC.

use std::collections::BTreeMap;

use crate::fake::{Answer, Request, Server, Service, answer, decode};
use crate::support::{Build, NOW, blob, chain, read, sample, shown, write};

const ID: &str = "AKID";
const SECRET: &str = "s3cr+t/";

/// Objects of one bucket, `b`, addressed by the path.
struct Bucket {
    host: String,
    objects: BTreeMap<String, Vec<u8>>,
    /// Parts by upload and number.
    parts: BTreeMap<(String, u32), Vec<u8>>,
    log: Vec<String>,
    modified: &'static str,
    /// The status for requests whose log line begins so.
    fail: Option<(&'static str, u16, usize)>,
}

impl Bucket {
    fn start() -> Server<Self> {
        Server::start(|url| Self {
            host: url.trim_start_matches("http://").to_owned(),
            objects: BTreeMap::new(),
            parts: BTreeMap::new(),
            log: Vec::new(),
            modified: "Tue, 02 Jan 2024 00:00:00 GMT",
            fail: None,
        })
    }

    fn put(&mut self, request: &Request, key: &str) -> Answer {
        if let Some(upload) = request.query("uploadId") {
            let number: u32 = request
                .query("partNumber")
                .expect("one")
                .parse()
                .expect("a number");
            self.parts.insert((upload, number), request.body.clone());
            let mut part = answer(200, "");
            part.headers.push(("etag", format!("\"part{number}\"")));
            return part;
        }
        if !request.header("x-amz-copy-source").is_empty() {
            assert_eq!(
                decode(request.header("x-amz-copy-source")),
                format!("b/{key}")
            );
            assert_eq!(request.header("x-amz-metadata-directive"), "REPLACE");
            return answer(200, "<CopyObjectResult><ETag>x</ETag></CopyObjectResult>");
        }
        self.objects.insert(key.to_owned(), request.body.clone());
        answer(200, "")
    }

    fn post(&mut self, request: &Request, key: &str) -> Answer {
        let Some(upload) = request.query("uploadId") else {
            return answer(200, "<X><UploadId>up/1</UploadId></X>");
        };
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let mut content = Vec::new();
        for number in 1.. {
            let part = format!("<ETag>\"part{number}\"</ETag><PartNumber>{number}</PartNumber>");
            if !body.contains(&part) {
                break;
            }
            content.extend(&self.parts[&(upload.clone(), number)]);
        }
        self.objects.insert(key.to_owned(), content);
        answer(200, "<CompleteMultipartUploadResult/>")
    }
}

impl Service for Bucket {
    fn answer(&mut self, request: &Request) -> Answer {
        let key = decode(request.path().trim_start_matches("/b/"));
        let copied = if request.header("x-amz-copy-source").is_empty() {
            ""
        } else {
            " (copy)"
        };
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        self.log.push(
            format!("{} {key} {query}{copied}", request.method)
                .trim()
                .to_owned(),
        );
        let line = self.log.last().expect("just pushed").clone();
        if let Some((start, status, times)) = &mut self.fail
            && line.starts_with(*start)
            && *times > 0
        {
            *times -= 1;
            return answer(
                *status,
                "<Error><Code>Bad</Code><Message>day</Message></Error>",
            );
        }
        if request.header("authorization") != expected_authorization(request, &self.host) {
            return answer(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>");
        }
        match request.method.as_str() {
            "PUT" => self.put(request, &key),
            "POST" => self.post(request, &key),
            "DELETE" => answer(204, ""),
            _ => match self.objects.get(&key) {
                None => answer(404, "<Error><Code>NoSuchKey</Code></Error>"),
                Some(content) => {
                    let mut found = answer(200, content.clone());
                    found
                        .headers
                        .push(("last-modified", self.modified.to_owned()));
                    found
                        .headers
                        .push(("content-length", content.len().to_string()));
                    found
                }
            },
        }
    }
}

/// What a request's header has to be, computed by the library that the connections' cryptography is from.
fn expected_authorization(request: &Request, host: &str) -> String {
    let signed = request
        .header("authorization")
        .split("SignedHeaders=")
        .nth(1);
    let names = signed
        .unwrap_or_default()
        .split(',')
        .next()
        .unwrap_or_default();
    for needed in ["host", "x-amz-content-sha256", "x-amz-date"] {
        assert!(
            names.split(';').any(|name| name == needed),
            "{needed} is not signed"
        );
    }
    let lines: Vec<String> = names
        .split(';')
        .map(|name| {
            let value = if name == "host" {
                host
            } else {
                request.header(name)
            };
            format!("{name}:{value}\n")
        })
        .collect();
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let mut query: Vec<&str> = query.split('&').collect();
    query.sort_unstable();
    let payload = hex(aws_lc_sha256(&request.body).as_ref());
    assert_eq!(request.header("x-amz-content-sha256"), payload);
    let canonical = format!(
        "{}\n{path}\n{}\n{}\n{names}\n{payload}",
        request.method,
        query.join("&"),
        lines.concat()
    );
    let time = request.header("x-amz-date");
    let scope = format!("{}/r1/s3/aws4_request", &time[..8]);
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(aws_lc_sha256(canonical.as_bytes()).as_ref())
    );
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in [&time[..8], "r1", "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    let signature = hex(&hmac(&key, text.as_bytes()));
    format!("AWS4-HMAC-SHA256 Credential={ID}/{scope},SignedHeaders={names},Signature={signature}")
}

fn aws_lc_sha256(bytes: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
}

fn hmac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    aws_lc_rs::hmac::sign(&key, bytes).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn flag(server: &Server<Bucket>, options: &str) -> String {
    format!(
        "type=s3,bucket=b,region=r1,endpoint_url={},use_path_style=true,access_key_id={ID},\
         secret_access_key={SECRET}{options}",
        server.url
    )
}

#[test]
fn a_cache_is_read_back() {
    let server = Bucket::start();
    let to = flag(&server, ",name=one;two,prefix=p/");
    let missing = read(&to).expect_err("nothing there");
    assert!(missing.is_missing(), "{}", chain(&missing));
    let (build, expected) = sample();
    let summary = write(&to, &build).expect("written");
    assert_eq!((summary.sent, summary.sent_bytes), (4, 15));
    assert_eq!(shown(&read(&to).expect("read"), 5), expected);
    assert_eq!(
        shown(
            &read(&flag(&server, ",name=two,prefix=p/")).expect("read"),
            5
        ),
        expected
    );
    let keys: Vec<String> = server.service().objects.keys().cloned().collect();
    let mut expected: Vec<String> = ["base", "apt", "src", "other"]
        .map(|word| format!("p/blobs/{}", blob(word)))
        .to_vec();
    expected.sort();
    expected.extend(["p/manifests/one".to_owned(), "p/manifests/two".to_owned()]);
    assert_eq!(keys, expected);
}

#[test]
fn layers_that_are_there_are_touched_when_they_are_old() {
    let server = Bucket::start();
    let build = Build::default().with(&[1], "base");
    // NOW is three hours after the objects' time.
    assert_eq!(NOW % 86400 / 3600, 3);
    let log = |options: &str| {
        let summary = write(&flag(&server, options), &build).expect("written");
        let log = std::mem::take(&mut server.service().log);
        let log = log.join("\n").replace(blob("base").as_str(), "BASE");
        (summary.sent, log)
    };
    let (sent, lines) = log("");
    assert_eq!(sent, 1);
    assert_eq!(
        lines,
        "HEAD blobs/BASE\nPUT blobs/BASE\nPUT manifests/buildkit"
    );
    assert_eq!(
        log(""),
        (0, "HEAD blobs/BASE\nPUT manifests/buildkit".to_owned())
    );
    let touched = "HEAD blobs/BASE\nPUT blobs/BASE  (copy)\nPUT manifests/buildkit";
    assert_eq!(log(",touch_refresh=2h"), (0, touched.to_owned()));
}

#[test]
fn large_layers_are_sent_in_parts() {
    let server = Bucket::start();
    let large = "x".repeat(33 * 1024 * 1024 + 5);
    let build = Build::default().with(&[1], &large);
    write(&flag(&server, ""), &build).expect("written");
    let log = server.service().log.join("\n");
    let log = log.replace(blob(&large).as_str(), "LARGE");
    assert_eq!(
        log,
        "HEAD blobs/LARGE\nPOST blobs/LARGE uploads=\n\
         PUT blobs/LARGE partNumber=1&uploadId=up%2F1\n\
         PUT blobs/LARGE partNumber=2&uploadId=up%2F1\n\
         PUT blobs/LARGE partNumber=3&uploadId=up%2F1\n\
         POST blobs/LARGE uploadId=up%2F1\nPUT manifests/buildkit"
    );
    let stored = server.service().objects[&format!("blobs/{}", blob(&large))].len();
    assert_eq!(stored, large.len());
    server.service().objects.clear();
    server.service().log.clear();
    server.service().fail = Some(("PUT blobs", 403, 1));
    let error = write(&flag(&server, ""), &build).expect_err("refused");
    assert!(error.is_authentication(), "{}", chain(&error));
    let log = server.service().log.join("\n");
    assert!(log.ends_with("uploadId=up%2F1"), "{log}");
    assert!(log.contains("\nDELETE blobs/"), "{log}");
}

#[test]
fn what_a_bucket_refuses_is_told() {
    let server = Bucket::start();
    let wrong = flag(&server, "").replace(SECRET, "wrong");
    let error = read(&wrong).expect_err("another signature");
    assert!(error.is_authentication());
    assert_eq!(
        chain(&error),
        "could not fetch the cache `s3://b/manifests/buildkit`: access was denied (403): \
         SignatureDoesNotMatch"
    );
    assert!(!format!("{error:?}").contains("wrong"));
    server.service().fail = Some(("PUT", 500, 2));
    write(&flag(&server, ""), &sample().0).expect("the third try");
    server.service().fail = Some(("PUT", 500, 9));
    let error = write(
        &flag(&server, ",retry_max_attempts=2"),
        &Build::default().with(&[1], "n"),
    );
    let error = chain(&error.expect_err("no success"));
    assert!(
        error.ends_with("the service answered 500: Bad: day"),
        "{error}"
    );
    assert_eq!(server.service().fail.expect("left").2, 7);
}

#[test]
fn damage_is_noticed() {
    let server = Bucket::start();
    let to = flag(&server, "");
    write(&to, &Build::default().with(&[1], "base")).expect("written");
    let key = format!("blobs/{}", blob("base"));
    server
        .service()
        .objects
        .insert(key.clone(), b"bas3".to_vec());
    let text = shown(&read(&to).expect("read"), 1);
    assert!(text.contains("is damaged: its content has"), "{text}");
    server.service().objects.remove(&key);
    let text = shown(&read(&to).expect("read"), 1);
    assert!(
        text.contains("is not in the cache at `s3://b/blobs/"),
        "{text}"
    );
    let document = b"{\"layers\":[{\"blob\":\"x\"}]}".to_vec();
    server
        .service()
        .objects
        .insert("manifests/buildkit".to_owned(), document);
    let error = read(&to).expect_err("damaged");
    assert_eq!(
        chain(&error),
        "the cache at `s3://b/manifests/buildkit` can't be used: layer 0 has no usable digest"
    );
}
