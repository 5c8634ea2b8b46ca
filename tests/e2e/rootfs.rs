//! Disks from images: what is on them is what is in the image, they are the same for everybody, and
//! what can't be made leaves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use testkit::{
    Absent, FlatImage, Kiln, Member, Mounted, Program, Scratch, Who, craft_image, craft_tar,
};

use crate::base;

const DOCKERFILE: &str = r#"
FROM debian:bookworm
RUN rm -rf /usr/share/doc && mkdir -p /usr/share/doc/again && echo new > /usr/share/doc/again/new
RUN mkdir /data && echo one > /data/one && ln /data/one /data/two && ln -s one /data/link
RUN rm /data/one && echo three > /data/three && chown 1000:1001 /data/three && chmod 4750 /data/three
RUN mkfifo /data/pipe && truncate -s 3M /data/sparse && echo end >> /data/sparse
RUN mv /etc/skel /etc/skeleton && chmod 1777 /data
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["echo hello"]
"#;

/// kiln with an image of many layers, and a folder that it may write to.
pub(crate) fn with_image(who: Who) -> Result<(Kiln, PathBuf), Absent> {
    // Tests run at the same time.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let kiln = base::with_base(who)?;
    let context = Scratch::folder(&format!("rootfs-context-{number}"));
    fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
    let built = kiln.command().env("SOURCE_DATE_EPOCH", "1600000000");
    let built = built.args(["build", "-t", "rootfs-app"]).arg(&context);
    let _ = built.run().ok();
    let folder = Scratch::folder(&format!("rootfs-{number}"));
    base::open_to_all(&[&folder]);
    Ok((kiln, folder))
}

/// An image's files alone.
pub(crate) const PLAIN: [&str; 3] = ["rootfs-app", "--init", "none"];

/// Runs `kiln rootfs` with these words, and returns the manifest.
#[track_caller]
pub(crate) fn make(kiln: &Kiln, disk: &Path, words: &[&str]) -> Value {
    let made = kiln.command().arg("rootfs").args(words).arg("--json");
    made.arg("-o").arg(disk).run().ok().json()
}

/// Runs what has to fail with this code and message, and checks that nothing is left.
#[track_caller]
pub(crate) fn check_refused(
    kiln: &Kiln,
    folder: &Path,
    words: &[&str],
    (code, message): (i32, &str),
) {
    let disk = folder.join("refused.ext4");
    let made = kiln
        .command()
        .arg("rootfs")
        .args(words)
        .arg("-o")
        .arg(&disk);
    let made = made.run();
    assert_eq!(made.code, Some(code), "{made}");
    assert!(made.to_string().contains(message), "{made}");
    check_nothing_left(folder, "refused");
}

#[track_caller]
fn check_nothing_left(folder: &Path, name: &str) {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let left: Vec<String> = names.filter(|found| found.starts_with(name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The files of an image, read by another program than kiln.
pub(crate) fn image_files(kiln: &Kiln, image: &str, folder: &Path) -> FlatImage {
    let archive = folder.join(format!("{image}.tar"));
    kiln.ok(&["save", "-o", archive.to_str().unwrap(), image]);
    let bytes = fs::read(&archive).unwrap();
    fs::remove_file(&archive).unwrap();
    without_config(&bytes)
}

fn mounted_files(mounted: &Mounted, folder: &Path) -> FlatImage {
    let archive = folder.join("mounted.tar");
    let names = fs::read_dir(mounted.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name());
    let tar = Program::new("tar").args(["--numeric-owner", "-C"]);
    let tar = tar.arg(mounted.path()).arg("-cf").arg(&archive);
    let _ = tar
        .args(names.filter(|name| name != "lost+found"))
        .run()
        .ok();
    let bytes = fs::read(&archive).unwrap();
    fs::remove_file(&archive).unwrap();
    without_config(&craft_image("mounted", &bytes))
}

pub(crate) fn without_config(archive: &[u8]) -> FlatImage {
    FlatImage {
        config: Value::Null,
        ..FlatImage::from_docker_archive(archive)
    }
}

#[test]
fn an_ext4_is_the_image() {
    base::run("rootfs::an_ext4_is_the_image", || {
        Mounted::possible("ext4")?;
        testkit::find_program("e2fsck")?;
        let (kiln, folder) = with_image(Who::Root)?;
        let disk = folder.join("whole.ext4");
        let manifest = make(&kiln, &disk, &[&PLAIN[..], &["--label", "app"]].concat());
        let _ = Program::new("e2fsck").arg("-fn").arg(&disk).run().ok();
        let mounted = Mounted::new(&disk, "ext4", "ro");
        let expected = image_files(&kiln, "rootfs-app", &folder);
        let found = mounted_files(&mounted, &folder);
        assert_eq!(expected.differences(&found, ["image", "disk"]), "");
        let size = fs::metadata(&disk).unwrap().len();
        assert_eq!(manifest["disk"]["size"], size);
        assert_eq!(manifest["disk"]["label"], "app");
        let metadata = &manifest["image_metadata"];
        assert_eq!(metadata["command"], json!(["echo hello"]));
        let beside: Value =
            serde_json::from_slice(&fs::read(folder.join("whole.ext4.json")).unwrap()).unwrap();
        assert_eq!(beside, manifest);
        let sum = Program::new("sha256sum").arg(&disk).run().ok().text();
        let digest = manifest["disk"]["digest"].as_str().unwrap();
        assert!(
            sum.starts_with(digest.trim_start_matches("sha256:")),
            "{sum}{digest}"
        );
        Ok(())
    });
}

#[test]
fn a_squashfs_is_the_image() {
    base::run("rootfs::a_squashfs_is_the_image", || {
        Mounted::possible("squashfs")?;
        let (kiln, folder) = with_image(Who::Root)?;
        let disk = folder.join("whole.squashfs");
        make(&kiln, &disk, &PLAIN);
        let mounted = Mounted::new(&disk, "squashfs", "ro");
        let found = mounted_files(&mounted, &folder);
        let expected = image_files(&kiln, "rootfs-app", &folder);
        assert_eq!(expected.differences(&found, ["image", "disk"]), "");
        Ok(())
    });
}

#[test]
fn an_erofs_is_the_image() {
    base::run("rootfs::an_erofs_is_the_image", || {
        Mounted::possible("erofs")?;
        let (kiln, folder) = with_image(Who::Root)?;
        let expected = image_files(&kiln, "rootfs-app", &folder);
        for compression in ["none", "lz4"] {
            let disk = folder.join(format!("{compression}.erofs"));
            make(
                &kiln,
                &disk,
                &[&PLAIN[..], &["--compression", compression]].concat(),
            );
            let mounted = Mounted::new(&disk, "erofs", "ro");
            let found = mounted_files(&mounted, &folder);
            assert_eq!(expected.differences(&found, ["image", "disk"]), "");
        }
        Ok(())
    });
}

#[test]
fn everybody_gets_the_same_disk() {
    base::run("rootfs::everybody_gets_the_same_disk", || {
        let (root, folder) = with_image(Who::Root)?;
        let (user, for_user) = with_image(Who::User)?;
        let archive = for_user.join("app.tar");
        root.ok(&[
            "save",
            "--format",
            "oci",
            "-o",
            archive.to_str().unwrap(),
            "rootfs-app",
        ]);
        let digest = |kiln: &Kiln, disk: &Path, jobs: &str, image: &str| {
            let made = kiln.command().env("KILN_JOBS", jobs);
            let made = made.args(["rootfs", image, "--quiet", "-o"]).arg(disk);
            made.run().ok().text()
        };
        let from_archive = format!("oci-archive:{}", archive.display());
        let first = digest(&root, &folder.join("a.ext4"), "1", "rootfs-app");
        assert!(first.starts_with("sha256:"), "{first}");
        let again = digest(&root, &folder.join("b.ext4"), "4", "rootfs-app");
        let other = digest(&user, &for_user.join("c.ext4"), "2", &from_archive);
        assert_eq!([&again, &other], [&first, &first]);
        assert_eq!(
            fs::read(folder.join("a.ext4")).unwrap(),
            fs::read(for_user.join("c.ext4")).unwrap()
        );
        Ok(())
    });
}

#[test]
fn a_compressed_file_has_the_same_disk() {
    base::run("rootfs::a_compressed_file_has_the_same_disk", || {
        let (kiln, folder) = with_image(Who::Root)?;
        let plain = make(&kiln, &folder.join("plain.ext4"), &["rootfs-app"]);
        for (extension, program) in [("gz", "gzip"), ("zst", "zstd")] {
            testkit::find_program(program)?;
            let disk = folder.join(format!("packed.ext4.{extension}"));
            let packed = make(&kiln, &disk, &["rootfs-app"]);
            assert_eq!(packed["disk"]["digest"], plain["disk"]["digest"]);
            assert_ne!(packed["disk"]["file_digest"], plain["disk"]["digest"]);
            let unpacked = folder.join("unpacked");
            let unpack = format!("{program} -dc \"$0\" > \"$1\"");
            let shell = Program::new("sh").args(["-c", &unpack]);
            let _ = shell.arg(&disk).arg(&unpacked).run().ok();
            let same = Program::new("cmp").arg(&unpacked);
            let _ = same.arg(folder.join("plain.ext4")).run().ok();
        }
        Ok(())
    });
}

#[test]
fn commands_and_builderd_s_configuration() {
    base::run("rootfs::commands_and_builderd_s_configuration", || {
        for who in [Who::Root, Who::User] {
            let (kiln, folder) = with_image(who)?;
            let config = folder.join("build.json");
            let document = json!({"config": {
                "source": {"docker_image": {"image_uri": "rootfs-app"}},
                "target": {"microvm_rootfs": {"format": "ext4", "size_limit_bytes": 1 << 30}},
                "strategy": {"docker_strategy": {
                    "preserve_layers": false,
                    "custom_commands": ["rm -rf /usr/share", "echo made > /data/made"],
                }},
                "build_name": "first",
            }});
            fs::write(&config, document.to_string()).unwrap();
            let words = ["--config", config.to_str().unwrap()];
            let whole = make(&kiln, &folder.join("whole.ext4"), &["rootfs-app"]);
            let disk = folder.join("less.ext4");
            let made = make(&kiln, &disk, &words);
            assert_eq!(made["name"], "first");
            let bytes = |manifest: &Value| manifest["contents"]["bytes"].as_u64().unwrap();
            assert!(bytes(&made) < bytes(&whole), "{made}");
            // What commands change has the image's time, so they make the same disk again.
            let again = make(&kiln, &folder.join("again.ext4"), &words);
            assert_eq!(again["disk"]["digest"], made["disk"]["digest"]);
            let failing = ["rootfs-app", "--run", "echo no >&2; exit 7"];
            check_refused(&kiln, &folder, &failing, (2, "exit 7"));
            fs::write(&config, document.to_string().replace("format", "fromat")).unwrap();
            let place = "`config.target.microvm_rootfs.fromat` is no part of a configuration";
            check_refused(&kiln, &folder, &words, (5, place));
        }
        Ok(())
    });
}

#[test]
fn what_can_t_be_made_leaves_nothing() {
    base::run("rootfs::what_can_t_be_made_leaves_nothing", || {
        let (kiln, folder) = with_image(Who::Root)?;
        let refused = |words: &[&str], expected| check_refused(&kiln, &folder, words, expected);
        refused(&["rootfs-app", "--size-limit", "1MB"], (5, "--size-limit"));
        refused(&["no-such-image:1", "--uuid", "x"], (5, "no UUID"));
        refused(
            &["rootfs-app", "--label", "a name that is too long"],
            (5, "16 bytes"),
        );
        refused(
            &["rootfs-app", "--format", "erofs", "--journal"],
            (5, "has no journal"),
        );
        refused(&["rootfs-app", "--compression", "lz4"], (5, "LZ4"));
        refused(&["rootfs-app", "--init", "systemd"], (5, "no systemd"));
        refused(&["rootfs-app", "--init", "custom"], (5, "--init-path"));
        refused(
            &["rootfs-app", "--user", "nobody-knows"],
            (5, "nobody-knows"),
        );
        refused(&["rootfs-app", "--entrypoint", "/nope"], (5, "/nope"));
        let loader = ["rootfs-app", "--run", "rm /lib64/ld-linux-x86-64.so.2"];
        if cfg!(target_arch = "x86_64") {
            refused(&loader, (5, "ld-linux-x86-64.so.2"));
        }
        refused(
            &["rootfs-app", "--platform", "linux/s390x"],
            (3, "linux/s390x"),
        );
        let device = kiln.run(&["rootfs", "rootfs-app", "-o", "/dev/null"]);
        assert_eq!(device.code, Some(5), "{device}");
        Ok(())
    });
}

#[test]
fn an_init_is_added_and_files_are_removed() {
    base::run("rootfs::an_init_is_added_and_files_are_removed", || {
        Mounted::possible("ext4")?;
        let (kiln, folder) = with_image(Who::Root)?;
        let disk = folder.join("ready.ext4");
        let words = [
            "rootfs-app",
            "--optimise=balanced",
            "--harden",
            "--verity",
            "--env=SECRET=a b",
            "--hostname=box",
        ];
        let manifest = make(&kiln, &disk, &words);
        let line = manifest["kernel"]["command_line"].as_str().unwrap();
        let verified = "init=/usr/lib/kiln/init ro kiln.verity=";
        assert!(line.starts_with(verified), "{line}");
        let rules = manifest["changes"].as_array().unwrap();
        assert!(
            rules.iter().any(|rule| rule["rule"] == "documentation"),
            "{manifest}"
        );
        let verity = &manifest["disk"]["verity"];
        assert_eq!(verity["root_hash"].as_str().unwrap().len(), 64);
        let end = verity["offset"].as_u64().unwrap();
        assert!(end < fs::metadata(&disk).unwrap().len());
        let boot = &manifest["monitors"]["firecracker"]["boot-source"]["boot_args"];
        assert!(boot.as_str().unwrap().contains(line), "{boot}");
        assert!(!manifest.to_string().contains("a b"), "{manifest}");
        let mounted = Mounted::new(&disk, "ext4", "ro");
        assert!(mounted.path().join("usr/lib/kiln/init").exists());
        assert!(mounted.path().join("container.cmd").exists());
        let manuals = fs::read_dir(mounted.path().join("usr/share/man/man1"));
        assert_eq!(manuals.map_or(0, Iterator::count), 0);
        assert!(mounted.path().join("data/two").exists());
        Ok(())
    });
}

#[test]
fn an_image_for_another_machine_has_no_init() {
    base::run("rootfs::an_image_for_another_machine_has_no_init", || {
        let kiln = Kiln::new(Who::Root, "rootfs-foreign")?;
        let folder = Scratch::folder("rootfs-foreign");
        fs::write(
            folder.join("Dockerfile"),
            "FROM scratch\nCOPY Dockerfile /app\nCMD [\"/app\"]\n",
        )
        .unwrap();
        let foreign = ["build", "--platform", "linux/s390x", "-t", "foreign"];
        let _ = kiln.command().args(foreign).arg(&folder).run().ok();
        let image = ["foreign", "--platform", "linux/s390x"];
        check_refused(&kiln, &folder, &image, (5, "--init none"));
        let disk = folder.join("files.ext4");
        make(&kiln, &disk, &[&image[..], &["--init", "none"]].concat());
        fs::write(
            folder.join("Dockerfile"),
            "FROM scratch\nCOPY Dockerfile /app\n",
        )
        .unwrap();
        let silent = kiln.command().args(["build", "-t", "silent"]).arg(&folder);
        let _ = silent.run().ok();
        check_refused(&kiln, &folder, &["silent"], (5, "no command"));
        Ok(())
    });
}

#[test]
fn a_hostile_layer_makes_no_disk() {
    base::run("rootfs::a_hostile_layer_makes_no_disk", || {
        let kiln = Kiln::new(Who::Root, "rootfs-hostile")?;
        let folder = Scratch::folder("rootfs-hostile");
        let layers = [
            ("up", vec![Member::File("../../../../outside", b"x")]),
            (
                "through",
                vec![Member::Link("way", "/tmp"), Member::File("way/file", b"x")],
            ),
        ];
        for (name, members) in layers {
            let archive = folder.join(format!("{name}.tar"));
            fs::write(&archive, craft_image(name, &craft_tar(&members))).unwrap();
            let image = format!("docker-archive:{}", archive.display());
            check_refused(&kiln, &folder, &[&image], (3, "unpack"));
        }
        Ok(())
    });
}

/// Starts a disk that is written for seconds, and gives the process and its file's place when that
/// is there: without a name, or under another one where the file system has no such files.
fn begin(kiln: &Kiln, folder: &Path) -> (std::process::Child, String) {
    let log = folder.join("stop.log");
    let made = kiln.command().arg("rootfs").args(PLAIN).arg("-o");
    let mut running = made.arg(folder.join("stopped.squashfs")).start(&log);
    let open = format!("/proc/{}/fd", running.id());
    while running.try_wait().unwrap().is_none() {
        let links = fs::read_dir(&open).into_iter().flatten().flatten();
        let mut links = links.filter_map(|fd| fs::read_link(fd.path()).ok());
        if let Some(file) = links.find(|file| file.starts_with(folder) && *file != log) {
            return (running, file.to_string_lossy().into_owned());
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("it ended: {}", fs::read_to_string(&log).unwrap());
}

#[test]
fn stopping_leaves_nothing() {
    base::run("rootfs::stopping_leaves_nothing", || {
        let (kiln, folder) = with_image(Who::Root)?;
        let (mut running, _) = begin(&kiln, &folder);
        let id = running.id().to_string();
        let _ = Program::new("kill").args(["-INT", &id]).run();
        let ended = running.wait().unwrap();
        let log = fs::read_to_string(folder.join("stop.log")).unwrap();
        assert_eq!(ended.code(), Some(8), "{log}");
        check_nothing_left(&folder, "stopped");
        Ok(())
    });
}

#[test]
fn what_ends_kiln_at_once_leaves_nothing_either() {
    base::run(
        "rootfs::what_ends_kiln_at_once_leaves_nothing_either",
        || {
            let (kiln, folder) = with_image(Who::Root)?;
            let (mut running, file) = begin(&kiln, &folder);
            running.kill().unwrap();
            running.wait().unwrap();
            // The kernel's words for what has no name.
            if !file.ends_with(" (deleted)") {
                return Err(Absent(
                    "a file system that has files without names".to_owned(),
                ));
            }
            check_nothing_left(&folder, "stopped");
            Ok(())
        },
    );
}

#[test]
fn a_missing_folder_is_named_and_not_kilns_own_file() {
    base::run(
        "rootfs::a_missing_folder_is_named_and_not_kilns_own_file",
        || {
            let kiln = base::with_base(Who::Root)?;
            let folder = Scratch::folder("rootfs-missing");
            let disk = folder.join("missing/disk.ext4");
            // An image that is nowhere: nothing is looked for before.
            let made = kiln.command().args(["rootfs", "no-such-image", "-o"]);
            let made = made.arg(&disk).run();
            assert_eq!(made.code, Some(5), "{made}");
            let said = made.to_string();
            let named = format!("could not write `{}`: there is no folder", disk.display());
            assert!(said.contains(&named) && said.contains("mkdir -p"), "{said}");
            assert!(!said.contains(".kiln-"), "{said}");
            Ok(())
        },
    );
}
