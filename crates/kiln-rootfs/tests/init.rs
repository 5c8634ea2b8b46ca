//! `kiln-init` as process 1 of a pid namespace, with a root of busybox.
//!
//! Needs root, `unshare` and a static busybox; without them the tests say so and end.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Stdio};

use expect_test::{Expect, expect};
use kiln_rootfs::init::INIT;
use kiln_rootfs::init::config::{Config, End, Network, Program, Root};
use kiln_rootfs::init::initrd::Initrd;
use kiln_sys::process;
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Mounts what a kernel would have mounted, and becomes the first process.
const START: &str = r#"
set -e
mount --bind "$1" "$1"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
mknod -m 666 "$1/dev/null" c 1 3
cd "$1"
exec chroot . /init
"#;

/// What is missing here, if anything.
fn missing() -> Option<&'static str> {
    if kiln_sys::host::effective_uid() != 0 {
        Some("needs root")
    } else if !Path::new(BUSYBOX).exists() {
        Some("`/bin/busybox` is not installed")
    } else if !Path::new("/usr/bin/unshare").exists() {
        Some("`unshare` is not installed")
    } else {
        None
    }
}

/// Whether a test can't run here; says why.
fn skip(test: &str) -> bool {
    let missing = missing();
    if let Some(missing) = missing {
        eprintln!("skipped: {test}: {missing}");
    }
    missing.is_some()
}

/// A root directory with busybox, some users, and this configuration.
fn root(config: &Config) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for directory in [
        "bin", "dev", "etc/kiln", "proc", "run/app", "sys", "tmp", "srv",
    ] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let put = |path: &str, bytes: &[u8], mode: u32| {
        fs::write(root.join(path), bytes).unwrap();
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    put("init", INIT, 0o755);
    put("bin/busybox", &fs::read(BUSYBOX).unwrap(), 0o755);
    symlink("busybox", root.join("bin/sh")).unwrap();
    for applet in ["cat", "id", "ls", "pwd", "sleep", "true", "touch", "grep"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    put("etc/passwd", b"app:x:1000:1001::/home/app:/bin/sh\n", 0o644);
    put("etc/group", b"staff:x:50:\naudio:x:29:app\n", 0o644);
    put("run/app/kept", b"kept\n", 0o640);
    put("etc/text", b"no program", 0o644);
    put("bin/garbage", b"\x7fELF garbage", 0o755);
    put("bin/script", b"#!/bin/nothing -x\n", 0o755);
    put("etc/kiln/init.json", &config.to_json(), 0o600);
    folder
}

fn start(root: &Path) -> Child {
    let mut command = process::command("unshare", Path::new("/"));
    command
        .env("PATH", PATH)
        .args(["--fork", "--pid", "--mount", "--uts", "--ipc", "--net"])
        .args(["--kill-child", "sh", "-c", START, "sh"])
        .arg(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command.spawn().unwrap()
}

/// The process id that the first process has outside of its namespace.
fn first_process(unshare: &Child) -> i32 {
    let id = unshare.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.trim().parse().unwrap()
}

fn shell(script: &str) -> Config {
    let args = ["sh", "-c", script].map(str::to_owned);
    Config {
        end: Some(End::Exit),
        ..Config::new(Program::new(args.into()))
    }
}

/// What it says, and the exit code.
fn output(config: &Config) -> String {
    output_in(root(config).path())
}

fn output_in(root: &Path) -> String {
    let mut child = start(root);
    let mut text = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut text).unwrap();
    let code = child.wait().unwrap().code();
    // The program and the first process write at the same time, and numbers of processes vary.
    let (ready, rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with(READY));
    let ready = ready.iter().map(|line| {
        let end = line.find(",\"uid\"").unwrap();
        format!("ready{}", &line[end..])
    });
    let rest = rest.iter().map(ToString::to_string);
    let lines: Vec<String> = ready.chain(rest).collect();
    format!("{}\n{code:?}\n", lines.join("\n"))
}

const READY: &str = "kiln-init: ready {\"version\":1,\"pid\":";

#[track_caller]
fn check(test: &str, config: &Config, expected: &Expect) {
    if !skip(test) {
        expected.assert_eq(&output(config));
    }
}

#[test]
fn environment_user_and_directory() {
    let mut config = shell("id; pwd; echo \"$GREETING|$lower_case|$HOME|$HOSTNAME\"; umask");
    config.hostname = Some("web".into());
    config.program.env = ["GREETING=1", "GREETING=hello  world", "lower_case=x=y"]
        .map(str::to_owned)
        .into();
    config.program.user = "app".into();
    config.program.groups = vec!["staff".into(), "77".into()];
    config.program.working_dir = "/srv/made here".into();
    config.program.umask = 0o027;
    check(
        "environment_user_and_directory",
        &config,
        &expect![[r#"
        ready,"uid":1000,"gid":1001}
        uid=1000(app) gid=1001 groups=29(audio),50(staff),77,1001
        /srv/made here
        hello  world|x=y|/home/app|web
        0027

        kiln-init: exit {"code":0}
        Some(0)
    "#]],
    );
}

#[test]
fn numbers_are_users_too() {
    let mut config = shell("id -u; id -g; id -G; echo $HOME");
    config.program.user = "4000:4001".into();
    check(
        "numbers_are_users_too",
        &config,
        &expect![[r#"
        ready,"uid":4000,"gid":4001}
        4000
        4001
        4001
        /

        kiln-init: exit {"code":0}
        Some(0)
    "#]],
    );
}

#[test]
fn zombies_are_reaped() {
    // Both lose their parent at once, and end while the program goes on.
    let script = "(sleep 0.1 &); (true &); sleep 0.5; \
                  grep -l '^State:.Z' /proc/[0-9]*/status; echo looked";
    check(
        "zombies_are_reaped",
        &shell(script),
        &expect![[r#"
        ready,"uid":0,"gid":0}
        looked

        kiln-init: exit {"code":0}
        Some(0)
    "#]],
    );
}

#[test]
fn a_killed_program_is_told_of() {
    let script = "kill -9 $$";
    check(
        "a_killed_program_is_told_of",
        &shell(script),
        &expect![[r#"
            ready,"uid":0,"gid":0}

            kiln-init: exit {"signal":9}
            Some(137)
        "#]],
    );
}

#[test]
fn what_is_left_ends_with_the_machine() {
    let script = "trap '' TERM; sleep 1000 & sleep 1000 & exit 3";
    check(
        "what_is_left_ends_with_the_machine",
        &shell(script),
        &expect![[r#"
            ready,"uid":0,"gid":0}

            kiln-init: exit {"code":3}
            Some(3)
        "#]],
    );
}

#[test]
fn programs_that_can_not_start() {
    if skip("programs_that_can_not_start") {
        return;
    }
    let mut said = String::new();
    for program in [
        "nothing",
        "/nothing",
        "/etc/text",
        "/etc",
        "garbage",
        "script",
    ] {
        let config = Config {
            end: Some(End::Exit),
            ..Config::new(Program::new(vec![program.to_owned()]))
        };
        said.push_str(&output(&config));
    }
    let mut config = shell("true");
    config.program.user = "nobody".into();
    said.push_str(&output(&config));
    config.program.user = String::new();
    config.program.working_dir = "/etc/text".into();
    said.push_str(&output(&config));
    expect![[r#"
        kiln-init: failed {"code":127,"message":"`nothing` is in no directory of PATH"}
        Some(127)
        kiln-init: failed {"code":127,"message":"`/nothing` is not on the disk"}
        Some(127)
        kiln-init: failed {"code":126,"message":"`/etc/text` is not an executable file"}
        Some(126)
        kiln-init: failed {"code":126,"message":"`/etc` is not an executable file"}
        Some(126)
        kiln-init: failed {"code":126,"message":"`/bin/garbage` can't be executed: Exec format error (os error 8)"}
        Some(126)
        kiln-init: failed {"code":127,"message":"the interpreter `/bin/nothing` of `/bin/script` is not on the disk"}
        Some(127)
        kiln-init: failed {"code":125,"message":"user `nobody` is not in `/etc/passwd`"}
        Some(125)
        kiln-init: failed {"code":125,"message":"the working directory `/etc/text`: File exists (os error 17)"}
        Some(125)
    "#]].assert_eq(&said);
}

#[test]
fn a_bad_document_is_told_of() {
    if skip("a_bad_document_is_told_of") {
        return;
    }
    let root = root(&shell("true"));
    let path = root.path().join("etc/kiln/init.json");
    fs::write(&path, "{\"version\":9}").unwrap();
    let other = output_in(root.path());
    fs::remove_file(&path).unwrap();
    let none = output_in(root.path());
    expect![[r#"
        kiln-init: failed {"code":125,"message":"`/etc/kiln/init.json` has version 9, and this kiln-init reads version 1"}
        Some(125)
        kiln-init: failed {"code":125,"message":"`/etc/kiln/init.json`: No such file or directory (os error 2)"}
        Some(125)
    "#]].assert_eq(&(other + &none));
}

#[test]
fn signals_are_forwarded_and_stop_is_translated() {
    if skip("signals_are_forwarded_and_stop_is_translated") {
        return;
    }
    let script = "trap 'echo hangup' HUP; trap 'echo interrupt' INT; trap 'echo stopping; exit 5' USR1; \
                  echo up; while true; do sleep 0.05; done";
    let mut config = shell(script);
    config.program.stop_signal = 10;
    let root = root(&config);
    let mut child = start(root.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait_for = |wanted: &str| {
        let found = lines
            .by_ref()
            .find(|line| line.as_deref().unwrap() == wanted);
        assert!(found.is_some(), "no line `{wanted}`");
    };
    wait_for("up");
    let first = first_process(&child);
    let kill = |signal: i32| kiln_sys::machine::signal_process(first, signal).unwrap();
    kill(1);
    wait_for("hangup");
    kill(2);
    wait_for("interrupt");
    kill(15);
    wait_for("stopping");
    wait_for("kiln-init: exit {\"code\":5}");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn a_program_that_does_not_stop_is_killed() {
    if skip("a_program_that_does_not_stop_is_killed") {
        return;
    }
    let mut config = shell("trap '' TERM; echo up; while true; do sleep 0.05; done");
    config.program.stop_seconds = 1;
    let root = root(&config);
    let mut child = start(root.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let up = lines.by_ref().find(|line| line.as_deref().unwrap() == "up");
    assert!(up.is_some());
    kiln_sys::machine::signal_process(first_process(&child), 15).unwrap();
    let last = lines.map(Result::unwrap).last();
    assert_eq!(last.as_deref(), Some("kiln-init: exit {\"signal\":9}"));
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

#[test]
fn an_overlay_leaves_the_disk_alone() {
    if skip("an_overlay_leaves_the_disk_alone") {
        return;
    }
    let mut config =
        shell("echo changed > /etc/text; touch /new; cat /etc/text; ls -d /new; cat /run/app/kept");
    config.root = Root::Overlay;
    config.volumes = vec!["/data".into()];
    let root = root(&config);
    expect![[r#"
        ready,"uid":0,"gid":0}
        changed
        /new
        kept

        kiln-init: exit {"code":0}
        Some(0)
    "#]]
    .assert_eq(&output_in(root.path()));
    let kept = fs::read_to_string(root.path().join("etc/text")).unwrap();
    assert_eq!(kept, "no program");
    assert!(!root.path().join("new").exists());
    assert!(!root.path().join("data").exists());
}

#[test]
fn a_read_only_root_has_volumes_in_memory() {
    let script = "touch /etc/new 2>/dev/null || echo refused; echo new > /srv/file; cat /srv/file; \
                  cat /run/app/kept; touch /tmp/x && echo tmp; cat /etc/text";
    let mut config = shell(script);
    config.root = Root::ReadOnly;
    config.tmp = true;
    config.volumes = vec!["/srv".into()];
    check(
        "a_read_only_root_has_volumes_in_memory",
        &config,
        &expect![[r#"
            ready,"uid":0,"gid":0}
            refused
            new
            kept
            tmp
            no program
            kiln-init: exit {"code":0}
            Some(0)
        "#]],
    );
}

#[test]
fn names_and_networks() {
    let script =
        "cat /etc/hosts /etc/resolv.conf; busybox ip -4 -o addr show lo | grep -c 127.0.0.1";
    let mut config = shell(script);
    config.hosts = Some("127.0.0.1 localhost\n".into());
    config.resolv_conf = Some("nameserver 10.0.0.1\n".into());
    check(
        "names_and_networks",
        &config,
        &expect![[r#"
        ready,"uid":0,"gid":0}
        127.0.0.1 localhost
        nameserver 10.0.0.1
        1

        kiln-init: exit {"code":0}
        Some(0)
    "#]],
    );
    config.network = Some(Network {
        interface: "eth7".into(),
        address: "10.0.0.2/24".into(),
        gateway: None,
    });
    check(
        "names_and_networks",
        &config,
        &expect![[r#"
        kiln-init: failed {"code":125,"message":"`eth7`: No such device (os error 19)"}
        Some(125)
    "#]],
    );
    if let Some(network) = &mut config.network {
        network.interface = "lo".into();
    }
    config.program.args[2] = "busybox ip -4 -o addr show lo | grep -o '10.0.0.2/24'".into();
    check(
        "names_and_networks",
        &config,
        &expect![[r#"
        ready,"uid":0,"gid":0}
        10.0.0.2/24

        kiln-init: exit {"code":0}
        Some(0)
    "#]],
    );
}

#[test]
fn an_initial_file_system_says_what_it_lacks() {
    if skip("an_initial_file_system_says_what_it_lacks") {
        return;
    }
    let folder = root(&shell("echo no"));
    let document = Initrd::new(vec!["/lib/modules/no.ko".to_owned()]);
    let path = folder.path().join("etc/kiln/initrd.json");
    fs::write(&path, document.to_json()).unwrap();
    let missing = "loading `/lib/modules/no.ko`: No such file or directory (os error 2)";
    let expected =
        format!("kiln-init: failed {{\"code\":125,\"message\":\"{missing}\"}}\nSome(125)\n");
    assert_eq!(output_in(folder.path()), expected);
    fs::write(&path, "{}").unwrap();
    let output = output_in(folder.path());
    assert!(
        output.contains("`/etc/kiln/initrd.json`: missing field"),
        "{output}"
    );
}
