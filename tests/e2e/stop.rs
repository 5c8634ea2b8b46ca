//! Ctrl-C, and worse: nothing of a stopped build is left, and nothing that was committed is lost.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Absent, Program, Scratch, Who, wait_until};

use crate::base;

/// A word that the step's process carries in its arguments, so that it can be found.
fn context(marker: &str) -> PathBuf {
    let folder = Scratch::folder(&format!("stop-{marker}"));
    // `exec -a` is bash's.
    let text = format!(
        "FROM debian:bookworm\nSHELL [\"/bin/bash\", \"-c\"]\n\
         RUN echo committed > /committed\nRUN echo begun > /begun; exec -a {marker} sleep 1000\n"
    );
    fs::write(folder.join("Dockerfile"), text).unwrap();
    folder
}

/// Whether a process carries the marker as its first argument.
fn is_running(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| line.starts_with(marker.as_bytes()))
}

fn mounts_below(store: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let store = store.display().to_string();
    mounts
        .lines()
        .filter(|line| line.contains(&store))
        .map(str::to_owned)
        .collect()
}

/// Stops a build by a signal while its last step runs; then checks what is left.
fn check(who: Who, signal: &str, code: Option<i32>) -> Result<(), Absent> {
    let kiln = base::with_base(who)?;
    let marker = format!("kiln-stop-{}-{}", who.name(), signal.to_lowercase());
    let context = context(&marker);
    let log = Scratch::folder("stop-logs").join(&marker);
    let mut build = kiln.command().arg("build").arg(&context).start(&log);
    wait_until("the step to run", || is_running(&marker));
    let _ = Program::new("kill")
        .args(["-s", signal, &build.id().to_string()])
        .run()
        .ok();
    let status = build.wait().unwrap();
    let log = fs::read_to_string(&log).unwrap();
    assert_eq!(status.code(), code, "{log}");
    wait_until("the step's process to end", || !is_running(&marker));
    assert_eq!(mounts_below(kiln.store()), Vec::<String>::new());

    // What was done before is still known, and the store works.
    let text = fs::read_to_string(context.join("Dockerfile")).unwrap();
    let kept: Vec<&str> = text.lines().take(3).collect();
    fs::write(context.join("Dockerfile"), kept.join("\n")).unwrap();
    let build = kiln
        .command()
        .args(["build", "--progress=plain", "--tag", &marker])
        .arg(&context);
    let again = build.run().ok();
    assert!(again.stderr.contains("CACHED"), "{again}");
    assert_eq!(
        kiln.ok(&["run", "--rm", &marker, "cat", "/committed"]),
        "committed\n"
    );
    Ok(())
}

#[test]
fn an_interrupt_ends_everything() {
    for who in [Who::Root, Who::User] {
        let test = format!("stop::an_interrupt_ends_everything as {}", who.name());
        base::run(&test, || check(who, "INT", Some(8)));
    }
}

#[test]
fn a_killed_kiln_takes_its_steps_along() {
    for who in [Who::Root, Who::User] {
        let test = format!(
            "stop::a_killed_kiln_takes_its_steps_along as {}",
            who.name()
        );
        base::run(&test, || check(who, "KILL", None));
    }
}

#[test]
fn two_builds_share_a_store() {
    base::run("stop::two_builds_share_a_store", || {
        let kiln = base::with_base(Who::Root)?;
        let folder = Scratch::folder("stop-shared");
        let text = "FROM debian:bookworm\nRUN sleep 1; head -c 8 /dev/urandom | base64 > /once\n";
        fs::write(folder.join("Dockerfile"), text).unwrap();
        let builds: Vec<_> = (0..4)
            .map(|number| {
                let log = Scratch::folder("stop-logs").join(format!("shared-{number}"));
                let tag = format!("shared-{number}");
                kiln.command()
                    .args(["build", "--tag", &tag])
                    .arg(&folder)
                    .start(&log)
            })
            .collect();
        for mut build in builds {
            assert!(build.wait().unwrap().success());
        }
        for number in 0..4 {
            let name = format!("shared-{number}");
            assert!(!kiln.ok(&["run", "--rm", &name, "cat", "/once"]).is_empty());
        }
        Ok(())
    });
}
