//! `kiln bake`: several targets as one build, from files in each format.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use testkit::{Absent, Finished, Kiln, Scratch, Who, find_program};

use crate::base;

const DOCKERFILE: &str = r#"
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN head -c 32 /dev/urandom | sha256sum > /once

FROM base AS part
ARG WORD=nothing
RUN echo "$WORD" > /word
"#;

const APP: &str = r#"
FROM lib
RUN test "$(cat /word)" = shared && cat /once /word > /both
"#;

const HCL: &str = r#"
variable "WORD" { default = "shared" }
group "default" { targets = ["app", "part"] }

target "part" {
  target = "part"
  args   = { WORD = WORD }
  output = ["type=local,dest=out-part"]
}
target "lib" {
  inherits = ["part"]
  output   = []
}
target "app" {
  context  = "app"
  contexts = { lib = "target:lib" }
  output   = ["type=local,dest=out-app"]
}
target "each" {
  name   = "each-${word}"
  matrix = { word = ["one", "two"] }
  target = "part"
  args   = { WORD = word }
  output = ["type=local,dest=out-${word}"]
}
"#;

const COMPOSE: &str = "
services:
  web:
    build:
      context: .
      target: part
      args: {WORD: composed}
";

/// A project with a store of its own.
struct Project {
    kiln: Kiln,
    folder: PathBuf,
}

impl Project {
    fn new(who: Who, name: &str) -> Result<Self, Absent> {
        let busybox = find_program("busybox")?;
        let kiln = Kiln::new(who, &format!("bake-{name}"))?;
        let folder = Scratch::folder(&format!("bake-{name}-{}", who.name()));
        fs::create_dir_all(folder.join("app")).unwrap();
        fs::copy(busybox, folder.join("busybox")).unwrap();
        fs::write(folder.join("Dockerfile"), DOCKERFILE).unwrap();
        fs::write(folder.join("app/Dockerfile"), APP).unwrap();
        fs::write(folder.join("docker-bake.hcl"), HCL).unwrap();
        fs::write(folder.join("compose.wrong.txt"), COMPOSE).unwrap();
        base::open_to_all(&[&folder]);
        Ok(Self { kiln, folder })
    }

    fn bake(&self, arguments: &[&str]) -> Finished {
        let command = self.kiln.command().cwd(&self.folder).arg("bake");
        command.args(arguments).run()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.join(path)).unwrap()
    }
}

fn builds(who: Who) -> Result<(), Absent> {
    let project = Project::new(who, "builds")?;
    let metadata = project.folder.join("metadata.json");
    let option = format!("--metadata-file={}", metadata.display());
    let _ = project.bake(&[&option]).ok();
    // The step they share ran once, though three targets need it.
    let once = project.read("out-part/once");
    assert_eq!(project.read("out-app/both"), format!("{once}shared\n"));
    let written: serde_json::Value = serde_json::from_str(&project.read("metadata.json")).unwrap();
    let targets: Vec<&String> = written.as_object().unwrap().keys().collect();
    assert_eq!(targets, ["app", "lib", "part"]);

    let _ = project.bake(&["each"]).ok();
    assert_eq!(project.read("out-one/word"), "one\n");
    assert_eq!(project.read("out-two/word"), "two\n");
    assert_eq!(project.read("out-two/once"), once);

    let set = ["part", "--set", "part.args.WORD=set"];
    let _ = project.bake(&set).ok();
    assert_eq!(project.read("out-part/word"), "set\n");

    fs::write(project.folder.join("compose.yaml"), COMPOSE).unwrap();
    let output = "*.output=type=local,dest=out-web";
    let _ = project
        .bake(&["-f", "compose.yaml", "web", "--set", output])
        .ok();
    assert_eq!(project.read("out-web/word"), "composed\n");
    Ok(())
}

fn says(who: Who) -> Result<(), Absent> {
    let project = Project::new(who, "says")?;
    let printed = project
        .bake(&["--print", "app", "--set", "part.args.WORD=x"])
        .ok()
        .json();
    assert_eq!(
        printed,
        json!({
            "group": {"default": {"targets": ["app"]}},
            "target": {
                "app": {
                    "context": "app",
                    "contexts": {"lib": "target:lib"},
                    "dockerfile": "Dockerfile",
                    "output": [{"dest": "out-app", "type": "local"}],
                },
                "lib": {
                    "context": ".",
                    "dockerfile": "Dockerfile",
                    "args": {"WORD": "x"},
                    "target": "part",
                    "output": [{"type": "cacheonly"}],
                },
            },
        })
    );
    let answers = project.bake(&["--call=check,format=json"]).ok().json();
    assert_eq!(answers["target"]["app"]["check"]["warnings"], json!([]));

    fs::write(
        project.folder.join("wrong.hcl"),
        "target \"a\" {\n  args = [1\n}\n",
    )
    .unwrap();
    refused(&project, &["-f", "wrong.hcl", "a"], 2, &["wrong.hcl:", "^"]);
    refused(&project, &["nowhere"], 5, &["unknown target `nowhere`"]);
    refused(
        &project,
        &["--set", "part.outpt=x"],
        5,
        &["did you mean `output`?"],
    );
    let outside = "part.output=/elsewhere";
    refused(
        &project,
        &["part", "--set", outside, "--allow=x"],
        5,
        &["--allow x"],
    );
    Ok(())
}

#[track_caller]
fn refused(project: &Project, arguments: &[&str], code: i32, words: &[&str]) {
    let finished = project.bake(arguments);
    assert_eq!(finished.code, Some(code), "{}", finished.stderr);
    for word in words {
        assert!(finished.stderr.contains(word), "{}", finished.stderr);
    }
}

#[test]
fn targets_are_one_build_as_root() {
    base::run("bake::targets_are_one_build_as_root", || builds(Who::Root));
}

#[test]
fn targets_are_one_build_as_a_user() {
    base::run("bake::targets_are_one_build_as_a_user", || {
        builds(Who::User)
    });
}

#[test]
fn what_is_not_built_is_said() {
    base::run("bake::what_is_not_built_is_said", || says(Who::Root));
}
