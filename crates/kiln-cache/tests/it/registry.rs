//! Caches in a registry: Debian's `docker-registry`, and one in this process for failures.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use kiln_base::CancelToken;
use kiln_cache::inline;
use kiln_oci::{Descriptor, Digest, Family, History, ImageConfig, Manifest, MediaType, Platform};

use crate::fake::{Answer, Request, Server, Service, answer};
use crate::support::{Build, blob, chain, context, read, sample, shown, write};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// A running registry; killed when dropped.
struct Registry {
    child: Child,
    host: String,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// `None` where the program is missing, which is said.
    fn start(test: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("skipped: {test}: `{PROGRAM}` is not installed (package docker-registry)");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let data = directory.path().join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\"}}\n",
            data.display()
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
            _directory: directory,
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

#[test]
fn a_cache_is_read_back_in_every_shape() {
    let Some(registry) = Registry::start("a_cache_is_read_back_in_every_shape") else {
        return;
    };
    let shapes = [
        "",
        ",image-manifest=false",
        ",oci-mediatypes=false",
        ",registry.insecure=true",
    ];
    for (number, shape) in shapes.iter().enumerate() {
        let name = format!("type=registry,ref={}/x/cache:{number}", registry.host);
        let (build, expected) = sample();
        let missing = read(&name).expect_err("nothing there");
        assert!(missing.is_missing(), "{missing}");
        let to = format!("{name}{shape}");
        let summary = write(&to, &build).expect("written");
        // The repository has the layers from the first time on.
        assert_eq!(summary.sent, if number == 0 { 4 } else { 0 });
        assert_eq!(summary.layers, 4);
        let imported = read(&name).expect("read");
        assert_eq!(shown(&imported, 5), expected);
    }
}

#[test]
fn layers_are_taken_from_another_repository() {
    let Some(registry) = Registry::start("layers_are_taken_from_another_repository") else {
        return;
    };
    let (mut build, expected) = sample();
    write(&format!("{}/base:1", registry.host), &build).expect("written");
    build.exported.mount_from = vec!["base".to_owned()];
    let to = format!("type=registry,ref={}/other/cache,mode=max", registry.host);
    assert_eq!(write(&to, &build).expect("written").sent, 0);
    let imported = read(&format!("{}/other/cache", registry.host)).expect("read");
    assert_eq!(shown(&imported, 5), expected);
}

#[test]
fn a_cache_is_read_from_an_image() {
    let Some(registry) = Registry::start("a_cache_is_read_from_an_image") else {
        return;
    };
    let build = Build::default()
        .with(&[1], "base")
        .with(&[2], "base app")
        .with(&[3], "other");
    let name = format!("{}/app:1", registry.host);
    let layers = &build.exported.records[1].layers;
    let plain = layers
        .iter()
        .fold(ImageConfig::empty(Platform::host()), |config, layer| {
            let history = History {
                created: layer.created.map(|time| time.to_string()),
                ..History::default()
            };
            config.with_layer(layer.diff_id.clone(), history)
        });
    let blobs: Vec<Digest> = layers.iter().map(|l| l.descriptor.digest.clone()).collect();
    let config = inline::embed(&plain, &build.exported, &blobs).expect("a configuration");
    for (config, expected) in [
        (&plain, "has no cache in it"),
        (&config, "1: 1: base\n2: 2: base app\n3: nothing\n"),
    ] {
        push_image(&name, config, &build);
        let found = match read(&name) {
            Ok(imported) => shown(&imported, 3),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{found}");
    }
}

/// Pushes the image of the build's second record with this configuration.
fn push_image(name: &str, config: &ImageConfig, build: &Build) {
    let reference = name.parse().expect("a name");
    let cancel = CancelToken::new();
    let layers = &build.exported.records[1].layers;
    let bytes = config.to_bytes();
    let config = Descriptor::of(MediaType::Config(Family::Oci), &bytes);
    let descriptors: Vec<Descriptor> = layers.iter().map(|l| l.descriptor.clone()).collect();
    let client = context().registry;
    for descriptor in descriptors.iter().chain([&config]) {
        let content = build
            .blobs
            .get(&descriptor.digest)
            .unwrap_or(&bytes)
            .to_vec();
        let open = || -> std::io::Result<Box<dyn std::io::Read + Send>> {
            Ok(Box::new(std::io::Cursor::new(content.clone())))
        };
        client
            .push_blob(&reference, descriptor, &[], &open, &cancel)
            .expect("pushed");
    }
    let manifest = Manifest::new(Family::Oci, config, descriptors);
    let media_type = MediaType::Manifest(Family::Oci);
    client
        .push_manifest(&reference, &media_type, &manifest.to_bytes(), &cancel)
        .expect("pushed");
}

/// A registry that only answers what it was told to.
#[derive(Default)]
struct Scripted {
    answers: BTreeMap<String, (u16, &'static str, Vec<u8>)>,
}

impl Service for Scripted {
    fn answer(&mut self, request: &Request) -> Answer {
        let key = format!("{} {}", request.method, request.path());
        match self.answers.get(&key) {
            Some((status, kind, body)) => Answer {
                status: *status,
                headers: vec![("content-type", (*kind).to_owned())],
                body: body.clone(),
            },
            None => answer(404, ""),
        }
    }
}

/// What reading a cache gives from a registry whose manifest is this, and whose blobs are these.
#[track_caller]
fn check(status: u16, manifest: &str, blobs: &[(&Digest, &str)], expected: &str) {
    let server = Server::start(|_| Scripted::default());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    {
        let mut service = server.service();
        let manifest = (status, kind, manifest.as_bytes().to_vec());
        service
            .answers
            .insert("GET /v2/x/manifests/latest".to_owned(), manifest);
        for (digest, content) in blobs {
            let key = format!("GET /v2/x/blobs/{digest}");
            service
                .answers
                .insert(key, (200, "x", content.as_bytes().to_vec()));
        }
    }
    let host = server.url.trim_start_matches("http://");
    let found = match read(&format!(
        "type=registry,ref={host}/x,registry.insecure=true"
    )) {
        Ok(imported) => shown(&imported, 1),
        Err(error) => chain(&error),
    };
    assert!(
        found.contains(expected),
        "{found}\ndoes not have\n{expected}"
    );
}

fn manifest(config: &str, layers: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"{}","size":{}}},"layers":[{layers}]}}"#,
        blob(config),
        config.len()
    )
}

#[test]
fn what_a_registry_refuses_is_told() {
    check(401, "", &[], "access was denied");
    check(403, "", &[], "access was denied");
    check(404, "", &[], "there is no cache at");
    check(200, "[]", &[], "is not an image");
}

#[test]
fn damaged_documents_are_told() {
    let sound = r#"{"records":[]}"#;
    check(
        200,
        &manifest(sound, ""),
        &[(&blob(sound), sound)],
        "1: nothing",
    );
    check(200, &manifest(sound, ""), &[], "does not have it");
    let other = r#"{"records":[ }"#;
    check(
        200,
        &manifest(sound, ""),
        &[(&blob(sound), other)],
        "is damaged",
    );
    check(
        200,
        &manifest(other, ""),
        &[(&blob(other), other)],
        "it is not a cache document",
    );
    let looping = r#"{"records":[{"digest":"a","inputs":[[{"link":0}]]}]}"#;
    check(
        200,
        &manifest(looping, ""),
        &[(&blob(looping), looping)],
        "record 0 leads back to itself",
    );
    let large = manifest(sound, "").replace("\"size\":14", "\"size\":99999999999");
    check(
        200,
        &large,
        &[],
        "it has 99999999999 bytes, more than the allowed",
    );
}

#[test]
fn an_upload_that_fails_is_told() {
    let server = Server::start(|_| Scripted::default());
    server.service().answers.insert(
        "POST /v2/x/blobs/uploads/".to_owned(),
        (403, "x", Vec::new()),
    );
    let host = server.url.trim_start_matches("http://");
    let to = format!("type=registry,ref={host}/x,registry.insecure=true,ignore-error=true");
    let error = write(&to, &sample().0).expect_err("refused");
    assert!(error.is_authentication(), "{}", chain(&error));
    assert!(crate::support::target(&to).ignore_error);
}
