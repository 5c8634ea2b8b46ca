//! The archives that kiln writes, read by the programs that users have: Debian's skopeo, podman and
//! docker; and the archives that docker writes, read by kiln.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_image::{
    ArchiveKind, Image, MemoryBlobs, NamedImage, convert, read_archive, validate, verify_blobs,
    write_docker_archive, write_layout, write_oci_archive,
};
use kiln_oci::{Compression, Digest, Family, History, ImageConfig, MediaType, Platform};

const NAME: &str = "localhost/kiln-test:1";

/// An image of one layer with one file, gzip as kiln writes it: several members.
fn sample() -> (Image, MemoryBlobs) {
    let mut tar = tar::Builder::new(Vec::new());
    let content = b"hello\n".repeat(400_000);
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, "hello", content.as_slice())
        .expect("appended");
    let tar = tar.into_inner().expect("a layer");
    let members = tar.chunks(1024 * 1024).map(|block| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(block).expect("written");
        encoder.finish().expect("a member")
    });
    let gzip: Vec<u8> = members.collect::<Vec<_>>().concat();
    let mut blobs = MemoryBlobs::new();
    let layer = blobs.insert(MediaType::layer(Family::Oci, Compression::Gzip), &gzip);
    let config = ImageConfig::empty(Platform::host())
        .with_layer(Digest::sha256(&tar), History::default())
        .with_runtime(|runtime| kiln_oci::RuntimeConfig {
            cmd: Some(vec!["/hello".to_owned()]),
            ..runtime
        });
    let image = Image::new(Family::Oci, config, vec![layer], BTreeMap::new());
    (insert(image, &mut blobs), blobs)
}

fn insert(image: Image, blobs: &mut MemoryBlobs) -> Image {
    let family = image.manifest().family;
    blobs.insert(MediaType::Config(family), image.config_bytes());
    blobs.insert(MediaType::Manifest(family), image.manifest_bytes());
    image
}

fn named(image: &Image) -> [NamedImage; 1] {
    [NamedImage {
        descriptor: image.descriptor().clone(),
        names: vec![NAME.parse().expect("a name")],
    }]
}

/// The sample in every form that an archive may have.
fn write_all(directory: &Path) -> (Image, Vec<(&'static str, std::path::PathBuf)>) {
    let (oci, mut blobs) = sample();
    let docker = convert(&oci, Family::Docker).expect("a Docker image");
    let docker = insert(docker, &mut blobs);
    let path = |name: &str| directory.join(name);
    let create = |name: &str| File::create(path(name)).expect("a file");
    write_oci_archive(&blobs, &named(&oci), &mut create("oci.tar")).expect("written");
    write_docker_archive(&blobs, &named(&docker), &mut create("docker.tar")).expect("written");
    write_docker_archive(&blobs, &named(&oci), &mut create("docker-oci.tar")).expect("written");
    write_layout(&blobs, &named(&oci), &path("layout")).expect("written");
    let archives = vec![
        ("oci", path("oci.tar")),
        ("docker", path("docker.tar")),
        ("docker", path("docker-oci.tar")),
    ];
    (oci, archives)
}

/// Whether the test can run here; says so where not.
fn is_ready(test: &str, programs: &[&str], needs_root: bool) -> bool {
    for program in programs {
        if !Path::new(program).exists() {
            eprintln!("skipped: {test}: `{program}` is not installed");
            return false;
        }
    }
    if needs_root && kiln_sys::host::effective_uid() != 0 {
        eprintln!("skipped: {test}: needs root");
        return false;
    }
    true
}

fn command(program: &str, directory: &Path) -> Command {
    let mut command = kiln_sys::process::command(program, directory);
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", directory)
        .env("TMPDIR", directory)
        .env("XDG_RUNTIME_DIR", directory);
    command
}

/// What a program writes; it has to succeed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn skopeo_reads_every_form() {
    if !is_ready("skopeo_reads_every_form", &["/usr/bin/skopeo"], false) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (image, archives) = write_all(directory.path());
    let mut sources: Vec<String> = archives
        .iter()
        .map(|(kind, path)| format!("{kind}-archive:{}", path.display()))
        .collect();
    sources.push(format!(
        "oci:{}:1",
        directory.path().join("layout").display()
    ));
    for source in sources {
        let mut skopeo = command("/usr/bin/skopeo", directory.path());
        let config = output(skopeo.args(["inspect", "--config", "--raw", &source]));
        assert_eq!(Digest::sha256(config.as_bytes()), *image.id(), "{source}");
        // Copying reads the layers, too, and compares them with their diff IDs.
        let target = format!("dir:{}", directory.path().join("copy").display());
        let mut skopeo = command("/usr/bin/skopeo", directory.path());
        output(skopeo.args(["--insecure-policy", "copy", &source, &target]));
    }
}

#[test]
fn podman_loads_every_form() {
    if !is_ready("podman_loads_every_form", &["/usr/bin/podman"], true) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (image, archives) = write_all(directory.path());
    for (number, (_, archive)) in archives.iter().enumerate() {
        let place = |name: &str| directory.path().join(format!("{name}{number}"));
        let podman = |arguments: &[&str]| {
            let mut podman = command("/usr/bin/podman", directory.path());
            podman
                .arg("--root")
                .arg(place("root"))
                .arg("--runroot")
                .arg(place("run"))
                .args(["--storage-driver", "vfs"])
                .args(arguments);
            output(&mut podman)
        };
        podman(&["load", "-i", &archive.display().to_string()]);
        let id = podman(&["image", "inspect", "--format", "{{.Id}}", NAME]);
        assert_eq!(id.trim(), image.id().hex(), "{}", archive.display());
    }
}

/// A dockerd of our own: its own data, no network. Stopped when dropped.
struct Dockerd {
    child: Child,
    directory: tempfile::TempDir,
}

impl Dockerd {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        let log = File::create(place("log")).expect("a file");
        let child = command("/usr/sbin/dockerd", directory.path())
            .arg("--data-root")
            .arg(place("data"))
            .arg("--exec-root")
            .arg(place("exec"))
            .arg("--pidfile")
            .arg(place("pid"))
            .arg("--host")
            .arg(format!("unix://{}", place("sock").display()))
            .args(["--iptables=false", "--bridge=none", "--storage-driver=vfs"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("started");
        Self { child, directory }
    }

    /// Whether it answers; it does not where the machine lets no containers run.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_mins(1);
        while Instant::now() < deadline {
            let mut docker = self.docker();
            let probe = docker
                .arg("version")
                .stdin(Stdio::null())
                .output()
                .expect("started");
            if probe.status.success() {
                return true;
            }
            if self.child.try_wait().expect("a child").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        false
    }

    fn docker(&self) -> Command {
        let mut docker = command("/usr/bin/docker", self.directory.path());
        let socket = self.directory.path().join("sock");
        docker
            .arg("--host")
            .arg(format!("unix://{}", socket.display()));
        docker
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // Asked politely: it has mounts and a containerd of its own to end.
        let pid = self.child.id().to_string();
        let _ = command("/bin/kill", self.directory.path())
            .args(["-TERM", &pid])
            .status();
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn docker_loads_what_kiln_writes_and_kiln_reads_what_docker_saves() {
    let test = "docker_loads_what_kiln_writes_and_kiln_reads_what_docker_saves";
    if !is_ready(test, &["/usr/sbin/dockerd", "/usr/bin/docker"], true) {
        return;
    }
    let mut dockerd = Dockerd::start();
    if !dockerd.is_up() {
        let log = std::fs::read_to_string(dockerd.directory.path().join("log"));
        eprintln!(
            "skipped: {test}: dockerd does not run here: {}",
            log.unwrap_or_default()
        );
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (image, archives) = write_all(directory.path());
    for (_, archive) in archives.iter().filter(|(kind, _)| *kind == "docker") {
        output(dockerd.docker().arg("load").arg("-i").arg(archive));
        let id = output(
            dockerd
                .docker()
                .args(["image", "inspect", "--format", "{{.Id}}", NAME]),
        );
        assert_eq!(id.trim(), image.id().as_str());
        let saved = directory.path().join("saved.tar");
        output(dockerd.docker().arg("save").arg("-o").arg(&saved).arg(NAME));
        output(dockerd.docker().args(["image", "rm", NAME]));

        let mut sink = MemoryBlobs::new();
        let loaded = read_archive(File::open(&saved).expect("a file"), &mut sink).expect("read");
        assert_eq!(loaded.kind, ArchiveKind::Docker);
        assert_eq!(loaded.images[0].names, named(&image)[0].names);
        let back = Image::load(&sink, &loaded.images[0].descriptor).expect("an image");
        assert_eq!(back.id(), image.id());
        assert!(validate(&back).is_empty());
        assert!(verify_blobs(&back, &sink).is_empty());
    }
}
