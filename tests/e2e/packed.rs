//! A copy whose files nobody reads is kept as a blob alone, and nobody can tell.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use testkit::{Absent, Finished, Kiln, Scratch, Who, find_program, make_tree};

use crate::base;

/// The last copy goes through a link, over files of a lower layer, and holds what a layer can hold.
const DOCKERFILE: &str = "
FROM scratch AS base
COPY busybox /bin/busybox
COPY old /usr/
COPY top /
FROM base
COPY new /link/
";

struct Test {
    kiln: Kiln,
    folder: PathBuf,
}

impl Test {
    fn new(who: Who, name: &str) -> Result<Self, Absent> {
        let busybox = find_program("busybox")?;
        let name = format!("packed-{name}-{}", who.name());
        let kiln = Kiln::new(who, &name)?;
        let folder = Scratch::folder(&name);
        make_tree(
            &folder,
            "
            old/share/same 0644 the same
            old/share/zeros 0644 0000
            old/share/other 0644 old
            new/share/same 0644 the same
            new/share/other 0644 newer
            new/share/empty 0644
            new/share/set 4755 set-id
            new/deep/er/file 0644 deep
            ",
        );
        fs::create_dir(folder.join("top")).unwrap();
        symlink("usr", folder.join("top/link")).unwrap();
        symlink("share/other", folder.join("new/points")).unwrap();
        fs::hard_link(folder.join("new/deep/er/file"), folder.join("new/again")).unwrap();
        // More than the packer takes at one time, and no two parts the same.
        let large: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(folder.join("new/large"), large).unwrap();
        // As `make`, whose comparisons of times are to hold.
        for (path, seconds) in [
            ("old/share/same", 1_000_000_000),
            ("new/share/same", 1_000_000_000),
            ("new/large", 1_500_000_000),
        ] {
            let file = fs::File::options().write(true).open(folder.join(path));
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.unwrap().set_modified(time).unwrap();
        }
        fs::copy(busybox, folder.join("busybox")).unwrap();
        let results = folder.join("results");
        fs::create_dir(&results).unwrap();
        fs::set_permissions(&results, fs::Permissions::from_mode(0o777)).unwrap();
        Ok(Self { kiln, folder })
    }

    fn try_build(&self, dockerfile: &str, arguments: &[&str]) -> Finished {
        fs::write(self.folder.join("Dockerfile"), dockerfile).unwrap();
        let command = self.kiln.command().cwd(&self.folder).arg("build");
        command.args(arguments).arg(".").run()
    }

    #[track_caller]
    fn build(&self, dockerfile: &str, arguments: &[&str]) -> Finished {
        self.try_build(dockerfile, arguments).ok()
    }

    /// The digest of an image's last layer. Others have the times at which directories were made.
    fn layer(&self, image: &str) -> String {
        let manifest = self.kiln.run(&["inspect", "--manifest", image]).ok();
        let manifest = manifest.json();
        let layers = manifest["layers"].as_array().unwrap();
        layers.last().unwrap()["digest"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// How many snapshots have no files.
    fn packed(&self) -> usize {
        let snapshots = fs::read_dir(self.kiln.store().join("snapshots")).unwrap();
        snapshots
            .filter(|entry| !entry.as_ref().unwrap().path().join("fs").exists())
            .count()
    }
}

fn check(name: &'static str, test: fn(&Test)) {
    base::run(&format!("packed::{name}"), || {
        for who in [Who::Root, Who::User] {
            test(&Test::new(who, name)?);
        }
        Ok(())
    });
}

#[test]
fn the_layer_is_the_same() {
    check("the_layer_is_the_same", |test| {
        // Files for the second output are read, so there the copy is kept as files.
        let files = [
            "-t",
            "files",
            "-o",
            "type=image",
            "-o",
            "type=tar,dest=results/out.tar",
        ];
        let _ = test.build(DOCKERFILE, &files);
        assert_eq!(test.packed(), 0);
        let _ = test.build(DOCKERFILE, &["-t", "packed", "--no-cache"]);
        assert_eq!(test.packed(), 1);
        assert_eq!(test.layer("files"), test.layer("packed"));
    });
}

#[test]
fn a_step_on_top_finds_the_files() {
    check("a_step_on_top_finds_the_files", |test| {
        let _ = test.build(DOCKERFILE, &["-t", "first"]);
        assert_eq!(test.packed(), 1);
        let more = format!(
            "{DOCKERFILE}RUN [\"/bin/busybox\", \"sh\", \"-c\", \"cd /usr && \
             busybox cat points deep/er/file share/set && busybox ls -l share/set large again && \
             busybox md5sum large && busybox stat -c %Y large\"]\n"
        );
        let run = test.build(&more, &["--progress=plain"]);
        for part in ["newer", "deep", "set-id", "-rwsr-xr-x", "1500000000"] {
            assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
        }
        assert_eq!(test.packed(), 0);
        // The same image, from files that came out of the blob.
        let zstd = ["-t", "zstd", "-o", "type=image,compression=zstd"];
        let _ = test.build(DOCKERFILE, &zstd);
        let unpacked = test.layer("zstd");
        let _ = test.build(DOCKERFILE, &[&zstd[..], &["--no-cache"]].concat());
        assert_eq!(test.layer("zstd"), unpacked);
    });
}

#[test]
fn another_output_gets_the_files() {
    check("another_output_gets_the_files", |test| {
        let _ = test.build(DOCKERFILE, &["-t", "image"]);
        assert_eq!(test.packed(), 1);
        let _ = test.build(DOCKERFILE, &["-o", "type=local,dest=results/out"]);
        assert_eq!(test.packed(), 0);
        let out = test.folder.join("results/out/usr");
        for file in ["large", "share/other", "share/empty", "deep/er/file"] {
            let copied = fs::read(out.join(file)).unwrap();
            assert!(
                copied == fs::read(test.folder.join("new").join(file)).unwrap(),
                "{file}"
            );
        }
        let cat = test.kiln.ok(&[
            "run",
            "--rm",
            "image",
            "/bin/busybox",
            "cat",
            "/usr/share/other",
        ]);
        assert_eq!(cat, "newer\n");
    });
}

#[test]
fn a_linked_copy_is_packed_as_well() {
    check("a_linked_copy_is_packed_as_well", |test| {
        let linked = DOCKERFILE.replace("COPY new /link", "COPY --link new /opt");
        let _ = test.build(&linked, &["-t", "linked"]);
        // That, and the copy before it, which is not read for the sake of a linked one.
        assert_eq!(test.packed(), 2);
        let again = test.build(&linked, &["-t", "linked", "--progress=plain"]);
        assert_eq!(
            again.stderr.matches("CACHED").count(),
            4,
            "{}",
            again.stderr
        );
        let cat = ["/bin/busybox", "cat", "/opt/points"];
        let cat = test
            .kiln
            .ok(&[&["run", "--rm", "linked"], &cat[..]].concat());
        assert_eq!(cat, "newer\n");
    });
}

#[test]
fn a_result_whose_blob_is_gone_is_made_again() {
    check("a_result_whose_blob_is_gone_is_made_again", |test| {
        let _ = test.build(DOCKERFILE, &["-t", "image"]);
        let digest = test.layer("image");
        let blob = test
            .kiln
            .store()
            .join("blobs")
            .join(digest.replace(':', "/"));
        fs::remove_file(blob).unwrap();
        let files = ["-o", "type=local,dest=results/out"];
        let _ = test.build(DOCKERFILE, &files);
        assert!(test.folder.join("results/out/usr/large").exists());
    });
}
