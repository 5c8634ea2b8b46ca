//! A secret's value is nowhere after a build that used it: not in a blob, the store, the history, a
//! log, the output, the cache that was exported, nor in the arguments of a process.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testkit::{Absent, Answer, Kiln, Scratch, Server, Who, find_program};

use crate::base;

/// What must not be found. Each has letters that nothing else has.
const VALUES: [&str; 5] = [
    "zq7-file-value-93kd0",
    "zq7-variable-value-1mx8",
    "zq7-environment-value-5tt2",
    "zq7-http-token-value-88wn",
    "zq7-key-value-0pp4",
];

const DOCKERFILE: &str = r#"
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]

FROM base AS used
RUN --mount=type=secret,id=file,required test "$(cut -c1-3 /run/secrets/file)" = zq7 && sleep 1
RUN --mount=type=secret,id=file,target=/etc/token,uid=7,gid=8,mode=0440 \
    test "$(stat -c '%u:%g %a' /etc/token)" = '7:8 440' && test -s /etc/token
RUN --mount=type=secret,id=variable,env=TOKEN test -n "$TOKEN" && ! test -e /run/secrets/variable
RUN --mount=type=secret,id=variable,env=TOKEN,target=/both test "$(cat /both)" = "$TOKEN" && sleep 1
RUN --mount=type=secret,id=environment,target=relative test -s /relative
RUN --mount=type=secret,id=absent if test -e /run/secrets/absent; then false; fi
RUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=TOKEN \
    cat /run/secrets/file; echo "$TOKEN"; printf 'zq7-key-' >&2
RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK"
ADD http://SERVER/file /fetched
RUN for path in /run/secrets /etc/token /both /relative; do if test -s $path; then false; fi; done

FROM used
LABEL done=yes
"#;

/// Files of the store, and what they hold once unpacked.
fn search(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if metadata.is_dir() {
            search(&path, found);
        } else if metadata.is_file() {
            let mut bytes = Vec::new();
            let Ok(mut file) = fs::File::open(&path) else {
                continue;
            };
            file.read_to_end(&mut bytes).unwrap();
            let name = path.display().to_string();
            look_at(&name, &bytes, found);
            let mut unpacked = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                let mut decoder = flate2::read::MultiGzDecoder::new(bytes.as_slice());
                let _ = decoder.read_to_end(&mut unpacked);
            } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
                && let Ok(mut decoder) = zstd::Decoder::new(bytes.as_slice())
            {
                let _ = decoder.read_to_end(&mut unpacked);
            }
            look_at(&format!("{name}, unpacked"), &unpacked, found);
        }
    }
}

fn look_at(place: &str, bytes: &[u8], found: &mut Vec<String>) {
    for value in VALUES {
        let is_here = bytes
            .windows(value.len())
            .any(|window| window == value.as_bytes());
        if is_here {
            found.push(format!("{value} in {place}"));
        }
    }
}

/// Watches the arguments of all processes until told to stop.
fn watch(stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<(usize, BTreeSet<String>)> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let (mut looks, mut found) = (0, BTreeSet::new());
        while !stop.load(Ordering::Relaxed) {
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let text = String::from_utf8_lossy(&arguments).replace('\0', " ");
                let hits = VALUES.iter().filter(|value| text.contains(*value));
                found.extend(hits.map(|value| format!("{value} in `{text}`")));
            }
            looks += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        (looks, found)
    })
}

fn context(who: Who, host: &str) -> Result<PathBuf, Absent> {
    let busybox = find_program("busybox")?;
    let folder = Scratch::folder(&format!("secrets-{}", who.name()));
    fs::copy(busybox, folder.join("busybox")).unwrap();
    let text = DOCKERFILE.replace("SERVER", host);
    fs::write(folder.join("Dockerfile"), text).unwrap();
    Ok(folder)
}

fn check(who: Who) -> Result<(), Absent> {
    let kiln = Kiln::new(who, "secrets")?;
    let server = Server::start(|_, _, _| Answer::body("text/plain", "content"));
    let context = context(who, &server.host())?;
    let aside = Scratch::folder(&format!("secrets-aside-{}", who.name()));
    let file = aside.join("token");
    fs::write(&file, VALUES[0]).unwrap();
    let agent = base::ssh_agent(&aside)?;
    let metadata = aside.join("metadata.json");
    let cache = Scratch::folder(&format!("secrets-cache-{}", who.name()));
    base::open_to_all(&[&aside, &cache]);
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch(&stop);
    let host = server.host();
    let host = host.split(':').next().unwrap_or_default();
    let built = kiln
        .command()
        .env("VARIABLE", VALUES[1])
        .env("environment", VALUES[2])
        .env("HTTP_TOKEN", VALUES[3])
        .env("SSH_AUTH_SOCK", &agent)
        .args([
            "build",
            "--progress=plain",
            "--tag=secrets",
            "--ssh=default",
        ])
        .arg(format!("--secret=id=file,src={}", file.display()))
        .args([
            "--secret=id=variable,env=VARIABLE",
            "--secret=id=environment",
        ])
        .arg(format!("--secret=id=HTTP_AUTH_TOKEN_{host},env=HTTP_TOKEN"))
        .arg(format!("--metadata-file={}", metadata.display()))
        .arg(format!(
            "--cache-to=type=local,mode=max,dest={}",
            cache.join("cache").display()
        ))
        .args(["--provenance=mode=max", "--sbom=true"])
        .arg(&context)
        .run()
        .ok();
    stop.store(true, Ordering::Relaxed);
    let (looks, mut places) = watcher.join().unwrap();
    assert!(looks > 20, "the process list was read {looks} times only");
    let mut found = Vec::new();
    look_at("standard output", &built.stdout, &mut found);
    look_at("standard error", built.stderr.as_bytes(), &mut found);
    look_at("the metadata", &fs::read(&metadata).unwrap(), &mut found);
    search(kiln.store(), &mut found);
    search(&cache, &mut found);
    let archive = kiln.run(&["save", "secrets"]).ok();
    look_at("the saved image", &archive.stdout, &mut found);
    let history = kiln.run(&["history", "logs", "^0"]).ok();
    look_at("the history", &history.stdout, &mut found);
    places.extend(found);
    assert!(places.is_empty(), "{places:#?}");
    // The value is no part of a key: another one changes nothing.
    fs::write(&file, "zq7-other").unwrap();
    let again = kiln
        .command()
        .env("VARIABLE", "zq7-other")
        .env("environment", "zq7-other")
        .env("HTTP_TOKEN", "zq7-other")
        .env("SSH_AUTH_SOCK", &agent)
        .args(["build", "--progress=plain", "--ssh=default"])
        .arg(format!("--secret=id=file,src={}", file.display()))
        .args([
            "--secret=id=variable,env=VARIABLE",
            "--secret=id=environment",
        ])
        .arg(&context)
        .run()
        .ok();
    assert_eq!(again.stderr.matches(" CACHED").count(), 13, "{again}");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_secret_as_root() {
    base::run("secrets::nothing_is_left_of_a_secret_as_root", || {
        check(Who::Root)
    });
}

#[test]
fn nothing_is_left_of_a_secret_as_a_user() {
    base::run("secrets::nothing_is_left_of_a_secret_as_a_user", || {
        check(Who::User)
    });
}

#[test]
fn a_required_secret_that_is_missing_is_named() {
    base::run(
        "secrets::a_required_secret_that_is_missing_is_named",
        || {
            let kiln = Kiln::new(Who::Root, "secrets-missing")?;
            let folder = Scratch::folder("secrets-missing-context");
            let text = "FROM scratch\nRUN --mount=type=secret,id=key,required [\"/x\"]\n";
            fs::write(folder.join("Dockerfile"), text).unwrap();
            let built = kiln.command().arg("build").arg(&folder).run();
            assert!(!built.success());
            assert!(built.stderr.contains("the secret `key`"), "{built}");
            assert!(built.stderr.contains("--secret"), "{built}");
            Ok(())
        },
    );
}
