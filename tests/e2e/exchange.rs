//! What kiln makes is accepted by everything else: archives, engines, registries.

use std::fs;

use testkit::{Absent, Docker, Kiln, Program, Registry, Scratch, Who, find_program};

use crate::base;

const DOCKERFILE: &str = r#"
FROM debian:bookworm
RUN useradd --uid 1234 potter && echo fired > /pot && chown potter /pot
ENV GREETING=hello
USER potter
WORKDIR /tmp
CMD ["sh", "-c", "echo $GREETING from $(id -un): $(cat /pot)"]
"#;

const SAYS: &str = "hello from potter: fired\n";

/// kiln with an image of the name, built on the shared base.
fn with_image(who: Who, name: &str) -> Result<Kiln, Absent> {
    let kiln = base::with_base(who)?;
    let folder = Scratch::folder(&format!("exchange-{name}-{}", who.name()));
    fs::write(folder.join("Dockerfile"), DOCKERFILE).unwrap();
    let _ = kiln
        .command()
        .args(["build", "--tag", name])
        .arg(folder)
        .run()
        .ok();
    Ok(kiln)
}

fn archive(kiln: &Kiln, format: &str, image: &str) -> String {
    let path = Scratch::folder("archives").join(format!("{image}-{format}.tar"));
    // An ordinary user can't write where root made the folder: kiln writes to standard output.
    let saved = kiln.run(&["save", "--format", format, image]).ok();
    fs::write(&path, saved.stdout).unwrap();
    path.display().to_string()
}

#[test]
fn kiln_runs_it() {
    for who in [Who::Root, Who::User] {
        base::run(&format!("exchange::kiln_runs_it as {}", who.name()), || {
            let kiln = with_image(who, "runs")?;
            assert_eq!(kiln.ok(&["run", "--rm", "runs"]), SAYS);
            let failed = kiln.run(&["run", "--rm", "runs", "sh", "-c", "exit 42"]);
            assert_eq!(failed.code, Some(42), "{failed}");
            Ok(())
        });
    }
}

#[test]
fn skopeo_inspects_both_kinds_of_archive() {
    base::run("exchange::skopeo_inspects_both_kinds_of_archive", || {
        find_program("skopeo")?;
        let kiln = with_image(Who::Root, "inspected")?;
        for format in ["oci", "docker"] {
            let path = archive(&kiln, format, "inspected");
            let source = format!("{format}-archive:{path}");
            let image = Program::new("skopeo")
                .args(["inspect", &source])
                .run()
                .ok()
                .json();
            assert_eq!(image["Layers"].as_array().unwrap().len(), 3, "{image}");
            assert!(
                image["Env"]
                    .as_array()
                    .unwrap()
                    .contains(&"GREETING=hello".into()),
                "{image}"
            );
        }
        Ok(())
    });
}

#[test]
fn docker_loads_and_runs_it() {
    base::run("exchange::docker_loads_and_runs_it", || {
        let docker = Docker::get()?;
        let kiln = with_image(Who::Root, "docked")?;
        docker.ok(&["load", "--input", &archive(&kiln, "docker", "docked")]);
        let run = ["run", "--rm", "--network=none", "docked"];
        assert_eq!(docker.ok(&run), SAYS);
        Ok(())
    });
}

#[test]
fn build_loads_into_docker() {
    base::run("exchange::build_loads_into_docker", || {
        let docker = Docker::get()?;
        let kiln = base::with_base(Who::Root)?;
        let folder = Scratch::folder("exchange-load");
        fs::write(folder.join("Dockerfile"), DOCKERFILE).unwrap();
        let command = kiln.command().env("DOCKER_HOST", docker.host());
        let _ = command
            .args(["build", "--load", "--tag", "sideloaded"])
            .arg(folder)
            .run()
            .ok();
        assert_eq!(
            docker.ok(&["run", "--rm", "--network=none", "sideloaded"]),
            SAYS
        );
        Ok(())
    });
}

#[test]
fn podman_loads_and_runs_it() {
    base::run("exchange::podman_loads_and_runs_it", || {
        find_program("podman")?;
        find_program("runc")?;
        let kiln = with_image(Who::Root, "podded")?;
        let folder = Scratch::folder("podman");
        let option = |name: &str| format!("--{name}={}", folder.join(name).display());
        let podman = || {
            let command = Program::new("podman").args([option("root"), option("runroot")]);
            command.args([
                "--runtime=runc",
                "--cgroup-manager=cgroupfs",
                "--events-backend=file",
            ])
        };
        for format in ["oci", "docker"] {
            let path = archive(&kiln, format, "podded");
            let loaded = podman().args(["load", "--input", &path]).run().ok().text();
            let name = loaded.trim().rsplit(' ').next().unwrap();
            assert!(name.ends_with("/podded:latest"), "{loaded}");
            // podman's own limits are above what some machines let even root set.
            let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"];
            let run = ["run", "--rm", "--network=none"];
            let ran = podman().args(run).args(limits).arg(name).run();
            if !ran.success() && ran.stderr.contains("cgroup") {
                return Err(Absent(format!(
                    "podman can't run here: {}",
                    ran.stderr.trim()
                )));
            }
            assert_eq!(ran.ok().text(), SAYS);
            let _ = podman().args(["rmi", "--all", "--force"]).run().ok();
        }
        Ok(())
    });
}

#[test]
fn a_registry_takes_and_gives_it() {
    for who in [Who::Root, Who::User] {
        base::run(
            &format!("exchange::a_registry_takes_and_gives_it as {}", who.name()),
            || {
                let registry = Registry::get()?;
                let kiln = with_image(who, "pushed")?;
                let name = format!("{}/team/{}:1", registry.host(), who.name());
                kiln.ok(&["tag", "pushed", &name]);
                kiln.ok(&["push", &name]);
                let manifest = kiln.ok(&["inspect", "--manifest", &name]);

                let other = Kiln::new(who, "exchange-pulled")?;
                other.ok(&["pull", &name]);
                assert_eq!(other.ok(&["inspect", "--manifest", &name]), manifest);
                assert_eq!(other.ok(&["run", "--rm", &name]), SAYS);

                if find_program("skopeo").is_ok() {
                    let source = format!("docker://{name}");
                    let arguments = ["inspect", "--tls-verify=false", &source];
                    let seen = Program::new("skopeo").args(arguments).run().ok().json();
                    assert_eq!(seen["Layers"].as_array().unwrap().len(), 3, "{seen}");
                }
                Ok(())
            },
        );
    }
}

#[test]
fn load_takes_what_save_wrote() {
    base::run("exchange::load_takes_what_save_wrote", || {
        let kiln = with_image(Who::Root, "carried")?;
        let manifest = kiln.ok(&["inspect", "--manifest", "carried"]);
        for format in ["oci", "docker"] {
            let other = Kiln::new(Who::Root, &format!("exchange-loaded-{format}"))?;
            other.ok(&["load", "-i", &archive(&kiln, format, "carried")]);
            assert_eq!(other.ok(&["run", "--rm", "carried"]), SAYS);
            if format == "oci" {
                assert_eq!(other.ok(&["inspect", "--manifest", "carried"]), manifest);
            }
        }
        Ok(())
    });
}

#[test]
fn an_archive_on_standard_output_is_all_that_is_there() {
    base::run(
        "exchange::an_archive_on_standard_output_is_all_that_is_there",
        || {
            let kiln = Kiln::new(Who::Root, "stdout")?;
            let folder = Scratch::folder("stdout");
            fs::write(
                folder.join("Dockerfile"),
                "FROM scratch\nCOPY Dockerfile /\n",
            )
            .unwrap();
            let built = kiln
                .command()
                .args(["build", "--quiet", "-o", "type=oci,dest=-"])
                .arg(&folder)
                .run();
            assert_eq!(built.code, Some(0), "{built}");
            assert!(built.stdout.ends_with(b"\0"), "the archive ends with zeros");
            assert!(built.stderr.starts_with("sha256:"), "{}", built.stderr);
            Ok(())
        },
    );
}
