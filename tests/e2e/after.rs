//! What comes after a build: its history, its layers, what differs, indexes, cache mounts.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{Absent, Kiln, Program, Registry, Scratch, Who, find_program};

use crate::base;

/// A folder with a Dockerfile.
fn context(name: &str, dockerfile: &str) -> PathBuf {
    let folder = Scratch::folder(name);
    fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    folder
}

fn build(kiln: &Kiln, name: &str, dockerfile: &str) {
    let folder = context(&format!("after-{name}-{}", kiln.who().name()), dockerfile);
    let _ = kiln
        .command()
        .args(["build", "-t", name])
        .arg(folder)
        .run()
        .ok();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_build_is_in_the_history() {
    for who in [Who::Root, Who::User] {
        let test = format!("after::a_build_is_in_the_history as {}", who.name());
        base::run(&test, || history(who));
    }
}

fn history(who: Who) -> Result<(), Absent> {
    let base = base::with_base(who)?;
    let kiln = Kiln::new(who, "after-history")?;
    let archive = base
        .run(&["save", "--format", "oci", base::BASE])
        .ok()
        .stdout;
    let _ = kiln.command().arg("load").input(archive).run().ok();
    let dockerfile = "FROM debian:bookworm\nRUN echo fired-in-the-kiln\nRUN true\n";
    build(&kiln, "pot", dockerfile);
    build(&kiln, "pot", dockerfile);
    let broken = context(
        "after-broken",
        "FROM debian:bookworm\nRUN echo to-err >&2; exit 7\n",
    );
    let failed = kiln
        .command()
        .args(["build", "-t", "shard"])
        .arg(broken)
        .run();
    assert_eq!(failed.code, Some(2), "{failed}");

    let builds = json(&kiln.ok(&["history", "ls", "--format", "json"]));
    let told = |index: usize, field: &str| builds[index][field].clone();
    assert_eq!(builds.as_array().unwrap().len(), 3, "{builds}");
    let statuses = [told(0, "status"), told(1, "status"), told(2, "status")];
    assert_eq!(statuses, ["failed", "completed", "completed"]);
    assert_eq!((told(1, "steps"), told(1, "cached")), (3.into(), 3.into()));
    assert_eq!(told(1, "names")[0], "pot:latest");
    let failures = kiln.ok(&["history", "ls", "-q", "--filter", "status=failed"]);
    assert_eq!(failures.trim(), told(0, "id"));
    looked_at(&kiln);
    carried(&kiln);
    Ok(())
}

/// The builds of [`history`], in every form.
fn looked_at(kiln: &Kiln) {
    let failed = json(&kiln.ok(&["history", "inspect", "--format", "json"]));
    assert_eq!(failed["place"]["line"], 2, "{failed}");
    assert!(
        failed["error"].as_str().unwrap().contains("exit code 7"),
        "{failed}"
    );
    assert_eq!(
        failed["materials"][0], "docker.io/library/debian:bookworm",
        "{failed}"
    );
    let text = kiln.ok(&["history", "inspect", "^1"]);
    assert!(text.contains("cached"), "{text}");
    let (_, table) = text.split_once("\n\n").unwrap();
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    assert!(
        kiln.ok(&["history", "logs", "^2"])
            .contains("fired-in-the-kiln")
    );
    assert!(kiln.ok(&["history", "logs"]).contains("to-err"));
    let trace = json(&kiln.ok(&["history", "trace", "^2"]));
    assert!(
        trace["traceEvents"].as_array().unwrap().len() > 3,
        "{trace}"
    );
    let page = kiln.ok(&["history", "report", "^2", "-o", "-"]);
    assert!(
        page.contains("fired-in-the-kiln") && !page.contains("<script"),
        "{page}"
    );
    let path = kiln.ok(&["history", "open", "^2"]);
    assert_eq!(fs::read_to_string(path.trim()).unwrap(), page);
}

/// A build of [`history`], exported and imported again.
fn carried(kiln: &Kiln) {
    let record = kiln.ok(&["history", "export", "^2"]);
    let import = kiln
        .command()
        .args(["history", "import", "-"])
        .input(record)
        .run()
        .ok();
    let id = import.text();
    assert_eq!(
        kiln.ok(&["history", "logs", id.trim()]),
        kiln.ok(&["history", "logs", "^3"])
    );
    kiln.ok(&["history", "rm", id.trim()]);
    let gone = kiln.run(&["history", "inspect", id.trim()]);
    assert_eq!(gone.code, Some(5), "{gone}");
    kiln.ok(&["history", "rm", "--all"]);
    assert_eq!(kiln.ok(&["history", "ls", "-q"]), "");
}

#[test]
fn a_secret_is_masked_wherever_it_is_printed() {
    base::run("after::a_secret_is_masked_wherever_it_is_printed", || {
        let kiln = base::with_base(Who::Root)?;
        let folder = context(
            "after-secret",
            "FROM debian:bookworm\n\
             RUN --mount=type=secret,id=s,env=S printf 'it is %s' \"${S%rain}\"; sleep 0.2; \
             echo 'rain, I say'; cat /run/secrets/s >&2 || echo \"$S\" >&2\n",
        );
        let metadata = folder.join("metadata.json");
        let built = kiln
            .command()
            .env("TOKEN", "purple-rain")
            .args([
                "build",
                "--no-cache",
                "--progress=plain",
                "--secret",
                "id=s,env=TOKEN",
            ])
            .arg("--metadata-file")
            .arg(&metadata)
            .arg(&folder)
            .run()
            .ok();
        assert!(!built.stderr.contains("purple"), "{built}");
        assert!(built.stderr.contains("it is ***, I say"), "{built}");
        let metadata = json(&fs::read_to_string(metadata).unwrap());
        let id = metadata["buildx.build.ref"].as_str().unwrap();
        let log = kiln.ok(&["history", "logs", id]);
        assert!(
            log.contains("it is ***, I say") && !log.contains("purple"),
            "{log}"
        );
        Ok(())
    });
}

#[test]
fn layers_tell_what_they_waste() {
    base::run("after::layers_tell_what_they_waste", || {
        let kiln = Kiln::new(Who::Root, "after-layers")?;
        let folder = context(
            "after-waste",
            "FROM scratch\nCOPY one /a/one\nCOPY two /a/one\nCOPY two /a/two\n",
        );
        fs::write(folder.join("one"), vec![b'1'; 3000]).unwrap();
        fs::write(folder.join("two"), vec![b'2'; 1000]).unwrap();
        let _ = kiln
            .command()
            .args(["build", "-t", "waste"])
            .arg(&folder)
            .run()
            .ok();
        let inspect = |name: &str| {
            let found = kiln.ok(&["inspect", "--layers", "--format", "json", name]);
            json(&found)[0].clone()
        };
        let report = inspect("waste");
        assert_eq!(report["wasted"], 3000, "{report}");
        assert_eq!(report["filesSize"], 5000, "{report}");
        assert_eq!(report["efficiencyPercent"], 40.0, "{report}");
        let layers = report["layers"].as_array().unwrap();
        assert!(
            layers[0]["createdBy"]
                .as_str()
                .unwrap()
                .contains("COPY one"),
            "{report}"
        );
        assert_eq!(
            (layers[1]["changed"].clone(), layers[2]["added"].clone()),
            (1.into(), 1.into())
        );

        let archive = folder.join("waste.tar");
        fs::write(&archive, kiln.run(&["save", "waste"]).ok().stdout).unwrap();
        let mut same = inspect(&archive.display().to_string());
        same["image"] = "waste".into();
        assert_eq!(same, report);
        let table = kiln.ok(&["inspect", "--layers", "waste"]);
        assert!(table.contains("efficiency 40.00 %"), "{table}");
        Ok(())
    });
}

#[test]
fn images_are_compared_wherever_they_are() {
    base::run("after::images_are_compared_wherever_they_are", || {
        let registry = Registry::get()?;
        let kiln = Kiln::new(Who::Root, "after-diff")?;
        let folder = context("after-diff", "FROM scratch\nARG V=1\nENV V=$V\nCOPY a /a\n");
        fs::write(folder.join("a"), "same").unwrap();
        let build = |name: &str, v: &str| {
            let argument = format!("V={v}");
            let command = kiln
                .command()
                .args(["build", "-t", name, "--build-arg", &argument]);
            let _ = command.arg(&folder).run().ok();
        };
        let name = format!("{}/after/diff:1", registry.host());
        build(&name, "1");
        kiln.ok(&["push", &name]);
        let remote = format!("docker://{name}");
        let same = kiln.run(&["diff", &name, &remote]);
        assert_eq!(same.code, Some(0), "{same}");
        assert_eq!(same.text(), "The images are the same.\n");

        fs::write(folder.join("a"), "other").unwrap();
        build("other", "2");
        let layout = folder.join("layout");
        let output = format!("type=oci,tar=false,dest={}", layout.display());
        let _ = kiln
            .command()
            .args(["build", "-o", &output, "--build-arg", "V=2"])
            .arg(&folder)
            .run()
            .ok();
        for second in ["other".to_owned(), layout.display().to_string()] {
            let differs = kiln.run(&["diff", "--format", "json", &remote, &second]);
            assert_eq!(differs.code, Some(9), "{differs}");
            let found = differs.json();
            assert_eq!(found["config"][0]["name"], "config.Env.V", "{found}");
            assert_eq!(found["files"][0]["path"], "/a", "{found}");
            assert_eq!(
                found["files"][0]["differences"][0]["name"], "size",
                "{found}"
            );
        }
        let unknown = kiln.run(&["diff", &name, "nothing-of-this-name"]);
        assert_eq!(unknown.code, Some(5), "{unknown}");
        Ok(())
    });
}

/// What `imagetools create` makes of images of the store, and of a part of an index.
fn from_the_store(kiln: &Kiln, folder: &Path, name: &dyn Fn(&str) -> String) {
    let (amd64, both) = (name("amd64:1"), name("both:1"));
    let dry = kiln.ok(&[
        "imagetools",
        "create",
        "--dry-run",
        "-p",
        "linux/arm64",
        &both,
    ]);
    let entries = json(&dry)["manifests"].as_array().unwrap().len();
    assert_eq!(entries, 1, "{dry}");
    let store = format!("store://{amd64}");
    let metadata = folder.join("m.json").display().to_string();
    kiln.ok(&[
        "imagetools",
        "create",
        "-t",
        &name("local:1"),
        "--prefer-index=false",
        "--metadata-file",
        &metadata,
        &store,
    ]);
    let digest = kiln.ok(&[
        "imagetools",
        "inspect",
        "--format",
        "{{.Manifest.Digest}}",
        &amd64,
    ]);
    let metadata = json(&fs::read_to_string(metadata).unwrap());
    assert_eq!(
        metadata["containerimage.descriptor"]["digest"],
        digest.trim()
    );
}

#[test]
fn an_index_is_put_together_in_a_registry() {
    base::run("after::an_index_is_put_together_in_a_registry", || {
        let registry = Registry::get()?;
        let kiln = Kiln::new(Who::Root, "after-index")?;
        let folder = context(
            "after-index",
            "FROM scratch\nARG TARGETARCH\nENV A=$TARGETARCH\nCOPY Dockerfile /\n",
        );
        let name = |name: &str| format!("{}/after/{name}", registry.host());
        for arch in ["amd64", "arm64"] {
            let platform = format!("linux/{arch}");
            let command = kiln
                .command()
                .args(["build", "--push", "--platform", &platform]);
            let _ = command
                .args(["-t", &name(&format!("{arch}:1"))])
                .arg(&folder)
                .run()
                .ok();
        }
        let (amd64, arm64, both) = (name("amd64:1"), name("arm64:1"), name("both:1"));
        kiln.ok(&["imagetools", "create", "-t", &both, &amd64]);
        kiln.ok(&[
            "imagetools",
            "create",
            "-t",
            &both,
            "--append",
            &arm64,
            "--annotation",
            "index:k=v",
        ]);
        let found = json(&kiln.ok(&["imagetools", "inspect", "--format", "json", &both]));
        let platforms: Vec<&str> = found["manifest"]["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["platform"]["architecture"].as_str().unwrap())
            .collect();
        assert_eq!(platforms, ["amd64", "arm64"], "{found}");
        assert_eq!(found["manifest"]["annotations"]["k"], "v", "{found}");
        assert_eq!(
            found["image"]["linux/arm64"]["config"]["Env"][1], "A=arm64",
            "{found}"
        );
        let text = kiln.ok(&["imagetools", "inspect", &both]);
        assert!(text.contains("Platform:   linux/arm64"), "{text}");

        // Another client can take it all from its new place.
        let other = Kiln::new(Who::Root, "after-index-pulled")?;
        other.ok(&["pull", &both]);
        if find_program("skopeo").is_ok() {
            let source = format!("docker://{both}");
            let arguments = [
                "inspect",
                "--tls-verify=false",
                "--override-arch",
                "arm64",
                &source,
            ];
            let seen = Program::new("skopeo").args(arguments).run().ok().json();
            assert_eq!(seen["Architecture"], "arm64", "{seen}");
        }

        from_the_store(&kiln, &folder, &name);
        let missing = kiln.run(&["imagetools", "inspect", &name("none:1")]);
        assert_eq!(missing.code, Some(3), "{missing}");
        Ok(())
    });
}

#[test]
fn a_graph_is_drawn_without_building() {
    base::run("after::a_graph_is_drawn_without_building", || {
        let kiln = Kiln::new(Who::Root, "after-graph")?;
        let folder = context(
            "after-graph",
            "FROM scratch AS build\nCOPY Dockerfile /a\nFROM scratch\nCOPY --from=build /a /b\n",
        );
        let path = folder.display().to_string();
        let text = kiln.ok(&["graph", &path]);
        assert!(text.contains("COPY --from=build /a /b"), "{text}");
        assert!(
            kiln.ok(&["graph", "--format", "dot", &path])
                .starts_with("digraph")
        );
        let svg = folder.join("graph.svg");
        kiln.ok(&[
            "graph",
            "--format",
            "svg",
            "-o",
            &svg.display().to_string(),
            &path,
        ]);
        assert!(fs::read_to_string(svg).unwrap().contains("<svg"));
        assert_eq!(kiln.ok(&["history", "ls", "-q"]), "");
        let only = kiln.ok(&["graph", "--target", "build", &path]);
        assert!(!only.contains("/b"), "{only}");
        Ok(())
    });
}

#[test]
fn cache_mounts_travel() {
    for who in [Who::Root, Who::User] {
        let test = format!("after::cache_mounts_travel as {}", who.name());
        base::run(&test, || cache_mounts(who));
    }
}

fn cache_mounts(who: Who) -> Result<(), Absent> {
    let kiln = base::with_base(who)?;
    let id = format!("after-{}", who.name());
    let step = |command: &str| {
        format!("FROM debian:bookworm\nRUN --mount=type=cache,id={id},target=/c {command}\n")
    };
    let fill = "umask 022 && mkdir -p /c/d && head -c 100000 /dev/urandom > /c/d/file && \
                chown 1000:7 /c/d/file && chmod 640 /c/d/file && ln -s file /c/d/link && \
                ln /c/d/file /c/d/other && touch -d @1000000000 /c/d/file";
    build(&kiln, "fills", &step(fill));
    let listed = json(&kiln.ok(&["cache", "ls", "--format", "json"]));
    let row = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == id.as_str())
        .unwrap();
    assert_eq!(
        (row["inUse"].clone(), row["reachable"].clone()),
        (false.into(), true.into())
    );
    assert!(row["bytes"].as_u64().unwrap() > 100_000, "{row}");

    let archive = kiln.run(&["cache", "export", &id]).ok().stdout;
    kiln.ok(&["cache", "rm", &id]);
    assert_eq!(kiln.run(&["cache", "export", &id]).code, Some(5));
    let _ = kiln
        .command()
        .args(["cache", "import", "-"])
        .input(archive.clone())
        .run()
        .ok();
    assert_eq!(kiln.run(&["cache", "export", &id]).ok().stdout, archive);
    let check = "test \"$(stat -c '%u:%g %a %Y %h' /c/d/file)\" = '1000:7 640 1000000000 2' && \
                 test \"$(readlink /c/d/link)\" = file && test $(stat -c %s /c/d/file) = 100000";
    build(&kiln, "checks", &step(check));

    // What is no archive, or a bad one, changes nothing.
    let cut = archive[..archive.len() / 2].to_vec();
    for bad in [cut, b"no archive at all, and no id".to_vec()] {
        let refused = kiln
            .command()
            .args(["cache", "import", "-", "--id", &id])
            .input(bad)
            .run();
        assert!(!refused.success(), "{refused}");
    }
    assert_eq!(kiln.run(&["cache", "export", &id]).ok().stdout, archive);
    let missing = kiln.run(&["cache", "import", "--if-exists", "/nowhere/at/all.tar"]);
    assert_eq!(missing.code, Some(0), "{missing}");
    let pruned = kiln.ok(&["cache", "prune", "--id", &id]);
    assert!(pruned.contains(&id), "{pruned}");
    Ok(())
}
