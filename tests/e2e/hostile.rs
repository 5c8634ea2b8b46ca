//! Input from strangers who mean no good: each gets its own clear error and exit code, nothing is
//! written outside the target, and nothing half-done is left.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Answer, Kiln, Member, Scratch, Server, Who, craft_config, craft_image, craft_tar};

use crate::base;

const REGISTRY: Option<i32> = Some(3);
const AUTHENTICATION: Option<i32> = Some(4);

/// A folder that no archive may write to.
fn canary(name: &str) -> PathBuf {
    Scratch::folder(&format!("canary-{name}"))
}

#[track_caller]
fn check_empty(folder: &PathBuf) {
    let names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(names.is_empty(), "written outside: {names:?}");
}

/// Loads an image with the layer and runs it; then adds the same archive by `ADD`.
#[track_caller]
fn check_layer(name: &str, layer: &[u8], outside: &PathBuf) {
    base::run(&format!("hostile::{name}"), || {
        let kiln = Kiln::new(Who::Root, &format!("hostile-{name}"))?;
        let archive = Scratch::folder("hostile").join(format!("{name}.tar"));
        fs::write(&archive, craft_image(name, layer)).unwrap();
        let loaded = kiln.command().args(["load", "-i"]).arg(&archive).run();
        if loaded.success() {
            let ran = kiln.run(&["run", "--rm", name]);
            assert_ne!(ran.code, Some(0), "{ran}");
        }
        check_empty(outside);

        let context = Scratch::folder(&format!("hostile-context-{name}"));
        fs::write(context.join("layer.tar"), layer).unwrap();
        fs::write(
            context.join("Dockerfile"),
            "FROM scratch\nADD layer.tar /in/\n",
        )
        .unwrap();
        let _ = kiln
            .command()
            .args(["build", "--tag", "added"])
            .arg(&context)
            .run();
        check_empty(outside);
        let left = fs::read_dir(kiln.store().join("tmp"));
        let left: Vec<_> = left
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    });
}

#[test]
fn names_that_lead_up() {
    let outside = canary("up");
    let name = format!("../../../../../../../../../..{}/file", outside.display());
    check_layer(
        "names-that-lead-up",
        &craft_tar(&[Member::File(&name, b"x")]),
        &outside,
    );
}

#[test]
fn absolute_names() {
    let outside = canary("absolute");
    let name = format!("{}/file", outside.display());
    check_layer(
        "absolute-names",
        &craft_tar(&[Member::File(&name, b"x")]),
        &outside,
    );
}

#[test]
fn a_link_as_a_parent() {
    let outside = canary("parent");
    let target = outside.display().to_string();
    let members = [Member::Link("way", &target), Member::File("way/file", b"x")];
    check_layer("a-link-as-a-parent", &craft_tar(&members), &outside);
}

#[test]
fn a_hard_link_to_the_host() {
    let outside = canary("hard");
    let members = [Member::HardLink(
        "passwd",
        "../../../../../../../../etc/passwd",
    )];
    check_layer("a-hard-link-to-the-host", &craft_tar(&members), &outside);
}

#[test]
fn a_truncated_layer() {
    let outside = canary("truncated");
    let mut layer = craft_tar(&[Member::Folder("a"), Member::File("a/b", &[7; 4000])]);
    layer.truncate(2000);
    check_layer("a-truncated-layer", &layer, &outside);
}

#[test]
fn a_device_without_privilege_is_named() {
    base::run("hostile::a_device_without_privilege_is_named", || {
        let kiln = Kiln::new(Who::User, "hostile-device")?;
        let image = craft_image("device", &craft_tar(&[Member::Device("disk", 8, 0)]));
        let _ = kiln.command().arg("load").input(image).run();
        let ran = kiln.run(&["run", "--rm", "device"]);
        assert!(!ran.success(), "{ran}");
        assert!(ran.stderr.contains("disk"), "{ran}");
        Ok(())
    });
}

/// Pulls from a server that answers everything below `/v2/…` in the same way.
#[track_caller]
fn check_answer(name: &str, answer: Answer, code: Option<i32>, message: &str) {
    base::run(&format!("hostile::{name}"), || {
        let kiln = Kiln::new(Who::Root, &format!("hostile-{name}"))?;
        let server = Server::start(move |_, path, _| match path {
            "/v2/" => Answer::status("200 OK"),
            _ => answer.clone(),
        });
        let finished = kiln.run(&["pull", &format!("{}/team/app:1", server.host())]);
        assert_eq!(finished.code, code, "{finished}");
        assert!(
            finished.stderr.contains(message),
            "no {message:?} in: {finished}"
        );
        assert_eq!(kiln.ok(&["images", "--quiet"]), "");
        Ok(())
    });
}

#[test]
fn an_unknown_image() {
    check_answer(
        "an-unknown-image",
        Answer::status("404 Not Found"),
        REGISTRY,
        "team/app",
    );
}

#[test]
fn a_registry_that_asks_for_credentials() {
    let answer =
        Answer::status("401 Unauthorized").with_header("WWW-Authenticate: Basic realm=\"x\"");
    check_answer(
        "a-registry-that-asks-for-credentials",
        answer,
        AUTHENTICATION,
        "team/app",
    );
}

#[test]
fn a_registry_that_forbids() {
    check_answer(
        "a-registry-that-forbids",
        Answer::status("403 Forbidden"),
        AUTHENTICATION,
        "team/app",
    );
}

#[test]
fn a_registry_that_is_too_busy() {
    let answer = Answer::status("429 Too Many Requests").with_header("Retry-After: 0");
    check_answer(
        "a-registry-that-is-too-busy",
        answer,
        REGISTRY,
        "rate of requests",
    );
}

#[test]
fn a_broken_registry() {
    let answer = Answer::status("500 Internal Server Error");
    check_answer("a-broken-registry", answer, REGISTRY, "500");
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A server with one image whose layer it serves as `layer` decides.
fn serve_image(layer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Server {
    let bytes = honest_layer();
    let (config, digest) = craft_config(&bytes);
    let config_digest = format!("sha256:{}", sha256(&config));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest,
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": digest.as_str(),
            "size": bytes.len(),
        }],
    });
    Server::start(move |_, path, _| {
        if path == "/v2/" {
            Answer::status("200 OK")
        } else if path.contains("/manifests/") {
            Answer::body(MANIFEST, manifest.to_string())
        } else if path.ends_with(&config_digest) {
            Answer::body("application/octet-stream", config.clone())
        } else {
            layer(bytes.len())
        }
    })
}

fn honest_layer() -> Vec<u8> {
    craft_tar(&[Member::File("file", &[1; 3000])])
}

fn sha256(bytes: &[u8]) -> String {
    let sum = testkit::Program::new("sha256sum")
        .input(bytes)
        .run()
        .ok()
        .text();
    sum.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_layer_with_other_bytes() {
    base::run("hostile::a_layer_with_other_bytes", || {
        let kiln = Kiln::new(Who::Root, "hostile-other-bytes")?;
        let server = serve_image(|size| Answer::body("application/octet-stream", vec![0; size]));
        let finished = kiln.run(&["pull", &format!("{}/team/app:1", server.host())]);
        assert_eq!(finished.code, REGISTRY, "{finished}");
        assert!(finished.stderr.contains("sha256:"), "{finished}");
        assert_eq!(kiln.ok(&["images", "--quiet"]), "");
        Ok(())
    });
}

#[test]
fn a_layer_that_never_ends_well() {
    base::run("hostile::a_layer_that_never_ends_well", || {
        let kiln = Kiln::new(Who::Root, "hostile-truncated-blob")?;
        let server = serve_image(|_| {
            Answer::body("application/octet-stream", honest_layer()).cut_after(100)
        });
        let finished = kiln.run(&["pull", &format!("{}/team/app:1", server.host())]);
        assert_eq!(finished.code, REGISTRY, "{finished}");
        assert_eq!(kiln.ok(&["images", "--quiet"]), "");
        Ok(())
    });
}

/// A folder with a Dockerfile that begins with the server's image.
fn context_on(server: &Server, name: &str) -> PathBuf {
    let folder = Scratch::folder(&format!("hostile-base-{name}"));
    let text = format!("FROM {}/team/app:1\nCOPY Dockerfile /\n", server.host());
    fs::write(folder.join("Dockerfile"), text).unwrap();
    folder
}

/// The store has neither an image nor files of one.
#[track_caller]
fn check_nothing_kept(kiln: &Kiln) {
    assert_eq!(kiln.ok(&["images", "--quiet"]), "");
    for folder in ["snapshots", "tmp"] {
        check_empty(&kiln.store().join(folder));
    }
}

/// Layers are unpacked while they arrive, which must not make anything of a wrong one visible.
#[test]
fn a_base_with_other_bytes_leaves_nothing() {
    base::run("hostile::a_base_with_other_bytes_leaves_nothing", || {
        let kiln = Kiln::new(Who::Root, "hostile-other-base")?;
        // An archive as good as the promised one, and as long.
        let other = craft_tar(&[Member::File("file", &[2; 3000])]);
        let server = serve_image(move |_| Answer::body("application/octet-stream", other.clone()));
        let context = context_on(&server, "other-bytes");
        let finished = kiln.command().arg("build").arg(&context).run();
        assert_eq!(finished.code, REGISTRY, "{finished}");
        assert!(finished.stderr.contains("sha256:"), "{finished}");
        check_nothing_kept(&kiln);
        Ok(())
    });
}

#[test]
fn a_base_whose_download_breaks_off_is_completed() {
    base::run(
        "hostile::a_base_whose_download_breaks_off_is_completed",
        || {
            let kiln = Kiln::new(Who::Root, "hostile-broken-base")?;
            let asked = AtomicUsize::new(0);
            let server = serve_image(move |_| {
                let whole = Answer::body("application/octet-stream", honest_layer());
                match asked.fetch_add(1, Ordering::SeqCst) {
                    0 => whole.cut_after(700),
                    1 => whole.cut_after(2000),
                    _ => whole,
                }
            });
            let context = context_on(&server, "broken");
            let out = Scratch::folder("hostile-broken-out").join("root");
            let mut build = kiln.command().args(["build", "--output"]).arg(&out);
            build = build.arg(&context);
            let _ = build.run().ok();
            assert_eq!(fs::read(out.join("file")).unwrap(), [1; 3000]);
            Ok(())
        },
    );
}

#[test]
fn a_base_that_never_comes_can_be_interrupted() {
    base::run(
        "hostile::a_base_that_never_comes_can_be_interrupted",
        || {
            let kiln = Kiln::new(Who::Root, "hostile-slow-base")?;
            let is_asked = Arc::new(AtomicBool::new(false));
            let asked = Arc::clone(&is_asked);
            let is_first = AtomicBool::new(true);
            let server = serve_image(move |_| {
                // First a part, so that the unpacking has begun, and then nothing.
                if is_first.swap(false, Ordering::SeqCst) {
                    return Answer::body("application/octet-stream", honest_layer()).cut_after(700);
                }
                asked.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_secs(3));
                Answer::status("503 Service Unavailable")
            });
            let context = context_on(&server, "slow");
            let log = Scratch::folder("hostile-slow-log").join("log");
            let mut build = kiln.command().arg("build").arg(&context).start(&log);
            let started = Instant::now();
            while !is_asked.load(Ordering::SeqCst) {
                assert!(started.elapsed() < Duration::from_mins(1), "never asked");
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = testkit::Program::new("kill")
                .args(["-s", "INT", &build.id().to_string()])
                .run()
                .ok();
            let status = build.wait().unwrap();
            let log = fs::read_to_string(&log).unwrap();
            assert_eq!(status.code(), Some(8), "{log}");
            check_nothing_kept(&kiln);
            Ok(())
        },
    );
}
