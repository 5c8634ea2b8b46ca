//! What must, and what must not, be shared between builds by the cache.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Absent, Kiln, Scratch, Who, make_tree};

use crate::base;

const BASE: &str = "
FROM scratch
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]
COPY etc /etc/
";

fn context(name: &str, text: &str) -> Result<PathBuf, Absent> {
    let busybox = testkit::find_program("busybox")?;
    let folder = Scratch::folder(name);
    make_tree(&folder, "etc/group 0644 root:x:0:");
    fs::write(folder.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    fs::copy(busybox, folder.join("busybox")).unwrap();
    fs::write(folder.join("Dockerfile"), format!("{BASE}{text}")).unwrap();
    Ok(folder)
}

fn build(kiln: &Kiln, context: &Path, epoch: &str, further: &[&str]) -> String {
    let command = kiln.command().env("SOURCE_DATE_EPOCH", epoch);
    let command = command.args(["build", "--tag", "keys"]);
    let _ = command.args(further).arg(context).run().ok();
    kiln.ok(&["inspect", "--manifest", "keys"])
}

#[test]
fn a_linked_copy_belongs_to_the_user_that_its_stage_knows() {
    base::run(
        "keys::a_linked_copy_belongs_to_the_user_that_its_stage_knows",
        || {
            let text = "
                ARG ID
                RUN echo app:x:$ID:$ID::/:/bin/sh >> /etc/passwd
                COPY --link --chown=app etc/group /data/
            ";
            let context = context("keys-users", text)?;
            let kiln = Kiln::new(Who::Root, "keys-users")?;
            for id in ["1000", "2000"] {
                build(&kiln, &context, "0", &["--build-arg", &format!("ID={id}")]);
                let owner = kiln.ok(&["run", "--rm", "keys", "stat", "-c", "%u", "/data/group"]);
                assert_eq!(owner.trim(), id);
            }
            Ok(())
        },
    );
}

#[test]
fn a_step_sees_the_hosts_and_the_network_of_its_own_build() {
    base::run(
        "keys::a_step_sees_the_hosts_and_the_network_of_its_own_build",
        || {
            let text =
                "RUN grep -c -w other /etc/hosts > /hosts; cat /proc/net/dev | wc -l >> /hosts";
            let context = context("keys-hosts", text)?;
            let kiln = Kiln::new(Who::Root, "keys-hosts")?;
            let plain = build(&kiln, &context, "0", &[]);
            let other = build(&kiln, &context, "0", &["--add-host", "other:10.0.0.1"]);
            assert_ne!(plain, other);
            build(&kiln, &context, "0", &["--network=none"]);
            let seen = kiln.ok(&["run", "--rm", "keys", "cat", "/hosts"]);
            // Two lines of titles, and the loopback interface.
            assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "3"]);
            Ok(())
        },
    );
}

#[test]
fn an_earlier_epoch_leaves_no_trace_in_a_copy() {
    base::run("keys::an_earlier_epoch_leaves_no_trace_in_a_copy", || {
        let context = context("keys-epoch", "COPY etc/group /data/")?;
        let used = Kiln::new(Who::Root, "keys-epoch-used")?;
        build(&used, &context, "1000", &[]);
        let fresh = Kiln::new(Who::Root, "keys-epoch-fresh")?;
        assert_eq!(
            build(&used, &context, "2000", &[]),
            build(&fresh, &context, "2000", &[])
        );
        Ok(())
    });
}

#[test]
fn owners_recorded_without_subordinate_ids_are_right_with_them() {
    base::run(
        "keys::owners_recorded_without_subordinate_ids_are_right_with_them",
        || {
            let context = context("keys-owners", "COPY --chown=1234:1234 etc/group /data/")?;
            let kiln = Kiln::new(Who::User, "keys-owners")?;
            let single = build(&kiln, &context, "0", &["--sandbox=single-id"]);
            let owner = || kiln.ok(&["run", "--rm", "keys", "stat", "-c", "%u", "/data/group"]);
            assert_eq!(owner().trim(), "1234");
            assert_eq!(build(&kiln, &context, "0", &[]), single);
            assert_eq!(owner().trim(), "1234");
            Ok(())
        },
    );
}

#[test]
fn what_a_filtered_stage_made_anew_is_what_is_copied() {
    base::run(
        "keys::what_a_filtered_stage_made_anew_is_what_is_copied",
        || {
            let text = "
                FROM 0 AS build
                RUN cat /proc/sys/kernel/random/uuid > /t
                FROM 0
                COPY --from=build /t /t
                RUN --mount=from=build,source=/t,target=/m cat /m > /n
            ";
            let text = text.replace("FROM 0", "FROM base");
            let context = context("keys-filtered", &text)?;
            let file = context.join("Dockerfile");
            let named = fs::read_to_string(&file).unwrap();
            let named = named.replacen("FROM scratch", "FROM scratch AS base", 1);
            fs::write(&file, named).unwrap();
            let kiln = Kiln::new(Who::Root, "keys-filtered")?;
            let shown = |further: &[&str]| {
                build(&kiln, &context, "0", further);
                kiln.ok(&["run", "--rm", "keys", "cat", "/t", "/n"])
            };
            let first = shown(&[]);
            assert_eq!(shown(&[]), first);
            let anew = shown(&["--no-cache-filter=build"]);
            assert_ne!(anew, first);
            let lines: Vec<&str> = anew.lines().collect();
            assert_eq!(lines[0], lines[1], "{anew}");
            Ok(())
        },
    );
}

#[test]
fn a_step_may_mount_a_locked_cache_twice() {
    base::run("keys::a_step_may_mount_a_locked_cache_twice", || {
        let text = "
            RUN --mount=type=cache,id=a,sharing=locked,target=/x \\
                --mount=type=cache,id=a,target=/y echo one > /x/f && cat /y/f > /seen
        ";
        let context = context("keys-twice", text)?;
        let kiln = Kiln::new(Who::Root, "keys-twice")?;
        build(&kiln, &context, "0", &[]);
        assert_eq!(kiln.ok(&["run", "--rm", "keys", "cat", "/seen"]), "one\n");
        Ok(())
    });
}

#[test]
fn a_link_in_a_fetched_context_stays_inside() {
    base::run("keys::a_link_in_a_fetched_context_stays_inside", || {
        let kiln = Kiln::new(Who::Root, "keys-links")?;
        let folder = Scratch::folder("keys-links");
        fs::write(folder.join("secret"), "FROM nothing-of-this-host\n").unwrap();
        let inside = folder.join("context");
        fs::create_dir_all(&inside).unwrap();
        let target = folder.join("secret");
        std::os::unix::fs::symlink(&target, inside.join("Dockerfile")).unwrap();
        let tar = testkit::Program::new("tar").args(["-C"]).arg(&inside);
        let tar = tar.args(["-cf", "-", "."]).run().ok().stdout;
        let built = kiln.command().args(["build", "-"]).input(tar).run();
        assert!(!built.success(), "{built}");
        assert!(!built.stderr.contains("nothing-of-this-host"), "{built}");
        assert!(built.stderr.contains("Dockerfile"), "{built}");
        Ok(())
    });
}
