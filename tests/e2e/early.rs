//! A large layer is sent to the registry while it is packed, and nobody can tell afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Absent, Kiln, Program, Registry, Scratch, Who, find_program, wait_until};

use crate::base;

/// 64 MiB, half of which compress to a quarter or so, and half not at all.
fn write_large(path: &Path) {
    let mut state = 1_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::new();
    while bytes.len() < 32 << 20 {
        bytes.extend(random().to_le_bytes());
    }
    while bytes.len() < 64 << 20 {
        bytes.extend(format!("{} is a number\n", random()).bytes());
    }
    fs::write(path, bytes).unwrap();
}

/// A context with a large file, whose Dockerfile goes on with `rest` after the copy.
fn context(name: &str, rest: &str) -> PathBuf {
    let folder = Scratch::folder(&format!("early-{name}"));
    write_large(&folder.join("large"));
    let text = format!("FROM debian:bookworm\nCOPY large /large\n{rest}");
    fs::write(folder.join("Dockerfile"), text).unwrap();
    folder
}

/// Uploads that a repository has begun, and neither finished nor forgotten.
fn open_uploads(repository: &Path) -> usize {
    let uploads = fs::read_dir(repository.join("_uploads"));
    let uploads = uploads.into_iter().flatten().flatten();
    // Debian's registry leaves a folder with the state of a hash of nothing of one that is over.
    let is_open = |upload: &fs::DirEntry| {
        let has = |file: &str| upload.path().join(file).exists();
        has("startedat") || has("data")
    };
    uploads.filter(is_open).count()
}

/// The digest of an image, whose blobs another program fetches and checks.
fn fetched(name: &str, into: &str) -> String {
    let source = format!("docker://{name}");
    let folder = Scratch::folder(into).join("image");
    let copy = ["copy", "--quiet", "--src-tls-verify=false", &source];
    let copy = Program::new("skopeo").args(copy);
    let target = format!("dir:{}", folder.display());
    let _ = copy.arg(target).run().ok();
    let inspect = ["inspect", "--tls-verify=false", "--format={{.Digest}}"];
    let inspect = Program::new("skopeo").args(inspect).arg(source);
    inspect.run().ok().text()
}

/// kiln, a registry, and what tells a repository of this test from others.
fn start(name: &str) -> Result<(Kiln, &'static Registry, String), Absent> {
    find_program("skopeo")?;
    let registry = Registry::get()?;
    let kiln = base::with_base(Who::Root)?;
    let image = format!("{}/early/{name}", registry.host());
    Ok((kiln, registry, image))
}

#[test]
fn a_large_layer_is_sent_while_it_is_packed() {
    base::run("early::a_large_layer_is_sent_while_it_is_packed", || {
        let (kiln, registry, image) = start("sent")?;
        let context = context("sent", "");
        let trace = Scratch::folder("early-trace").join("trace.json");
        let command = || {
            let command = kiln.command().env("SOURCE_DATE_EPOCH", "1000000000");
            command.arg("build").arg(&context)
        };
        let second = format!("{}/early/second:1", registry.host());
        let name = format!("{image}:1");
        let push = ["--push", "--tag", &name, "--tag", &second, "--profile"];
        let _ = command().args(push).arg(&trace).run().ok();
        let spans = fs::read_to_string(&trace).unwrap();
        for span in ["send while packing", "finish the upload"] {
            assert!(spans.contains(&format!("\"{span}\"")), "no `{span}`");
        }
        assert!(!spans.contains("gave_up"), "an upload was given up");

        // The same, and sent by a program that has all of it before it begins.
        let late = format!("{}/early/late:1", registry.host());
        let _ = command().args(["--no-cache", "--tag", &late]).run().ok();
        kiln.ok(&["push", &late]);
        let digest = fetched(&name, "early-first");
        assert_eq!(digest, fetched(&late, "early-late"));
        assert_eq!(digest, fetched(&second, "early-second"));
        for name in ["sent", "second", "late"] {
            let repository = registry.repository(&format!("early/{name}"));
            assert_eq!(open_uploads(&repository), 0, "{name}");
        }
        Ok(())
    });
}

/// Builds what comes to nothing after its large layer was sent, and returns the exit code: the
/// registry has to have no blob of it, and no upload.
fn check_ended(name: &str, rest: &str, signal: Option<&str>) -> Result<Option<i32>, Absent> {
    let (kiln, registry, image) = start(name)?;
    let context = context(name, rest);
    let repository = registry.repository(&format!("early/{name}"));
    let log = Scratch::folder("early-logs").join(name);
    let push = ["build", "--push", "--tag", &image];
    let mut build = kiln.command().args(push).arg(&context).start(&log);
    wait_until("an upload", || open_uploads(&repository) == 1);
    if let Some(signal) = signal {
        let id = build.id().to_string();
        let _ = Program::new("kill").args(["-s", signal, &id]).run().ok();
    }
    let code = build.wait().unwrap().code();
    assert_eq!(open_uploads(&repository), 0);
    assert!(!repository.join("_layers").exists());
    Ok(code)
}

#[test]
fn a_build_that_fails_leaves_nothing_at_the_registry() {
    let test = "early::a_build_that_fails_leaves_nothing_at_the_registry";
    base::run(test, || {
        let code = check_ended("failed", "RUN sleep 5; exit 3\n", None)?;
        assert!(!matches!(code, Some(0 | 8)), "{code:?}");
        Ok(())
    });
}

#[test]
fn an_interrupt_leaves_nothing_at_the_registry() {
    let test = "early::an_interrupt_leaves_nothing_at_the_registry";
    base::run(test, || {
        let code = check_ended("interrupted", "RUN sleep 1000\n", Some("INT"))?;
        assert_eq!(code, Some(8));
        Ok(())
    });
}
