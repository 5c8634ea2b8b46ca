//! Signals that ask kiln to do something (stop, look at the terminal's size), as a callback on a
//! thread of its own.
//!
//! The handler only writes the signal's number into a pipe; everything else happens on the thread.
//! Handlers are used rather than a blocked mask and a `signalfd`, because started programs inherit
//! the mask, but not handlers.
//!
//! `SIGPIPE` needs nothing here: Rust's runtime ignores it, writes fail with `EPIPE`, and
//! [`crate::process::spawn`] gives programs the default back.
//!
//! JUSTIFICATION for `unsafe`: installing a handler has no safe wrapper.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::JoinHandle;

pub use rustix::process::Signal;

/// The write end of the pipe, or -1 while nobody watches. A handler can reach nothing but statics.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// A running watch; dropping it gives the signals their default action back.
#[derive(Debug)]
#[must_use = "the signals are no longer watched when this value is dropped"]
pub struct Watch {
    signals: Vec<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// The signals that ask a program to end: interrupt (Ctrl-C), termination, hang-up.
pub const STOP: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// Calls `callback` on a thread for each signal that arrives. There can be one watch at a time in a
/// process; a second one fails with [`io::ErrorKind::AlreadyExists`].
pub fn watch(
    signals: &[Signal],
    mut callback: impl FnMut(Signal) + Send + 'static,
) -> io::Result<Watch> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // A full pipe must not block the handler; 64 KiB of unread signals lose nothing of interest.
    rustix::io::ioctl_fionbio(&write, true)?;
    claim(write)?;
    let mut pipe = std::fs::File::from(read);
    let thread = std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut byte = [0_u8; 1];
            while matches!(pipe.read(&mut byte), Ok(1)) && byte[0] != END {
                if let Some(signal) = Signal::from_named_raw(byte[0].into()) {
                    callback(signal);
                }
            }
        });
    let mut watch = Watch {
        signals: Vec::new(),
        thread: Some(thread?),
    };
    for signal in signals {
        install(*signal, Disposition::Report)?;
        watch.signals.push(*signal);
    }
    Ok(watch)
}

/// The shell's code for a program that a signal ended: 128 plus the signal's number.
pub const fn exit_code(signal: i32) -> i32 {
    128 + signal
}

/// The name of a signal, for example `SIGKILL`; its number where it has none.
pub fn name(signal: i32) -> String {
    let names = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    let known = names.iter().find(|(number, _)| *number == signal);
    known.map_or_else(
        || format!("signal {signal}"),
        |(_, name)| (*name).to_owned(),
    )
}

const END: u8 = 0;

fn claim(write: OwnedFd) -> io::Result<()> {
    let claimed = PIPE.compare_exchange(-1, write.as_raw_fd(), Ordering::AcqRel, Ordering::Acquire);
    match claimed {
        Ok(_) => {
            // Owned by the static from now on; `Watch` closes it.
            let _ = write.into_raw_fd();
            Ok(())
        }
        Err(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

#[derive(Clone, Copy)]
enum Disposition {
    Report,
    Default,
}

extern "C" fn report(signal: libc::c_int) {
    let pipe = PIPE.load(Ordering::Acquire);
    let byte = u8::try_from(signal).unwrap_or(END);
    if pipe >= 0 && byte != END {
        // SAFETY: errno is thread-local and restored; `write` may be called in a handler; the byte
        // is live. A failure (a full pipe) is ignored on purpose.
        unsafe {
            let errno = libc::__errno_location();
            let saved = *errno;
            libc::write(pipe, (&raw const byte).cast(), 1);
            *errno = saved;
        }
    }
}

fn install(signal: Signal, disposition: Disposition) -> io::Result<()> {
    // SAFETY: `sigaction` is plain data for which zero is valid; the handler does only what a handler
    // may do.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = match disposition {
            Disposition::Report => report as extern "C" fn(libc::c_int) as libc::sighandler_t,
            Disposition::Default => libc::SIG_DFL,
        };
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal.as_raw(), &raw const action, std::ptr::null_mut())
    };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for signal in &self.signals {
            let _ = install(*signal, Disposition::Default);
        }
        let pipe = PIPE.swap(-1, Ordering::AcqRel);
        if pipe >= 0 {
            // SAFETY: the number was taken out of the static, where `claim` had put a descriptor
            // that nobody else owns.
            let pipe: OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(pipe) };
            let _ = rustix::io::write(&pipe, &[END]);
        }
        if let Some(thread) = self.thread.take() {
            // From the callback itself there is nothing to wait for.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signal_becomes_a_call() {
        let (send, receive) = mpsc::channel();
        let watch = watch(&[Signal::USR1], move |signal| send.send(signal).unwrap()).unwrap();
        assert!(super::watch(&[Signal::USR2], |_| {}).is_err());
        rustix::process::kill_process(rustix::process::getpid(), Signal::USR1).unwrap();
        let got = receive.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(got, Signal::USR1);
        drop(watch);
        drop(super::watch(&[], |_| {}).unwrap());
    }

    #[test]
    fn names_and_codes() {
        assert_eq!(name(9), "SIGKILL");
        assert_eq!(name(40), "signal 40");
        assert_eq!(exit_code(9), 137);
    }
}
