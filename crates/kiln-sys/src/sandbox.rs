//! The calls that a step's helper process makes on its way to `exec`: new namespaces, a fork, the
//! filter, another user.
//!
//! All of them change the calling thread or process for good. They are meant for a helper that was
//! started for this and has one thread; the functions for which that matters check it.
//!
//! JUSTIFICATION for `unsafe`: `fork` and `execve` have no safe wrapper; new namespaces are safe in
//! a process with one thread, which the type system can't see.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{Gid, Pid, Signal, Uid};
pub use rustix::thread::UnshareFlags as Namespaces;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    unshare_unsafe,
};

use crate::raw;

/// One instruction of a classic BPF program, `struct sock_filter`.
pub type BpfInstruction = libc::sock_filter;

/// How many threads this process has.
pub fn thread_count() -> io::Result<usize> {
    // A directory has a link for itself, one from its parent and one from each directory in it.
    let links = rustix::fs::stat("/proc/self/task")?.st_nlink;
    Ok(usize::try_from(links)
        .unwrap_or(usize::MAX)
        .saturating_sub(2))
}

fn require_one_thread() -> io::Result<()> {
    match thread_count()? {
        1 => Ok(()),
        _ => Err(Errno::BUSY.into()),
    }
}

/// Gives this process new namespaces. Fails in a process with more than one thread.
pub fn unshare(namespaces: Namespaces) -> io::Result<()> {
    require_one_thread()?;
    // SAFETY: there is one thread, so nothing relies on what it stops sharing.
    Ok(unsafe { unshare_unsafe(namespaces) }?)
}

/// The two sides of a [`fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// This is the new process.
    Child,
    /// This is the old process; the new one has this id.
    Parent(Pid),
}

/// Splits this process in two. Fails in a process with more than one thread.
pub fn fork() -> io::Result<Forked> {
    require_one_thread()?;
    // SAFETY: there is one thread.
    match unsafe { raw::fork() }? {
        None => Ok(Forked::Child),
        Some(pid) => Ok(Forked::Parent(pid)),
    }
}

/// Ends a forked child at once, without running the clean-up that belongs to its parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Replaces this process by a program; returns only to say why not.
pub fn exec(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    };
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: the program and both null-terminated arrays of C strings are live during the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Sets all signals to their default action and unblocks them, as a program expects.
pub fn reset_signals() {
    raw::reset_signals();
}

/// Has the kernel kill this process when the thread that started it ends. A later change of user
/// takes this back.
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(
        Signal::KILL,
    ))?)
}

/// Installs a system call filter. Needs `CAP_SYS_ADMIN`, since set-user-id programs keep working.
pub fn install_filter(program: &[BpfInstruction]) -> io::Result<()> {
    Ok(raw::install_seccomp(program)?)
}

/// Starts an empty session keyring, so that the program sees none of the caller's keys. A kernel
/// without keys has none to hide.
pub fn forget_keys() -> io::Result<()> {
    match raw::new_session_keyring() {
        Ok(()) | Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Brings up the loopback interface of this network namespace.
pub fn bring_loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok(raw::bring_loopback_up(socket.as_fd())?)
}

/// Whether `setgroups` can be called in this user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupChange {
    /// It can.
    Allowed,
    /// The namespace was made with `setgroups` denied: groups stay as they are.
    Denied,
}

/// Becomes another user for good, keeping of `capabilities` (bit `n` is the capability `n`) what the
/// kernel lets that user have; nothing else can be gained back, by no program.
pub fn become_user(
    user: (u32, u32),
    groups: &[u32],
    change: GroupChange,
    capabilities: u64,
) -> io::Result<()> {
    let kept = CapabilitySet::from_bits_retain(capabilities);
    clear_ambient_capability_set()?;
    drop_from_bounding_set(capabilities)?;
    if change == GroupChange::Allowed {
        let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups)?;
    }
    let (uid, gid) = (Uid::from_raw(user.0), Gid::from_raw(user.1));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    // Leaving uid 0 took everything already; root keeps what is allowed.
    let kept = if user.0 == 0 {
        kept & rustix::thread::capabilities(None)?.permitted
    } else {
        CapabilitySet::empty()
    };
    Ok(set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?)
}

/// Becomes another user for good and keeps all capabilities that this process has, also as another user
/// than root and across `exec` (they become ambient).
pub fn become_powerful_user(
    user: (u32, u32),
    groups: &[u32],
    change: GroupChange,
) -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?.permitted;
    if change == GroupChange::Allowed {
        let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups)?;
    }
    set_keep_capabilities(true)?;
    let (uid, gid) = (Uid::from_raw(user.0), Gid::from_raw(user.1));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let sets = CapabilitySets {
        effective: held,
        permitted: held,
        inheritable: held,
    };
    set_capabilities(None, sets)?;
    for number in (0..64).filter(|number| held.bits() & (1 << number) != 0) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)?;
    }
    Ok(())
}

fn drop_from_bounding_set(kept: u64) -> io::Result<()> {
    for number in (0..64).filter(|number| kept & (1 << number) == 0) {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // The first number that the kernel does not know ends the list.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
