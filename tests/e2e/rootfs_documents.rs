//! What comes with a disk: bills of materials and signatures that other programs accept.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testkit::{Kiln, Program, Scratch, Who};

use crate::base::{self, BASE};
use crate::rootfs::{check_refused, make};

/// An image that needs no unpacking anew, and a program in it.
const IMAGE: [&str; 3] = [BASE, "--cmd", "true"];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_bill_lists_what_is_on_the_disk() {
    base::run("rootfs_documents::a_bill_lists_what_is_on_the_disk", || {
        let kiln = base::with_base(Who::Root)?;
        let folder = Scratch::folder("rootfs-bill");
        let remove = "dpkg --purge --force-all hostname && rm -rf /var/log/* /var/cache/*";
        let words = [
            "--run",
            remove,
            "--sbom",
            "--sbom=cyclonedx,dest=other.json",
        ];
        let words = [&IMAGE[..], &words].concat();
        let make = |name: &str| {
            let made = kiln.command().cwd(&folder).arg("rootfs").args(&words);
            let made = made.args(["--json", "-o", name]).run().ok();
            made.json()
        };
        let manifest = make("disk.ext4");
        let bill = json(&folder.join("disk.ext4.spdx.json"));
        let packages = bill["packages"].as_array().unwrap();
        let has = |name: &str| packages.iter().any(|package| package["name"] == name);
        assert!(
            has("dpkg") && has("kiln-init") && !has("hostname"),
            "{bill}"
        );
        let digest = manifest["disk"]["digest"].as_str().unwrap();
        let hex = digest.trim_start_matches("sha256:");
        assert_eq!(packages[0]["checksums"][0]["checksumValue"], hex);
        let other = json(&folder.join("other.json"));
        let components = other["components"].as_array().unwrap();
        // The first of SPDX's packages is the disk itself.
        assert_eq!(components.len() + 1, packages.len());
        for (named, file) in [(0, "disk.ext4.spdx.json"), (1, "other.json")] {
            let named = &manifest["sboms"][named];
            assert_eq!(named["file"], file);
            let sum = Program::new("sha256sum").arg(folder.join(file)).run().ok();
            let digest = named["digest"]
                .as_str()
                .unwrap()
                .trim_start_matches("sha256:");
            assert!(sum.text().starts_with(digest), "{manifest}");
        }
        let before = fs::read(folder.join("disk.ext4.spdx.json")).unwrap();
        make("disk.ext4");
        assert_eq!(
            fs::read(folder.join("disk.ext4.spdx.json")).unwrap(),
            before
        );
        Ok(())
    });
}

/// Only where the validator of SPDX's own project is installed; it is no Debian package.
#[test]
fn a_bill_is_valid() {
    base::run("rootfs_documents::a_bill_is_valid", || {
        let validator = testkit::find_program("pyspdxtools")?;
        let kiln = base::with_base(Who::Root)?;
        let folder = Scratch::folder("rootfs-valid");
        let disk = folder.join("disk.ext4");
        make(&kiln, &disk, &[&IMAGE[..], &["--sbom"]].concat());
        let bill = folder.join("disk.ext4.spdx.json");
        let _ = Program::new(validator).arg("-i").arg(bill).run().ok();
        Ok(())
    });
}

#[track_caller]
fn verify(kiln: &Kiln, disk: &Path, key: &Path, (code, text): (i32, &str)) {
    let checked = kiln.command().args(["rootfs", "verify"]).arg(disk);
    let checked = checked.arg("--key").arg(key).run();
    assert_eq!(checked.code, Some(code), "{checked}");
    assert!(checked.to_string().contains(text), "{checked}");
}

/// What `docs/rootfs.md` says to do with a signature where there is no kiln.
const BY_OPENSSL: &str = r#"
jq -r .payload "$1" | base64 -d > statement
{ printf 'DSSEv1 28 application/vnd.in-toto+json %s ' "$(stat -c %s statement)"; cat statement; } > message
jq -r '.signatures[0].sig' "$1" | base64 -d > signature
case $2 in
  ed25519*) openssl pkeyutl -verify -pubin -inkey "$2" -rawin -in message -sigfile signature ;;
  *) openssl dgst -sha256 -verify "$2" -signature signature message ;;
esac
"#;

/// Two pairs of keys, each with `.pub` for the public one.
fn make_keys(openssl: &Path, folder: &Path) {
    let curve = "ec_paramgen_curve:P-256";
    for (name, words) in [
        ("ed25519", &["-algorithm", "ed25519"][..]),
        ("p256", &["-algorithm", "EC", "-pkeyopt", curve]),
    ] {
        let made = Program::new(openssl).cwd(folder).arg("genpkey");
        let _ = made.args(words).args(["-out", name]).run().ok();
        let public = format!("{name}.pub");
        let words = ["pkey", "-in", name, "-pubout", "-out", &public];
        let _ = Program::new(openssl).cwd(folder).args(words).run().ok();
    }
}

#[test]
fn a_signature_holds_for_one_disk_and_one_key() {
    base::run(
        "rootfs_documents::a_signature_holds_for_one_disk_and_one_key",
        || {
            let openssl = testkit::find_program("openssl")?;
            testkit::find_program("jq")?;
            let kiln = base::with_base(Who::Root)?;
            let folder = Scratch::folder("rootfs-signed");
            make_keys(&openssl, &folder);
            let (disk, key) = (folder.join("disk.ext4"), folder.join("ed25519.pub"));
            for name in ["p256", "ed25519"] {
                let private = fs::read_to_string(folder.join(name)).unwrap();
                let made = kiln
                    .command()
                    .env("SIGNING_KEY", &private)
                    .arg("rootfs")
                    .args(IMAGE);
                let made = made.args(["--sign", "env:SIGNING_KEY", "-o"]).arg(&disk);
                let told = made.run().ok().to_string();
                let body = private.lines().nth(1).unwrap();
                assert!(!told.contains(body), "{told}");
                let public = format!("{name}.pub");
                verify(
                    &kiln,
                    &disk,
                    &folder.join(&public),
                    (0, "disk.ext4.json: as it was signed"),
                );
                let shell = Program::new("sh").cwd(&folder).args([
                    "-euc",
                    BY_OPENSSL,
                    "sh",
                    "disk.ext4.sig",
                ]);
                let _ = shell.arg(public).run().ok();
            }
            verify(
                &kiln,
                &disk,
                &folder.join("p256.pub"),
                (9, "not signed by this key"),
            );
            verify(&kiln, &disk, &folder.join("ed25519"), (5, "-pubout"));
            let manifest = fs::read(folder.join("disk.ext4.json")).unwrap();
            fs::write(folder.join("disk.ext4.json"), b"{}").unwrap();
            verify(
                &kiln,
                &disk,
                &key,
                (9, "disk.ext4.json` is not what was signed"),
            );
            fs::remove_file(folder.join("disk.ext4.json")).unwrap();
            verify(
                &kiln,
                &disk,
                &key,
                (0, "disk.ext4.json: signed, and not there"),
            );
            fs::write(folder.join("disk.ext4.json"), manifest).unwrap();
            let mut bytes = fs::read(&disk).unwrap();
            bytes[5000] ^= 1;
            fs::write(&disk, bytes).unwrap();
            verify(&kiln, &disk, &key, (9, "disk.ext4` is not what was signed"));
            for (key, message) in [
                ("env:NOT_SET", "`NOT_SET` is not set"),
                ("/etc/hostname", "PEM"),
            ] {
                let words = [&IMAGE[..], &["--sign", key]].concat();
                check_refused(&kiln, &folder, &words, (5, message));
            }
            Ok(())
        },
    );
}

#[test]
fn a_signature_is_of_the_initial_file_system_too() {
    base::run(
        "rootfs_documents::a_signature_is_of_the_initial_file_system_too",
        || {
            let openssl = testkit::find_program("openssl")?;
            let kiln = base::with_base(Who::Root)?;
            let folder = Scratch::folder("rootfs-signed-initrd");
            make_keys(&openssl, &folder);
            // Of a kernel that has no modules nothing is needed.
            fs::write(folder.join("kernel"), b"no header").unwrap();
            let made = |initrd: &str| {
                let made = kiln.command().cwd(&folder).arg("rootfs").args(IMAGE);
                let made = made.args(["--sign", "ed25519", "--kernel", "kernel"]);
                made.args(["--initrd", initrd, "-o", "disk.ext4"]).run()
            };
            for taken in ["disk.ext4", "disk.ext4.sig", "kernel"] {
                let made = made(taken);
                assert_eq!(made.code, Some(5), "{made}");
                assert!(made.to_string().contains("can't be two files"), "{made}");
            }
            let _ = made("initrd.img").ok();
            let (disk, key) = (folder.join("disk.ext4"), folder.join("ed25519.pub"));
            verify(&kiln, &disk, &key, (0, "initrd.img: as it was signed"));
            let initrd = folder.join("initrd.img");
            let mut bytes = fs::read(&initrd).unwrap();
            bytes[100] ^= 1;
            fs::write(&initrd, bytes).unwrap();
            let changed = "initrd.img` is not what was signed";
            verify(&kiln, &disk, &key, (9, changed));
            fs::remove_file(&initrd).unwrap();
            verify(&kiln, &disk, &key, (0, "initrd.img: signed, and not there"));
            Ok(())
        },
    );
}
