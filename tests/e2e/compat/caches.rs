//! Rows about caches that travel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::{Value, json};
use testkit::{Answer, Finished, Kiln, Registry};

use super::lab::{Lab, make_base};
use super::net::Web;
use super::row;

/// A token of no worth: what it may write is `refs/heads/main`.
const TOKEN: &str =
    "x.eyJhYyI6ICJbe1wiU2NvcGVcIjogXCJyZWZzL2hlYWRzL21haW5cIiwgXCJQZXJtaXNzaW9uXCI6IDN9XSJ9.x";

const TEXT: &str = "FROM scratch AS one\nCOPY --from=busybox busybox /bin/busybox\nRUN [\"/bin/busybox\", \"touch\", \"/made\"]\nFROM scratch\nCOPY --from=one /made /made\n";

/// A folder with busybox, as a named context.
fn busybox(lab: &Lab) -> Result<PathBuf, testkit::Absent> {
    let program = testkit::find_program("busybox")?;
    let busybox = lab.outside("bb/busybox", std::fs::read(program).unwrap());
    let folder = busybox.parent().unwrap().to_owned();
    let _ = testkit::Program::new("chmod")
        .arg("755")
        .arg(&busybox)
        .run()
        .ok();
    Ok(folder)
}

#[track_caller]
fn build(lab: &Lab, kiln: &Kiln, flags: &[&str]) -> Result<Finished, testkit::Absent> {
    let folder = busybox(lab)?;
    Ok(lab
        .build_by(kiln, TEXT)
        .arg(format!("--build-context=busybox={}", folder.display()))
        .arg("--progress=plain")
        .args(flags)
        .ok())
}

/// Exports from one store, imports into another: there the step must not run again.
#[track_caller]
fn travels(lab: &Lab, name: &str, to: &[&str], from: &[&str]) -> Result<(), testkit::Absent> {
    build(lab, &lab.fresh(&format!("{name}-from")), to)?;
    let seen = build(lab, &lab.fresh(&format!("{name}-to")), from)?;
    assert!(seen.stderr.contains("CACHED"), "{seen}");
    Ok(())
}

#[test]
fn cache_type_inline() {
    row(|lab| {
        let name = format!("{}/inline-{}:1", Registry::get()?.host(), lab.who().name());
        build(
            lab,
            &lab.fresh("from"),
            &["--cache-to=type=inline", "--push", "--tag", &name],
        )?;
        let from = format!("--cache-from={name}");
        let seen = build(lab, &lab.fresh("to"), &[&from])?;
        assert!(seen.stderr.contains("CACHED"), "{seen}");
        Ok(())
    });
}

#[test]
fn cache_type_registry() {
    row(|lab| {
        let host = Registry::get()?.host();
        for (name, options) in [
            ("max", "mode=max"),
            ("list", "mode=max,image-manifest=false,oci-mediatypes=true"),
            (
                "zstd",
                "mode=max,compression=zstd,compression-level=3,force-compression=true",
            ),
            (
                "insecure",
                "mode=max,registry.insecure=true,ignore-error=true",
            ),
        ] {
            let reference = format!("{host}/cache-{}:{name}", lab.who().name());
            let to = format!("--cache-to=type=registry,ref={reference},{options}");
            let from = format!("--cache-from=type=registry,ref={reference}");
            travels(lab, name, &[&to], &[&from])?;
        }
        let to = format!(
            "--cache-to=type=registry,ref={host}/cache-{}:min,mode=min",
            lab.who().name()
        );
        build(lab, &lab.fresh("min"), &[&to])?;
        let absent = lab
            .build("FROM base\nRUN touch /travels\n")
            .arg("--cache-to=type=registry,ref=127.0.0.1:1/x");
        absent.fails(&["127.0.0.1:1"]);
        lab.build("FROM base\nRUN touch /travels\n")
            .arg("--cache-to=type=registry,ref=127.0.0.1:1/x,ignore-error=true")
            .ok();
        Ok(())
    });
}

#[test]
fn cache_type_local() {
    row(|lab| {
        let folder = lab.folder("cache");
        let dest = folder.join("plain").display().to_string();
        let to = format!("--cache-to=type=local,dest={dest},mode=max,tag=mine");
        travels(
            lab,
            "tag",
            &[&to],
            &[&format!("--cache-from=type=local,src={dest},tag=mine")],
        )?;
        let to = format!("--cache-to=type=local,dest={dest},mode=max,reset=true,compression=zstd");
        let from = format!("--cache-from=type=local,src={dest}");
        travels(lab, "reset", &[&to], &[&from])?;
        let index = std::fs::read_to_string(folder.join("plain/index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_str(&index).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        let seen = build(
            lab,
            &lab.fresh("digest"),
            &[&format!("{from},digest={digest}")],
        )?;
        assert!(seen.stderr.contains("CACHED"), "{seen}");
        Ok(())
    });
}

/// GitHub's service as far as one small cache needs it: entries by key, each a blob of its own.
fn github() -> Web {
    let entries = Mutex::new(Vec::<(String, Vec<u8>)>::new());
    Web::start(move |request| {
        let mut entries = entries.lock().unwrap();
        let path = request.path.split('?').next().unwrap_or_default();
        let host = request.header("host").unwrap_or_default();
        let blob = path
            .strip_prefix("/blob/")
            .and_then(|n| n.parse::<usize>().ok());
        if let Some(index) = blob {
            let content: &mut Vec<u8> = &mut entries[index].1;
            if request.method == "GET" {
                return Answer::body("application/octet-stream", content.clone());
            }
            content.clone_from(&request.body);
            return Answer::status("201 Created");
        }
        let question: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let key = question["key"].as_str().unwrap_or_default().to_owned();
        let found = entries
            .iter()
            .rposition(|(known, _)| known.starts_with(&key));
        let url = |index: usize| format!("http://{host}/blob/{index}?sig=x");
        let answer = match path.rsplit('/').next().unwrap_or_default() {
            "GetCacheEntryDownloadURL" => match found {
                Some(index) => json!({
                    "ok": true,
                    "signed_download_url": url(index),
                    "matched_key": entries[index].0,
                }),
                None => json!({ "ok": false }),
            },
            "CreateCacheEntry" => {
                entries.push((key, Vec::new()));
                json!({ "ok": true, "signed_upload_url": url(entries.len() - 1) })
            }
            "FinalizeCacheEntryUpload" => json!({ "ok": true, "entry_id": "1" }),
            _ => return Answer::status("404 Not Found"),
        };
        Answer::body("application/json", answer.to_string())
    })
}

#[test]
fn cache_type_gha() {
    row(|lab| {
        // Outside of a workflow that is a warning, as buildx takes the flag away there.
        let flag = "--cache-to=type=gha,mode=max,scope=s";
        let text = "FROM base\nRUN touch /travels\n";
        let warned = lab.build(text).arg(flag).ok();
        assert!(warned.stderr.contains("ACTIONS_RUNTIME_TOKEN"), "{warned}");

        let service = github().url("/");
        let place = format!("scope=s,url_v2={service},token={TOKEN},timeout=1m");
        let to = format!("--cache-to=type=gha,mode=max,ignore-error=false,{place}");
        let from = format!("--cache-from=type=gha,{place}");
        travels(lab, "gha", &[&to], &[&from])?;
        let broken = Web::start(|_| Answer::status("403 Forbidden"));
        let place = format!("url_v2={},token={TOKEN},ignore-error=true", broken.url("/"));
        lab.build(text)
            .arg(format!("--cache-to=type=gha,{place}"))
            .ok();
        assert!(!broken.seen().is_empty());
        Ok(())
    });
}

#[test]
fn cache_type_s3() {
    row(|lab| {
        lab.build("FROM base\nRUN touch /travels\n")
            .arg("--cache-to=type=s3,region=r")
            .fails(&["bucket"]);
        let objects = Mutex::new(BTreeMap::<String, Vec<u8>>::new());
        let store = Web::start(move |request| {
            let path = request
                .path
                .split('?')
                .next()
                .unwrap_or_default()
                .to_owned();
            let mut objects = objects.lock().unwrap();
            match request.method.as_str() {
                "PUT" => {
                    objects.insert(path, request.body.clone());
                    Answer::status("200 OK").with_header("ETag: \"x\"")
                }
                _ => match objects.get(&path) {
                    Some(bytes) => Answer::body("application/octet-stream", bytes.clone())
                        .with_header("Last-Modified: Fri, 14 Jul 2017 02:40:00 GMT"),
                    None => Answer::status("404 Not Found"),
                },
            }
        });
        let place = format!(
            "type=s3,bucket=b,region=r,prefix=p/,name=n,endpoint_url={},use_path_style=true,access_key_id=a,secret_access_key=s",
            store.url("")
        );
        let to = format!(
            "--cache-to={place},mode=max,blobs_prefix=b/,manifests_prefix=m/,upload_parallelism=2"
        );
        let from = format!("--cache-from={place},blobs_prefix=b/,manifests_prefix=m/");
        travels(lab, "s3", &[&to], &[&from])
    });
}

#[test]
fn cache_type_azblob() {
    row(|lab| {
        lab.build("FROM base\nRUN touch /travels\n")
            .arg("--cache-to=type=azblob,account_url=https://a,name=n")
            .fails(&["azblob"]);
        lab.build("FROM base\nRUN touch /travels\n")
            .arg("--cache-from=type=azblob,name=n")
            .fails(&["azblob"]);
        lab.missing("Azure's blob storage; `type=s3` and `type=registry` are there");
        Ok(())
    });
}

#[test]
fn cache_mounts_are_listed_exported_and_pruned() {
    row(|lab| {
        let kiln = lab.fresh("mounts");
        make_base(&kiln, "base")?;
        let text = "FROM base\nRUN --mount=type=cache,id=kept,target=/c echo x > /c/x\n";
        lab.build_by(&kiln, text).ok();
        let listed = kiln.ok(&["cache", "ls"]);
        assert!(listed.contains("kept"), "{listed}");
        let exported = kiln.run(&["cache", "export", "kept"]).ok().stdout;
        let other = lab.fresh("mounts-imported");
        make_base(&other, "base")?;
        let import = other.command().args(["cache", "import", "-"]);
        let _ = import.input(exported).run().ok();
        let text = "FROM base\nRUN --mount=type=cache,id=kept,target=/c test -e /c/x\n";
        lab.build_by(&other, text).ok();
        other.ok(&["cache", "prune"]);
        let listed = other.ok(&["cache", "ls"]);
        assert!(!listed.contains("kept"), "{listed}");
        Ok(())
    });
}
