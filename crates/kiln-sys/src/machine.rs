//! What the first process of a machine does: mounts by path, the network's addresses, waiting for any
//! child, signals as a queue, and the machine's end.
//!
//! Unlike [`crate::mount`] this works on the mount namespace that the process was started in: a
//! machine's first process has no other. All of it is meant for a process with one thread.
//!
//! JUSTIFICATION for `unsafe`: `signalfd`, `kill` with any number, and the ioctls of network
//! interfaces have no safe wrapper; they are in `raw`.

use std::ffi::CString;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
pub use rustix::mount::MountFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::WaitOptions;
use rustix::system::RebootCommand;

use crate::process::Ended;
use crate::raw;

/// Mounts a file system of this kind at a directory, with the kind's own options as the kernel reads
/// them (`mode=0755,size=1m`).
pub fn mount_at(
    source: &str,
    target: &Path,
    kind: &str,
    flags: MountFlags,
    options: &str,
) -> io::Result<()> {
    let options = CString::new(options).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(rustix::mount::mount(
        source, target, kind, flags, &*options,
    )?)
}

/// Shows a file or directory at another path as well.
pub fn bind_at(source: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind(source, target)?)
}

/// Whether the file system at a path, or its mount, can't be written to.
pub fn is_read_only(path: &Path) -> io::Result<bool> {
    let flags = rustix::fs::statvfs(path)?.f_flag;
    Ok(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Makes the file system that is mounted at a path writable, or no longer so.
pub fn remount(path: &Path, flags: MountFlags) -> io::Result<()> {
    Ok(rustix::mount::mount_remount(path, flags, c"")?)
}

/// Takes a mount off, as soon as nothing uses it.
pub fn unmount(path: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(
        path,
        rustix::mount::UnmountFlags::DETACH,
    )?)
}

/// Makes what is mounted at a path the root directory of this process and of those it will start.
/// The old root stays mounted below it, where no path leads.
pub fn switch_root(path: &Path) -> io::Result<()> {
    rustix::process::chdir(path)?;
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    Ok(rustix::process::chdir("/")?)
}

/// Shows at another path what is mounted at one, and no longer there.
pub fn move_mount(from: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_move(from, to)?)
}

/// Loads a module into the kernel. That it is there already is no error.
pub fn load_module(module: &impl AsFd) -> io::Result<()> {
    match rustix::system::finit_module(module, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives the machine its name, of at most 64 bytes.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// Sets the permission bits that new files of this process don't get.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// Begins a session, and a group of processes, of which this process is the first.
pub fn new_session() -> io::Result<()> {
    Ok(rustix::process::setsid().map(drop)?)
}

/// Makes this the standard input, output and error of this process.
pub fn use_as_stdio(terminal: &impl AsFd) -> io::Result<()> {
    rustix::stdio::dup2_stdin(terminal)?;
    rustix::stdio::dup2_stdout(terminal)?;
    Ok(rustix::stdio::dup2_stderr(terminal)?)
}

/// An interface of the network as it should be: up, with one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface<'a> {
    /// Its name, `eth0`.
    pub name: &'a str,
    /// Its address.
    pub address: Ipv4Addr,
    /// How many bits of the address are the network's, 0 to 32.
    pub prefix: u8,
}

/// Gives an interface its address and brings it up.
pub fn configure_interface(interface: &Interface<'_>) -> io::Result<()> {
    let socket = control_socket()?;
    let mask = u32::MAX
        .checked_shl(32 - u32::from(interface.prefix.min(32)))
        .unwrap_or(0);
    let name = interface.name;
    raw::set_interface_address(socket.as_fd(), name, interface.address)?;
    raw::set_interface_mask(socket.as_fd(), name, Ipv4Addr::from_bits(mask))?;
    Ok(raw::bring_interface_up(socket.as_fd(), name)?)
}

/// Sends what has no better route through this gateway.
pub fn add_default_route(gateway: Ipv4Addr) -> io::Result<()> {
    Ok(raw::add_default_route(control_socket()?.as_fd(), gateway)?)
}

fn control_socket() -> io::Result<std::os::fd::OwnedFd> {
    Ok(socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// What waiting for any child found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// This process ended.
    Child(i32, Ended),
    /// There are children, and none has ended.
    NoneEnded,
    /// There are no children.
    NoChildren,
}

/// Reaps one child that has ended, whoever started it; does not wait.
pub fn reap() -> io::Result<Reaped> {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(None) => Ok(Reaped::NoneEnded),
        Err(Errno::CHILD) => Ok(Reaped::NoChildren),
        Err(errno) => Err(errno.into()),
        Ok(Some((pid, status))) => {
            let ended = status.exit_status().map_or_else(
                || Ended::Signaled(status.terminating_signal().unwrap_or(0)),
                Ended::Exited,
            );
            Ok(Reaped::Child(pid.as_raw_nonzero().get(), ended))
        }
    }
}

/// Sends a signal to one process. That it has ended is no error.
pub fn signal_process(pid: i32, signal: i32) -> io::Result<()> {
    match raw::kill(pid, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends a signal to every process but this one: for the first process of a machine, all there are.
pub fn signal_all(signal: i32) -> io::Result<()> {
    signal_process(-1, signal)
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Whether the kernel sent it of its own accord, as it does when Ctrl-Alt-Del is pressed.
    pub from_kernel: bool,
}

/// All signals that this process gets, one after another. They no longer do anything by themselves:
/// programs that this process starts should call [`crate::sandbox::reset_signals`].
#[derive(Debug)]
pub struct SignalQueue(std::fs::File);

impl SignalQueue {
    /// Begins to queue every signal that can be.
    pub fn new() -> io::Result<Self> {
        Ok(Self(raw::signal_descriptor()?.into()))
    }

    /// The next signal; `None` when none arrived in this time.
    pub fn receive(&mut self, patience: Option<Duration>) -> io::Result<Option<Received>> {
        if !is_readable_within(self.0.as_fd(), patience)? {
            return Ok(None);
        }
        // `struct signalfd_siginfo` has 128 bytes: the number, an error, and the code come first.
        let mut info = [0_u8; 128];
        self.0.read_exact(&mut info)?;
        let word = |at: usize| i32::from_ne_bytes([0, 1, 2, 3].map(|byte| info[at + byte]));
        Ok(Some(Received {
            signal: word(0),
            from_kernel: word(8) > 0,
        }))
    }
}

fn is_readable_within(file: BorrowedFd<'_>, patience: Option<Duration>) -> io::Result<bool> {
    let timeout = patience.map(|patience| Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    });
    let mut ready = [PollFd::from_borrowed_fd(file, PollFlags::IN)];
    let count = rustix::io::retry_on_intr(|| poll(&mut ready, timeout.as_ref()))?;
    Ok(count > 0)
}

/// How a machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineEnd {
    /// Its power goes off, where the machine can do that.
    PowerOff,
    /// It starts again.
    Restart,
}

/// Writes what is in memory to the disks.
pub fn sync() {
    rustix::fs::sync();
}

/// Has Ctrl-Alt-Del send `SIGINT` to the first process instead of restarting the machine at once.
pub fn catch_ctrl_alt_del() -> io::Result<()> {
    Ok(rustix::system::reboot(RebootCommand::CadOff)?)
}

/// Ends the machine, or the pid namespace, with everything that runs in it. Returns only to say why
/// not.
pub fn end_machine(end: MachineEnd) -> io::Error {
    let command = match end {
        MachineEnd::PowerOff => RebootCommand::PowerOff,
        MachineEnd::Restart => RebootCommand::Restart,
    };
    match rustix::system::reboot(command) {
        Ok(()) => io::ErrorKind::Other.into(),
        Err(errno) => errno.into(),
    }
}
