//! Rows about flags of `build` that say what is built and how steps run.

use std::fs;

use testkit::{Docker, Program, Registry};

use super::net::Repository;
use super::row;

const TRUE: &str = "FROM base\nRUN true\n";

#[test]
fn path_url_or_stdin() {
    row(|lab| {
        lab.file("Dockerfile", "FROM base\nCOPY Dockerfile /d\n");
        lab.bare().arg(lab.context.display().to_string()).ok();
        lab.bare().arg(".").cwd(&lab.context).ok();
        lab.bare().arg("-").input("FROM base\nRUN true\n").ok();
        let tar = Program::new("tar")
            .cwd(&lab.context)
            .args(["-cz", "."])
            .run()
            .ok();
        lab.bare().arg("-").input(tar.stdout.clone()).ok();
        let web = super::net::Web::start(move |_| {
            testkit::Answer::body("application/gzip", tar.stdout.clone())
        });
        lab.bare().arg(web.url("/context.tar.gz")).ok();
        lab.bare().arg(Repository::get()?.url("app.git")).ok();
        lab.bare().arg(Repository::get()?.url("app.git#side")).ok();
        lab.bare().arg("/absent").fails(&["/absent"]);
        Ok(())
    });
}

#[test]
fn file() {
    row(|lab| {
        lab.file("sub/Other", TRUE);
        let file = lab.context.join("sub/Other").display().to_string();
        let context = lab.context.display().to_string();
        lab.bare().args(&["--file", &file, &context]).ok();
        lab.bare().args(&["-f", &file, &context]).ok();
        Ok(())
    });
}

#[test]
fn tag() {
    row(|lab| {
        lab.build(TRUE)
            .args(&["-t", "tag-one", "--tag", "tag-two:2"])
            .ok();
        assert_eq!(lab.config_of("tag-one"), lab.config_of("tag-two:2"));
        lab.build(TRUE)
            .args(&["-t", "Not A Name"])
            .fails(&["Not A Name"]);
        Ok(())
    });
}

#[test]
fn target() {
    row(|lab| {
        let text = "FROM base AS one\nENV S=one\nFROM base AS two\nRUN false\n";
        let config = lab.build(text).args(&["--target", "ONE"]).config();
        assert_eq!(config["config"]["Env"][1], "S=one", "{config}");
        lab.build(text).args(&["--target", "tow"]).fails(&["tow"]);
        Ok(())
    });
}

#[test]
fn build_arg() {
    row(|lab| {
        lab.build("FROM base\nARG A B C=c\nRUN test \"$A,$B,$C\" = 1=1,env,c\n")
            .args(&[
                "--build-arg",
                "A=1=1",
                "--build-arg",
                "B",
                "--build-arg",
                "C",
            ])
            .env("B", "env")
            .ok();
        Ok(())
    });
}

#[test]
fn labels() {
    row(|lab| {
        let config = lab
            .build("FROM scratch\nLABEL a=file b=file\n")
            .args(&["--label", "a=flag", "--label", "c=x y"])
            .config();
        let expected = serde_json::json!({"a": "flag", "b": "file", "c": "x y"});
        assert_eq!(config["config"]["Labels"], expected, "{config}");
        Ok(())
    });
}

#[test]
fn annotation_flag() {
    row(|lab| {
        lab.build("FROM scratch\nENV A=1\n")
            .args(&["--annotation", "a=1", "--annotation", "manifest:b=2"])
            .args(&[
                "--annotation",
                "index:c=3",
                "--annotation",
                "manifest[linux/arm64]:d=4",
            ])
            .args(&["--annotation", "manifest-descriptor:e=5"])
            .args(&[
                "--platform",
                "linux/amd64,linux/arm64",
                "--tag",
                "annotated",
            ])
            .ok();
        let index = lab.manifest_of("annotated");
        assert_eq!(index["annotations"]["c"], "3", "{index}");
        assert_eq!(index["manifests"][0]["annotations"]["e"], "5", "{index}");
        Ok(())
    });
}

#[test]
fn build_context() {
    row(|lab| {
        let file = lab.outside("named/f", "x\n");
        lab.build("FROM base\nCOPY --from=named f /\n")
            .arg("--build-context")
            .arg(format!("named={}", file.parent().unwrap().display()))
            .ok();
        lab.build(TRUE)
            .args(&["--build-context", "named"])
            .fails(&["named"]);
        Ok(())
    });
}

#[test]
fn platform() {
    row(|lab| {
        let text = "FROM scratch\nARG TARGETPLATFORM\nENV P=$TARGETPLATFORM\n";
        lab.build(text)
            .args(&[
                "--platform",
                "linux/amd64,linux/arm64",
                "--tag",
                "platforms",
            ])
            .ok();
        let index = lab.manifest_of("platforms");
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "{index}");
        assert_eq!(
            index["manifests"][1]["platform"]["architecture"], "arm64",
            "{index}"
        );
        lab.build(TRUE).args(&["--platform", "local"]).ok();
        lab.build(TRUE)
            .args(&["--platform", "a/b/c/d"])
            .fails(&["a/b/c/d"]);
        Ok(())
    });
}

#[test]
fn push() {
    row(|lab| {
        let name = format!("{}/push-{}:1", Registry::get()?.host(), lab.who().name());
        lab.build(TRUE).args(&["--push", "--tag", &name]).ok();
        lab.fresh("pull").ok(&["pull", &name]);
        lab.build(TRUE).arg("--push").run();
        Ok(())
    });
}

#[test]
fn load() {
    row(|lab| {
        let docker = Docker::get()?;
        if lab.who() == testkit::Who::User {
            // The daemon's socket is root's.
            return Ok(());
        }
        lab.build("FROM base\nCMD [\"echo\", \"loaded\"]\n")
            .args(&["--load", "--tag", "compat-load"])
            .env("DOCKER_HOST", docker.host())
            .ok();
        let run = ["run", "--rm", "--network=none", "compat-load"];
        assert_eq!(docker.ok(&run), "loaded\n");
        Ok(())
    });
}

#[test]
fn no_cache() {
    row(|lab| {
        let text = "FROM base\nRUN echo no-cache\n";
        lab.build(text).ok();
        let again = lab
            .build(text)
            .args(&["--no-cache", "--progress=plain"])
            .ok();
        assert!(again.stderr.contains(" no-cache\n"), "{again}");
        Ok(())
    });
}

#[test]
fn no_cache_filter() {
    row(|lab| {
        let text = "FROM base AS one\nRUN echo first-st\"\"age > /1\nFROM base AS two\nRUN echo second-st\"\"age\nCOPY --from=one /1 /1\n";
        lab.build(text).ok();
        let again = lab
            .build(text)
            .args(&["--no-cache-filter", "two", "--progress=plain"])
            .ok();
        assert!(again.stderr.contains(" second-stage\n"), "{again}");
        assert!(again.stderr.contains("CACHED"), "{again}");
        Ok(())
    });
}

#[test]
fn pull() {
    row(|lab| {
        let name = format!("{}/pulled-{}:1", Registry::get()?.host(), lab.who().name());
        lab.build("FROM base\nENV V=1\n")
            .args(&["--push", "--tag", &name])
            .ok();
        let other = lab.fresh("other");
        lab.build_by(&other, &format!("FROM {name}\nRUN test $V = 1\n"))
            .ok();
        lab.build("FROM base\nENV V=2\n")
            .args(&["--push", "--tag", &name])
            .ok();
        lab.build_by(&other, &format!("FROM {name}\nRUN test $V = 2\n"))
            .arg("--pull")
            .ok();
        Ok(())
    });
}

#[test]
fn secret() {
    row(|lab| {
        let file = lab.outside("s", "value");
        let path = file.display();
        let text =
            "FROM base\nRUN --mount=type=secret,id=s,required test $(cat /run/secrets/s) = value\n";
        for spec in [
            format!("id=s,src={path}"),
            format!("id=s,source={path},type=file"),
            "id=s,env=THE_SECRET".to_owned(),
            "type=env,id=s,env=THE_SECRET".to_owned(),
        ] {
            let build = lab.build(text).arg("--no-cache").arg("--secret").arg(spec);
            build.env("THE_SECRET", "value").ok();
        }
        lab.build(text)
            .arg("--secret=id=s,src=/absent")
            .fails(&["/absent"]);
        Ok(())
    });
}

#[test]
fn allow() {
    row(|lab| {
        let text = "FROM base\nRUN --network=host true\n";
        lab.build(text).fails(&["network.host"]);
        lab.build(text).args(&["--allow", "network.host"]).ok();
        lab.build(TRUE)
            .args(&["--allow", "everything"])
            .fails(&["everything"]);
        Ok(())
    });
}

#[test]
fn network() {
    row(|lab| {
        let text = "FROM base\nRUN test $(cat /proc/net/dev | wc -l) = 3\n";
        lab.build(text).args(&["--network", "none"]).ok();
        lab.build(TRUE).args(&["--network", "host"]).ok();
        lab.build(TRUE)
            .args(&["--network", "bridge-x"])
            .fails(&["bridge-x"]);
        Ok(())
    });
}

#[test]
fn add_host() {
    row(|lab| {
        lab.build("FROM base\nRUN grep -w '10.0.0.1.*one' /etc/hosts && grep -w '::1.*two' /etc/hosts && grep three /etc/hosts\n")
            .args(&["--add-host", "one:10.0.0.1", "--add-host", "two=::1"])
            .args(&["--add-host", "three:host-gateway"])
            .ok();
        Ok(())
    });
}

#[test]
fn shm_size() {
    row(|lab| {
        let text = "FROM base\nRUN df -k /dev/shm | tail -n 1 | grep ' 2048 '\n";
        lab.build(text).args(&["--shm-size", "2m"]).ok();
        Ok(())
    });
}

#[test]
fn ulimit() {
    row(|lab| {
        let text = "FROM base\nRUN test $(ulimit -n) = 99 && test $(ulimit -Hn) = 100\n";
        lab.build(text).args(&["--ulimit", "nofile=99:100"]).ok();
        lab.build(TRUE)
            .args(&["--ulimit", "some=1"])
            .fails(&["some"]);
        Ok(())
    });
}

#[test]
fn sbom_provenance_and_attest() {
    row(|lab| {
        let has = |flags: &[&str], predicate: &str| {
            let name = format!("attested-{}", flags.len() + predicate.len());
            lab.build(TRUE).args(flags).args(&["--tag", &name]).ok();
            let index = lab.manifest_of(&name).to_string();
            assert!(index.contains("attestation-manifest"), "{flags:?}: {index}");
        };
        has(&["--sbom=true"], "spdx");
        has(&["--provenance=true"], "slsa");
        has(&["--provenance=mode=max", "--sbom=true"], "both");
        has(
            &[
                "--attest",
                "type=sbom",
                "--attest",
                "type=provenance,mode=min",
            ],
            "attest",
        );
        lab.build(TRUE)
            .args(&["--provenance=false", "--tag", "unattested"])
            .ok();
        assert!(lab.manifest_of("unattested")["layers"].is_array());
        lab.differs("attestations are off unless asked for; buildx adds provenance by default");
        Ok(())
    });
}

#[test]
fn metadata_file_and_iidfile() {
    row(|lab| {
        let folder = lab.folder("out");
        let (metadata, id) = (folder.join("metadata"), folder.join("id"));
        lab.build(TRUE)
            .args(&["--tag", "with-metadata", "--metadata-file"])
            .arg(&metadata)
            .arg("--iidfile")
            .arg(&id)
            .ok();
        let text = fs::read_to_string(metadata).unwrap();
        for key in [
            "containerimage.config.digest",
            "containerimage.digest",
            "containerimage.descriptor",
            "buildx.build.ref",
            "image.name",
        ] {
            assert!(text.contains(key), "no {key} in {text}");
        }
        assert!(fs::read_to_string(id).unwrap().starts_with("sha256:"));
        Ok(())
    });
}

#[test]
fn progress_and_quiet() {
    row(|lab| {
        let show = |how: &str| {
            let build = lab.build("FROM base\nRUN echo shown\n").arg("--no-cache");
            build.arg(format!("--progress={how}")).ok()
        };
        assert!(show("plain").stderr.contains("DONE"));
        assert!(show("auto").stderr.contains("shown"));
        assert!(show("tty").success());
        assert!(show("rawjson").stderr.contains("\"vertexes\""));
        assert!(!show("none").stderr.contains("shown"));
        assert!(!show("quiet").stderr.contains("shown"));
        let quiet = lab.build(TRUE).arg("-q").ok();
        assert!(quiet.text().starts_with("sha256:"), "{quiet}");
        let by_variable = lab.build("FROM base\nRUN echo by-variable\n");
        let seen = by_variable.env("BUILDKIT_PROGRESS", "none").ok();
        assert!(!seen.stderr.contains("by-variable"), "{seen}");
        Ok(())
    });
}

#[test]
fn call_and_check() {
    row(|lab| {
        let text = "# The version.\nARG V=1\n# one is a stage\nFROM base as one\nARG A\nRUN --mount=type=secret,id=s true\n";
        let call = |method: &str| {
            let asked = lab.build(text).arg(format!("--call={method}")).run();
            format!("{}{}", asked.text(), asked.stderr)
        };
        assert!(call("check").contains("FromAsCasing"));
        assert!(call("outline").contains('V'));
        assert!(call("targets").contains("one"));
        assert!(call("targets,format=json").contains("\"targets\""));
        assert!(call("subrequests.describe").contains("outline"));
        assert!(call("sing").contains("sing"));
        let checked = lab.build(text).arg("--check").run();
        assert!(!checked.success(), "{checked}");
        lab.build(TRUE).arg("--call=build").ok();
        Ok(())
    });
}

#[test]
fn cgroup_parent_and_resource() {
    row(|lab| {
        let memory = lab.build(TRUE).args(&["--resource", "memory=64m"]).run();
        // Where no control group can be written the limit is refused, not dropped.
        assert!(
            memory.success() || memory.stderr.contains("group"),
            "{memory}"
        );
        lab.build(TRUE)
            .args(&["--resource", "sugar=1"])
            .fails(&["sugar"]);
        let parent = lab
            .build(TRUE)
            .args(&["--cgroup-parent", "kiln-compat"])
            .run();
        assert!(
            parent.success() || parent.stderr.contains("group"),
            "{parent}"
        );
        Ok(())
    });
}

#[test]
fn policy() {
    row(|lab| {
        lab.build(TRUE)
            .args(&["--policy", "filename=p.rego"])
            .fails(&["olic"]);
        lab.missing("Rego policies");
        Ok(())
    });
}

#[test]
fn builder_and_debug() {
    row(|lab| {
        let seen = lab.build(TRUE).args(&["--builder", "mine", "-D"]).ok();
        assert!(seen.stderr.contains("builder"), "{seen}");
        lab.differs("there are no builder instances: `--builder` is told to have no meaning");
        Ok(())
    });
}
