//! `kiln bootstrap`: what the base image is, and that it is the same wherever it is made.

use testkit::{FlatImage, Kiln, Program, Who};

use crate::base::{self, BASE};

#[test]
fn root_and_user_get_the_same_bytes() {
    base::run("bootstrap::root_and_user_get_the_same_bytes", || {
        let root = base::with_base(Who::Root)?;
        let user = base::with_base(Who::User)?;
        let again = Kiln::new(Who::Root, "bootstrap-again")?;
        again.ok(&["bootstrap", BASE]);
        let manifest = root.ok(&["inspect", "--manifest", BASE]);
        assert_eq!(manifest, user.ok(&["inspect", "--manifest", BASE]));
        assert_eq!(manifest, again.ok(&["inspect", "--manifest", BASE]));
        Ok(())
    });
}

#[test]
fn nothing_of_the_host_is_in_the_image() {
    base::run("bootstrap::nothing_of_the_host_is_in_the_image", || {
        let kiln = base::with_base(Who::Root)?;
        let archive = kiln.run(&["save", "--format", "docker", BASE]).ok();
        let image = FlatImage::from_docker_archive(&archive.stdout);
        let below = |folder: &str| {
            let inside = image.files.keys().filter(|path| path.starts_with(folder));
            inside
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(below("dev"), ["dev"]);
        assert_eq!(below("var/lib/apt/lists"), ["var/lib/apt/lists"]);
        assert_eq!(below("var/log/apt"), ["var/log/apt"]);
        for path in ["etc/hostname", "etc/resolv.conf"] {
            let node = &image.files[std::path::Path::new(path)];
            assert!(node.content.starts_with("0 bytes"), "{path}: {node:?}");
        }
        let sources = kiln.ok(&[
            "run",
            "--rm",
            BASE,
            "cat",
            "/etc/apt/sources.list.d/debian.sources",
        ]);
        assert!(sources.contains("Suites: bookworm"), "{sources}");
        assert!(!sources.contains('@'), "{sources}");
        Ok(())
    });
}

#[test]
fn no_time_is_later_than_the_archives() {
    base::run("bootstrap::no_time_is_later_than_the_archives", || {
        let kiln = base::with_base(Who::Root)?;
        let config = kiln.run(&["inspect", "--config", BASE]).ok().json();
        let created = config["created"].as_str().unwrap();
        let newer = format!("find / -xdev -newermt {created} ! -path '/etc/*' ! -path /etc | head");
        let newer = kiln.ok(&["run", "--rm", BASE, "sh", "-c", &newer]);
        // The container's own mount points are made when it starts.
        let own = ["/", "/dev", "/proc", "/sys", "/tmp", "/run"];
        let unexpected: Vec<&str> = newer.lines().filter(|path| !own.contains(path)).collect();
        assert!(
            unexpected.is_empty(),
            "later than {created}: {unexpected:?}"
        );
        Ok(())
    });
}

#[test]
fn another_architecture_stands_beside_it() {
    base::run("bootstrap::another_architecture_stands_beside_it", || {
        testkit::find_program("qemu-aarch64-static")?;
        let kiln = Kiln::new(Who::Root, "bootstrap-foreign")?;
        let registered = || {
            Program::new("ls")
                .arg("/proc/sys/fs/binfmt_misc")
                .run()
                .text()
        };
        let before = registered();
        kiln.ok(&["bootstrap", "--platform", "linux/arm64", BASE]);
        kiln.ok(&["bootstrap", BASE]);
        assert_eq!(
            before,
            registered(),
            "the host's own table of program formats changed"
        );
        let index = kiln.run(&["inspect", "--manifest", BASE]).ok().json();
        let manifests = index["manifests"].as_array().expect("an index");
        let architectures = manifests
            .iter()
            .map(|image| &image["platform"]["architecture"]);
        assert_eq!(architectures.collect::<Vec<_>>(), ["amd64", "arm64"]);
        let native = kiln.ok(&["run", "--rm", BASE, "dpkg", "--print-architecture"]);
        assert_eq!(native, "amd64\n");
        Ok(())
    });
}

#[test]
fn errors_name_what_is_wrong() {
    base::run("bootstrap::errors_name_what_is_wrong", || {
        let kiln = Kiln::new(Who::Root, "bootstrap-errors")?;
        check(&kiln, &["team/base:1"], "does not say which suite");
        check(
            &kiln,
            &["debian:nosuchsuite"],
            "there is no suite `nosuchsuite`",
        );
        check(
            &kiln,
            &["--mirror", "nonsense", BASE],
            "`nonsense` is neither an address",
        );
        check(
            &kiln,
            &["--mirror", "http://127.0.0.1:9", BASE],
            "could not read `http://127.0.0.1:9",
        );
        check(
            &kiln,
            &["--platform", "windows/amd64", BASE],
            "no port of Debian",
        );
        assert_eq!(
            kiln.ok(&["images", "--quiet"]),
            "",
            "a failed bootstrap left an image"
        );
        Ok(())
    });
}

#[track_caller]
fn check(kiln: &Kiln, arguments: &[&str], message: &str) {
    let finished = kiln.command().arg("bootstrap").args(arguments).run();
    assert!(!finished.success(), "{finished}");
    assert!(
        finished.stderr.contains(message),
        "no {message:?} in: {finished}"
    );
}
