//! What the machine allows, found by trying it.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::mount::MountAttrFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, geteuid, waitpid};

use super::enter::{Standing, enter, find_program, subordinate_maps};
use super::{EnterError, Grade, GradeWish, forbidden, system};
use crate::cgroup::{self, Layout};
use crate::host;
use crate::mount::{Durability, Filesystem, Overlay, Upper, attach_on_root, mount_filesystem};
use crate::sandbox::{Forked, Namespaces, exit_now, fork, thread_count, unshare};

/// What was found out about the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The grade that [`enter`] would choose; `None` where it would fail, for the reason that the
    /// check `sandbox` gives.
    pub grade: Option<Grade>,
    /// One line each for `kiln doctor`, in a fixed order.
    pub checks: Vec<Check>,
}

/// One thing kiln can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, for example `user namespaces`.
    pub name: &'static str,
    /// What was found.
    pub answer: Answer,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It works.
    Yes {
        /// What exactly was found.
        detail: String,
    },
    /// It does not.
    No {
        /// Why.
        reason: String,
        /// How to get it.
        remedy: Option<String>,
    },
}

/// The oldest kernel that has all that the sandbox needs: `mount_setattr`, and overlayfs in user
/// namespaces.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// Looks at the machine. Things are tried out in forked children, so nothing stays behind; the
/// process has to be single-threaded.
pub fn probe() -> Result<Probe, EnterError> {
    match thread_count() {
        Ok(1) => {}
        Ok(threads) => return Err(EnterError::Threads(threads)),
        Err(cause) => {
            return Err(EnterError::System {
                action: "count the threads of this process",
                cause,
            });
        }
    }
    let sandbox = in_child(|| match enter(GradeWish::Strongest) {
        Ok(grade) => yes(grade.name()),
        Err(error) => no(&describe(&error), error.hint()),
    })?;
    let grade = match &sandbox {
        Answer::Yes { detail } => [Grade::Root, Grade::RootlessMapped, Grade::RootlessSingle]
            .into_iter()
            .find(|grade| grade.name() == detail),
        Answer::No { .. } => None,
    };
    let checks = vec![
        check("sandbox", sandbox),
        check("kernel", kernel()),
        check("user namespaces", in_child(user_namespace)?),
        check("subordinate ids", subordinate_ids()),
        check("id map helpers", id_map_helpers()),
        check("overlay", in_child(overlay)?),
        check("procfs", in_child(procfs)?),
        check("seccomp", seccomp()),
        check("control groups", control_groups()),
        check("private binfmt_misc", in_child(binfmt_misc)?),
    ];
    Ok(Probe { grade, checks })
}

const fn check(name: &'static str, answer: Answer) -> Check {
    Check { name, answer }
}

fn yes(detail: &str) -> Answer {
    Answer::Yes {
        detail: detail.to_owned(),
    }
}

fn no(reason: &str, remedy: Option<&str>) -> Answer {
    Answer::No {
        reason: reason.to_owned(),
        remedy: remedy.map(str::to_owned),
    }
}

/// The error with its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn kernel() -> Answer {
    let release = host::kernel_release();
    if host::kernel_version() >= OLDEST_KERNEL {
        yes(&release)
    } else {
        no(
            &format!("{release} is too old; kiln needs Linux 5.12"),
            None,
        )
    }
}

fn user_namespace() -> Answer {
    match unshare(Namespaces::NEWUSER) {
        Ok(()) => yes("can be made"),
        Err(cause) => {
            let (reason, remedy) = forbidden(&cause);
            no(&reason, remedy.as_deref())
        }
    }
}

fn subordinate_ids() -> Answer {
    match (subordinate_maps(), Standing::of_this_process()) {
        (Some((users, groups)), _) => yes(&format!(
            "{} user ids and {} group ids",
            users.len() - 1,
            groups.len() - 1
        )),
        (None, Standing::Ordinary) => no(
            "`/etc/subuid` and `/etc/subgid` give this user none; files can have one owner only",
            Some(&format!(
                "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}",
                own_name()
            )),
        ),
        (None, _) => yes("not needed by root"),
    }
}

fn own_name() -> String {
    let uid = geteuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    crate::idmap::user_name(&passwd, uid).map_or_else(|| uid.to_string(), str::to_owned)
}

fn id_map_helpers() -> Answer {
    let install = Some("apt-get install uidmap");
    let mut found = Vec::new();
    for name in ["newuidmap", "newgidmap"] {
        let Some(path) = find_program(name) else {
            return no(&format!("`{name}` is not installed"), install);
        };
        if !is_privileged(&path) {
            let reason = format!(
                "`{}` is neither set-user-id nor has it capabilities",
                path.display()
            );
            return no(&reason, Some(&format!("chmod u+s {}", path.display())));
        }
        found.push(path.display().to_string());
    }
    yes(&found.join(", "))
}

fn is_privileged(program: &Path) -> bool {
    const SET_USER_ID: u32 = 0o4000;
    let set_user_id = std::fs::metadata(program)
        .is_ok_and(|metadata| metadata.permissions().mode() & SET_USER_ID != 0);
    let mut value = [0_u8; 64];
    set_user_id || rustix::fs::getxattr(program, "security.capability", &mut value[..]).is_ok()
}

/// A real overlay on a memory file system: a file of the lower layer is removed through it.
fn overlay() -> Answer {
    let grade = match enter(GradeWish::Strongest) {
        Ok(grade) => grade,
        Err(error) => return no(&describe(&error), None),
    };
    match try_overlay(grade) {
        Ok(()) if grade.uses_user_xattrs() => yes("works, with `userxattr`"),
        Ok(()) => yes("works"),
        Err(error) => no(&error, None),
    }
}

fn try_overlay(grade: Grade) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let tmpfs = Filesystem::Tmpfs {
        size: Some(1 << 20),
        mode: 0o755,
    };
    // Attached over `/`: the mount namespace is this child's own, and only descriptors are used.
    let memory = mount_filesystem(tmpfs, MountAttrFlags::empty()).map_err(text)?;
    attach_on_root(memory.as_fd()).map_err(text)?;
    for name in ["lower", "upper", "work"] {
        mkdirat(&memory, name, Mode::RWXU).map_err(|errno| errno.to_string())?;
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(&memory, "lower/file", flags, Mode::RUSR).map_err(|errno| errno.to_string())?;
    let path = |name: &str| format!("/proc/self/fd/{}/{name}", memory.as_raw_fd()).into();
    let overlay = Overlay {
        lowers: vec![path("lower")],
        upper: Some(Upper {
            upper: path("upper"),
            work: path("work"),
            durability: Durability::Sync,
        }),
        userxattr: grade.uses_user_xattrs(),
    };
    let mount = overlay.mount_detached().map_err(|error| describe(&error))?;
    unlinkat(&mount, "file", AtFlags::empty())
        .map_err(|errno| format!("a file could not be removed: {errno}"))
}

/// A fresh `/proc`, which a container with a masked one does not allow.
fn procfs() -> Answer {
    let mounted =
        enter(GradeWish::Strongest)
            .map_err(|error| describe(&error))
            .and_then(|_| {
                unshare(Namespaces::NEWPID).map_err(|error| error.to_string())?;
                in_child(|| match mount_filesystem(Filesystem::Proc, MountAttrFlags::empty()) {
            Ok(_) => yes("can be mounted"),
            Err(error) => no(
                &format!("can't be mounted: {error}"),
                Some("in a container: run it with `--security-opt systempaths=unconfined`"),
            ),
        })
        .map_err(|error| describe(&error))
            });
    mounted.unwrap_or_else(|reason| no(&reason, None))
}

fn seccomp() -> Answer {
    if Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        yes("filters work")
    } else {
        no("the kernel was built without filters", None)
    }
}

fn control_groups() -> Answer {
    match cgroup::layout() {
        Layout::Unified if cgroup::is_delegated() => yes("version 2, delegated to this user"),
        Layout::Unified => yes("version 2, not delegated: steps can't be given limits"),
        Layout::Legacy => yes("version 1: steps can't be given limits"),
        Layout::Absent => no("not mounted", None),
    }
}

fn binfmt_misc() -> Answer {
    let mounted = enter(GradeWish::Rootless)
        .map_err(|error| describe(&error))
        .and_then(|_| {
            mount_filesystem(Filesystem::BinfmtMisc, MountAttrFlags::empty())
                .map_err(|error| error.to_string())
        });
    match mounted {
        Ok(_) => yes("programs of other architectures can be run through qemu"),
        Err(reason) => no(
            &reason,
            Some("needs Linux 6.7, or qemu handlers registered by the host"),
        ),
    }
}

/// Runs `question` in a forked child and returns its answer.
fn in_child(question: impl FnOnce() -> Answer) -> Result<Answer, EnterError> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
    let forked = fork().map_err(|cause| EnterError::System {
        action: "start a process that tries things out",
        cause,
    })?;
    match forked {
        Forked::Child => {
            drop(read);
            let text = encode(&question());
            let _ = std::fs::File::from(write).write_all(text.as_bytes());
            exit_now(0)
        }
        Forked::Parent(child) => {
            drop(write);
            let mut text = String::new();
            let _ = std::fs::File::from(read).read_to_string(&mut text);
            let _ = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
            Ok(decode(&text))
        }
    }
}

// An answer on a pipe: its kind and its one or two texts, separated by zero bytes.

fn encode(answer: &Answer) -> String {
    match answer {
        Answer::Yes { detail } => format!("yes\0{detail}"),
        Answer::No { reason, remedy } => {
            format!("no\0{reason}\0{}", remedy.as_deref().unwrap_or_default())
        }
    }
}

fn decode(text: &str) -> Answer {
    let mut parts = text.split('\0');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("yes"), Some(detail), None) => yes(detail),
        (Some("no"), Some(reason), remedy) => {
            no(reason, remedy.filter(|remedy| !remedy.is_empty()))
        }
        _ => no("the attempt died", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_survive_the_pipe() {
        for answer in [yes("x"), yes(""), no("a", None), no("a", Some("b"))] {
            assert_eq!(decode(&encode(&answer)), answer);
        }
        assert_eq!(decode(""), no("the attempt died", None));
    }

    #[test]
    fn refuses_a_process_with_threads() {
        // The test harness runs each test on a thread of its own.
        assert!(matches!(probe(), Err(EnterError::Threads(_))));
        assert!(matches!(
            enter(GradeWish::Strongest),
            Err(EnterError::Threads(_))
        ));
    }
}
