//! Several platforms in one build, programs of other machines included, with nothing registered on
//! the host.

use std::fs;
use std::path::Path;

use testkit::{Absent, Kiln, Program, Scratch, Who};

use crate::base::{self, BASE};

const DOCKERFILE: &str = r#"
FROM --platform=$BUILDPLATFORM debian:bookworm AS build
ARG TARGETPLATFORM TARGETARCH BUILDPLATFORM
RUN uname -m > /machine && echo "$BUILDPLATFORM builds $TARGETPLATFORM" > /said

FROM debian:bookworm
ARG TARGETARCH TARGETOS TARGETVARIANT
RUN test "$(dpkg --print-architecture)" = "$TARGETARCH" && uname -m > /machine
COPY --from=build /said /said
RUN printf 'a b c' | sed 's/b/B/' > /pipe && perl -e 'print "$^O\n"' >> /pipe
CMD ["cat", "/machine", "/said"]
"#;

/// What the host's own table of program formats holds.
fn registered() -> String {
    let list = Program::new("ls").arg("/proc/sys/fs/binfmt_misc").run();
    list.text()
}

fn check(who: Who) -> Result<(), Absent> {
    testkit::find_program("qemu-aarch64-static")?;
    let kiln = base::with_both_platforms(who)?;
    let context = Scratch::folder(&format!("platforms-{}", who.name()));
    fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
    let before = registered();
    let layout = Scratch::folder(&format!("platforms-out-{}", who.name()));
    base::open_to_all(&[&layout]);
    let layout = layout.join("layout");
    let _ = kiln
        .command()
        .args(["build", "--platform=linux/amd64,linux/arm64", "--tag=both"])
        .arg(format!(
            "--output=type=oci,tar=false,dest={}",
            layout.display()
        ))
        .arg("--output=type=image")
        .arg(&context)
        .run()
        .ok();
    assert_eq!(
        before,
        registered(),
        "a program format was registered on the host"
    );
    let index = kiln.run(&["inspect", "--manifest", "both"]).ok().json();
    let platforms = index["manifests"].as_array().expect("an index").iter();
    let platforms = platforms.map(|image| image["platform"]["architecture"].as_str().unwrap());
    assert_eq!(platforms.collect::<Vec<_>>(), ["amd64", "arm64"]);
    for (platform, machine) in [("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")] {
        let said = files(&kiln, platform);
        assert_eq!(said, format!("{machine}\nlinux/amd64 builds {platform}\n"));
    }
    read_by_skopeo(&layout)
}

/// What the image of a platform has in the files that it shows.
fn files(kiln: &Kiln, platform: &str) -> String {
    let folder = Scratch::folder("platforms-shown");
    let text = format!("FROM scratch\nCOPY --from=both /machine /said /\n# {platform}\n");
    fs::write(folder.join("Dockerfile"), text).unwrap();
    let tar = kiln
        .command()
        .args(["build", "--platform", platform, "--output=type=tar,dest=-"])
        .arg(&folder)
        .run()
        .ok();
    let read = |name: &str| {
        let tar = tar.stdout.clone();
        let program = Program::new("tar").args(["-xO", "-f", "-", name]);
        program.input(tar).run().ok().text()
    };
    read("machine") + &read("said")
}

fn read_by_skopeo(layout: &Path) -> Result<(), Absent> {
    testkit::find_program("skopeo")?;
    for architecture in ["amd64", "arm64"] {
        let image = format!("oci:{}", layout.display());
        let found = Program::new("skopeo")
            .args([
                "--override-arch",
                architecture,
                "inspect",
                "--config",
                &image,
            ])
            .run()
            .ok()
            .json();
        assert_eq!(found["architecture"], architecture);
    }
    Ok(())
}

#[test]
fn amd64_and_arm64_in_one_command_as_root() {
    base::run("platforms::amd64_and_arm64_in_one_command_as_root", || {
        check(Who::Root)
    });
}

#[test]
fn amd64_and_arm64_in_one_command_as_a_user() {
    base::run(
        "platforms::amd64_and_arm64_in_one_command_as_a_user",
        || check(Who::User),
    );
}

#[test]
fn a_platform_that_nothing_runs_is_refused_by_name() {
    base::run(
        "platforms::a_platform_that_nothing_runs_is_refused_by_name",
        || {
            let kiln = base::with_base(Who::Root)?;
            let folder = Scratch::folder("platforms-unknown");
            let text = format!(
                "FROM --platform=linux/amd64 {BASE} AS a\nFROM scratch\nCOPY --from=a /bin/true /x\nRUN [\"/x\"]\n"
            );
            fs::write(folder.join("Dockerfile"), text).unwrap();
            let built = kiln
                .command()
                .args(["build", "--platform=linux/alpha", "--output=type=cacheonly"])
                .arg(&folder)
                .run();
            assert!(!built.success());
            assert!(built.stderr.contains("linux/alpha"), "{built}");
            Ok(())
        },
    );
}
