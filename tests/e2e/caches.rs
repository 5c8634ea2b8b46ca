//! Caches of other machines: what one store exports, another finds; and what BuildKit exported is
//! found as well, so that a project switches without a cold build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use testkit::{Absent, Docker, Finished, FlatImage, Kiln, Program, Registry, Scratch, Who};
use testkit::{find_program, make_tree};

use crate::base;

/// More than anything else in these images, and incompressible.
const BIG: u64 = 3_000_000;

/// busybox as an image on the registry, so that every store begins with the same.
fn base_image() -> Result<String, Absent> {
    static READY: OnceLock<Result<String, Absent>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        let kiln = Kiln::new(Who::Root, "caches-base")?;
        let name = format!("{}/caches/base:1", Registry::get()?.host());
        let folder = Scratch::folder("caches-base");
        make_tree(
            &folder,
            "
            etc/passwd 0644 root:x:0:0:root:/root:/bin/sh\\napp:x:1000:1000::/:/bin/sh\\n
            etc/group  0644 root:x:0:\\napp:x:1000:\\n
            tmp/       1777
            ",
        );
        fs::copy(find_program("busybox")?, folder.join("busybox")).unwrap();
        let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\n\
             RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nCOPY etc /etc\nCOPY tmp /tmp\n";
        fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        let build = kiln
            .command()
            .args(["build", "--push", "--tag", &name])
            .arg(&folder);
        let _ = build.run().ok();
        Ok(name)
    });
    ready.clone()
}

/// Two stages, of which the first leaves much behind that the image does not need.
fn project(name: &str) -> Result<PathBuf, Absent> {
    let folder = Scratch::folder(&format!("caches-{name}"));
    let image = base_image()?;
    let dockerfile = format!(
        "FROM {image} AS build\nWORKDIR /src\nCOPY a.txt .\n\
         RUN cat a.txt > made && head -c {BIG} /dev/urandom > big\n\
         FROM {image}\nCOPY --from=build /src/made /made\nRUN head -c 9 /dev/urandom > /end\n"
    );
    fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    fs::write(folder.join("a.txt"), "hello\n").unwrap();
    Ok(folder)
}

fn build(store: &str, folder: &Path, arguments: &[&str]) -> Result<(Kiln, Finished), Absent> {
    let kiln = Kiln::new(Who::Root, store)?;
    let command = kiln.command().args(["build", "--progress=plain"]);
    let built = command.args(arguments).arg(folder).run();
    Ok((kiln, built))
}

/// How each of the instructions ended, by its text.
fn steps(built: &Finished) -> BTreeMap<String, String> {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for line in built.stderr.lines() {
        let Some((number, rest)) = line.split_once(' ') else {
            continue;
        };
        if !number.starts_with('#') {
            continue;
        }
        if rest.starts_with('[') && !rest.starts_with("[internal]") {
            names.entry(number).or_insert(rest);
        }
        let end = rest.split(' ').next().unwrap();
        if let (Some(name), "CACHED" | "DONE") = (names.get(number), end) {
            let (_, text) = name.split_once("] ").unwrap();
            ends.insert(text.to_owned(), end.to_owned());
        }
    }
    ends
}

/// The instructions that ran, `FROM` aside.
fn ran(built: &Finished) -> Vec<String> {
    let steps = steps(built).into_iter();
    let ran = steps.filter(|(name, end)| end == "DONE" && !name.starts_with("FROM "));
    ran.map(|(name, _)| name).collect()
}

fn cached(built: &Finished) -> Vec<String> {
    let steps = steps(built).into_iter();
    let cached = steps.filter(|(name, end)| end == "CACHED" && !name.starts_with("FROM "));
    cached.map(|(name, _)| name).collect()
}

/// Whether a blob of the size of the big layer is in the folder.
fn has_big(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let metadata = fs::symlink_metadata(entry.path()).unwrap();
        if metadata.is_dir() {
            has_big(&entry.path())
        } else {
            metadata.len() >= BIG
        }
    })
}

fn flat(kiln: &Kiln, image: &str) -> FlatImage {
    let saved = kiln.run(&["save", "--format", "docker", image]).ok();
    FlatImage::from_docker_archive(&saved.stdout)
}

/// Exports with `to`, and builds the same from `from` on an empty store.
fn check(name: &str, to: &str, from: &str) {
    base::run(&format!("caches::{name}"), || {
        let host = Registry::get()?.host();
        let folder = project(name)?;
        let place = Scratch::folder(&format!("caches-{name}-export"));
        let fill = |text: &str| {
            text.replace("HOST", &host)
                .replace("DIR", &place.display().to_string())
        };
        let (to, from) = (fill(to), fill(from));
        let image = format!("{host}/caches/{name}:1");
        let first = ["--push", "--tag", &image, "--cache-to", &to];
        let (one, built) = build(&format!("caches-{name}-1"), &folder, &first)?;
        let built = built.ok();
        assert_eq!(ran(&built).len(), 5, "{built}");

        let second = ["--tag", &image, "--cache-from", &from];
        let (two, built) = build(&format!("caches-{name}-2"), &folder, &second)?;
        let built = built.ok();
        assert_eq!(ran(&built), Vec::<String>::new(), "{built}");
        let end = "RUN head -c 9 /dev/urandom > /end".to_string();
        assert!(cached(&built).contains(&end), "{built}");
        assert!(
            !has_big(&two.store().join("blobs")),
            "a layer was fetched for nothing"
        );
        let differences = flat(&one, &image).differences(&flat(&two, &image), ["1", "2"]);
        assert_eq!(differences, "");

        // The build stage itself is in a cache of mode=max only.
        let third = ["--target=build", "--cache-from", &from];
        let (_, built) = build(&format!("caches-{name}-3"), &folder, &third)?;
        let built = built.ok();
        let command = format!("RUN cat a.txt > made && head -c {BIG} /dev/urandom > big");
        let wanted = if to.contains("mode=max") {
            &[][..]
        } else {
            &[command][..]
        };
        let ran = ran(&built);
        let ran: Vec<&String> = ran.iter().filter(|name| name.starts_with("RUN")).collect();
        assert_eq!(ran, wanted.iter().collect::<Vec<_>>(), "{built}");
        Ok(())
    });
}

#[test]
fn a_registry_s_cache_of_all_steps() {
    check(
        "registry-max",
        "type=registry,ref=HOST/caches/max:c,mode=max",
        "type=registry,ref=HOST/caches/max:c",
    );
}

#[test]
fn a_registry_s_cache_of_the_image_s_steps() {
    check(
        "registry-min",
        "type=registry,ref=HOST/caches/min:c,mode=min",
        "type=registry,ref=HOST/caches/min:c",
    );
}

#[test]
fn a_folder_s_cache_of_all_steps() {
    check(
        "local-max",
        "type=local,dest=DIR,mode=max",
        "type=local,src=DIR",
    );
}

#[test]
fn a_folder_s_cache_of_the_image_s_steps() {
    check("local-min", "type=local,dest=DIR", "type=local,src=DIR");
}

#[test]
fn a_cache_in_the_image() {
    check(
        "inline",
        "type=inline",
        "type=registry,ref=HOST/caches/inline:1",
    );
}

#[test]
fn a_cache_that_is_not_there_is_a_warning() {
    base::run("caches::a_cache_that_is_not_there_is_a_warning", || {
        let host = Registry::get()?.host();
        let folder = project("missing")?;
        let from = format!("type=registry,ref={host}/caches/nothing:1");
        let (_, built) = build("caches-missing", &folder, &["--cache-from", &from])?;
        let built = built.ok();
        assert!(built.stderr.contains("a cache is not used"), "{built}");
        assert_eq!(ran(&built).len(), 5, "{built}");
        Ok(())
    });
}

#[test]
fn an_export_that_fails_may_be_ignored() {
    base::run("caches::an_export_that_fails_may_be_ignored", || {
        let folder = project("failing")?;
        // Nothing listens there.
        let to = "type=registry,ref=127.0.0.1:1/caches/x:1";
        let (_, built) = build("caches-failing", &folder, &["--cache-to", to])?;
        assert!(!built.success(), "{built}");
        let ignored = format!("{to},ignore-error=true");
        let (_, built) = build("caches-failing", &folder, &["--cache-to", &ignored])?;
        let built = built.ok();
        assert!(
            built.stderr.contains("the cache was not exported"),
            "{built}"
        );
        Ok(())
    });
}

#[test]
fn github_s_cache_outside_of_a_workflow_is_no_failure() {
    base::run("caches::github_s_cache_outside_of_a_workflow", || {
        let folder = project("inactive")?;
        let both = ["--cache-to=type=gha", "--cache-from=type=gha"];
        let (_, built) = build("caches-inactive", &folder, &both)?;
        let built = built.ok();
        assert!(
            built.stderr.contains("the cache was not exported"),
            "{built}"
        );
        Ok(())
    });
}

#[test]
fn an_image_of_docker_s_with_its_cache() {
    base::run("caches::an_image_of_docker_s_with_its_cache", || {
        let docker = Docker::get()?;
        let (host, base) = (Registry::get()?.host(), base_image()?);
        let folder = Scratch::folder("caches-docker");
        make_tree(
            &folder,
            "
            a.txt         0644 hello
            zed           0600 z
            dir/b.txt     0644 two
            dir/sub/c     0755 three
            dir/skip.log  0644 not there
            dir/link -> b.txt
            .dockerignore 0644 **/*.log
            ",
        );
        let dockerfile = format!(
            "FROM {base}\nWORKDIR /src\nCOPY a.txt .\nCOPY dir ./dir/\nCOPY *.txt zed /many/\n\
             ARG V=1\nENV E=f\nRUN head -c 9 /dev/urandom > /r && echo $V\n\
             COPY --chown=app:app zed /owned\nADD a.txt /added\nUSER app\nWORKDIR /home\nRUN id\n"
        );
        fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        let image = format!("{host}/caches/docker:1");
        let inline = [
            "build",
            "--network=host",
            "--build-arg=BUILDKIT_INLINE_CACHE=1",
        ];
        let command = docker.command().args(inline).args(["--tag", &image]);
        let _ = command.arg(&folder).run().ok();
        docker.ok(&["push", &image]);

        let from = format!("type=registry,ref={image}");
        let arguments = ["--network=host", "--tag", &image, "--cache-from", &from];
        let (kiln, built) = build("caches-docker", &folder, &arguments)?;
        let built = built.ok();
        assert_eq!(ran(&built), Vec::<String>::new(), "{built}");
        assert_eq!(cached(&built).len(), 9, "{built}");
        let theirs = docker.run(&["save", &image]).ok();
        let theirs = FlatImage::from_docker_archive(&theirs.stdout);
        let differences = flat(&kiln, &image).differences(&theirs, ["kiln", "BuildKit"]);
        assert_eq!(differences, "");
        Ok(())
    });
}

/// A project, its base image and the cache that BuildKit 0.32 exported for it with `mode=max`, in a
/// folder of its own. The base image has a `/bin/sh` that does nothing.
fn recorded(name: &str) -> PathBuf {
    let folder = Scratch::folder(&format!("caches-{name}"));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/caches/buildkit-0.32.tar.gz");
    let tar = Program::new("tar").args(["--extract", "--gzip", "--directory"]);
    let tar = tar.arg(&folder).arg("--file").arg(data);
    let _ = tar.run().ok();
    folder
}

fn build_recorded(store: &str, folder: &Path, more: &[&str]) -> Result<Finished, Absent> {
    let base = format!("base=oci-layout://{}", folder.join("base").display());
    let cache = format!("type=local,src={}", folder.join("cache").display());
    let mut arguments = vec!["--build-context", &base, "--cache-from", &cache];
    arguments.extend_from_slice(more);
    let (_, built) = build(store, &folder.join("context"), &arguments)?;
    Ok(built.ok())
}

#[test]
fn every_step_of_a_cache_of_buildkit_s() {
    base::run("caches::every_step_of_a_cache_of_buildkit_s", || {
        let folder = recorded("recorded");
        let built = build_recorded("caches-recorded-1", &folder, &["--tag", "recorded"])?;
        assert_eq!(ran(&built), Vec::<String>::new(), "{built}");
        // What is only copied from is found, too, when it is what is wanted.
        let built = build_recorded("caches-recorded-2", &folder, &["--target=build"])?;
        assert_eq!(ran(&built), Vec::<String>::new(), "{built}");
        assert_eq!(cached(&built).len(), 18, "{built}");
        Ok(())
    });
}

#[test]
fn a_change_is_seen_with_a_cache_of_buildkit_s() {
    base::run(
        "caches::a_change_is_seen_with_a_cache_of_buildkit_s",
        || {
            let folder = recorded("changed");
            fs::write(folder.join("context/zed"), "another\n").unwrap();
            let built = build_recorded("caches-changed", &folder, &["--target=build"])?;
            let found = cached(&built);
            assert!(found.contains(&"COPY src .".to_owned()), "{built}");
            assert!(
                ran(&built).contains(&"COPY a.txt zed ./".to_owned()),
                "{built}"
            );
            assert!(
                !found.contains(&"COPY *.txt [z]ed /many/".to_owned()),
                "{built}"
            );
            Ok(())
        },
    );
}
