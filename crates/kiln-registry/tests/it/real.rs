//! The client against Debian's `docker-registry`.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use kiln_base::CancelToken;
use kiln_oci::{Descriptor, Digest, Family, ImageConfig, Manifest, MediaType, Platform};

use kiln_registry::{ClientCertificate, Failure, HostConfig};

use crate::fake::Fake;
use crate::support::{client, layer, pull, push, reference};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// A running registry; killed when dropped.
struct Registry {
    child: Child,
    host: String,
    directory: tempfile::TempDir,
}

impl Registry {
    /// `None` where the program is missing, which is said.
    fn start(test: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        Self::start_in(directory, "", test)
    }

    fn start_in(directory: tempfile::TempDir, http: &str, test: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("skipped: {test}: `{PROGRAM}` is not installed (package docker-registry)");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("one")
            .port();
        let host = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\"{http}}}\n",
            directory.path().join("data").display()
        );
        let path = directory.path().join("config.yml");
        std::fs::write(&path, config).expect("written");
        let child = kiln_sys::process::command(PROGRAM, directory.path())
            .arg("serve")
            .arg(&path)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("started");
        let registry = Self {
            child,
            host,
            directory,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < deadline, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn five_megabytes() -> Vec<u8> {
    (0..5_000_000_u32).map(|n| (n % 251) as u8).collect()
}

#[test]
fn an_image_is_pushed_mounted_and_pulled_back() {
    let Some(registry) = Registry::start("an_image_is_pushed_mounted_and_pulled_back") else {
        return;
    };
    let client = client(&[], None);
    let cancel = CancelToken::new();
    let name = reference(&registry.host, "a/b:1");
    let content = five_megabytes();
    let config = ImageConfig::empty(Platform::new("linux", "amd64")).to_bytes();
    push(&client, &name, &content, &["no/such"]).expect("pushed");
    push(&client, &name, &content, &[]).expect("is there");
    push(&client, &name, &config, &[]).expect("pushed");
    let manifest = Manifest::new(
        Family::Oci,
        Descriptor::of(MediaType::Config(Family::Oci), &config),
        vec![layer(&content)],
    );
    let bytes = manifest.to_bytes();
    client
        .push_manifest(&name, &manifest.media_type(), &bytes, &cancel)
        .expect("pushed");

    let resolved = client.resolve(&name, &cancel).expect("resolved");
    assert_eq!(resolved.bytes, bytes);
    assert_eq!(resolved.descriptor.digest, Digest::sha256(&bytes));
    assert_eq!(
        client.head(&name, &cancel).ok(),
        Some(resolved.descriptor.clone())
    );
    let pinned = client
        .manifest(&name, &resolved.descriptor.digest, &cancel)
        .expect("resolved");
    assert_eq!(pinned, resolved);
    assert_eq!(client.tags(&name, &cancel).expect("tags"), ["1"]);

    let digest = layer(&content).digest;
    let all = pull(&client, &name, &digest, content.len(), 0).expect("pulled");
    assert_eq!(all, content);
    let rest = pull(&client, &name, &digest, content.len(), 4_999_990).expect("pulled");
    assert_eq!(rest, content[4_999_990..]);

    let other = reference(&registry.host, "c/d:1");
    push(&client, &other, &content, &["a/b"]).expect("mounted");
    let all = pull(&client, &other, &digest, content.len(), 0).expect("pulled");
    assert_eq!(all, content);
    let missing = client.resolve(&reference(&registry.host, "a/b:2"), &cancel);
    assert!(missing.expect_err("no such tag").is_not_found());
}

/// Makes an authority, a certificate for `localhost` and one for a client, all signed by it.
fn make_certificates(directory: &Path) -> bool {
    let openssl = "/usr/bin/openssl";
    if !Path::new(openssl).exists() {
        return false;
    }
    let run = |arguments: &str| {
        let mut openssl = kiln_sys::process::command(openssl, directory);
        let output = openssl
            .args(arguments.split(' '))
            .output()
            .expect("started");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for ca in ["ca", "other"] {
        run(&format!(
            "req -x509 {key} -keyout {ca}.key -out {ca}.pem -subj /CN={ca} -days 2"
        ));
    }
    let names = "subjectAltName=DNS:localhost";
    std::fs::write(directory.join("names"), names).expect("written");
    for name in ["server", "client"] {
        run(&format!(
            "req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile names"
        ));
    }
    true
}

#[test]
fn certificates_are_checked_and_shown() {
    let test = "certificates_are_checked_and_shown";
    let directory = tempfile::tempdir().expect("a directory");
    if !make_certificates(directory.path()) {
        eprintln!("skipped: {test}: `openssl` is not installed");
        return;
    }
    let file = |name: &str| directory.path().join(name);
    let tls = format!(
        ", tls: {{certificate: {}, key: {}, clientcas: [{}]}}",
        file("server.pem").display(),
        file("server.key").display(),
        file("ca.pem").display()
    );
    let (ca, other) = (file("ca.pem"), file("other.pem"));
    let certificate = ClientCertificate {
        certificate: file("client.pem"),
        key: file("client.key"),
    };
    let Some(registry) = Registry::start_in(directory, &tls, test) else {
        return;
    };
    let host = registry.host.replace("127.0.0.1", "localhost");
    let push_with = |config: HostConfig| {
        let client = client(&[(&host, config)], None);
        push(&client, &reference(&host, "a/b:1"), b"content", &[])
    };
    let good = HostConfig {
        ca_files: vec![ca],
        client_certificate: Some(certificate),
        ..HostConfig::default()
    };
    push_with(good.clone()).expect("pushed");
    let unknown = HostConfig {
        ca_files: vec![other],
        ..good.clone()
    };
    let error = push_with(unknown.clone()).expect_err("an unknown authority");
    assert!(matches!(error.failure, Failure::Tls(_)), "{error:?}");
    push_with(HostConfig {
        skip_verify: true,
        ..unknown
    })
    .expect("pushed");
    let nobody = HostConfig {
        client_certificate: None,
        ..good.clone()
    };
    push_with(nobody).expect_err("no client certificate");
    let missing = HostConfig {
        ca_files: vec!["/no/such/file".into()],
        ..good
    };
    let error = push_with(missing).expect_err("no such file");
    assert!(matches!(error.failure, Failure::Settings(_)), "{error:?}");
}

#[test]
fn an_upload_does_not_lead_out_of_tls() {
    let test = "an_upload_does_not_lead_out_of_tls";
    let directory = tempfile::tempdir().expect("a directory");
    if !make_certificates(directory.path()) {
        eprintln!("skipped: {test}: `openssl` is not installed");
        return;
    }
    let other = Fake::start();
    let file = |name: &str| directory.path().join(name);
    let http = format!(
        ", host: \"http://{}\", tls: {{certificate: {}, key: {}}}",
        other.host,
        file("server.pem").display(),
        file("server.key").display(),
    );
    let config = HostConfig {
        ca_files: vec![file("ca.pem")],
        ..HostConfig::default()
    };
    let Some(registry) = Registry::start_in(directory, &http, test) else {
        return;
    };
    let host = registry.host.replace("127.0.0.1", "localhost");
    let client = client(&[(&host, config)], None);
    let name = reference(&host, "a/b:1");
    let error = push(&client, &name, b"content", &[]).expect_err("refused");
    assert_eq!(
        error.failure.to_string(),
        "the registry's answer can't be used: an upload that leads from HTTPS to something else"
    );
    assert_eq!(other.log(), "");
}

#[test]
fn a_blob_is_streamed_and_an_upload_cancelled() {
    let Some(registry) = Registry::start("a_blob_is_streamed_and_an_upload_cancelled") else {
        return;
    };
    let client = client(&[], None);
    let cancel = CancelToken::new();
    let name = reference(&registry.host, "a/b:1");
    let content = five_megabytes();
    let digest = layer(&content).digest;
    let open = || -> std::io::Result<Box<dyn std::io::Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(content.clone())))
    };
    let begin = || {
        let mut upload = client.begin_upload(&name, &cancel).expect("begun");
        client
            .stream_upload(&mut upload, &open, &cancel)
            .expect("sent");
        upload
    };
    client
        .finish_upload(begin(), &digest, content.len() as u64, &cancel)
        .expect("finished");
    assert!(client.has_blob(&name, &digest, &cancel).expect("asked"));
    let all = pull(&client, &name, &digest, content.len(), 0).expect("pulled");
    assert_eq!(all, content);
    client.cancel_upload(begin(), &cancel).expect("cancelled");
    let uploads = "data/docker/registry/v2/repositories/a/b/_uploads";
    let uploads = std::fs::read_dir(registry.directory.path().join(uploads));
    for upload in uploads.expect("a folder") {
        let upload = upload.expect("a folder").path();
        // What this registry leaves of one that is over is the state of a hash of nothing.
        for file in ["startedat", "data"] {
            assert!(!upload.join(file).exists(), "{file}");
        }
    }
}
