//! Trees and what they become.

use std::fs;
use std::io;

use expect_test::{Expect, expect};
use kiln_disk::{Attributes, Contents, File, Inode, Node, NodeId, Tree};
use kiln_oci::{ImageConfig, Platform};

use super::*;
use crate::paths;
use crate::request::Overrides;

struct Nothing;

impl Contents for Nothing {
    fn open(&self, _: u64) -> io::Result<fs::File> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// One file a line: path, mode, and what is in it; a path with a slash at its end is a directory, and
/// `->` makes a link.
fn tree(text: &str) -> Tree {
    let mut tree = Tree::new(attributes(0o755));
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (path, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (mode, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let node = match mode {
            "->" => Node::Symlink(rest.as_bytes().into()),
            _ if path.ends_with('/') => Node::Directory(Vec::new()),
            _ => Node::File(File::of_bytes(rest.replace('|', "\n").into_bytes())),
        };
        let mode = u32::from_str_radix(mode, 8).unwrap_or(0o777);
        add(&mut tree, path.trim_matches('/'), mode, node);
    }
    tree
}

fn add(tree: &mut Tree, path: &str, mode: u32, node: Node) -> NodeId {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = paths::lookup(tree, parent.as_bytes()).unwrap_or_else(|| {
        let above = Node::Directory(Vec::new());
        add(tree, parent, 0o755, above)
    });
    let attributes = attributes(mode);
    let inode = Inode { attributes, node };
    tree.add(parent, name.as_bytes(), inode).unwrap()
}

fn attributes(mode: u32) -> Attributes {
    Attributes {
        mode,
        ..Attributes::default()
    }
}

fn run_config(words: &[&str]) -> RunConfig {
    let platform: Platform = format!("linux/{ARCHITECTURE}").parse().unwrap();
    let image = ImageConfig::empty(platform).with_runtime(|mut runtime| {
        runtime.env = vec!["PATH=/bin".into(), "GREETING=a \"b\" $c\\".into()];
        runtime.cmd = Some(words.iter().map(ToString::to_string).collect());
        runtime
    });
    RunConfig::new(&image, &Overrides::default())
}

/// The tree's files that the strategy added or replaced, with what is in them.
fn installed(tree_text: &str, run: &RunConfig, strategy: &Strategy) -> String {
    let mut tree = tree(tree_text);
    let installed = match install(&mut tree, &Nothing, run, strategy) {
        Ok(installed) => installed,
        Err(error) => return format!("error: {error}"),
    };
    let mut text = format!("{}\n", installed.kernel_arguments.join(" "));
    for warning in &installed.warnings {
        text.extend(["warning: ", warning, "\n"]);
    }
    for path in &installed.added {
        let found = paths::name(&tree, path.as_bytes()).unwrap();
        let inode = tree.inode(found.id);
        let what = match &inode.node {
            Node::Directory(_) => "directory".to_owned(),
            Node::Symlink(target) => format!("-> {}", target.escape_ascii()),
            Node::File(file) if file.size > 100_000 => "program".to_owned(),
            Node::File(_) => {
                let bytes = paths::read(&tree, &Nothing, found.id, 1 << 20).unwrap();
                let bytes = String::from_utf8(bytes).unwrap();
                let text = bytes.trim_end().replace('\n', "\n    ");
                text.replace("\n    \n", "\n\n")
            }
            Node::CharDevice(device) => format!("device {}:{}", device.major, device.minor),
            other => format!("{other:?}"),
        };
        text.push_str(path);
        text.push_str(&format_args!(" {:o} {what}\n", inode.attributes.mode).to_string());
    }
    text
}

#[track_caller]
fn check(tree: &str, run: &RunConfig, strategy: &Strategy, expected: &Expect) {
    expected.assert_eq(&installed(tree, run, strategy));
}

#[track_caller]
fn check_error(tree: &str, run: &RunConfig, strategy: &Strategy, expected: &str) {
    assert_eq!(installed(tree, run, strategy), format!("error: {expected}"));
}

const SMALL: &str = "bin/app 755 #!/bin/sh
    bin/sh 755 x
    etc/passwd 644 app:x:1000:1000::/home/app:/bin/sh|
    etc/hosts 644
    sbin -> usr/sbin";

#[test]
fn direct_starts_kiln_init() {
    let run = RunConfig {
        user: "app".into(),
        working_dir: "/srv/app".into(),
        volumes: ["/data".to_owned()].into(),
        hostname: Some("web".into()),
        stop_signal: Some("SIGQUIT".into()),
        ..run_config(&["app", "--serve"])
    };
    check(
        SMALL,
        &run,
        &Strategy::Direct,
        &expect![[r#"
        init=/usr/lib/kiln/init rw
        /container.cmd 600 ["app","--serve"]
        /container.env 600 {"env":{"GREETING":"a \"b\" $c\\","PATH":"/bin"},"exposed_ports":[],"working_dir":"/srv/app"}
        /data 755 directory
        /dev 755 directory
        /dev/console 600 device 5:1
        /dev/null 666 device 1:3
        /etc/hosts 644 127.0.0.1 localhost
            ::1 localhost ip6-localhost
            127.0.1.1 web
        /etc/kiln 755 directory
        /etc/kiln/init.json 600 {
              "version": 1,
              "root": "read-write",
              "tmp": false,
              "hostname": "web",
              "volumes": [
                "/data"
              ],
              "program": {
                "args": [
                  "app",
                  "--serve"
                ],
                "env": [
                  "PATH=/bin",
                  "GREETING=a \"b\" $c\\"
                ],
                "user": "app",
                "groups": [],
                "working_dir": "/srv/app",
                "umask": 18,
                "stop_signal": 3,
                "stop_seconds": 10
              }
            }
        /etc/resolv.conf 644 
        /proc 555 directory
        /run 755 directory
        /srv 755 directory
        /srv/app 755 directory
        /sys 555 directory
        /tmp 1777 directory
        /usr 755 directory
        /usr/bin 755 directory
        /usr/bin/metald-init 777 -> /usr/lib/kiln/init
        /usr/lib 755 directory
        /usr/lib/kiln 755 directory
        /usr/lib/kiln/init 755 program
    "#]],
    );
}

#[test]
fn systemd_gets_a_unit() {
    let with_systemd = format!("{SMALL}\nlib -> usr/lib\nusr/lib/systemd/systemd 755 x");
    let run = RunConfig {
        user: "app:1000".into(),
        groups: vec!["7".into()],
        working_dir: "/srv/100% of it".into(),
        env: vec!["A=1".into(), "some.name=2".into(), "B=x y\nz`\"$".into()],
        ..run_config(&["/bin/app", "a b", "50%", "$HOME", "\"", ""])
    };
    check(
        &with_systemd,
        &run,
        &Strategy::Systemd,
        &expect![[r#"
        init=/usr/lib/systemd/systemd rw
        warning: systemd does not set `some.name`: it takes letters, digits and `_` only
        /container.cmd 600 ["/bin/app","a b","50%","$HOME","\"",""]
        /container.env 600 {"env":{"A":"1","B":"x y\nz`\"$","some.name":"2"},"exposed_ports":[],"working_dir":"/srv/100% of it"}
        /dev 755 directory
        /dev/console 600 device 5:1
        /dev/null 666 device 1:3
        /etc/hosts 644 127.0.0.1 localhost
            ::1 localhost ip6-localhost
        /etc/kiln 755 directory
        /etc/kiln/program.env 600 PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            HOME="/home/app"
            A="1"
            B="x y
            z\`\"\$"
        /etc/machine-id 444 
        /etc/resolv.conf 644 
        /etc/systemd 755 directory
        /etc/systemd/system 755 directory
        /etc/systemd/system/kiln-program.service 644 # Written by kiln.
            [Unit]
            Description=The image's program
            After=network.target

            [Service]
            Type=exec
            ExecStart="/bin/app" "a b" "50%%" "$$HOME" "\"" ""
            ExecStartPost=-+/usr/lib/kiln/init ready
            ExecStopPost=-+/usr/lib/kiln/init exit
            EnvironmentFile=/etc/kiln/program.env
            User=app
            Group=1000
            SupplementaryGroups=7
            WorkingDirectory=/srv/100%% of it
            UMask=0022
            TimeoutStopSec=10
            StandardOutput=journal+console
            StandardError=journal+console

            [Install]
            WantedBy=multi-user.target
        /etc/systemd/system/multi-user.target.wants 755 directory
        /etc/systemd/system/multi-user.target.wants/kiln-program.service 777 -> /etc/systemd/system/kiln-program.service
        /proc 555 directory
        /run 755 directory
        /srv 755 directory
        /srv/100% of it 755 directory
        /sys 555 directory
        /tmp 1777 directory
        /usr/bin 755 directory
        /usr/bin/metald-init 777 -> /usr/lib/kiln/init
        /usr/lib/kiln 755 directory
        /usr/lib/kiln/init 755 program
    "#]],
    );
}

#[test]
fn custom_is_the_users_own() {
    let script = Strategy::Custom {
        path: "/sbin/start".into(),
        script: Some(b"#!/bin/sh -e\nexec /bin/app\n".to_vec()),
    };
    check(
        SMALL,
        &run_config(&[]),
        &script,
        &expect![[r#"
        init=/sbin/start rw
        /container.cmd 600 []
        /container.env 600 {"env":{"GREETING":"a \"b\" $c\\","PATH":"/bin"},"exposed_ports":[],"working_dir":""}
        /dev 755 directory
        /dev/console 600 device 5:1
        /dev/null 666 device 1:3
        /etc/hosts 644 127.0.0.1 localhost
            ::1 localhost ip6-localhost
        /etc/resolv.conf 644 
        /proc 555 directory
        /run 755 directory
        /sbin/start 755 #!/bin/sh -e
            exec /bin/app
        /sys 555 directory
        /tmp 1777 directory
        /usr 755 directory
        /usr/sbin 755 directory
    "#]],
    );
}

fn custom(path: &str, script: Option<&str>) -> Strategy {
    Strategy::Custom {
        path: path.into(),
        script: script.map(|script| script.as_bytes().to_vec()),
    }
}

#[test]
fn what_can_not_start_is_refused() {
    let direct = &Strategy::Direct;
    check_error(
        SMALL,
        &run_config(&[]),
        direct,
        "the image has no command: it has neither ENTRYPOINT nor CMD, so say what to run",
    );
    check_error(
        SMALL,
        &run_config(&["nothing"]),
        direct,
        "the program `nothing` is in no directory of the image's PATH, `/bin`",
    );
    check_error(
        SMALL,
        &run_config(&["./app"]),
        direct,
        "the program `/./app` is not in the image",
    );
    check_error(
        SMALL,
        &run_config(&["/etc/passwd"]),
        direct,
        "`/etc/passwd` is not an executable file",
    );
    check_error(
        "bin/app 755 #!/usr/bin/python3 -u",
        &run_config(&["app"]),
        direct,
        "the interpreter `/usr/bin/python3` of `/bin/app` is not in the image",
    );
    let foreign = RunConfig {
        architecture: "s390x".into(),
        ..run_config(&["app"])
    };
    check_error(
        SMALL,
        &foreign,
        direct,
        &format!(
            "the image is for `s390x`, and this kiln carries an init for `{ARCHITECTURE}`; \
             use a kiln for `s390x`, or an init of your own"
        ),
    );
    let nobody = RunConfig {
        user: "nobody".into(),
        ..run_config(&["app"])
    };
    check_error(
        SMALL,
        &nobody,
        direct,
        "user `nobody` is not in `/etc/passwd`",
    );
    let signal = RunConfig {
        stop_signal: Some("SIGNOTHING".into()),
        ..run_config(&["app"])
    };
    check_error(SMALL, &signal, direct, "`SIGNOTHING` is no signal");
}

#[test]
fn strategies_need_what_they_start() {
    let run = run_config(&["app"]);
    check_error(
        SMALL,
        &run,
        &Strategy::Systemd,
        "the image has no systemd: neither `/usr/lib/systemd/systemd` nor \
         `/lib/systemd/systemd` is in it; install it, or use the direct strategy",
    );
    check_error(
        SMALL,
        &run,
        &custom("/start", None),
        "the program `/start` is not in the image",
    );
    check_error(
        SMALL,
        &run,
        &custom("/etc/passwd", None),
        "`/etc/passwd` is not an executable file",
    );
    check_error(
        SMALL,
        &run,
        &custom("/start", Some("#!/bin/bash\n")),
        "the interpreter `/bin/bash` of `/start` is not in the image",
    );
    check_error(
        SMALL,
        &run,
        &custom("start", None),
        "`start` is not an absolute path",
    );
}

#[test]
fn hostile_trees_lead_nowhere() {
    let run = run_config(&["app"]);
    check_error(
        &format!("{SMALL}\ndev 644 a file"),
        &run,
        &Strategy::Direct,
        "`/dev` can't be added",
    );
    check_error(
        &format!("{SMALL}\nusr/lib -> lib"),
        &run,
        &Strategy::Direct,
        "`/usr/lib/kiln` can't be added",
    );
    check_error(
        &format!("{SMALL}\ncontainer.cmd/ 755"),
        &run,
        &Strategy::Direct,
        "`/container.cmd` is a directory of the image, and a file is to be there",
    );
}

#[test]
fn overrides_come_last() {
    let platform: Platform = "linux/amd64".parse().unwrap();
    let image = ImageConfig::empty(platform).with_runtime(|mut runtime| {
        runtime.entrypoint = Some(vec!["/entry".into()]);
        runtime.cmd = Some(vec!["arg".into()]);
        runtime.env = vec!["A=1".into()];
        runtime
    });
    let args = |overrides: &Overrides| RunConfig::new(&image, overrides).args.join(" ");
    let list = |word: &str| Some(vec![word.to_owned()]);
    assert_eq!(args(&Overrides::default()), "/entry arg");
    let cmd = Overrides {
        cmd: list("other"),
        ..Overrides::default()
    };
    assert_eq!(args(&cmd), "/entry other");
    let entrypoint = Overrides {
        entrypoint: list("/else"),
        env: vec![("A".into(), "2 3".into())],
        ..Overrides::default()
    };
    assert_eq!(args(&entrypoint), "/else");
    let run = RunConfig::new(&image, &entrypoint);
    assert_eq!(run.variable("A"), Some("2 3"));
}
