//! A root file system of busybox, and running programs in it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_base::events::Stream;
use kiln_exec::{
    Confinement, Control, DEFAULT_HOSTNAME, DEFAULT_PATH, ExecError, Executor, ExitStatus,
    MountKind, Network, Stdio, StepMount, StepSpec, User, hosts_file,
};
use kiln_sys::mount::{Durability, Overlay, Upper};
use kiln_sys::namespace::{Grade, GradeWish, enter};

use crate::runner::skip;

pub(crate) const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "env", "ls", "id", "true", "false", "sleep", "mount", "unshare",
    "hostname", "ps", "yes", "head", "stat", "mkdir", "rm", "touch", "kill", "tty", "ifconfig",
    "readlink", "grep", "chroot", "wc", "seq", "printf", "dd", "umask", "cut", "mknod", "stty",
    "chown", "test", "sort",
];

/// A root file system of busybox, and what is needed to run programs in it.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) grade: Grade,
}

pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// `None`, after saying so, where this machine can't do it.
    pub(crate) fn new(test: &str, wish: GradeWish) -> Option<Self> {
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

    pub(crate) fn lower(&self) -> PathBuf {
        self.dir.path().join("lower")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.dir.path().join("upper")
    }

    pub(crate) fn root(&self) -> OwnedFd {
        let work = self.dir.path().join("work");
        let _ = fs::remove_dir_all(work.join("work"));
        self.root_with(self.upper(), work)
    }

    /// One of several roots that are there at the same time.
    pub(crate) fn root_of_its_own(&self, name: &str) -> OwnedFd {
        let made = ["upper", "work"].map(|half| self.dir.path().join(format!("{half}-{name}")));
        for path in &made {
            fs::create_dir(path).unwrap();
        }
        let [upper, work] = made;
        self.root_with(upper, work)
    }

    fn root_with(&self, upper: PathBuf, work: PathBuf) -> OwnedFd {
        let overlay = Overlay {
            lowers: vec![self.lower()],
            upper: Some(Upper {
                upper,
                work,
                durability: Durability::Volatile,
            }),
            userxattr: self.grade.uses_user_xattrs(),
        };
        overlay.mount_detached().unwrap()
    }

    pub(crate) fn spec<'a>(&self, root: &'a OwnedFd, argv: &[&str]) -> StepSpec<'a> {
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

    pub(crate) fn sh(&self, script: &str) -> Outcome {
        let root = self.root();
        execute(&self.spec(&root, &["/bin/sh", "-c", script])).unwrap()
    }

    #[track_caller]
    pub(crate) fn check(&self, script: &str, expected: &str) {
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

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn execute(spec: &StepSpec<'_>) -> Result<Outcome, ExecError> {
    execute_confined(spec, &Confinement::default())
}

pub(crate) fn execute_confined(
    spec: &StepSpec<'_>,
    confinement: &Confinement,
) -> Result<Outcome, ExecError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut output = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => stdout.extend_from_slice(bytes),
        Stream::Stderr => stderr.extend_from_slice(bytes),
    };
    let cancel = CancelToken::new();
    let status = Executor::new().run((spec, confinement), &mut output, &cancel, &Control::new())?;
    Ok(Outcome {
        status,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

pub(crate) fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

pub(crate) fn system_files() -> Vec<StepMount<'static>> {
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
pub(crate) fn changes(world: &World) -> Vec<String> {
    pub(crate) fn visit(dir: &Path, root: &Path, paths: &mut Vec<String>) {
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
