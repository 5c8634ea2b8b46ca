//! What becomes of a result: every way of writing an image, files, attestations.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{Absent, Finished, Kiln, Program, Registry, Scratch, Who, find_program};

use crate::base;

const BOTH: &str = "--platform=linux/amd64,linux/arm64";

const DOCKERFILE: &str = "FROM scratch\nARG TARGETARCH\nCOPY one /$TARGETARCH\nCOPY one /all\n";

/// kiln with a store of its own, and a context whose Dockerfile needs nothing to run.
struct Test {
    kiln: Kiln,
    folder: PathBuf,
}

impl Test {
    fn new(name: &str) -> Result<Self, Absent> {
        let name = format!("outputs-{name}");
        let kiln = Kiln::new(Who::Root, &name)?;
        let folder = Scratch::folder(&name);
        fs::create_dir_all(folder.join("context")).unwrap();
        let test = Self { kiln, folder };
        test.write("Dockerfile", DOCKERFILE);
        test.write("one", &"a line of text\n".repeat(1000));
        Ok(test)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join("context").join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn try_build(&self, arguments: &[&str]) -> Finished {
        self.kiln
            .command()
            .cwd(&self.folder)
            .arg("build")
            .args(arguments)
            .arg("context")
            .run()
    }

    #[track_caller]
    fn build(&self, arguments: &[&str]) {
        let _ = self.try_build(arguments).ok();
    }

    /// A document of a layout, by its descriptor.
    fn blob(&self, layout: &str, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().unwrap();
        let path = self
            .path(layout)
            .join("blobs")
            .join(digest.replace(':', "/"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// The only entry of a layout.
    fn entry(&self, layout: &str) -> Value {
        let index = fs::read(self.path(layout).join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        index["manifests"][0].clone()
    }

    /// The media types of a layout's only image's layers.
    fn layers(&self, layout: &str) -> Vec<String> {
        let manifest = self.blob(layout, &self.entry(layout));
        let layers = manifest["layers"].as_array().unwrap().iter();
        let types = layers.map(|layer| layer["mediaType"].as_str().unwrap());
        types
            .map(|name| name.rsplit('.').next().unwrap().to_owned())
            .collect()
    }
}

fn run(name: &str, test: impl FnOnce(&Test) -> Result<(), Absent>) {
    let title = format!("outputs::{name}");
    base::run(&title, || test(&Test::new(name)?));
}

fn platforms(index: &Value) -> Vec<&str> {
    let images = index["manifests"].as_array().expect("an index").iter();
    images
        .map(|image| image["platform"]["architecture"].as_str().unwrap())
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn an_index_is_pushed_and_pulled() {
    run("an_index_is_pushed_and_pulled", |test| {
        let registry = Registry::get()?;
        find_program("skopeo")?;
        let name = format!("{}/outputs/index:1", registry.host());
        test.build(&[BOTH, "--tag", &name, "--push"]);
        let source = format!("docker://{name}");
        let arguments = ["inspect", "--tls-verify=false", "--raw", &source];
        let seen = Program::new("skopeo").args(arguments).run().ok();
        assert_eq!(platforms(&seen.json()), ["amd64", "arm64"]);
        // What the store has under the name is what was pushed.
        assert_eq!(
            test.kiln.ok(&["inspect", "--manifest", &name]).trim(),
            seen.text().trim()
        );
        if find_program("podman").is_ok() {
            let storage = test.path("podman");
            let pull = ["--storage-driver=vfs", "pull", "-q", "--tls-verify=false"];
            let root = format!("--root={}", storage.display());
            let _ = Program::new("podman")
                .arg(root)
                .args(pull)
                .args(["--arch=arm64", &name])
                .run()
                .ok();
        }
        Ok(())
    });
}

#[test]
fn push_by_digest_sets_no_tag() {
    run("push_by_digest_sets_no_tag", |test| {
        let registry = Registry::get()?;
        find_program("skopeo")?;
        let name = format!("{}/outputs/untagged", registry.host());
        let output = format!(
            "--output=type=image,name={name},push=true,push-by-digest=true,store=false,\
             registry.insecure=true"
        );
        test.build(&[&output, "--metadata-file=meta.json"]);
        let meta = fs::read(test.path("meta.json")).unwrap();
        let meta: Value = serde_json::from_slice(&meta).unwrap();
        let digest = meta["containerimage.digest"].as_str().unwrap();
        let look = |reference: &str| {
            let source = format!("docker://{reference}");
            let arguments = ["inspect", "--tls-verify=false", "--raw", &source];
            Program::new("skopeo").args(arguments).run()
        };
        let _ = look(&format!("{name}@{digest}")).ok();
        assert!(!look(&format!("{name}:latest")).success());
        // It went to the registry only.
        assert!(!test.kiln.run(&["inspect", &name]).success());
        Ok(())
    });
}

#[test]
fn outputs_at_once_differ() {
    run("outputs_at_once_differ", |test| {
        test.build(&[
            "--output=type=oci,tar=false,dest=zstd,compression=zstd,compression-level=9",
            "--output=type=oci,tar=false,dest=plain,compression=uncompressed",
            "--output=type=oci,tar=false,dest=gzip",
            "--output=type=oci,tar=false,dest=docker,oci-mediatypes=false",
        ]);
        assert_eq!(test.layers("zstd"), ["tar+zstd", "tar+zstd"]);
        assert_eq!(test.layers("plain"), ["tar", "tar"]);
        assert_eq!(test.layers("gzip"), ["tar+gzip", "tar+gzip"]);
        let docker = test.entry("docker");
        assert_eq!(
            docker["mediaType"],
            "application/vnd.docker.distribution.manifest.v2+json"
        );
        // The same bytes under other words.
        let digests = |layout| {
            let manifest = test.blob(layout, &test.entry(layout));
            let layers = manifest["layers"].as_array().unwrap().iter();
            let digests = layers.map(|layer| layer["digest"].clone());
            digests.collect::<Vec<_>>()
        };
        assert_eq!(digests("docker"), digests("gzip"));
        assert_ne!(digests("zstd"), digests("gzip"));
        Ok(())
    });
}

#[test]
fn force_compression_reaches_the_base() {
    run("force_compression_reaches_the_base", |test| {
        test.build(&["--tag=ground", "--output=type=image,compression=zstd"]);
        test.write("Dockerfile", "FROM ground\nCOPY one /more\n");
        test.build(&[
            "--output=type=oci,tar=false,dest=as-is",
            "--output=type=oci,tar=false,dest=forced,force-compression=true",
        ]);
        assert_eq!(test.layers("as-is"), ["tar+zstd", "tar+zstd", "tar+gzip"]);
        assert_eq!(test.layers("forced"), ["tar+gzip"; 3]);
        let diff_ids = |layout| {
            let manifest = test.blob(layout, &test.entry(layout));
            test.blob(layout, &manifest["config"])["rootfs"]["diff_ids"].clone()
        };
        assert_eq!(diff_ids("forced"), diff_ids("as-is"));
        let docker = "--output=type=docker,dest=docker.tar";
        let refused = test.try_build(&[docker]);
        assert!(!refused.success());
        let forced = format!("{docker},force-compression=true");
        test.build(&[&forced]);
        Ok(())
    });
}

#[test]
fn annotations_are_on_what_they_are_for() {
    run("annotations_are_on_what_they_are_for", |test| {
        test.build(&[
            BOTH,
            "--annotation=a=manifest",
            "--annotation=manifest[linux/arm64]:b=one",
            "--annotation=index:c=index",
            "--annotation=manifest-descriptor:d=entry",
            "--output=type=oci,tar=false,dest=out,annotation-index-descriptor.e=top",
        ]);
        let entry = test.entry("out");
        assert_eq!(entry["annotations"]["e"], "top");
        let index = test.blob("out", &entry);
        assert_eq!(index["annotations"]["c"], "index");
        for (number, one) in [(0, Value::Null), (1, "one".into())] {
            let image = &index["manifests"][number];
            assert_eq!(image["annotations"]["d"], "entry");
            let manifest = test.blob("out", image);
            assert_eq!(manifest["annotations"]["a"], "manifest");
            assert_eq!(manifest["annotations"]["b"], one);
        }
        let single = test.try_build(&["--annotation=index:c=x", "--output=type=image"]);
        assert!(!single.success(), "{single}");
        Ok(())
    });
}

#[test]
fn names_by_digest() {
    run("names_by_digest", |test| {
        test.build(&["--output=type=image,name=named:1,name-canonical=true"]);
        test.build(&["--output=type=image,dangling-name-prefix=left,compression=zstd"]);
        let images = test.kiln.ok(&["images", "--digests"]);
        assert!(images.contains("named"), "{images}");
        let id = test.kiln.run(&["inspect", "--manifest", "named:1"]).ok();
        assert!(id.json()["layers"].is_array());
        assert!(images.contains("left"), "{images}");
        Ok(())
    });
}

#[test]
fn files_of_several_platforms() {
    run("files_of_several_platforms", |test| {
        let old = test.path("files/linux_arm64/old");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("file"), "").unwrap();
        std::os::unix::fs::symlink(test.path("context"), test.path("files/link")).unwrap();
        test.build(&[BOTH, "--output=type=local,dest=files"]);
        assert_eq!(
            names(&test.path("files")),
            ["link", "linux_amd64", "linux_arm64"]
        );
        let arm64 = test.path("files/linux_arm64");
        assert_eq!(names(&arm64), ["all", "arm64", "old"]);
        test.build(&[BOTH, "--output=type=local,dest=files,mode=delete"]);
        assert_eq!(names(&test.path("files")), ["linux_amd64", "linux_arm64"]);
        assert_eq!(names(&arm64), ["all", "arm64"]);
        assert_eq!(names(&test.path("context")), ["Dockerfile", "one"]);
        test.build(&["--output=type=local,dest=one,platform-split=true"]);
        assert_eq!(names(&test.path("one")), ["linux_amd64"]);

        let unsplit = "--output=type=local,dest=unsplit,platform-split=false";
        let refused = test.try_build(&[BOTH, unsplit]);
        assert!(
            !refused.success() && refused.to_string().contains("`all`"),
            "{refused}"
        );
        test.write(
            "Dockerfile",
            "FROM scratch\nARG TARGETARCH\nCOPY one /$TARGETARCH\n",
        );
        test.build(&[BOTH, unsplit]);
        assert_eq!(names(&test.path("unsplit")), ["amd64", "arm64"]);
        test.build(&[BOTH, "--output=type=tar,dest=files.tar"]);
        let list = Program::new("tar").arg("-tf").arg(test.path("files.tar"));
        assert_eq!(
            list.run().ok().text(),
            "linux_amd64/\nlinux_amd64/amd64\nlinux_arm64/\nlinux_arm64/arm64\n"
        );
        Ok(())
    });
}

#[test]
fn what_can_not_work_is_told_before_the_build() {
    run("what_can_not_work_is_told_before_the_build", |test| {
        for (arguments, reason) in [
            (
                [BOTH, "--output=type=docker,dest=x.tar"],
                "one platform only",
            ),
            ([BOTH, "--output=type=oci,dest=/proc/x.tar"], "/proc/"),
            (
                [BOTH, "--output=type=local,dest=context/one/x"],
                "context/one",
            ),
            (
                [BOTH, "--annotation=manifest[linux/s390x]:a=b"],
                "not built",
            ),
        ] {
            let refused = test.try_build(&arguments);
            let text = refused.to_string();
            assert!(!refused.success() && text.contains(reason), "{text}");
            assert!(!text.contains("COPY"), "something was built: {text}");
        }
        Ok(())
    });
}

#[test]
fn attestations_stand_beside_the_image() {
    run("attestations_stand_beside_the_image", |test| {
        let secret = "a value that nobody may see";
        fs::write(test.path("secret"), secret).unwrap();
        test.build(&[
            "--tag=example.com/app:1",
            "--sbom=true",
            "--provenance=mode=max",
            "--secret=id=token,src=secret",
            "--output=type=oci,tar=false,dest=image",
            "--output=type=oci,tar=false,dest=artifact,oci-artifact=true",
            "--output=type=local,dest=files",
        ]);
        let index = test.blob("image", &test.entry("image"));
        let [image, beside] = index["manifests"].as_array().unwrap().as_slice() else {
            panic!("{index}");
        };
        let about = &beside["annotations"]["vnd.docker.reference.digest"];
        assert_eq!(about, &image["digest"]);
        assert_eq!(beside["platform"]["os"], "unknown");
        let manifest = test.blob("image", beside);
        let kinds = [
            "https://spdx.dev/Document",
            "https://slsa.dev/provenance/v1",
        ];
        for (layer, kind) in manifest["layers"].as_array().unwrap().iter().zip(kinds) {
            assert_eq!(layer["annotations"]["in-toto.io/predicate-type"], kind);
            let statement = test.blob("image", layer);
            assert_eq!(statement["predicateType"], kind);
            let subject = &statement["subject"][0];
            let digest = image["digest"].as_str().unwrap();
            assert_eq!(
                format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap()),
                digest
            );
            assert!(!statement.to_string().contains(secret));
        }
        let artifact = test.blob("artifact", &test.entry("artifact"));
        let artifact = test.blob("artifact", &artifact["manifests"][1]);
        assert_eq!(artifact["subject"]["digest"], image["digest"]);
        let files = ["all", "amd64", "provenance.json", "sbom.spdx.json"];
        assert_eq!(names(&test.path("files")), files);
        Ok(())
    });
}

#[test]
fn equal_inputs_give_an_equal_index() {
    let index = |name: &str| {
        let test = Test::new(&format!("equal-{name}"))?;
        test.build(&[
            BOTH,
            "--tag=example.com/app:1",
            "--sbom=true",
            "--provenance=mode=max",
            "--build-arg=SOURCE_DATE_EPOCH=1700000000",
            "--output=type=oci,tar=false,dest=out,rewrite-timestamp=true",
        ]);
        Ok::<_, Absent>(fs::read_to_string(test.path("out/index.json")).unwrap())
    };
    base::run("outputs::equal_inputs_give_an_equal_index", || {
        assert_eq!(index("one")?, index("two")?);
        Ok(())
    });
}
