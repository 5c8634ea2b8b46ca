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
