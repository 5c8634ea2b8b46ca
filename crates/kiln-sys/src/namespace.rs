//! What this machine lets an ordinary or a privileged process do, and entering it.
//!
//! kiln runs as uid 0 of *some* user namespace, so that the code above can own, create and mount as
//! far as that namespace allows. [`enter()`] decides once, at the start of a command, and returns the
//! [`Grade`] as a value; nothing asks the machine again. [`probe()`] tries the same things in children
//! and explains what it found, for `kiln doctor`.
//!
//! Deliberately absent: anything after the start. A process that has threads can't change its user
//! namespace, so both functions refuse to run in one.

use std::io;

mod enter;
mod probe;

pub use enter::enter;
pub use probe::{Answer, Check, Probe, probe};

/// The strength of the sandbox, and what file ownership it can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// Real root: every id, device nodes, `trusted.*` attributes.
    Root,
    /// A user namespace with many ids; no device nodes, `user.*` attributes instead of `trusted.*`.
    RootlessMapped,
    /// A user namespace in which only uid 0 and gid 0 exist.
    RootlessSingle,
}

impl Grade {
    /// Whether overlayfs has to keep its marks in `user.overlay.*` instead of `trusted.overlay.*`.
    pub const fn uses_user_xattrs(self) -> bool {
        !matches!(self, Self::Root)
    }

    /// The words people read: `root`, `rootless` or `rootless (single id)`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::RootlessMapped => "rootless",
            Self::RootlessSingle => "rootless (single id)",
        }
    }
}

/// Which grade the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradeWish {
    /// The strongest that works here.
    Strongest,
    /// A user namespace with many ids, or with one where there are no subordinate ids, even for root.
    Rootless,
    /// A user namespace with the caller's id alone.
    SingleId,
}

/// Why no namespace could be entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnterError {
    /// The process has more than one thread.
    #[error("the process already has {0} threads; namespaces are entered before any is started")]
    Threads(usize),
    /// `unshare` of the mount namespace failed although this is root.
    #[error("could not make a mount namespace")]
    MountNamespace(#[source] io::Error),
    /// The kernel, a security module or a container's filter forbids user namespaces.
    #[error("user namespaces are not allowed here: {reason}")]
    UserNamespace {
        /// What forbids them, as far as it can be told.
        reason: String,
        /// What an administrator can do about it.
        remedy: Option<String>,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The ids of the new namespace could not be set.
    #[error("could not map user and group ids: {reason}")]
    IdMap {
        /// Which step failed, with the message of `newuidmap` or the kernel.
        reason: String,
    },
    /// Something else in the operating system failed.
    #[error("could not {action}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

impl EnterError {
    /// What the user can do, where something is known to help.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::UserNamespace { remedy, .. } => remedy.as_deref(),
            _ => None,
        }
    }
}

/// Why `unshare` of a user namespace failed, and what an administrator can do.
fn forbidden(cause: &io::Error) -> (String, Option<String>) {
    let setting = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let switched_off = |name: &str, value: &str| {
        (
            format!("the setting `{name}` forbids them"),
            Some(format!("sysctl -w {name}={value}")),
        )
    };
    if setting("kernel/unprivileged_userns_clone") == Some(0) {
        switched_off("kernel.unprivileged_userns_clone", "1")
    } else if setting("user/max_user_namespaces") == Some(0) {
        switched_off("user.max_user_namespaces", "15000")
    } else if setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        switched_off("kernel.apparmor_restrict_unprivileged_userns", "0")
    } else {
        match cause.raw_os_error() {
            Some(libc::ENOSPC | libc::EUSERS) => (
                "too many of them exist, or are nested".to_owned(),
                Some("sysctl -w user.max_user_namespaces=15000".to_owned()),
            ),
            Some(libc::EINVAL | libc::ENOSYS) => {
                ("the kernel was built without them".to_owned(), None)
            }
            _ => (
                "a security module or the filter of a surrounding container forbids them"
                    .to_owned(),
                Some(
                    "in a container: run it with `--security-opt seccomp=unconfined \
                     --security-opt apparmor=unconfined`"
                        .to_owned(),
                ),
            ),
        }
    }
}

fn system(action: &'static str) -> impl FnOnce(rustix::io::Errno) -> EnterError {
    move |errno| EnterError::System {
        action,
        cause: errno.into(),
    }
}
