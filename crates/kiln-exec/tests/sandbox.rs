//! Programs in sandboxes, on the machine as it is: as root, with many ids, and with a single one. What
//! the machine does not allow is skipped, loudly.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests, which clippy does not see without libtest's attribute"
)]

#[path = "../../kiln-sys/tests/runner/mod.rs"]
mod runner;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kiln_base::CancelToken;
use kiln_base::events::Stream;
use kiln_exec::{
    Access, Control, DEFAULT_HOSTNAME, DEFAULT_PATH, ExecError, ExitStatus, MountKind, Network,
    Stdio, StepMount, StepSpec, User, helper_main, hosts_file, run, run_controlled,
};
use kiln_sys::mount::{Durability, Overlay, Upper};
use kiln_sys::namespace::{Grade, GradeWish, enter};
use kiln_sys::signal::Signal;
use runner::{Test, become_ordinary, is_root, skip};

const TESTS: &[Test] = &[
    (
        "a_program_runs_and_its_output_arrives",
        a_program_runs_and_its_output_arrives,
    ),
    (
        "a_program_is_pid_1_of_its_own_world",
        a_program_is_pid_1_of_its_own_world,
    ),
    ("capabilities_equal_dockers", capabilities_equal_dockers),
    ("forbidden_calls_fail", forbidden_calls_fail),
    ("kernel_interfaces_are_hidden", kernel_interfaces_are_hidden),
    ("devices_are_dockers", devices_are_dockers),
    (
        "streams_can_be_opened_by_name",
        streams_can_be_opened_by_name,
    ),
    (
        "without_a_network_there_is_only_loopback",
        without_a_network_there_is_only_loopback,
    ),
    ("mount_points_leave_no_trace", mount_points_leave_no_trace),
    (
        "a_linked_resolv_conf_is_mounted_where_it_points",
        a_linked_resolv_conf_is_mounted_where_it_points,
    ),
    (
        "the_hosts_tree_is_out_of_reach",
        the_hosts_tree_is_out_of_reach,
    ),
    ("requested_mounts_are_there", requested_mounts_are_there),
    (
        "another_user_has_its_ids_and_no_capability",
        another_user_has_its_ids_and_no_capability,
    ),
    ("failures_are_told_apart", failures_are_told_apart),
    (
        "background_processes_die_with_the_program",
        background_processes_die_with_the_program,
    ),
    (
        "much_output_on_both_streams_does_not_block",
        much_output_on_both_streams_does_not_block,
    ),
    ("cancelling_kills_everything", cancelling_kills_everything),
    (
        "killing_kiln_kills_everything",
        killing_kiln_kills_everything,
    ),
    ("the_binary_is_out_of_reach", the_binary_is_out_of_reach),
    ("a_terminal_is_a_terminal", a_terminal_is_a_terminal),
    (
        "a_user_namespace_is_no_obstacle",
        a_user_namespace_is_no_obstacle,
    ),
    (
        "a_single_id_is_enough_for_root",
        a_single_id_is_enough_for_root,
    ),
    (
        "subordinate_ids_are_enough_for_anyone",
        subordinate_ids_are_enough_for_anyone,
    ),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "__step") {
        return helper_main(&arguments.next().unwrap_or_default());
    }
    runner::run(TESTS)
}

const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "env", "ls", "id", "true", "false", "sleep", "mount", "unshare",
    "hostname", "ps", "yes", "head", "stat", "mkdir", "rm", "touch", "kill", "tty", "ifconfig",
    "readlink", "grep", "chroot", "wc", "seq", "printf", "dd", "umask", "cut", "mknod", "chown",
    "test",
];

/// A root file system of busybox, and what is needed to run programs in it.
struct World {
    dir: tempfile::TempDir,
    grade: Grade,
}

struct Outcome {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl World {
    /// `None`, after saying so, where this machine can't do it.
    fn new(test: &str, wish: GradeWish) -> Option<Self> {
        let Ok(busybox) = fs::read("/bin/busybox") else {
            skip(test, "`/bin/busybox` (package busybox-static)");
            return None;
        };
        let grade = match enter(wish) {
            Ok(grade) => grade,
            Err(error) => {
                skip(test, &error.to_string());
                return None;
            }
        };
        let dir = tempfile::tempdir().unwrap();
        for name in ["lower/bin", "lower/etc", "lower/tmp", "upper", "work"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let bin = dir.path().join("lower/bin");
        fs::write(bin.join("busybox"), busybox).unwrap();
        set_mode(&bin.join("busybox"), 0o755);
        set_mode(dir.path(), 0o755);
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        fs::write(
            dir.path().join("lower/etc/passwd"),
            "root:x:0:0::/root:/bin/sh\n",
        )
        .unwrap();
        Some(Self { dir, grade })
    }

    fn lower(&self) -> PathBuf {
        self.dir.path().join("lower")
    }

    fn upper(&self) -> PathBuf {
        self.dir.path().join("upper")
    }

    fn root(&self) -> OwnedFd {
        let overlay = Overlay {
            lowers: vec![self.lower()],
            upper: Some(Upper {
                upper: self.upper(),
                work: self.dir.path().join("work"),
                durability: Durability::Volatile,
            }),
            userxattr: self.grade.uses_user_xattrs(),
        };
        let _ = fs::remove_dir_all(self.dir.path().join("work/work"));
        overlay.mount_detached().unwrap()
    }

    fn spec<'a>(&self, root: &'a OwnedFd, argv: &[&str]) -> StepSpec<'a> {
        StepSpec {
            root: root.as_fd(),
            grade: self.grade,
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            env: vec![("PATH".into(), DEFAULT_PATH.into())],
            cwd: "/".into(),
            user: User::root(),
            hostname: DEFAULT_HOSTNAME.into(),
            network: Network::Host,
            mounts: Vec::new(),
            stdio: Stdio::Captured,
        }
    }

    fn sh(&self, script: &str) -> Outcome {
        let root = self.root();
        execute(&self.spec(&root, &["/bin/sh", "-c", script])).unwrap()
    }

    #[track_caller]
    fn check(&self, script: &str, expected: &str) {
        let outcome = self.sh(script);
        let got = outcome.stdout + &outcome.stderr;
        assert_eq!(got.trim_end(), expected, "{script} ({})", outcome.status);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Overlay's own directory below `work` has no permissions at all.
        let work = self.dir.path().join("work/work");
        if work.exists() {
            set_mode(&work, 0o700);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn execute(spec: &StepSpec<'_>) -> Result<Outcome, ExecError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut output = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => stdout.extend_from_slice(bytes),
        Stream::Stderr => stderr.extend_from_slice(bytes),
    };
    let status = run(spec, &mut output, &CancelToken::new())?;
    Ok(Outcome {
        status,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

fn a_program_runs_and_its_output_arrives() {
    let name = "a_program_runs_and_its_output_arrives";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let before = mounts();
    let outcome = world.sh("echo out; echo err >&2; exit 3");
    assert_eq!(outcome.status, ExitStatus::Code(3));
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(mounts(), before);
    // A signal from inside can't kill the first process of a namespace; one from outside can.
    let control = Control::new();
    let root = world.root();
    let spec = world.spec(
        &root,
        &[
            "sh",
            "-c",
            "trap 'echo caught' TERM; echo; sleep 9 & wait; wait",
        ],
    );
    let mut signals = [Signal::TERM, Signal::KILL].into_iter();
    let mut output = |_, _: &[u8]| {
        if let Some(signal) = signals.next() {
            control.signal(signal);
        }
    };
    let status = run_controlled(&spec, &mut output, &CancelToken::new(), &control).unwrap();
    assert_eq!(status, ExitStatus::Signal(9));
}

fn a_program_is_pid_1_of_its_own_world() {
    let name = "a_program_is_pid_1_of_its_own_world";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    world.check("echo $$", "1");
    world.check("hostname", "buildkitsandbox");
    world.check("umask", "0022");
    world.check("echo /proc/[0-9]*", "/proc/1");
    world.check(
        "echo $PATH $HOME; env | wc -l",
        &format!("{DEFAULT_PATH} /root\n4"),
    );
    world.check("ls /proc/self/fd | wc -l", "4");
    world.check("readlink /proc/self/fd/0", "/dev/null");
    world.check(
        "grep -c . /proc/self/cgroup; grep -v ':/$' /proc/self/cgroup || true",
        &{
            let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
            groups.lines().count().to_string()
        },
    );
}

fn capabilities_equal_dockers() {
    let Some(world) = World::new("capabilities_equal_dockers", GradeWish::Strongest) else {
        return;
    };
    world.check(
        "grep -e Cap -e NoNewPrivs -e '^Seccomp:' /proc/self/status",
        "CapInh:\t0000000000000000\n\
         CapPrm:\t00000000a80425fb\n\
         CapEff:\t00000000a80425fb\n\
         CapBnd:\t00000000a80425fb\n\
         CapAmb:\t0000000000000000\n\
         NoNewPrivs:\t0\n\
         Seccomp:\t2",
    );
}

fn forbidden_calls_fail() {
    let Some(world) = World::new("forbidden_calls_fail", GradeWish::Strongest) else {
        return;
    };
    for script in [
        "unshare -U true",
        "mount -t tmpfs tmpfs /tmp",
        "hostname other",
        "echo 1 > /proc/sys/kernel/panic",
        "mknod /dev/sda b 8 0 && cat /dev/sda > /proc/sysrq-trigger",
    ] {
        let outcome = world.sh(script);
        assert!(!outcome.status.is_success(), "{script}");
    }
    assert!(world.sh("chroot / /bin/true").status.is_success());
}

fn kernel_interfaces_are_hidden() {
    let Some(world) = World::new("kernel_interfaces_are_hidden", GradeWish::Strongest) else {
        return;
    };
    for path in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/interrupts",
    ] {
        if Path::new(path).exists() {
            world.check(&format!("cat {path} | wc -c"), "0");
        }
    }
    for path in [
        "/proc/acpi",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ] {
        if Path::new(path).exists() {
            world.check(&format!("ls {path} | wc -l"), "0");
        }
    }
    for path in ["/proc/sys", "/proc/bus", "/proc/irq", "/proc/fs", "/sys"] {
        let read_only = format!("grep -c ' {path} [a-z]* ro,' /proc/self/mounts");
        world.check(&read_only, "1");
    }
}

fn devices_are_dockers() {
    let Some(world) = World::new("devices_are_dockers", GradeWish::Strongest) else {
        return;
    };
    world.check(
        "ls /dev | cat",
        "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\n\
         urandom\nzero",
    );
    world.check(
        "stat -c '%a %t:%T %F' /dev/null",
        "666 1:3 character special file",
    );
    world.check(
        "head -c 4 /dev/zero | wc -c; echo x > /dev/null; echo x > /dev/shm/y",
        "4",
    );
    world.check("stat -c %a /dev/shm", "1777");
}

fn streams_can_be_opened_by_name() {
    let name = "streams_can_be_opened_by_name";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let root = world.root();
    let mut spec = world.spec(
        &root,
        &["sh", "-c", "echo a > /dev/stdout; echo b > /dev/stderr"],
    );
    if world.grade != Grade::RootlessSingle {
        spec.user = User {
            uid: 1234,
            gid: 1234,
            groups: Vec::new(),
            home: "/".into(),
        };
    }
    let outcome = execute(&spec).unwrap();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("a\n", "b\n")
    );
}

fn without_a_network_there_is_only_loopback() {
    let name = "without_a_network_there_is_only_loopback";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let root = world.root();
    let script = "ls /sys/class/net; ifconfig lo | grep -c UP";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.network = Network::None;
    assert_eq!(execute(&spec).unwrap().stdout, "lo\n1\n");
}

fn system_files() -> Vec<StepMount<'static>> {
    let file = |target: &str, content: String| StepMount {
        target: target.into(),
        kind: MountKind::File {
            content: content.into_bytes(),
            mode: 0o644,
        },
    };
    vec![
        file("/etc/resolv.conf", "nameserver 192.0.2.1\n".into()),
        file("/etc/hosts", hosts_file(DEFAULT_HOSTNAME, &[])),
    ]
}

/// Every path in the upper directory.
fn changes(world: &World) -> Vec<String> {
    fn visit(dir: &Path, root: &Path, paths: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            paths.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.is_dir() && !path.is_symlink() {
                visit(&path, root, paths);
            }
        }
    }
    let mut paths = Vec::new();
    visit(&world.upper(), &world.upper(), &mut paths);
    paths.sort();
    paths
}

fn mount_points_leave_no_trace() {
    let Some(world) = World::new("mount_points_leave_no_trace", GradeWish::Strongest) else {
        return;
    };
    let etc = world.lower().join("etc");
    let before = fs::metadata(&etc).unwrap();
    let root = world.root();
    let script = "cat /etc/hosts /etc/resolv.conf; echo x >> /etc/hosts";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.mounts = system_files();
    let outcome = execute(&spec).unwrap();
    assert!(
        outcome.stdout.contains("localhost buildkitsandbox"),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stdout.contains("192.0.2.1"));
    assert!(
        outcome.stderr.contains("Read-only file system"),
        "{}",
        outcome.stderr
    );
    // What copying up left behind is equal to what is below.
    assert_eq!(changes(&world), ["etc"]);
    let after = fs::metadata(world.upper().join("etc")).unwrap();
    assert_eq!(
        (before.mtime(), before.mtime_nsec()),
        (after.mtime(), after.mtime_nsec())
    );
    assert_eq!(before.mode(), after.mode());
    drop(root);
    world.check("touch /etc/new; mkdir /made", "");
    assert_eq!(changes(&world), ["etc", "etc/new", "made"]);
}

fn a_linked_resolv_conf_is_mounted_where_it_points() {
    let name = "a_linked_resolv_conf_is_mounted_where_it_points";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    symlink(
        "../run/resolve/stub.conf",
        world.lower().join("etc/resolv.conf"),
    )
    .unwrap();
    let root = world.root();
    let mut spec = world.spec(
        &root,
        &["sh", "-c", "cat /etc/resolv.conf; ls /run/resolve"],
    );
    spec.mounts = system_files();
    let outcome = execute(&spec).unwrap();
    assert_eq!(outcome.stdout, "nameserver 192.0.2.1\nstub.conf\n");
    assert_eq!(changes(&world), ["etc"]);
}

fn the_hosts_tree_is_out_of_reach() {
    let Some(world) = World::new("the_hosts_tree_is_out_of_reach", GradeWish::Strongest) else {
        return;
    };
    let points = |mounts: Vec<StepMount<'static>>| {
        let root = world.root();
        let script =
            "ls /..; cut -d' ' -f2 /proc/self/mounts | grep -v -e ^/dev/ -e ^/proc/ -e ^/sys/";
        let mut spec = world.spec(&root, &["sh", "-c", script]);
        spec.mounts = mounts;
        execute(&spec).unwrap().stdout.replace('\n', " ")
    };
    assert_eq!(
        points(Vec::new()),
        "bin dev etc proc sys tmp / /proc /dev /sys "
    );
    assert_eq!(
        points(system_files()),
        "bin dev etc proc sys tmp / /proc /dev /sys /etc/resolv.conf /etc/hosts "
    );
}

fn requested_mounts_are_there() {
    let Some(world) = World::new("requested_mounts_are_there", GradeWish::Strongest) else {
        return;
    };
    let shared = world.dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "content\n").unwrap();
    let source = fs::File::open(&shared).unwrap();
    let one_file = fs::File::open(shared.join("file")).unwrap();
    let bind = |target: &str, source, access| StepMount {
        target: target.into(),
        kind: MountKind::Bind { source, access },
    };
    let root = world.root();
    let script =
        "cat /ro/file /one; touch /rw/new; touch /ro/new; stat -c %a /mem; echo x > /rw/in/y";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    let mem = MountKind::Tmpfs {
        size: Some(1 << 20),
        mode: 0o1770,
    };
    spec.mounts = vec![
        bind("/ro", source.as_fd(), Access::ReadOnly),
        bind("/rw", source.as_fd(), Access::ReadWrite),
        bind("/one", one_file.as_fd(), Access::ReadOnly),
        StepMount {
            target: "/mem".into(),
            kind: mem,
        },
        StepMount {
            target: "/rw/in".into(),
            kind: MountKind::Tmpfs {
                size: None,
                mode: 0o755,
            },
        },
    ];
    let outcome = execute(&spec).unwrap();
    assert_eq!(
        outcome.stdout, "content\ncontent\n1770\n",
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("Read-only"), "{}", outcome.stderr);
    assert!(shared.join("new").exists());
    assert_eq!(changes(&world), [""; 0]);
}

fn another_user_has_its_ids_and_no_capability() {
    let name = "another_user_has_its_ids_and_no_capability";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    if world.grade == Grade::RootlessSingle {
        return skip(name, "more than one id");
    }
    let root = world.root();
    let script = "id -u; id -G; grep -e CapEff -e CapBnd /proc/self/status; echo $HOME; touch /x";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.user = User {
        uid: 1000,
        gid: 1001,
        groups: vec![1001, 44, 20],
        home: "/home/ann".into(),
    };
    let outcome = execute(&spec).unwrap();
    assert_eq!(
        outcome.stdout,
        "1000\n1001 20 44\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n/home/ann\n"
    );
    assert!(
        outcome.stderr.contains("Permission denied"),
        "{}",
        outcome.stderr
    );
}

fn failures_are_told_apart() {
    let Some(world) = World::new("failures_are_told_apart", GradeWish::Strongest) else {
        return;
    };
    fs::write(world.lower().join("bin/text"), "no program").unwrap();
    let root = world.root();
    let fails = |argv: &[&str], cwd: &str| {
        let mut spec = world.spec(&root, argv);
        spec.cwd = cwd.into();
        let error = execute(&spec).map(|outcome| outcome.status).unwrap_err();
        (error.to_string(), error.exit_code(), error.hint().is_some())
    };
    assert_eq!(
        fails(&["nonsense"], "/"),
        (
            "`nonsense` was not found in the image".into(),
            Some(127),
            true
        )
    );
    let root = world.root();
    let fails = |argv: &[&str], cwd: &str| {
        let mut spec = world.spec(&root, argv);
        spec.cwd = cwd.into();
        let error = execute(&spec).map(|outcome| outcome.status).unwrap_err();
        (error.to_string(), error.exit_code(), error.hint().is_some())
    };
    assert_eq!(
        fails(&["text"], "/"),
        ("`/bin/text` could not be executed".into(), Some(126), true)
    );
    let root = world.root();
    let mut spec = world.spec(&root, &["true"]);
    spec.cwd = "/etc/passwd".into();
    let error = execute(&spec).map(|outcome| outcome.status).unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not enter the working directory `/etc/passwd`"
    );
    let root = world.root();
    let error = execute(&world.spec(&root, &[]))
        .map(|outcome| outcome.status)
        .unwrap_err();
    assert!(matches!(error, ExecError::NoCommand));
    let root = world.root();
    let mut spec = world.spec(&root, &["sh", "-c", "pwd"]);
    spec.cwd = "/work/deep".into();
    assert_eq!(execute(&spec).unwrap().stdout, "/work/deep\n");
}

fn background_processes_die_with_the_program() {
    let name = "background_processes_die_with_the_program";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let start = Instant::now();
    world.check("sleep 987 & echo done", "done");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(processes_named("987"), 0);
}

/// How many processes have `argument` as an argument, in this process's pid namespace.
fn processes_named(argument: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == argument.as_bytes())
        })
        .count()
}

fn much_output_on_both_streams_does_not_block() {
    let name = "much_output_on_both_streams_does_not_block";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let outcome = world.sh("yes | head -c 3000000 & yes | head -c 3000000 >&2; wait");
    assert_eq!(
        (outcome.stdout.len(), outcome.stderr.len()),
        (3_000_000, 3_000_000)
    );
}

fn cancelling_kills_everything() {
    let Some(world) = World::new("cancelling_kills_everything", GradeWish::Strongest) else {
        return;
    };
    let before = mounts();
    let root = world.root();
    let script = "(sleep 986 &) ; trap '' TERM INT; echo ready; sleep 986";
    let spec = world.spec(&root, &["sh", "-c", script]);
    let cancel = CancelToken::new();
    let start = Instant::now();
    let result = run(&spec, &mut |_, _| cancel.cancel(), &cancel);
    assert!(matches!(result, Err(ExecError::Cancelled)), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(processes_named("986"), 0);
    assert_eq!(mounts(), before);
    assert!(matches!(
        run(&spec, &mut |_, _| {}, &cancel),
        Err(ExecError::Cancelled)
    ));
}

fn killing_kiln_kills_everything() {
    use kiln_sys::sandbox::{Forked, exit_now, fork};
    let name = "killing_kiln_kills_everything";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let marker = world.upper().join("ready");
    let Forked::Parent(kiln) = fork().unwrap() else {
        let root = world.root();
        let spec = world.spec(&root, &["sh", "-c", "echo > /ready; sleep 985"]);
        let _ = execute(&spec);
        exit_now(0)
    };
    wait_until("the program is running", || {
        marker.exists() && processes_named("985") > 0
    });
    rustix::process::kill_process(kiln, rustix::process::Signal::KILL).unwrap();
    rustix::process::waitpid(Some(kiln), rustix::process::WaitOptions::empty()).unwrap();
    wait_until("the program is dead", || processes_named("985") == 0);
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn the_binary_is_out_of_reach() {
    let Some(world) = World::new("the_binary_is_out_of_reach", GradeWish::Strongest) else {
        return;
    };
    let root = world.root();
    let spec = world.spec(&root, &["sh", "-c", "echo; sleep 9"]);
    let cancel = CancelToken::new();
    let mut read_only = None;
    let mut output = |_, _: &[u8]| {
        let children = fs::read_to_string("/proc/thread-self/children").unwrap();
        let helper = format!("/proc/{}/exe", children.trim());
        let flags = rustix::fs::statvfs(helper).unwrap().f_flag;
        read_only = Some(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        cancel.cancel();
    };
    assert!(run(&spec, &mut output, &cancel).is_err());
    assert_eq!(read_only, Some(true));
}

fn a_terminal_is_a_terminal() {
    let Some(world) = World::new("a_terminal_is_a_terminal", GradeWish::Strongest) else {
        return;
    };
    let root = world.root();
    let script = "tty; echo x > /dev/tty; test -t 0 && test -t 1 && test -t 2 && exit 7";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.stdio = Stdio::Terminal;
    let outcome = execute(&spec).unwrap();
    assert_eq!(outcome.stdout, "/dev/pts/0\r\nx\r\n");
    assert_eq!(outcome.status, ExitStatus::Code(7));
}

/// What every grade has to be able to do.
fn check_rootless(world: &World) {
    world.check("id -u; touch /a && stat -c %u:%g /a", "0\n0:0");
    world.check("echo x > /dev/null; ls /sys > /dev/null; echo $$", "1");
    world.check("rm /bin/ls; test -e /bin/ls || echo gone", "gone");
    world.check("grep CapEff /proc/self/status", "CapEff:\t00000000a80425fb");
    let root = world.root();
    let mut spec = world.spec(
        &root,
        &["sh", "-c", "cat /etc/resolv.conf; ls /sys/class/net"],
    );
    spec.mounts = system_files();
    spec.network = Network::None;
    assert_eq!(execute(&spec).unwrap().stdout, "nameserver 192.0.2.1\nlo\n");
}

fn a_user_namespace_is_no_obstacle() {
    let name = "a_user_namespace_is_no_obstacle";
    if !is_root() {
        return skip(name, "not root");
    }
    let Some(world) = World::new(name, GradeWish::Rootless) else {
        return;
    };
    assert_eq!(world.grade, Grade::RootlessMapped);
    check_rootless(&world);
}

fn a_single_id_is_enough_for_root() {
    let name = "a_single_id_is_enough_for_root";
    if is_root() {
        become_ordinary(54321, 54321);
    }
    let Some(world) = World::new(name, GradeWish::SingleId) else {
        return;
    };
    check_rootless(&world);
    let root = world.root();
    let mut spec = world.spec(&root, &["id"]);
    spec.user = User {
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
        home: "/".into(),
    };
    let error = execute(&spec).map(|outcome| outcome.status).unwrap_err();
    assert_eq!(
        error.to_string(),
        "user id 1000 does not exist in this rootless (single id) build"
    );
    assert!(error.hint().is_some());
}

fn subordinate_ids_are_enough_for_anyone() {
    let name = "subordinate_ids_are_enough_for_anyone";
    let Some((uid, gid)) = runner::user_with_subordinate_ids().filter(|_| is_root()) else {
        return skip(name, "root, and a user in `/etc/subuid`");
    };
    become_ordinary(uid, gid);
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    check_rootless(&world);
    world.check(
        "touch /b && chown 1000:1000 /b && stat -c %u:%g /b",
        "1000:1000",
    );
}
