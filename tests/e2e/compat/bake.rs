//! Rows about `bake`.

use serde_json::Value;

use super::lab::Lab;
use super::row;

const HCL: &str = r#"
variable "VERSION" {
  default = "1"
  validation {
    condition = VERSION != "bad"
    error_message = "that is no version"
  }
}
function "twice" {
  params = [text]
  result = "${text}${text}"
}
group "default" { targets = ["app", "late"] }
target "common" {
  args = { V = VERSION }
  labels = { l = twice("x") }
}
target "app" {
  inherits = ["common"]
  description = "the app"
  dockerfile-inline = <<EOT
FROM base
ARG V
RUN test $V = ${VERSION}
RUN echo app > /app
EOT
  tags = ["baked-app:${VERSION}"]
  target = ""
}
target "late" {
  contexts = { parent = "target:app" }
  dockerfile-inline = "FROM parent\nRUN test $(cat /app) = app\n"
  tags = ["baked-late"]
}
target "many" {
  name = "many-${n}"
  matrix = { n = ["one", "two"] }
  dockerfile-inline = "FROM base\nENV N=${n}\n"
}
"#;

/// Runs `kiln bake` in a folder with the file; its outcome.
fn bake(lab: &Lab, arguments: &[&str]) -> testkit::Finished {
    lab.file("docker-bake.hcl", HCL);
    lab.own(&lab.context);
    let command = lab.kiln.command().cwd(&lab.context).arg("bake");
    command.args(arguments).run()
}

fn print(lab: &Lab, arguments: &[&str]) -> Value {
    bake(lab, &[&["--print"], arguments].concat()).ok().json()
}

#[test]
fn targets_built_as_one_graph() {
    row(|lab| {
        let built = bake(lab, &["--progress=plain"]).ok();
        assert!(built.success());
        let config = lab.config_of("baked-app:1");
        assert_eq!(config["config"]["Labels"]["l"], "xx", "{config}");
        lab.config_of("baked-late");
        Ok(())
    });
}

#[test]
fn variables_functions_and_groups() {
    row(|lab| {
        let plan = print(lab, &[]);
        assert_eq!(plan["target"]["app"]["args"]["V"], "1", "{plan}");
        assert_eq!(plan["target"]["app"]["labels"]["l"], "xx", "{plan}");
        let plan = print(lab, &["--var", "VERSION=2"]);
        assert_eq!(plan["target"]["app"]["tags"][0], "baked-app:2", "{plan}");
        let refused = bake(lab, &["--print", "--var", "VERSION=bad"]);
        assert!(
            !refused.success() && refused.stderr.contains("that is no version"),
            "{refused}"
        );
        Ok(())
    });
}

#[test]
fn matrix_and_inheritance() {
    row(|lab| {
        let plan = print(lab, &["many"]);
        let text = plan.to_string();
        assert!(
            text.contains("many-one") && text.contains("many-two"),
            "{plan}"
        );
        Ok(())
    });
}

#[test]
fn json_and_compose_files() {
    row(|lab| {
        lab.file("b.json", r#"{"target": {"j": {"tags": ["from-json"]}}}"#);
        lab.file(
            "compose.yml",
            "services:\n  web:\n    image: from-compose\n    build: .\n",
        );
        let plan = print(lab, &["-f", "b.json", "j"]);
        assert_eq!(plan["target"]["j"]["tags"][0], "from-json", "{plan}");
        let plan = print(lab, &["-f", "compose.yml", "web"]);
        assert_eq!(plan["target"]["web"]["tags"][0], "from-compose", "{plan}");
        Ok(())
    });
}

#[test]
fn set_and_attributes() {
    row(|lab| {
        let plan = print(
            lab,
            &[
                "--set=app.args.V=9",
                "--set=*.platform=linux/arm64",
                "--set=app.no-cache=true",
                "--set=app.pull=true",
                "--set=app.network=none",
                "--set=app.secrets=id=s,env=S",
                "--set=app.ssh=default",
                "--set=app.cache-from=type=local,src=x",
                "--set=app.cache-to=type=inline",
                "--set=app.output=type=cacheonly",
                "--set=app.shm-size=1m",
                "--set=app.ulimits=nofile=9",
                "--set=app.extra-hosts.h=1.2.3.4",
                "--set=app.annotations=a=b",
                "--set=app.attest=type=sbom",
                "--set=app.entitlements=network.host",
                "--set=app.no-cache-filter=x",
                "--set=app.call=check",
                "--set=app.target=t",
                "--set=app.context=c",
                "--set=app.dockerfile=d",
            ],
        );
        let app = &plan["target"]["app"];
        for name in [
            "platforms",
            "no-cache",
            "pull",
            "network",
            "secret",
            "ssh",
            "cache-from",
            "cache-to",
            "output",
            "shm-size",
            "ulimits",
            "extra-hosts",
            "annotations",
            "attest",
            "no-cache-filter",
            "call",
            "target",
            "context",
            "dockerfile",
        ] {
            assert!(!app[name].is_null(), "no {name} in {app:#}");
        }
        assert_eq!(app["args"]["V"], "9", "{plan}");
        Ok(())
    });
}

#[test]
fn list_and_print() {
    row(|lab| {
        let targets = bake(lab, &["--list=targets"]).ok().text();
        assert!(targets.contains("the app"), "{targets}");
        let variables = bake(lab, &["--list=type=variables,format=json"])
            .ok()
            .text();
        assert!(variables.contains("VERSION"), "{variables}");
        Ok(())
    });
}

#[test]
fn flags_of_bake() {
    row(|lab| {
        let metadata = lab.folder("out").join("metadata.json");
        let flag = format!("--metadata-file={}", metadata.display());
        let built = bake(
            lab,
            &[
                "app",
                "--no-cache",
                "--progress=plain",
                "--provenance=true",
                "--sbom=true",
                "--allow=network.host",
                &flag,
            ],
        );
        assert!(built.success(), "{built}");
        let text = std::fs::read_to_string(metadata).unwrap();
        assert!(text.contains("\"app\""), "{text}");
        let checked = bake(lab, &["app", "--check"]);
        assert!(checked.success(), "{checked}");
        let plan = print(lab, &["--push", "app"]);
        assert!(plan.to_string().contains("push"), "{plan}");
        let plan = print(lab, &["--load", "app"]);
        assert!(plan.to_string().contains("docker"), "{plan}");
        Ok(())
    });
}
