//! What disks are made of beside images of the store: git repositories, archives and folders that
//! are built first, and images that want credentials; and limits of all of that.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Answer, Kiln, Program, Scratch, Who};

use crate::base::{self, BASE};
use crate::compat::net::{Repository, Request, Web};
use crate::rootfs::{check_refused, make};

/// The value that nobody may read anywhere.
const SECRET: &str = "s3cr3t-word";
const PLAIN: [&str; 2] = ["--init", "none"];

/// A file of an ext4.
#[track_caller]
fn content(disk: &Path, path: &str) -> String {
    let asked = format!("cat {path}");
    let debugfs = Program::new("debugfs").args(["-R", &asked]).arg(disk);
    debugfs.run().ok().text()
}

/// Writes builderd's configuration with this source and these other parts.
fn config(folder: &Path, source: &Value, more: &Value) -> PathBuf {
    let mut config = json!({
        "source": source,
        "target": {"microvm_rootfs": {"format": "ext4"}},
    });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    let path = folder.join("build.json");
    fs::write(&path, json!({ "config": config }).to_string()).unwrap();
    path
}

/// Makes a disk, and checks that the secret is in nothing that is told of it.
#[track_caller]
fn make_by(kiln: &Kiln, disk: &Path, words: &[&str]) -> Value {
    let words = [&PLAIN[..], words].concat();
    let made = kiln.command().arg("rootfs").args(&words).arg("--json");
    let made = made.arg("-o").arg(disk).run().ok();
    assert!(!made.to_string().contains(SECRET), "{made}");
    made.json()
}

#[test]
fn a_repository_is_built_first() {
    base::run("rootfs_sources::a_repository_is_built_first", || {
        testkit::find_program("debugfs")?;
        let repository = Repository::get()?;
        let kiln = Kiln::new(Who::Root, "rootfs-git")?;
        let folder = Scratch::folder("rootfs-git");
        let disk = folder.join("disk.ext4");
        let (url, commit) = (repository.url("app.git"), repository.commit("v1"));
        let source = |more: Value| {
            let mut git = json!({"clone_url": url, "ref": "v1", "auth": {"token": SECRET}});
            for (name, value) in more.as_object().unwrap() {
                git[name] = value.clone();
            }
            json!({ "git_repository": git })
        };
        let strategy = json!({"strategy": {"git_strategy": {
            "build_system": "docker",
            "build_args": {"COMMIT": "at {{.GitCommit}}", "OTHER": "no"},
            "cache_dependencies": true,
        }}});
        let path = config(&folder, &source(json!({})), &strategy);
        let words = ["--config", path.to_str().unwrap()];
        make_by(&kiln, &disk, &words);
        assert_eq!(content(&disk, "/from-git"), "one\n");
        let dockerfile = folder.join("Dockerfile");
        let text = "FROM scratch\nARG COMMIT OTHER\nCOPY <<EOF /said\n$COMMIT $OTHER\nEOF\n";
        fs::write(&dockerfile, text).unwrap();
        let file = dockerfile.to_str().unwrap();
        let flags = [&words[..], &["--file", file, "--build-arg", "OTHER=yes"]].concat();
        make_by(&kiln, &disk, &flags);
        assert_eq!(content(&disk, "/said"), format!("at {commit} yes\n"));
        let path = config(
            &folder,
            &source(json!({"auth": {"ssh_key": SECRET}})),
            &json!({}),
        );
        let words = ["--config", path.to_str().unwrap()];
        check_refused(&kiln, &folder, &words, (5, "auth.ssh_key` can't be done"));
        Ok(())
    });
}

#[test]
fn an_archive_or_a_folder_is_built_first() {
    base::run(
        "rootfs_sources::an_archive_or_a_folder_is_built_first",
        || {
            testkit::find_program("debugfs")?;
            let kiln = Kiln::new(Who::Root, "rootfs-archive")?;
            let folder = Scratch::folder("rootfs-archive");
            let (disk, context) = (folder.join("disk.ext4"), folder.join("context"));
            fs::create_dir(&context).unwrap();
            let text = "FROM scratch AS one\nCOPY file /one\nFROM scratch\nCOPY file /two\n";
            fs::write(context.join("Dockerfile"), text).unwrap();
            fs::write(context.join("file"), "content").unwrap();
            let context = context.to_str().unwrap();
            make_by(&kiln, &disk, &["--build", context, "--target", "one"]);
            assert_eq!(content(&disk, "/one"), "content");
            let archive = folder.join("context.tar.gz");
            let tar = Program::new("tar").args(["-C", context, "-czf"]);
            let _ = tar.arg(&archive).arg(".").run().ok();
            let bytes = fs::read(&archive).unwrap();
            let web = Web::start(move |request| match request.header("authorization") {
                Some(header) if header == format!("Bearer {SECRET}") => {
                    Answer::body("application/gzip", bytes.clone())
                }
                _ => Answer::status("401 Unauthorized"),
            });
            let source = json!({"archive": {
                "download_url": web.url("/context.tar.gz"),
                "format": "tar.gz",
                "auth_headers": {"Authorization": format!("Bearer {SECRET}")},
            }});
            let path = config(
                &folder,
                &source,
                &json!({"strategy": {"archive_strategy": {}}}),
            );
            make_by(&kiln, &disk, &["--config", path.to_str().unwrap()]);
            assert_eq!(content(&disk, "/two"), "content");
            let strategy = json!({"strategy": {"archive_strategy": {"build_script": "x"}}});
            let path = config(&folder, &source, &strategy);
            let words = ["--config", path.to_str().unwrap()];
            check_refused(
                &kiln,
                &folder,
                &words,
                (5, "archive_strategy.build_script`"),
            );
            let words = ["no-such-image", "--file", "Dockerfile"];
            check_refused(
                &kiln,
                &folder,
                &words,
                (5, "`--file` is for images that are built"),
            );
            Ok(())
        },
    );
}

/// A registry with one image, which it shows only to `user`.
fn registry(layout: PathBuf, manifest: String) -> Web {
    // user:s3cr3t-word
    const AUTHORIZATION: &str = "Basic dXNlcjpzM2NyM3Qtd29yZA==";
    Web::start(move |request: &Request| {
        if request.header("authorization") != Some(AUTHORIZATION) {
            let challenge = "WWW-Authenticate: Basic realm=\"x\"";
            return Answer::status("401 Unauthorized").with_header(challenge);
        }
        let blob = |digest: &str| {
            let path = layout
                .join("blobs/sha256")
                .join(digest.trim_start_matches("sha256:"));
            fs::read(path).unwrap()
        };
        match request.path.rsplit('/').collect::<Vec<_>>()[..] {
            ["1", "manifests", ..] => {
                let media_type = "application/vnd.oci.image.manifest.v1+json";
                let digest = format!("Docker-Content-Digest: {manifest}");
                Answer::body(media_type, blob(&manifest)).with_header(&digest)
            }
            [digest, "blobs", ..] => Answer::body("application/octet-stream", blob(digest)),
            _ => Answer::status("200 OK"),
        }
    })
}

#[test]
fn credentials_go_to_their_registry() {
    base::run("rootfs_sources::credentials_go_to_their_registry", || {
        let kiln = Kiln::new(Who::Root, "rootfs-credentials")?;
        let folder = Scratch::folder("rootfs-credentials");
        let (disk, context) = (folder.join("disk.ext4"), folder.join("context"));
        fs::create_dir(&context).unwrap();
        fs::write(
            context.join("Dockerfile"),
            "FROM scratch\nCOPY Dockerfile /\n",
        )
        .unwrap();
        let layout = folder.join("layout");
        let output = format!("type=oci,tar=false,dest={}", layout.display());
        kiln.ok(&["build", "-o", &output, context.to_str().unwrap()]);
        let index: Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let manifest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let web = registry(layout, manifest);
        let host = web.url("").trim_start_matches("http://").to_owned();
        let source = |auth: &str, password: &str| {
            json!({"docker_image": {
                "image_uri": format!("{host}/team/app:1"),
                auth: {"username": "user", "password": password},
            }})
        };
        let path = config(&folder, &source("auth", "wrong-word"), &json!({}));
        let words = ["--config", path.to_str().unwrap()];
        let refused = kiln
            .command()
            .arg("rootfs")
            .args(words)
            .arg("-o")
            .arg(&disk)
            .run();
        assert_eq!(refused.code, Some(4), "{refused}");
        assert!(!refused.to_string().contains("wrong-word"), "{refused}");
        let path = config(&folder, &source("registry_auth", SECRET), &json!({}));
        make_by(&kiln, &disk, &["--config", path.to_str().unwrap()]);
        let manifest = fs::read_to_string(folder.join("disk.ext4.json")).unwrap();
        assert!(!manifest.contains(SECRET), "{manifest}");
        let mut other = source("auth", SECRET);
        other["docker_image"]["auth"]["registry"] = "other.example".into();
        let path = config(&folder, &other, &json!({}));
        let words = ["--config", path.to_str().unwrap()];
        check_refused(
            &kiln,
            &folder,
            &words,
            (5, "the credentials are for `other.example`"),
        );
        Ok(())
    });
}

#[test]
fn limits_hold() {
    base::run("rootfs_sources::limits_hold", || {
        let kiln = base::with_base(Who::Root)?;
        let folder = Scratch::folder("rootfs-limits");
        let source = json!({"docker_image": {"image_uri": BASE}});
        let limits = json!({"limits": {"timeout_seconds": 1, "max_disk_bytes": 1 << 30}});
        let path = config(&folder, &source, &limits);
        let path = path.to_str().unwrap();
        let words = ["--config", path, "--init", "none", "--run", "sleep 1000"];
        check_refused(&kiln, &folder, &words, (7, "not made within 1 second"));
        let limits = json!({"limits": {"max_disk_bytes": "1000000"}});
        config(&folder, &source, &limits);
        let words = ["--config", path, "--init", "none"];
        check_refused(&kiln, &folder, &words, (5, "the limit is 1000000"));
        let network = json!({"limits": {"allow_external_network": false}});
        config(&folder, &source, &network);
        let command = "test \"$(ls /sys/class/net)\" = lo";
        let words = ["--config", path, "--init", "none", "--run", command];
        make(&kiln, &folder.join("offline.ext4"), &words);
        Ok(())
    });
}
