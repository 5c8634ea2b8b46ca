//! Trust: servers whose authority is unknown, and one that the caller adds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_base::{CancelToken, Secret};
use kiln_dockerfile::gitref::GitRef;
use kiln_fetch::Network;
use kiln_fetch::git::{self, GitAuth, GitRequest};
use kiln_fetch::http::{Client, HttpCredential, HttpError, HttpRequest, Retry};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::server::{Answer, Server};
use crate::support::{World, smart};

/// An authority `ca.pem` and a server with a certificate of it for `localhost`; `None`, with a line
/// that says so, where there is no openssl.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn certificates(folder: &Path) -> Option<Arc<ServerConfig>> {
    let run = |arguments: &str| {
        let mut openssl = kiln_sys::process::command("/usr/bin/openssl", folder);
        openssl.args(arguments.split(' ')).output()
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost").expect("a file");
    let steps = [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"),
        format!("req {key} -keyout server.key -out server.csr -subj /CN=server"),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names".to_owned(),
    ];
    for step in &steps {
        match run(step) {
            Ok(output) => assert!(output.status.success(), "{step}: {output:?}"),
            Err(error) => {
                let thread = std::thread::current();
                let test = thread.name().unwrap_or("tls");
                eprintln!("skipped: {test}: openssl does not run: {error}");
                return None;
            }
        }
    }
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem")).expect("a certificate");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth();
    Some(Arc::new(
        config.with_single_cert(chain, key).expect("a pair"),
    ))
}

fn network(authority: Option<&Path>) -> Network {
    Network {
        proxies: Vec::new(),
        ca_files: authority.into_iter().map(Path::to_owned).collect(),
    }
}

fn fetch(network: Network, url: &str, is_authorised: bool) -> Result<(), HttpError> {
    let credential = HttpCredential::Token(Secret::new("s3cret".to_owned()));
    let request = HttpRequest {
        url,
        credential: is_authorised.then_some(&credential),
        checksum: None,
        validators: None,
        size_limit: None,
        retry: Retry {
            attempts: 1,
            first_wait: Duration::ZERO,
        },
    };
    let mut file = tempfile::tempfile().expect("a file");
    let client = Client::new(network, "kiln/test".to_owned());
    client
        .fetch(&request, &mut file, &CancelToken::new())
        .map(|_| ())
}

#[test]
fn a_download_needs_an_authority_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(config) = certificates(folder.path()) else {
        return;
    };
    let plain = Server::start(|_| Answer::new(200, &[], b"plain"));
    let target = plain.url("/b");
    let server = Server::start_tls(config, move |request| match request.target.as_str() {
        "/down" => Answer::new(302, &[("Location", &target)], b""),
        _ => Answer::new(200, &[], b"hello\n"),
    });
    let url = |path: &str| {
        server
            .url(path)
            .replace("http://127.0.0.1", "https://localhost")
    };
    let refused = fetch(network(None), &url("/a?sig=s3cret"), false);
    let error = refused.expect_err("a failure");
    assert!(matches!(error, HttpError::Tls { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    let authority = folder.path().join("ca.pem");
    let trusting = || network(Some(&authority));
    fetch(trusting(), &url("/a"), true).unwrap();
    fetch(trusting(), &url("/down"), false).unwrap();
    assert_eq!(plain.log(), ["GET /b"]);
    let refused = fetch(trusting(), &url("/down"), true).expect_err("a failure");
    let message = refused.to_string();
    assert!(
        message.contains("which is not encrypted, where a credential was given"),
        "{message}"
    );
    assert_eq!(plain.log(), Vec::<String>::new());
}

#[test]
fn a_repository_needs_an_authority_that_is_trusted() {
    let Some(world) = World::new() else { return };
    let Some(config) = certificates(world.folder.path()) else {
        return;
    };
    world.repository("tool.git", &[("a", "1")]);
    let folder = world.served();
    let server = Server::start_tls(config, move |request| smart(&folder, request));
    let address = server
        .url("/tool.git")
        .replace("http://127.0.0.1", "https://localhost");
    let git = GitRef::parse(&address).unwrap().unwrap();
    let resolve = |network: &Network| {
        let request = GitRequest {
            git: &git,
            auth: &GitAuth::default(),
            network,
            cache_dir: &world.cache,
            timeout: Duration::from_mins(5),
        };
        git::resolve(&request, &CancelToken::new())
    };
    let message = resolve(&network(None)).expect_err("a failure").to_string();
    assert!(
        message.contains("the server's certificate is not trusted"),
        "{message}"
    );
    let authority = world.folder.path().join("ca.pem");
    let found = resolve(&network(Some(&authority))).unwrap();
    assert_eq!(found.reference.as_deref(), Some("refs/heads/main"));
}
