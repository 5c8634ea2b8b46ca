//! Rows about attributes of outputs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::Registry;

use super::lab::Lab;
use super::row;

const TEXT: &str = "FROM scratch\nCOPY <<EOF /file\ncontent\nEOF\n";

/// Writes an image layout with these attributes; the folder, and the manifest in it.
#[track_caller]
fn layout(lab: &Lab, name: &str, attributes: &str, more: &[&str]) -> (PathBuf, Value) {
    let dest = lab.folder("layouts").join(name);
    let output = format!(
        "--output=type=oci,tar=false,dest={}{attributes}",
        dest.display()
    );
    lab.build(TEXT).arg(output).args(more).ok();
    let mut document = json(&dest.join("index.json"));
    while let Some(first) = document["manifests"].get(0).cloned() {
        document = blob(&dest, &first);
    }
    (dest, document)
}

fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn blob(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
    json(&layout.join("blobs").join(digest))
}

#[test]
fn output_types() {
    row(|lab| {
        let folder = lab.folder("types");
        let path = |name: &str| folder.join(name).display().to_string();
        lab.build(TEXT)
            .arg(format!("--output={}", path("short")))
            .arg(format!("--output=type=local,dest={}", path("local")))
            .arg(format!("--output=type=tar,dest={}", path("a.tar")))
            .arg(format!("--output=type=oci,dest={}", path("oci.tar")))
            .arg(format!("--output=type=docker,dest={}", path("docker.tar")))
            .arg("--output=type=image,name=output-types")
            .ok();
        for name in ["short/file", "local/file", "a.tar", "oci.tar", "docker.tar"] {
            assert!(folder.join(name).is_file(), "{name}");
        }
        lab.config_of("output-types");
        lab.build(TEXT).arg("--output=type=cacheonly").ok();
        let tar = lab.build(TEXT).args(&["--output", "-"]).ok();
        assert!(tar.stdout.ends_with(b"\0"));
        lab.build(TEXT).arg("--output=type=some").fails(&["some"]);
        let unknown = lab.build(TEXT).arg("--output=type=image,colour=red");
        unknown.fails(&["colour"]);
        Ok(())
    });
}

#[test]
fn name() {
    row(|lab| {
        lab.build(TEXT)
            .arg("--output=type=image,\"name=name-one,name-two:2\"")
            .ok();
        assert_eq!(lab.config_of("name-one"), lab.config_of("name-two:2"));
        Ok(())
    });
}

#[test]
fn push_and_registry_insecure() {
    row(|lab| {
        let host = Registry::get()?.host();
        for (name, attributes) in [
            ("pushed", "type=image,push=true,registry.insecure=true"),
            ("registry", "type=registry"),
        ] {
            let name = format!("{host}/{name}-{}:1", lab.who().name());
            lab.build(TEXT)
                .arg(format!("--output={attributes},name={name}"))
                .ok();
            lab.fresh(&format!("{}-pull", attributes.len()))
                .ok(&["pull", &name]);
        }
        Ok(())
    });
}

#[test]
fn push_by_digest() {
    row(|lab| {
        let host = Registry::get()?.host();
        let name = format!("{host}/by-digest-{}", lab.who().name());
        let metadata = lab.folder("out").join("metadata.json");
        lab.build(TEXT)
            .arg(format!(
                "--output=type=image,name={name},push=true,push-by-digest=true"
            ))
            .arg(format!("--metadata-file={}", metadata.display()))
            .ok();
        let digest = json(&metadata)["containerimage.digest"].clone();
        let kiln = lab.fresh("pull");
        assert!(!kiln.run(&["pull", &name]).success());
        kiln.ok(&["pull", &format!("{name}@{}", digest.as_str().unwrap())]);
        Ok(())
    });
}

#[test]
fn dest_and_tar() {
    row(|lab| {
        let (folder, _) = layout(lab, "dest", "", &[]);
        assert!(folder.join("oci-layout").is_file());
        lab.build(TEXT)
            .arg("--output=type=oci,dest=/absent-folder/x.tar")
            .fails(&["/absent-folder"]);
        lab.build(TEXT).arg("--output=type=local").fails(&["dest"]);
        Ok(())
    });
}

#[test]
fn oci_mediatypes() {
    row(|lab| {
        let (_, oci) = layout(lab, "oci", ",oci-mediatypes=true", &[]);
        assert_eq!(
            oci["mediaType"],
            "application/vnd.oci.image.manifest.v1+json"
        );
        let (_, docker) = layout(lab, "docker", ",oci-mediatypes=false", &[]);
        let expected = "application/vnd.docker.distribution.manifest.v2+json";
        assert_eq!(docker["mediaType"], expected);
        Ok(())
    });
}

#[test]
fn oci_artifact() {
    row(|lab| {
        let (folder, _) = layout(
            lab,
            "artifact",
            ",oci-artifact=true",
            &["--provenance=true"],
        );
        let blobs = fs::read_dir(folder.join("blobs/sha256")).unwrap();
        let mut texts = blobs.map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let has = texts.any(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            text.contains("\"artifactType\"") && text.contains("\"subject\"")
        });
        assert!(has, "no attestation is an artifact");
        Ok(())
    });
}

#[test]
fn unpack_and_store() {
    row(|lab| {
        lab.build(TEXT)
            .arg("--output=type=image,name=unpacked,unpack=true")
            .ok();
        lab.config_of("unpacked");
        lab.build(TEXT)
            .arg("--output=type=image,name=not-stored,store=false")
            .fails(&["stored"]);
        let host = Registry::get()?.host();
        let name = format!("{host}/not-stored-{}", lab.who().name());
        lab.build(TEXT)
            .arg(format!(
                "--output=type=image,name={name},store=false,push=true"
            ))
            .ok();
        assert!(!lab.kiln.ok(&["images"]).contains("not-stored"));
        Ok(())
    });
}

#[test]
fn dangling_name_prefix_and_name_canonical() {
    row(|lab| {
        lab.build(TEXT)
            .arg("--output=type=image,dangling-name-prefix=dangling")
            .ok();
        let images = lab.kiln.ok(&["images", "--digests"]);
        assert!(images.contains("dangling"), "{images}");
        lab.build(TEXT)
            .arg("--output=type=image,name=canonical,name-canonical=true")
            .ok();
        let digest = lab.kiln.ok(&["inspect", "canonical"]);
        assert!(digest.contains("canonical@sha256:"), "{digest}");
        Ok(())
    });
}

#[test]
fn compression() {
    row(|lab| {
        for (name, suffix) in [
            ("gzip", "tar+gzip"),
            ("zstd", "tar+zstd"),
            ("uncompressed", "tar"),
        ] {
            let (_, manifest) = layout(lab, name, &format!(",compression={name}"), &[]);
            let kind = manifest["layers"][0]["mediaType"].as_str().unwrap();
            assert!(kind.ends_with(suffix), "{manifest}");
        }
        lab.build(TEXT)
            .arg("--output=type=image,compression=brotli")
            .fails(&["brotli"]);
        Ok(())
    });
}

#[test]
fn compression_estargz() {
    row(|lab| {
        lab.build(TEXT)
            .arg("--output=type=image,compression=estargz")
            .fails(&["eStargz"]);
        lab.missing("eStargz layers; gzip layers are what every reader takes");
        Ok(())
    });
}

#[test]
fn compression_level_and_force_compression() {
    row(|lab| {
        lab.file("zeros", vec![b'x'; 100_000]);
        let size = |level: &str| {
            let dest = lab.folder("levels").join(level);
            let output = format!(
                "--output=type=oci,tar=false,dest={},compression-level={level}",
                dest.display()
            );
            lab.build("FROM scratch\nCOPY zeros /\n").arg(output).ok();
            let index = json(&dest.join("index.json"));
            let mut document = blob(&dest, &index["manifests"][0]);
            if let Some(first) = document["manifests"].get(0).cloned() {
                document = blob(&dest, &first);
            }
            document["layers"][0]["size"].as_u64().unwrap()
        };
        assert!(size("0") > size("9"));
        lab.build(TEXT)
            .arg("--output=type=image,compression-level=77")
            .fails(&["77"]);
        // Layers of the base are compressed anew only where that is forced.
        let kinds = |name: &str, attributes: &str| {
            let dest = lab.folder("forced").join(name);
            let output = format!(
                "--output=type=oci,tar=false,dest={}{attributes}",
                dest.display()
            );
            lab.build("FROM base\nRUN touch /forced\n").arg(output).ok();
            let index = json(&dest.join("index.json"));
            let manifest = blob(&dest, &index["manifests"][0]).to_string();
            manifest.matches("+zstd").count()
        };
        let forced = kinds("yes", ",compression=zstd,force-compression=true");
        assert!(forced > kinds("no", ",compression=zstd"), "{forced}");
        Ok(())
    });
}

#[test]
fn rewrite_timestamp_and_source_date_epoch() {
    row(|lab| {
        let time = |attributes: &str| {
            let output = format!("--output=type=docker,dest=-{attributes}");
            let built = lab.build(TEXT).arg(output).arg("--no-cache").ok();
            let mut archive = Vec::new();
            archive.extend_from_slice(&built.stdout);
            String::from_utf8_lossy(&archive).contains("2017-07-14T02:40:00Z")
        };
        assert!(time(",source-date-epoch=1500000000,rewrite-timestamp=true"));
        assert!(!time(""));
        lab.build(TEXT)
            .arg("--output=type=image,source-date-epoch=soon")
            .fails(&["soon"]);
        Ok(())
    });
}

#[test]
fn annotations() {
    row(|lab| {
        let attributes = ",annotation.a=1,annotation-manifest.b=2,annotation-index.c=3,annotation-manifest-descriptor.d=4";
        let (folder, manifest) = layout(
            lab,
            "annotated",
            attributes,
            &["--platform=linux/amd64,linux/arm64"],
        );
        assert_eq!(manifest["annotations"]["a"], "1", "{manifest}");
        assert_eq!(manifest["annotations"]["b"], "2", "{manifest}");
        let outer = json(&folder.join("index.json"));
        let index = blob(&folder, &outer["manifests"][0]);
        assert_eq!(index["annotations"]["c"], "3", "{index}");
        assert_eq!(index["manifests"][0]["annotations"]["d"], "4", "{index}");
        Ok(())
    });
}

#[test]
fn prefer_nondist_layers() {
    row(|lab| {
        layout(lab, "nondist", ",prefer-nondist-layers=true", &[]);
        Ok(())
    });
}

#[test]
fn compatibility_version() {
    row(|lab| {
        layout(lab, "version", ",compatibility-version=30", &[]);
        let old = lab
            .build(TEXT)
            .arg("--output=type=image,compatibility-version=10");
        old.fails(&["compatibility-version=10"]);
        lab.differs("only the newest rules, 30; older ones are a clear error");
        Ok(())
    });
}

#[test]
fn attestation_inline() {
    row(|lab| {
        layout(
            lab,
            "inline",
            ",attestation-inline=true",
            &["--provenance=true"],
        );
        let other = lab
            .build(TEXT)
            .arg("--output=type=image,attestation-inline=false");
        other.fails(&["attestation-inline"]);
        lab.differs("attestations are always in the index; `false` is a clear error");
        Ok(())
    });
}

#[test]
fn platform_split_and_mode_of_local() {
    row(|lab| {
        let folder = lab.folder("local");
        let build = |name: &str, attributes: &str, platforms: &str| {
            let dest = folder.join(name);
            lab.build("FROM scratch\nARG TARGETARCH\nCOPY <<EOF /file-$TARGETARCH\nx\nEOF\n")
                .arg(format!(
                    "--output=type=local,dest={}{attributes}",
                    dest.display()
                ))
                .arg(format!("--platform={platforms}"))
                .cwd(&folder)
                .args(&["--allow", "buildx.local.delete"])
                .ok();
            dest
        };
        let both = "linux/amd64,linux/arm64";
        assert!(
            build("split", "", both)
                .join("linux_arm64/file-arm64")
                .is_file()
        );
        let flat = build("flat", ",platform-split=false", both);
        assert!(flat.join("file-arm64").is_file() && flat.join("file-amd64").is_file());
        let one = build("mode", ",mode=copy", "linux/amd64");
        assert!(fs::metadata(one.join("file-amd64")).unwrap().is_file());
        assert!(fs::metadata(&one).unwrap().mode() & 0o111 != 0);
        let again = build("mode", ",mode=delete", "linux/arm64");
        assert!(again.join("file-arm64").is_file() && !again.join("file-amd64").exists());
        Ok(())
    });
}
