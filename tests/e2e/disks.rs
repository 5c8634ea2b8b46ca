//! Disks that exist: `kiln rootfs inspect`, `diff`, `extract` and `mount`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Absent, FlatImage, Kiln, Program, Who, find_program};

use crate::base;
use crate::rootfs::{PLAIN, image_files, make, with_image, without_config};

/// A disk of the image with these words.
fn disk(kiln: &Kiln, folder: &Path, name: &str, words: &[&str]) -> (PathBuf, Value) {
    let disk = folder.join(name);
    let manifest = make(kiln, &disk, &[&PLAIN[..], words].concat());
    (disk, manifest)
}

/// What `kiln rootfs` prints with these words.
#[track_caller]
fn rootfs(kiln: &Kiln, words: &[&str], disks: &[&Path]) -> testkit::Finished {
    let command = kiln.command().arg("rootfs").args(words);
    command.args(disks).run()
}

/// The files of a directory, read by another program than kiln.
fn directory_files(directory: &Path, archive: &Path) -> FlatImage {
    let names = fs::read_dir(directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name());
    let names = names.filter(|name| name != "lost+found");
    let tar = Program::new("tar").args(["--numeric-owner", "-C"]);
    let tar = tar.arg(directory).arg("-cf").arg(archive).args(names);
    let _ = tar.run().ok();
    archive_files(archive)
}

fn archive_files(archive: &Path) -> FlatImage {
    let bytes = fs::read(archive).unwrap();
    fs::remove_file(archive).unwrap();
    without_config(&testkit::craft_image("disk", &bytes))
}

#[test]
fn a_disk_says_what_it_is() {
    base::run("disks::a_disk_says_what_it_is", || {
        let (kiln, folder) = with_image(Who::Root)?;
        let words = ["--label", "app", "--verity"];
        let (ext4, manifest) = disk(&kiln, &folder, "facts.ext4", &words);
        let inspect = |words: &[&str]| {
            let words = [&["inspect", "--json"][..], words].concat();
            rootfs(&kiln, &words, &[&ext4])
        };
        let found = inspect(&["--check"]).ok().json();
        let disk = &manifest["disk"];
        for field in ["format", "size", "uuid", "label"] {
            let size = &disk["verity"]["offset"];
            let expected = if field == "size" { size } else { &disk[field] };
            assert_eq!(&found[field], expected, "{field}");
        }
        for field in ["root_hash", "salt", "offset"] {
            assert_eq!(found["verity"][field], disk["verity"][field], "{field}");
        }
        // The disk also has `lost+found`.
        assert_eq!(found["contents"]["bytes"], manifest["contents"]["bytes"]);
        assert_eq!(found["contents"]["files"], manifest["contents"]["files"]);
        assert_eq!(found["manifest"], manifest);
        let text = rootfs(&kiln, &["inspect"], &[&ext4]).ok().text();
        assert!(text.starts_with("Format:      ext4\n"), "{text}");
        assert!(text.contains("rootfs-app"), "{text}");
        let list = |path: &str| rootfs(&kiln, &["inspect"], &[&ext4, Path::new(path)]);
        let listing = list("/data").ok().text();
        assert!(listing.contains("-rwsr-x--- 1 1000 1001"), "{listing}");
        assert!(listing.contains("link -> one"), "{listing}");
        let missing = list("/data/nothing");
        assert_eq!(missing.code, Some(5), "{missing}");
        let mut bytes = fs::read(&ext4).unwrap();
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        fs::write(&ext4, bytes).unwrap();
        let changed = inspect(&["--check"]);
        assert_eq!(changed.code, Some(1), "{changed}");
        fs::write(folder.join("none"), b"no disk at all").unwrap();
        let none = rootfs(&kiln, &["inspect"], &[&folder.join("none")]);
        assert_eq!(none.code, Some(5), "{none}");
        Ok(())
    });
}

#[test]
fn disks_of_one_image_have_the_same_files() {
    base::run("disks::disks_of_one_image_have_the_same_files", || {
        let (kiln, folder) = with_image(Who::Root)?;
        let (ext4, _) = disk(&kiln, &folder, "one.ext4", &[]);
        let (erofs, _) = disk(&kiln, &folder, "one.erofs", &["--compression", "lz4"]);
        let (squashfs, _) = disk(&kiln, &folder, "one.squashfs", &[]);
        let (cpio, _) = disk(&kiln, &folder, "one.cpio.zst", &[]);
        for other in [&erofs, &squashfs, &cpio] {
            let same = rootfs(&kiln, &["diff"], &[&ext4, other]).ok();
            assert_eq!(same.text(), "The disks have the same files.\n");
        }
        let words = ["--exclude", "data/three", "--exclude", "etc/skeleton"];
        let (less, _) = disk(&kiln, &folder, "less.erofs", &words);
        let words = ["diff", "--json", "--ignore-times"];
        let differ = rootfs(&kiln, &words, &[&squashfs, &less]);
        assert_eq!(differ.code, Some(9), "{differ}");
        let files = differ.json()["files"].clone();
        let paths: Vec<&str> = files
            .as_array()
            .unwrap()
            .iter()
            .map(|file| {
                assert_eq!(file["change"], "removed");
                file["path"].as_str().unwrap()
            })
            .collect();
        assert!(paths.contains(&"/data/three"), "{paths:?}");
        let others = |path: &&str| !path.starts_with("/etc/skeleton") && *path != "/data/three";
        assert!(!paths.iter().any(others), "{paths:?}");
        Ok(())
    });
}

#[test]
fn what_is_extracted_is_the_image() {
    base::run("disks::what_is_extracted_is_the_image", || {
        let (kiln, folder) = with_image(Who::Root)?;
        let expected = image_files(&kiln, "rootfs-app", &folder);
        let archive = folder.join("disk.tar");
        for name in ["whole.ext4", "whole.squashfs"] {
            let (disk, _) = disk(&kiln, &folder, name, &[]);
            let into = folder.join(format!("{name}.d"));
            let words = ["extract", "-o", into.to_str().unwrap()];
            let _ = rootfs(&kiln, &words, &[&disk]).ok();
            let found = directory_files(&into, &archive);
            assert_eq!(expected.differences(&found, ["image", "directory"]), "");
            let again = rootfs(&kiln, &words, &[&disk]);
            assert_eq!(again.code, Some(5), "{again}");
            let words = ["extract", "-o", archive.to_str().unwrap()];
            let _ = rootfs(&kiln, &words, &[&disk]).ok();
            let mut found = archive_files(&archive);
            found
                .files
                .retain(|path, _| !path.starts_with("lost+found"));
            assert_eq!(expected.differences(&found, ["image", "archive"]), "");
            let words = ["extract", "-o", "-"];
            let one = rootfs(&kiln, &words, &[&disk, Path::new("/data/three")]);
            assert_eq!(one.ok().text(), "three\n");
        }
        Ok(())
    });
}

#[test]
fn a_user_gets_files_of_their_own() {
    base::run("disks::a_user_gets_files_of_their_own", || {
        let (kiln, folder) = with_image(Who::User)?;
        let (disk, _) = disk(&kiln, &folder, "mine.ext4", &[]);
        let into = folder.join("mine");
        let words = ["extract", "-o", into.to_str().unwrap()];
        let taken = rootfs(&kiln, &words, &[&disk]).ok();
        assert!(taken.stderr.contains("not kept: the owner of"), "{taken}");
        let three = fs::symlink_metadata(into.join("data/three")).unwrap();
        // Set-id bits would be the user's.
        assert_eq!(three.mode() & 0o7777, 0o750);
        assert_eq!(three.uid(), fs::metadata(&into).unwrap().uid());
        let sparse = fs::metadata(into.join("data/sparse")).unwrap();
        assert!(sparse.blocks() * 512 < sparse.size(), "{sparse:?}");
        Ok(())
    });
}

/// kiln while it has a disk mounted.
struct Serving {
    child: Child,
    directory: PathBuf,
}

impl Serving {
    fn start(kiln: &Kiln, disk: &Path, directory: &Path) -> Result<Self, Absent> {
        if fs::File::open("/dev/fuse").is_err() {
            return Err(Absent("there is no FUSE".to_owned()));
        }
        fs::create_dir(directory).unwrap();
        base::open_to_all(&[directory]);
        let log = directory.with_extension("log");
        let command = kiln.command().args(["rootfs", "mount"]).arg(disk);
        let child = command.arg(directory).start(&log);
        let mut serving = Self {
            child,
            directory: directory.to_owned(),
        };
        let end = Instant::now() + Duration::from_mins(1);
        while !serving.is_mounted() {
            let ended = serving.child.try_wait().unwrap();
            let log = fs::read_to_string(&log).unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{log}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(serving)
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        mounts.contains(&format!(" {} fuse", self.directory.display()))
    }

    /// Waits for the end, which has to be a good one.
    #[track_caller]
    fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
        assert!(!self.is_mounted());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.is_mounted() {
            let _ = Program::new("umount").arg("-l").arg(&self.directory).run();
        }
    }
}

#[test]
fn what_is_mounted_is_the_image() {
    base::run("disks::what_is_mounted_is_the_image", || {
        let (kiln, folder) = with_image(Who::Root)?;
        let expected = image_files(&kiln, "rootfs-app", &folder);
        let archive = folder.join("fuse.tar");
        let (disk, _) = disk(&kiln, &folder, "served.erofs", &["--compression", "lz4"]);
        let serving = Serving::start(&kiln, &disk, &folder.join("served"))?;
        let found = directory_files(&serving.directory, &archive);
        assert_eq!(expected.differences(&found, ["image", "mounted"]), "");
        assert!(fs::write(serving.directory.join("new"), b"x").is_err());
        let id = serving.child.id().to_string();
        let _ = Program::new("kill").args(["-TERM", &id]).run().ok();
        serving.end();
        Ok(())
    });
}

#[test]
fn a_user_mounts_and_unmounts() {
    base::run("disks::a_user_mounts_and_unmounts", || {
        find_program("fusermount3")?;
        let (kiln, folder) = with_image(Who::User)?;
        let (disk, _) = disk(&kiln, &folder, "mine.squashfs", &[]);
        let serving = Serving::start(&kiln, &disk, &folder.join("of-user"))?;
        let _ = Program::new("umount").arg(&serving.directory).run().ok();
        serving.end();
        Ok(())
    });
}
