//! Real machines: disks made by kiln's own writer, started by QEMU with Debian's cloud kernel.
//!
//! Without QEMU, a kernel or a static busybox the tests say so and end.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_disk::{Attributes, Contents, File, Inode, Node, NodeId, Tree, ext4};
use kiln_oci::{ImageConfig, Platform};
use kiln_rootfs::boot::{self, BootError, BootProblem, BootRequest, Booted, WaitFor};
use kiln_rootfs::init::config::Root;
use kiln_rootfs::init::{ARCHITECTURE, RunConfig, Strategy, install};
use kiln_rootfs::paths;
use kiln_rootfs::request::Overrides;
use kiln_sys::process::Ended;
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";

/// Enough for a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

struct Busybox;

impl Contents for Busybox {
    fn open(&self, _: u64) -> io::Result<fs::File> {
        fs::File::open(BUSYBOX)
    }
}

/// The kernel, if everything that is needed is here; says what is not.
fn kernel(test: &str) -> Option<PathBuf> {
    let found = boot::find_kernel(None);
    let missing = match &found {
        Err(problem) => problem.to_string(),
        Ok(_) if !Path::new(BUSYBOX).exists() => "`/bin/busybox` is not installed".to_owned(),
        Ok(_) if !Path::new("/usr/bin/qemu-system-x86_64").exists() => {
            "`qemu-system-x86_64` is not installed".to_owned()
        }
        Ok(_) => return found.ok(),
    };
    eprintln!("skipped: {test}: {missing}");
    None
}

fn tree() -> Tree {
    let mut tree = Tree::new(attributes(0o755));
    let bin = add(&mut tree, Tree::ROOT, "bin", Node::Directory(Vec::new()));
    let size = fs::metadata(BUSYBOX).unwrap().len();
    let content = kiln_disk::Content::Stored(1);
    add(
        &mut tree,
        bin,
        "busybox",
        Node::File(File { size, content }),
    );
    for applet in ["sh", "id", "cat", "sleep", "nc", "pwd", "touch"] {
        add(&mut tree, bin, applet, Node::Symlink(b"busybox"[..].into()));
    }
    let etc = add(&mut tree, Tree::ROOT, "etc", Node::Directory(Vec::new()));
    let passwd = File::of_bytes(*b"app:x:1000:1001::/home/app:/bin/sh\n");
    add(&mut tree, etc, "passwd", Node::File(passwd));
    tree
}

fn add(tree: &mut Tree, parent: NodeId, name: &str, node: Node) -> NodeId {
    let attributes = attributes(0o755);
    let inode = Inode { attributes, node };
    tree.add(parent, name.as_bytes(), inode).unwrap()
}

fn attributes(mode: u32) -> Attributes {
    Attributes {
        mode,
        ..Attributes::default()
    }
}

fn run_config(script: &str) -> RunConfig {
    let platform: Platform = format!("linux/{ARCHITECTURE}").parse().unwrap();
    let image = ImageConfig::empty(platform).with_runtime(|mut runtime| {
        runtime.entrypoint = Some(["sh", "-c", script].map(str::to_owned).into());
        runtime
    });
    RunConfig::new(&image, &Overrides::default())
}

struct Disk {
    folder: TempDir,
    request: BootRequest,
}

fn disk(kernel: &Path, tree: &Tree, run: &RunConfig, strategy: &Strategy) -> Disk {
    let mut tree = tree.clone();
    let installed = install(&mut tree, &Busybox, run, strategy).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.ext4");
    let file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let options = ext4::Options {
        free_bytes: 1 << 20,
        free_inodes: 100,
        ..ext4::Options::default()
    };
    let plan = ext4::plan(&tree, &options).unwrap();
    plan.write(
        &tree,
        &Busybox,
        &file,
        NonZeroUsize::MIN,
        &CancelToken::new(),
    )
    .unwrap();
    let request = BootRequest {
        has_reports: installed.has_reports,
        deadline: DEADLINE,
        ..BootRequest::new(&path, kernel, &installed.kernel_arguments)
    };
    Disk { folder, request }
}

fn start(disk: &Disk, wait_for: WaitFor) -> Result<Booted, BootError> {
    let request = BootRequest {
        wait_for,
        ..disk.request.clone()
    };
    assert!(disk.folder.path().exists());
    boot::boot(&request, &CancelToken::new())
}

#[track_caller]
fn good(result: Result<Booted, BootError>) -> Booted {
    match result {
        Ok(booted) => booted,
        Err(error) => panic!("{error}\n{}", error.console),
    }
}

#[test]
fn a_program_runs_as_its_user_and_its_code_is_told() {
    let test = "a_program_runs_as_its_user_and_its_code_is_told";
    let Some(kernel) = kernel(test) else { return };
    let script = "id; pwd; echo \"$GREETING\"; cat /proc/cmdline; exit 7";
    let run = RunConfig {
        user: "app".into(),
        working_dir: "/srv/app".into(),
        env: vec!["GREETING=hello  secret world".into()],
        ..run_config(script)
    };
    let disk = disk(&kernel, &tree(), &run, &Strategy::Direct);
    let before = fs::read(&disk.request.disk).unwrap();
    let booted = good(start(&disk, WaitFor::Exit(None)));
    let ready = booted.ready.unwrap();
    assert_eq!((ready.uid, ready.gid), (1000, 1001));
    assert_eq!(booted.exit, Some(Ended::Exited(7)));
    assert!(booted.handshake <= booted.took);
    assert_eq!(booted.warnings, Vec::<String>::new());
    let console = booted.console;
    assert!(console.contains("uid=1000(app) gid=1001"), "{console}");
    assert!(console.contains("\n/srv/app\nhello  secret world\nconsole=ttyS0"));
    assert_eq!(console.matches("secret").count(), 1, "{console}");
    assert!(fs::read(&disk.request.disk).unwrap() == before);
}

#[test]
fn ports_and_output_are_waited_for() {
    let Some(kernel) = kernel("ports_and_output_are_waited_for") else {
        return;
    };
    let run = run_config("sleep 0.5; echo will listen; nc -l -p 8080");
    let disk = disk(&kernel, &tree(), &run, &Strategy::Direct);
    let booted = good(start(&disk, WaitFor::Port(8080)));
    assert!(booted.exit.is_none());
    assert!(
        booted
            .console
            .contains("kiln-init: listening {\"port\":8080}")
    );
    let booted = good(start(&disk, WaitFor::Output("will listen".into())));
    assert!(booted.exit.is_none());
}

#[test]
fn a_read_only_root_starts() {
    let Some(kernel) = kernel("a_read_only_root_starts") else {
        return;
    };
    let script = "touch /etc/x || echo refused; touch /data/x && echo kept";
    let run = RunConfig {
        root: Root::ReadOnly,
        tmp: true,
        volumes: ["/data".to_owned()].into(),
        ..run_config(script)
    };
    let disk = disk(&kernel, &tree(), &run, &Strategy::Direct);
    let booted = good(start(&disk, WaitFor::Exit(None)));
    assert_eq!(booted.exit, Some(Ended::Exited(0)));
    assert!(
        booted.console.contains("\nrefused\nkept\n"),
        "{}",
        booted.console
    );
}

#[test]
fn a_custom_init_starts() {
    let Some(kernel) = kernel("a_custom_init_starts") else {
        return;
    };
    let strategy = Strategy::Custom {
        path: "/sbin/own".into(),
        script: Some(b"#!/bin/sh\necho own init\nwhile true; do sleep 1; done\n".to_vec()),
    };
    let disk = disk(&kernel, &tree(), &run_config(""), &strategy);
    let booted = good(start(&disk, WaitFor::Ready));
    assert!(booted.ready.is_none());
    good(start(&disk, WaitFor::Output("own init".into())));
}

#[test]
fn disks_that_are_not_good_are_told_of() {
    let Some(kernel) = kernel("disks_that_are_not_good_are_told_of") else {
        return;
    };
    let run = run_config("exit 3");
    let mut changed = tree();
    let good_disk = disk(&kernel, &changed, &run, &Strategy::Direct);
    let error = start(&good_disk, WaitFor::Output("hello".into())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the program ended before `hello` on the console: exit code 3"
    );

    // The program goes after it was checked.
    let mut other = install_then_remove(&mut changed, &run);
    other.kernel_arguments = good_disk.request.kernel_arguments.clone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let file = fs::File::create_new(&path).unwrap();
    let plan = ext4::plan(&changed, &ext4::Options::default()).unwrap();
    let one = NonZeroUsize::MIN;
    plan.write(&changed, &Busybox, &file, one, &CancelToken::new())
        .unwrap();
    let request = BootRequest {
        deadline: DEADLINE,
        ..BootRequest::new(&path, &kernel, &other.kernel_arguments)
    };
    let error = boot::boot(&request, &CancelToken::new()).unwrap_err();
    let expected = "`sh` is in no directory of PATH (exit code 127)";
    assert_eq!(error.to_string(), expected, "{}", error.console);

    // No file system at all.
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    let error = boot::boot(&request, &CancelToken::new()).unwrap_err();
    assert!(
        error.to_string().contains("Unable to mount root fs"),
        "{error}"
    );
}

fn install_then_remove(tree: &mut Tree, run: &RunConfig) -> kiln_rootfs::init::Installed {
    let installed = install(tree, &Busybox, run, &Strategy::Direct).unwrap();
    let bin = paths::lookup(tree, b"/bin").unwrap();
    tree.unlink(bin, b"sh").unwrap();
    installed
}

#[test]
fn deadlines_and_cancellation_end_the_machine() {
    let Some(kernel) = kernel("deadlines_and_cancellation_end_the_machine") else {
        return;
    };
    let disk = disk(&kernel, &tree(), &run_config("exit"), &Strategy::Direct);
    let request = BootRequest {
        deadline: Duration::from_millis(200),
        ..disk.request.clone()
    };
    let error = boot::boot(&request, &CancelToken::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no handshake of the first process within 0.2 seconds"
    );
    let cancel = CancelToken::new();
    cancel.cancel();
    let error = boot::boot(&disk.request, &cancel).unwrap_err();
    assert!(matches!(error.problem, BootProblem::Cancelled), "{error}");
}

#[test]
fn an_accelerator_is_found() {
    let Some(kernel) = kernel("an_accelerator_is_found") else {
        return;
    };
    // What it is, is the machine's; that it works, the next start shows.
    let patience = Duration::from_secs(3);
    let accelerator = boot::find_accelerator(&kernel, patience, &CancelToken::new()).unwrap();
    let disk = disk(&kernel, &tree(), &run_config("exit 4"), &Strategy::Direct);
    let request = BootRequest {
        accelerator,
        wait_for: WaitFor::Exit(None),
        ..disk.request.clone()
    };
    let booted = good(boot::boot(&request, &CancelToken::new()));
    assert_eq!(booted.exit, Some(Ended::Exited(4)));
    assert_eq!(booted.accelerator, accelerator);
}

#[test]
fn a_missing_kernel_is_told_of() {
    let error = boot::find_kernel(Some(Path::new("/nonexistent/vmlinuz"))).unwrap_err();
    assert!(matches!(error, BootProblem::Kernel(_)), "{error}");
}
