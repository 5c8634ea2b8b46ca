//! What can't be done is refused, with the line and the reason, and nothing is left behind.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use testkit::{Kiln, Scratch, Who};

use crate::base;

/// Exit codes that README.md documents.
const BUILD_FAILED: Option<i32> = Some(2);
const REGISTRY_FAILED: Option<i32> = Some(3);

#[track_caller]
fn check(name: &str, dockerfile: &str, expected: &[&str]) {
    check_code(name, dockerfile, BUILD_FAILED, expected);
}

#[track_caller]
fn check_code(name: &str, dockerfile: &str, code: Option<i32>, expected: &[&str]) {
    base::run(&format!("refuse::{name}"), || {
        let kiln = Kiln::new(Who::Root, "refuse")?;
        let folder = Scratch::folder(&format!("refuse-{name}"));
        fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        fs::write(folder.join("file"), "content\n").unwrap();
        let finished = kiln
            .command()
            .args(["build", "--tag", "refused"])
            .arg(folder)
            .run();
        assert_eq!(finished.code, code, "{finished}");
        for part in expected {
            assert!(finished.stderr.contains(part), "no {part:?} in: {finished}");
        }
        assert_eq!(kiln.ok(&["images", "--quiet"]), "", "an image was left");
        Ok(())
    });
}

#[test]
fn unknown_instruction() {
    check(
        "unknown_instruction",
        "FROM scratch\nCOPPY a b\n",
        &["Dockerfile:2", "COPPY", "COPY"],
    );
}

#[test]
fn missing_from() {
    check("missing_from", "RUN true\n", &["Dockerfile:1", "FROM"]);
}

#[test]
fn empty_file() {
    check("empty_file", "# nothing\n", &["Dockerfile"]);
}

#[test]
fn unknown_stage() {
    check(
        "unknown_stage",
        "FROM scratch\nCOPY --from=2 /a /b\n",
        &["Dockerfile:2"],
    );
}

#[test]
fn unknown_flag() {
    check(
        "unknown_flag",
        "FROM scratch\nCOPY --chwon=1 file /\n",
        &["Dockerfile:2", "chwon"],
    );
}

#[test]
fn missing_source() {
    check(
        "missing_source",
        "FROM scratch\nCOPY nothing /\n",
        &["Dockerfile:2", "nothing"],
    );
}

#[test]
fn another_frontend() {
    let text = "# syntax=example.org/my/frontend:1\nFROM scratch\n";
    check(
        "another_frontend",
        text,
        &["Dockerfile:1", "example.org/my/frontend:1"],
    );
}

#[test]
fn mounts_that_come_later() {
    let text = "FROM scratch\nRUN --mount=type=cache,target=/c true\n";
    check("mounts_that_come_later", text, &["Dockerfile:2", "--mount"]);
}

#[test]
fn adding_from_the_network() {
    // Port 9 is nobody's.
    let text = "FROM scratch\nADD http://127.0.0.1:9/file /\n";
    check_code(
        "adding_from_the_network",
        text,
        REGISTRY_FAILED,
        &["Dockerfile:2", "http://127.0.0.1:9/file"],
    );
}

#[test]
fn unterminated_heredoc() {
    check(
        "unterminated_heredoc",
        "FROM scratch\nCOPY <<EOF /a\ntext\n",
        &["Dockerfile:2", "EOF"],
    );
}

#[test]
fn invalid_owner() {
    check(
        "invalid_owner",
        "FROM scratch\nCOPY --chown=nobody file /\n",
        &["Dockerfile:2", "nobody"],
    );
}

#[test]
fn invalid_healthcheck() {
    let text = "FROM scratch\nHEALTHCHECK --interval=soon CMD true\n";
    check("invalid_healthcheck", text, &["Dockerfile:2", "soon"]);
}

#[test]
fn required_variable() {
    let text = "FROM scratch\nARG V\nENV A=${V:?must be given}\n";
    check(
        "required_variable",
        text,
        &["Dockerfile:3", "must be given"],
    );
}

#[test]
fn a_failing_step_shows_its_output_and_line() {
    base::run("refuse::a_failing_step_shows_its_output_and_line", || {
        let kiln = base::with_base(Who::Root)?;
        let folder = Scratch::folder("refuse-failing");
        let text = "FROM debian:bookworm\nRUN echo before && sh -c 'echo reason >&2; exit 7'\n";
        fs::write(folder.join("Dockerfile"), text).unwrap();
        let finished = kiln.command().arg("build").arg(folder).run();
        assert_eq!(finished.code, BUILD_FAILED, "{finished}");
        for part in ["Dockerfile:2", "reason", "7"] {
            assert!(finished.stderr.contains(part), "no {part:?} in: {finished}");
        }
        Ok(())
    });
}

#[test]
fn a_platform_that_the_image_is_not_for() {
    base::run("refuse::a_platform_that_the_image_is_not_for", || {
        let kiln = Kiln::new(Who::Root, "refuse-platform")?;
        let folder = Scratch::folder("refuse-platform");
        fs::write(
            folder.join("Dockerfile"),
            "FROM scratch\nCOPY Dockerfile /\n",
        )
        .unwrap();
        // Nothing listens there, so that the image can't be fetched for the platform either.
        let name = "127.0.0.1:1/app";
        let path = folder.display().to_string();
        kiln.ok(&["build", "--tag", name, &path]);
        for command in ["inspect", "save"] {
            let refused = kiln
                .command()
                .args([command, "--platform", "linux/s390x", name])
                .run();
            let reason = "there is no image for `linux/s390x`, only for";
            assert!(refused.stderr.contains(reason), "{refused}");
            assert_ne!(refused.code, Some(0), "{refused}");
        }
        let run = ["run", "--platform", "linux/s390x", name, "/x"];
        let refused = kiln.command().args(run).run();
        assert_eq!(refused.code, Some(3), "{refused}");
        Ok(())
    });
}

#[test]
fn a_context_that_is_not_a_directory() {
    base::run("refuse::a_context_that_is_not_a_directory", || {
        let kiln = Kiln::new(Who::Root, "refuse-context")?;
        let folder = Scratch::folder("refuse-context");
        fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
        for path in [folder.join("nowhere"), folder.join("Dockerfile")] {
            let refused = kiln.command().arg("build").arg(&path).run();
            let reason = format!("could not open the build context `{}`", path.display());
            assert!(refused.stderr.contains(&reason), "{refused}");
            assert_eq!(refused.code, Some(5), "{refused}");
        }
        Ok(())
    });
}

#[test]
fn a_directory_that_the_user_may_not_read() {
    base::run("refuse::a_directory_that_the_user_may_not_read", || {
        let kiln = Kiln::new(Who::User, "refuse-unreadable")?;
        let folder = Scratch::folder("refuse-unreadable");
        fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
        let locked = folder.join("open/locked");
        fs::create_dir_all(&locked).unwrap();
        fs::set_permissions(&locked, Permissions::from_mode(0o700)).unwrap();
        let refused = kiln.command().arg("build").arg(&folder).run();
        assert!(refused.stderr.contains("`open/locked`"), "{refused}");
        assert!(refused.stderr.contains("Dockerfile:2"), "{refused}");
        assert_eq!(refused.code, BUILD_FAILED, "{refused}");
        Ok(())
    });
}
