//! The same inputs give the same bytes: on any store, as any user, with any number of threads.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Kiln, Scratch, Who, make_tree};

use crate::base;

const DOCKERFILE: &str = r#"
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY etc /etc/

FROM base AS one
RUN mkdir -p /out && for n in $(seq 200); do echo "file $n" > /out/$n; done

FROM base AS two
RUN dd if=/dev/zero of=/big bs=1024 count=4096 && rm /etc/motd && ln /big /linked

FROM two
ARG SOURCE_DATE_EPOCH
ENV EPOCH=$SOURCE_DATE_EPOCH
COPY --from=one --chown=1000:1000 /out /data
COPY --chmod=640 etc/motd /etc/motd.again
USER alice
WORKDIR /data/work
RUN id > id
LABEL made.by=kiln
CMD ["cat", "id"]
"#;

/// A time in the past, to which everything newer is set.
const EPOCH: &str = "1600000000";

/// A folder of its own for each store: tests run at the same time, and times are to make no difference.
fn context(store: &str) -> PathBuf {
    let folder = Scratch::folder(&format!("{store}-context"));
    make_tree(
        &folder,
        "
        etc/passwd 0644 root:x:0:0:root:/root:/bin/sh\\nalice:x:1000:1000::/:/bin/sh
        etc/group  0644 root:x:0:\\nalice:x:1000:
        etc/motd   0644 welcome
        ",
    );
    let busybox = Path::new("/bin/busybox");
    fs::copy(busybox, folder.join("busybox")).unwrap();
    fs::write(folder.join("Dockerfile"), DOCKERFILE).unwrap();
    folder
}

fn build(who: Who, store: &str, further: &[&str]) -> Result<String, testkit::Absent> {
    testkit::find_program("busybox")?;
    let kiln = Kiln::new(who, store)?;
    let context = context(store);
    let command = kiln.command().env("SOURCE_DATE_EPOCH", EPOCH);
    let command = command
        .args(["build", "--tag", "reproduced"])
        .args(further)
        .arg(context);
    let _ = command.run().ok();
    Ok(kiln.ok(&["inspect", "--manifest", "reproduced"]))
}

#[test]
fn stores_and_threads_leave_no_trace() {
    base::run("reproduce::stores_and_threads_leave_no_trace", || {
        let one = build(Who::Root, "reproduce-1", &["--jobs=1"])?;
        let many = build(Who::Root, "reproduce-2", &["--jobs=16", "--no-cache"])?;
        assert_eq!(one, many);
        Ok(())
    });
}

#[test]
fn the_user_leaves_no_trace() {
    base::run("reproduce::the_user_leaves_no_trace", || {
        let root = build(Who::Root, "reproduce-3", &[])?;
        let user = build(Who::User, "reproduce-4", &[])?;
        assert_eq!(root, user);
        Ok(())
    });
}

/// The places that a step mounts on are in no layer, even if the step changed what holds them.
#[test]
fn mount_points_are_in_no_layer() {
    base::run("reproduce::mount_points_are_in_no_layer", || {
        let busybox = testkit::find_program("busybox")?;
        for who in [Who::Root, Who::User] {
            let name = format!("mount-points-{}", who.name());
            let folder = Scratch::folder(&name);
            std::fs::copy(&busybox, folder.join("busybox")).unwrap();
            let text = "
                FROM scratch
                COPY busybox /bin/busybox
                RUN [\"/bin/busybox\", \"true\"]
                RUN [\"/bin/busybox\", \"sh\", \"-c\", \"busybox touch /etc/a && busybox rm /etc/a\"]
                RUN [\"/bin/busybox\", \"sh\", \"-c\", \"busybox ls /etc > /seen; busybox chmod 700 /etc\"]
                RUN [\"/bin/busybox\", \"touch\", \"/etc/kept\"]
                RUN [\"/bin/busybox\", \"sh\", \"-c\", \"busybox chmod 711 /etc && busybox rm /etc/kept\"]
            ";
            std::fs::write(folder.join("Dockerfile"), text).unwrap();
            let kiln = Kiln::new(who, &name)?;
            let _ = kiln
                .run(&["build", "--tag", "places", folder.to_str().unwrap()])
                .ok();
            let listed = kiln.ok(&["run", "--rm", "places", "/bin/busybox", "cat", "/seen"]);
            assert_eq!(listed, "hosts\nresolv.conf\n", "{}", who.name());
            let manifest = kiln.run(&["inspect", "--manifest", "places"]).ok().json();
            let layers = manifest["layers"].as_array().unwrap();
            // The first two steps left nothing; the last has `/etc` with its new mode, now empty.
            assert_eq!(layers.len(), 6, "{manifest}");
            let empty = layers[1]["digest"].as_str().unwrap();
            assert_eq!(layers[2]["digest"].as_str().unwrap(), empty);
            assert_ne!(layers[3]["digest"].as_str().unwrap(), empty);
            assert_ne!(layers[5]["digest"].as_str().unwrap(), empty);
        }
        Ok(())
    });
}
