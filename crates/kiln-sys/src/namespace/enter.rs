//! Entering the namespaces that a command works in.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, getegid, geteuid, getpid, waitpid};
use rustix::thread::CapabilitySet;

use super::{EnterError, Grade, GradeWish, forbidden, system};
use crate::idmap::{IdMap, rootless_map, subordinate_ranges, user_name};
use crate::sandbox::{Forked, Namespaces, exit_now, fork, thread_count, unshare};

/// Makes the namespaces that `wish` asks for, as far as the machine allows, and becomes uid 0 in them.
///
/// The process has a private mount namespace afterwards: nothing it mounts is seen by others or
/// outlives it, while what others mount and unmount still arrives.
pub fn enter(wish: GradeWish) -> Result<Grade, EnterError> {
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
    match (wish, Standing::of_this_process()) {
        (GradeWish::Strongest, Standing::Root) => {
            own_mounts(Namespaces::NEWNS)?;
            Ok(Grade::Root)
        }
        (GradeWish::Strongest | GradeWish::Rootless, Standing::NestedRoot { ids }) => {
            own_mounts(Namespaces::NEWNS)?;
            Ok(if ids > 1 {
                Grade::RootlessMapped
            } else {
                Grade::RootlessSingle
            })
        }
        (GradeWish::SingleId, _) => enter_user_namespace(&MapPlan::Single),
        (_, standing) => enter_user_namespace(&MapPlan::choose(standing)),
    }
}

/// What this process is before anything is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Root of the machine (or of a container that shares its ids) with `CAP_SYS_ADMIN`.
    Root,
    /// Root with `CAP_SYS_ADMIN` of a user namespace that somebody else made, with this many ids.
    NestedRoot { ids: u64 },
    /// May map any id into a namespace of its own: root of a container without `CAP_SYS_ADMIN`.
    MayMap,
    /// An ordinary user.
    Ordinary,
}

impl Standing {
    pub(super) fn of_this_process() -> Self {
        let held = rustix::thread::capabilities(None)
            .map_or(CapabilitySet::empty(), |sets| sets.effective);
        let root = geteuid().is_root();
        if root && held.contains(CapabilitySet::SYS_ADMIN) {
            if in_initial_user_namespace() {
                return Self::Root;
            }
            let ids = IdMap::current_users().map_or(1, |map| map.len());
            return Self::NestedRoot { ids };
        }
        if root && held.contains(CapabilitySet::SETUID | CapabilitySet::SETGID) {
            Self::MayMap
        } else {
            Self::Ordinary
        }
    }
}

/// Whether this is the machine's own user namespace, the only one in which `trusted.*` attributes and
/// device nodes can be made.
pub(super) fn in_initial_user_namespace() -> bool {
    // The kernel gives its first user namespace this inode number (PROC_USER_INIT_INO).
    const INITIAL: u64 = 0xefff_fffd;
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|stat| stat.st_ino == INITIAL)
}

/// Where the ids of the new namespace come from, and who may write them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum MapPlan {
    /// Our id alone; the process may write this itself.
    Single,
    /// The same ids as here, written by a privileged process that stayed outside.
    Direct { users: IdMap, groups: IdMap },
    /// Our id and the subordinate ones, written by `newuidmap` and `newgidmap`.
    Helpers {
        users: IdMap,
        groups: IdMap,
        newuidmap: PathBuf,
        newgidmap: PathBuf,
    },
}

impl MapPlan {
    fn choose(standing: Standing) -> Self {
        match standing {
            Standing::Root | Standing::NestedRoot { .. } | Standing::MayMap => {
                match (IdMap::current_users(), IdMap::current_groups()) {
                    (Ok(users), Ok(groups)) => Self::Direct {
                        users: users.identity(),
                        groups: groups.identity(),
                    },
                    _ => Self::Single,
                }
            }
            Standing::Ordinary => Self::subordinate().unwrap_or(Self::Single),
        }
    }

    fn subordinate() -> Option<Self> {
        let (users, groups) = subordinate_maps()?;
        Some(Self::Helpers {
            users,
            groups,
            newuidmap: find_program("newuidmap")?,
            newgidmap: find_program("newgidmap")?,
        })
    }
}

/// The maps that `/etc/subuid` and `/etc/subgid` allow this user; `None` if either gives nothing.
pub(super) fn subordinate_maps() -> Option<(IdMap, IdMap)> {
    let uid = geteuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = user_name(&passwd, uid);
    let map = |file: &str, own: u32| {
        let text = std::fs::read_to_string(file).ok()?;
        let ranges = subordinate_ranges(&text, name, uid);
        (!ranges.is_empty()).then(|| rootless_map(own, &ranges))
    };
    Some((
        map("/etc/subuid", uid)?,
        map("/etc/subgid", getegid().as_raw())?,
    ))
}

/// Looks where distributions put set-user-id programs; `PATH` may not be trusted for these.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    [
        "/usr/bin",
        "/usr/sbin",
        "/bin",
        "/usr/local/bin",
        "/run/wrappers/bin",
    ]
    .iter()
    .map(|dir| Path::new(dir).join(name))
    .find(|path| path.is_file())
}

fn own_mounts(namespaces: Namespaces) -> Result<(), EnterError> {
    unshare(namespaces).map_err(EnterError::MountNamespace)?;
    receive_mounts_only()
}

fn receive_mounts_only() -> Result<(), EnterError> {
    let flags = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
    mount_change("/", flags).map_err(system("keep mounts to this process"))
}

fn enter_user_namespace(plan: &MapPlan) -> Result<Grade, EnterError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mapper = match plan {
        MapPlan::Single => None,
        plan => Some(Mapper::start(plan)?),
    };
    if let Err(cause) = unshare(Namespaces::NEWUSER | Namespaces::NEWNS) {
        let (reason, remedy) = forbidden(&cause);
        return Err(EnterError::UserNamespace {
            reason,
            remedy,
            cause,
        });
    }
    let grade = match mapper.map(Mapper::run).transpose()? {
        Some(Mapped::All) => Grade::RootlessMapped,
        // `newuidmap` wrote nothing: one id is better than no build.
        Some(Mapped::Nothing) | None => {
            write_single_map(uid, gid)?;
            Grade::RootlessSingle
        }
    };
    receive_mounts_only()?;
    Ok(grade)
}

fn write_single_map(uid: u32, gid: u32) -> Result<(), EnterError> {
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|cause| EnterError::IdMap {
            reason: format!("writing `/proc/self/{file}`: {cause}"),
        })
    };
    // Without this an unprivileged process may not write its group map.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

/// A child that stays in the old user namespace, where alone the maps can be written from.
struct Mapper {
    child: rustix::process::Pid,
    go: OwnedFd,
    report: OwnedFd,
}

enum Mapped {
    All,
    Nothing,
}

impl Mapper {
    fn start(plan: &MapPlan) -> Result<Self, EnterError> {
        let failed = system("make a pipe");
        let (wait, go) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let (report, answer) = pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
        let target = getpid().as_raw_nonzero().get();
        let forked = fork().map_err(|cause| EnterError::System {
            action: "start a process that maps ids",
            cause,
        })?;
        match forked {
            Forked::Parent(child) => Ok(Self { child, go, report }),
            Forked::Child => {
                drop((go, report));
                let mut byte = [0];
                // End of file: the parent could not make the namespace.
                if matches!(std::fs::File::from(wait).read(&mut byte), Ok(1)) {
                    let text = match plan.apply(target) {
                        Ok(()) => "ok".to_owned(),
                        Err((Mapped::Nothing, _)) => "nothing".to_owned(),
                        Err((Mapped::All, reason)) => reason,
                    };
                    let _ = std::fs::File::from(answer).write_all(text.as_bytes());
                }
                exit_now(0)
            }
        }
    }

    fn run(self) -> Result<Mapped, EnterError> {
        rustix::io::write(&self.go, b".").map_err(system("wake the process that maps ids"))?;
        drop(self.go);
        let mut text = String::new();
        let read = std::fs::File::from(self.report).read_to_string(&mut text);
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(self.child), WaitOptions::empty()));
        match (read, text.as_str()) {
            (Ok(_), "ok") => Ok(Mapped::All),
            (Ok(_), "nothing") => Ok(Mapped::Nothing),
            (_, reason) => Err(EnterError::IdMap {
                reason: reason.to_owned(),
            }),
        }
    }
}

impl MapPlan {
    /// Writes the maps of the process `target`. The error says whether anything was written.
    fn apply(&self, target: i32) -> Result<(), (Mapped, String)> {
        let nothing = |reason| (Mapped::Nothing, reason);
        let partly = |reason| (Mapped::All, reason);
        match self {
            Self::Single => Ok(()),
            Self::Direct { users, groups } => {
                write_map(target, "uid_map", users).map_err(nothing)?;
                write_map(target, "gid_map", groups).map_err(partly)
            }
            Self::Helpers {
                users,
                groups,
                newuidmap,
                newgidmap,
            } => {
                run_helper(newuidmap, target, users).map_err(nothing)?;
                run_helper(newgidmap, target, groups).map_err(partly)
            }
        }
    }
}

fn write_map(target: i32, file: &str, map: &IdMap) -> Result<(), String> {
    let path = format!("/proc/{target}/{file}");
    std::fs::write(&path, map.to_text()).map_err(|cause| format!("writing `{path}`: {cause}"))
}

fn run_helper(program: &Path, target: i32, map: &IdMap) -> Result<(), String> {
    let numbers = map
        .extents
        .iter()
        .flat_map(|extent| [extent.inside, extent.outside, extent.count]);
    let arguments = std::iter::once(target.to_string()).chain(numbers.map(|n| n.to_string()));
    let output = crate::process::command(program, Path::new("/"))
        .args(arguments.map(OsString::from))
        .output();
    let describe = |message: &str| format!("`{}`: {}", program.display(), message.trim());
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(describe(&String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(describe(&error.to_string())),
    }
}
