//! Starting programs: with an explicit environment and directory, with chosen descriptors, and
//! watched by a descriptor instead of a number.
//!
//! JUSTIFICATION for `unsafe`: `posix_spawn` is the one way to start a program with extra descriptors
//! that neither copies the page tables of a large process nor races with the other threads' starts;
//! and a descriptor that was inherited by number has to be adopted once.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::raw;

/// A command with an empty environment that runs in `cwd`.
///
/// The caller adds the variables the program needs; nothing leaks from kiln's own environment.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the wrapper that the lint asks for"
)]
pub fn command(program: impl AsRef<OsStr>, cwd: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(cwd);
    command
}

/// Standard input, output and error of a program to be spawned.
#[derive(Debug, Clone, Copy)]
pub struct Stdio<'a> {
    /// Descriptor 0; `None` for `/dev/null`.
    pub input: Option<BorrowedFd<'a>>,
    /// Descriptor 1; `None` for `/dev/null`.
    pub output: Option<BorrowedFd<'a>>,
    /// Descriptor 2; `None` for `/dev/null`.
    pub error: Option<BorrowedFd<'a>>,
}

/// Starts `program` with exactly these arguments (the first is the program's name), an empty
/// environment and, besides its standard descriptors, the descriptors in `inherited` under the
/// numbers they have here.
///
/// Signals are at their defaults and unblocked in the program. Rust opens everything close-on-exec,
/// so no other descriptor of kiln's own reaches it.
pub fn spawn(
    program: &Path,
    arguments: &[&OsStr],
    stdio: Stdio<'_>,
    inherited: &[BorrowedFd<'_>],
) -> io::Result<Child> {
    let program = c_string(program.as_os_str())?;
    let arguments = arguments
        .iter()
        .map(|argument| c_string(argument))
        .collect::<io::Result<Vec<_>>>()?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mut actions = FileActions::new()?;
    // The standard descriptors come first: an inherited one is never 0, 1 or 2.
    for (number, source) in (0..).zip([stdio.input, stdio.output, stdio.error]) {
        actions.duplicate(source.unwrap_or(null.as_fd()), number)?;
    }
    for descriptor in inherited {
        // Duplicating a descriptor onto itself clears its close-on-exec flag in the child only.
        actions.duplicate(*descriptor, descriptor.as_raw_fd())?;
    }
    let pid = posix_spawn(&program, &arguments, &actions)?;
    Ok(Child {
        pid,
        // The child can't have been reaped yet, so the number still means it.
        pidfd: pidfd_open(pid, PidfdFlags::empty())?,
    })
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// A started program. Dropping it neither kills nor reaps it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// A signal killed it.
    Signaled(i32),
}

impl Child {
    /// The process id, for messages.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// A descriptor that becomes readable when the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal. Sending one to a process that has ended is not an error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Waits for the end and reaps the process.
    pub fn wait(self) -> io::Result<Ended> {
        let options = WaitIdOptions::EXITED;
        let status =
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), options))?
                .ok_or(io::ErrorKind::WouldBlock)?;
        Ok(status.exit_status().map_or_else(
            || Ended::Signaled(status.terminating_signal().unwrap_or(0)),
            Ended::Exited,
        ))
    }
}

struct FileActions(Box<libc::posix_spawn_file_actions_t>);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = Box::new(std::mem::MaybeUninit::uninit());
        // SAFETY: the call initialises the value it is given; it is boxed, so it never moves.
        let actions = unsafe {
            spawn_result(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            actions.assume_init()
        };
        Ok(Self(actions))
    }

    fn duplicate(&mut self, from: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
        // SAFETY: the actions were initialised in `new`; the numbers are only recorded.
        spawn_result(unsafe {
            libc::posix_spawn_file_actions_adddup2(&raw mut *self.0, from.as_raw_fd(), to)
        })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: the actions were initialised in `new` and are not used after this.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut *self.0) };
    }
}

fn spawn_result(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

fn posix_spawn(program: &CString, arguments: &[CString], actions: &FileActions) -> io::Result<Pid> {
    let mut argv: Vec<*mut libc::c_char> = Vec::with_capacity(arguments.len() + 1);
    argv.extend(
        arguments
            .iter()
            .map(|argument| argument.as_ptr().cast_mut()),
    );
    argv.push(std::ptr::null_mut());
    let environment: [*mut libc::c_char; 1] = [std::ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: `attributes` and `signals` are initialised before use; `argv` and the environment are
    // null-terminated arrays of live C strings that the call does not write to; the file actions were
    // initialised by their constructor.
    let code = unsafe {
        let mut attributes = std::mem::MaybeUninit::<libc::posix_spawnattr_t>::uninit();
        spawn_result(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
        let mut signals = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(signals.as_mut_ptr());
        libc::posix_spawnattr_setsigmask(attributes.as_mut_ptr(), signals.as_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGPIPE);
        libc::posix_spawnattr_setsigdefault(attributes.as_mut_ptr(), signals.as_ptr());
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        #[expect(clippy::cast_possible_truncation, reason = "two small constants")]
        libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), flags as libc::c_short);
        let code = libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const *actions.0,
            attributes.as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
        );
        libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
        code
    };
    spawn_result(code)?;
    Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::Other.into())
}

static ADOPTED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes over a descriptor that the parent process left open under this number, and marks it
/// close-on-exec. Each number can be adopted once; numbers below 3 can't.
///
/// To be called by a helper process at its very start, before it opens anything itself.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    let mut adopted = ADOPTED.lock().unwrap_or_else(PoisonError::into_inner);
    if number < 3 || !adopted.insert(number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: F_GETFD reads a flag and fails for a number that is not open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open (checked above), was passed to this process by its parent for this
    // purpose, and is handed out once.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

/// Marks every descriptor but the standard three close-on-exec.
pub fn close_others_on_exec() -> io::Result<()> {
    Ok(raw::close_on_exec_from(3)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn sh(script: &str, output: &OwnedFd, inherited: &[BorrowedFd<'_>]) -> Child {
        let stdio = Stdio {
            input: None,
            output: Some(output.as_fd()),
            error: None,
        };
        let arguments = ["sh", "-c", script].map(OsStr::new);
        spawn(Path::new("/bin/sh"), &arguments, stdio, inherited).unwrap()
    }

    #[test]
    fn a_program_gets_only_what_it_is_given() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (extra_read, extra_write) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        std::fs::File::from(extra_write)
            .write_all(b"hello\n")
            .unwrap();
        let script = format!("cat <&{}; env | grep -c HOME", extra_read.as_raw_fd());
        let child = sh(&script, &write, &[extra_read.as_fd()]);
        drop(write);
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap(), Ended::Exited(1));
        assert_eq!(text, "hello\n0\n");
        // Our own copy is still close-on-exec.
        let flags = rustix::io::fcntl_getfd(&extra_read).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn signals_reach_the_program() {
        let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let child = sh("sleep 100", &null, &[]);
        child.signal(Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap(), Ended::Signaled(15));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let stdio = Stdio {
            input: None,
            output: None,
            error: None,
        };
        let result = spawn(Path::new("/nonexistent"), &[OsStr::new("x")], stdio, &[]);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn standard_descriptors_are_not_adopted() {
        assert!(adopt(1).is_err());
        assert!(adopt(9_999).is_err());
    }
}
