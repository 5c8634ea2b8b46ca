//! Disks whose drivers are modules of the kernel, and disks that are verified: they boot with the
//! initial file system that kiln makes, and what was changed behind kiln's back does not.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{Absent, Finished, Kiln, Program, Scratch, Who, find_program};

use crate::{base, boots};

const DOCKERFILE: &str = "\
FROM scratch
COPY busybox /bin/busybox
WORKDIR /srv/app
ENV GREETING=\"hello module\"
USER 1000:1001
ENTRYPOINT [\"/bin/busybox\", \"sh\", \"-c\"]
CMD [\"echo $GREETING > /tmp/file && busybox cat /tmp/file; busybox pwd; exit 12\"]
";

/// A disk of this format boots with the modules that it needs, and can be written to in memory.
#[track_caller]
fn check_boots(test: &str, extension: &str, (words, modules): (&[&str], &[&str])) {
    base::run(test, || {
        let booted = boots::boot_as(
            &boots::Image {
                dockerfile: DOCKERFILE,
                files: &[],
                words: &[&["--verify=boot,exit=12"], words].concat(),
            },
            extension,
        )?;
        boots::check(&booted, &["hello module", "/srv/app"], [1000, 1001], 12);
        let features = booted.manifest["kernel"]["features"].to_string();
        for module in modules {
            assert!(features.contains(module), "{features}");
        }
        Ok(())
    });
}

#[test]
fn an_erofs_boots() {
    let words = ["--compression=lz4"];
    let modules = ["EROFS_FS_ZIP", "OVERLAY_FS"];
    check_boots("initrds::an_erofs_boots", "erofs", (&words, &modules));
}

#[test]
fn a_squashfs_boots() {
    let modules = ["SQUASHFS_ZSTD", "OVERLAY_FS"];
    check_boots("initrds::a_squashfs_boots", "squashfs", (&[], &modules));
}

/// A disk that is verified, with its initial file system, in a folder.
struct Verified {
    folder: PathBuf,
    manifest: Value,
}

fn verified() -> Result<Verified, Absent> {
    find_program("busybox")?;
    boots::find_machine()?;
    let kiln = Kiln::new(Who::Root, "verified")?;
    let folder = Scratch::folder("verified");
    fs::copy("/bin/busybox", folder.join("busybox")).unwrap();
    let dockerfile = "\
FROM scratch
COPY busybox /bin/busybox
ENV GREETING=\"hello verity\"
ENTRYPOINT [\"/bin/busybox\", \"sh\", \"-c\"]
CMD [\"echo $GREETING on $(busybox cat /sys/block/dm-0/dm/name); exit 4\"]
";
    fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    let _ = kiln
        .command()
        .args(["build", "-q", "-t", "verified"])
        .arg(&folder)
        .run()
        .ok();
    let made = kiln
        .command()
        .args(["rootfs", "verified", "--json", "--verity"]);
    let made = made
        .arg(boots::PATIENCE)
        .args(["--verify=boot,exit=4", "--initrd"]);
    let made = made
        .arg(folder.join("initrd.img"))
        .arg("-o")
        .arg(folder.join("disk.ext4"));
    let manifest = made.run().ok().json();
    Ok(Verified { folder, manifest })
}

/// Starts a disk as its manifest says, but for what this machine may lack.
fn start(disk: &Verified, change: impl Fn(&[String]) -> Vec<String>) -> Finished {
    let words = disk.manifest["monitors"]["qemu"].as_array().unwrap();
    let kernel = disk.manifest["boot"]["kernel"].as_str().unwrap();
    let words = words.iter().map(|word| match word.as_str().unwrap() {
        "kvm" => "tcg",
        "host" => "max",
        "vmlinux" => kernel,
        other => other,
    });
    let words: Vec<String> = words.map(str::to_owned).collect();
    let words = change(&words);
    Program::new("timeout")
        .arg("300")
        .args(words)
        .cwd(&disk.folder)
        .run()
}

/// Without its initial file system.
fn without_initrd(words: &[String]) -> Vec<String> {
    let at = words.iter().position(|word| word == "-initrd").unwrap();
    [&words[..at], &words[at + 2..]].concat()
}

/// Changes one bit of the first place where a disk has this.
fn flip(disk: &Path, text: &str) {
    let mut bytes = fs::read(disk).unwrap();
    let mut places = bytes.windows(text.len());
    let at = places.position(|part| part == text.as_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(disk, bytes).unwrap();
}

#[test]
fn a_verified_disk_boots_and_a_changed_one_does_not() {
    base::run(
        "initrds::a_verified_disk_boots_and_a_changed_one_does_not",
        || {
            let disk = verified()?;
            let kernel = &disk.manifest["kernel"];
            let modules = kernel["initrd"]["modules"].to_string();
            assert!(modules.contains("dm-verity.ko"), "{modules}");
            assert_eq!(kernel["initrd"]["file"], "initrd.img");
            assert_eq!(
                disk.manifest["monitors"]["firecracker"]["boot-source"]["initrd_path"],
                "initrd.img"
            );

            let good = start(&disk, <[String]>::to_vec).text();
            assert!(good.contains("hello verity on kiln-root"), "{good}");
            assert!(good.contains("kiln-init: exit {\"code\":4}"), "{good}");

            // Nobody looks whether it is verified, so it is not used.
            let alone = start(&disk, without_initrd).text();
            assert!(
                alone.contains("the root verified, and it is not"),
                "{alone}"
            );
            assert!(!alone.contains("kiln-init: ready"), "{alone}");

            flip(&disk.folder.join("disk.ext4"), "\"GREETING=hello");
            let bad = start(&disk, <[String]>::to_vec).text();
            assert!(bad.contains("is corrupted"), "{bad}");
            assert!(bad.contains("kiln-init: failed"), "{bad}");
            assert!(!bad.contains("kiln-init: ready"), "{bad}");
            Ok(())
        },
    );
}
