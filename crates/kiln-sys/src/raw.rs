//! System calls that rustix does not wrap.
//!
//! JUSTIFICATION for `unsafe`: `mount_setattr`, `listxattrat`, `close_range`, `sched_setscheduler`, `seccomp` with a filter, `fork` and a
//! few ioctls have no safe wrapper in the crates we use. Each function here passes pointers only to
//! values that outlive the call, and turns `-1` into an [`Errno`].

use std::ffi::CStr;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::Pid;

fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        Err(last_errno())
    } else {
        Ok(result)
    }
}

pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// `struct mount_attr` of the kernel, version 0.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `mount_setattr(2)`: adds attributes to the mount behind a descriptor, and to those below it when
/// `recursive`.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    set: MountAttrFlags,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = MountAttr {
        set: u64::from(set.bits()),
        clear: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a literal C string and `attr` is a live value whose size is passed with it;
    // the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// `listxattrat(2)` (Linux 6.13): the names of the extended attributes of an entry of a directory,
/// which is not followed if it is a symbolic link. Returns how many bytes it wrote.
pub(crate) fn list_xattrs_at(
    dir: BorrowedFd<'_>,
    entry: &CStr,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    // New calls have one number on all architectures; the libc crate does not have this one yet.
    const LISTXATTRAT: libc::c_long = 465;
    // SAFETY: the entry is a NUL-terminated string and the buffer a live one whose length is passed
    // with it; the kernel writes to nothing else.
    let result = unsafe {
        libc::syscall(
            LISTXATTRAT,
            dir.as_raw_fd(),
            entry.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    usize::try_from(check(result)?).map_err(|_| Errno::INVAL)
}

/// Has the kernel begin to write a part of a file to the disk (`sync_file_range(2)`), and does not
/// wait for it.
pub(crate) fn start_writeback(file: BorrowedFd<'_>, from: u64, bytes: u64) -> Result<(), Errno> {
    let number = |value: u64| i64::try_from(value).map_err(|_| Errno::INVAL);
    let (from, bytes) = (number(from)?, number(bytes)?);
    // SAFETY: the call takes numbers and an open descriptor.
    let result = unsafe {
        libc::sync_file_range(file.as_raw_fd(), from, bytes, libc::SYNC_FILE_RANGE_WRITE)
    };
    check(result.into()).map(drop)
}

/// Whether the calling thread's policy is `SCHED_OTHER` (`sched_getscheduler(2)`).
pub(crate) fn is_ordinary_thread() -> bool {
    // SAFETY: the call takes a number and returns one.
    let policy = unsafe { libc::sched_getscheduler(0) };
    policy & !libc::SCHED_RESET_ON_FORK == libc::SCHED_OTHER
}

/// Gives the calling thread the lowest real-time priority, which its children don't get
/// (`sched_setscheduler(2)`).
pub(crate) fn begin_real_time() -> Result<(), Errno> {
    set_scheduler(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1)
}

/// Gives it the usual policy back. That children don't get another one remains where it is not
/// allowed to be changed.
pub(crate) fn end_real_time() -> Result<(), Errno> {
    set_scheduler(libc::SCHED_OTHER, 0)
        .or_else(|_| set_scheduler(libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0))
}

fn set_scheduler(policy: libc::c_int, sched_priority: libc::c_int) -> Result<(), Errno> {
    let parameters = libc::sched_param { sched_priority };
    // SAFETY: `parameters` outlives the call, which reads it.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    check(result.into()).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec (`close_range(2)`, Linux 5.11).
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the call takes three numbers; it changes a flag of descriptors and closes none.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(result).map(drop)
}

/// Installs a classic BPF program as a seccomp filter of the calling thread.
pub(crate) fn install_seccomp(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points to `length` live instructions, which the kernel copies and does not
    // write to; the cast to a mutable pointer only matches C's declaration.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    check(result).map(drop)
}

/// `fork(2)`. `None` in the child.
///
/// # Safety
///
/// The process has to have one thread: a child of a threaded process may find locks held by threads
/// that do not exist in it.
pub(crate) unsafe fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the caller promises that this process has a single thread, so the child's memory is
    // consistent.
    let result = unsafe { libc::fork() };
    match check(result.into()) {
        Ok(_) => Ok(Pid::from_raw(result)),
        Err(errno) => Err(errno),
    }
}

/// Gives the calling process a new, empty session keyring, so that it sees none of the caller's keys.
pub(crate) fn new_session_keyring() -> Result<(), Errno> {
    // KEYCTL_JOIN_SESSION_KEYRING with a null name makes an anonymous keyring.
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: the null pointer is what the call documents for "no name".
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    check(result).map(drop)
}

/// Sets the `IFF_UP` flag of the loopback interface of the current network namespace.
pub(crate) fn bring_loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    bring_interface_up(socket, "lo")
}

/// Sets the `IFF_UP` flag of an interface of the current network namespace.
pub(crate) fn bring_interface_up(socket: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let mut request = interface_request(name)?;
    // IFF_UP is 1; the field is 16 bits wide.
    request.ifr_ifru.ifru_flags = 1;
    interface_ioctl(socket, libc::SIOCSIFFLAGS, &request)
}

/// Gives an interface its address (`SIOCSIFADDR`).
pub(crate) fn set_interface_address(
    socket: BorrowedFd<'_>,
    name: &str,
    address: Ipv4Addr,
) -> Result<(), Errno> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_addr = internet_address(address);
    interface_ioctl(socket, libc::SIOCSIFADDR, &request)
}

/// Gives an interface the mask of its network (`SIOCSIFNETMASK`).
pub(crate) fn set_interface_mask(
    socket: BorrowedFd<'_>,
    name: &str,
    mask: Ipv4Addr,
) -> Result<(), Errno> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_netmask = internet_address(mask);
    interface_ioctl(socket, libc::SIOCSIFNETMASK, &request)
}

/// Adds a route to everywhere through a gateway (`SIOCADDRT`).
pub(crate) fn add_default_route(socket: BorrowedFd<'_>, gateway: Ipv4Addr) -> Result<(), Errno> {
    // SAFETY: `rtentry` is plain data for which all zeros is a valid value; its pointer may be null.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = internet_address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = internet_address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = internet_address(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: `route` is a live `rtentry`; the kernel reads it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT, &raw const route) };
    check(result.into()).map(drop)
}

fn interface_request(name: &str) -> Result<libc::ifreq, Errno> {
    // SAFETY: `ifreq` is plain data for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero and ends the name.
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(Errno::NODEV);
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    Ok(request)
}

fn interface_ioctl(
    socket: BorrowedFd<'_>,
    operation: libc::Ioctl,
    request: &libc::ifreq,
) -> Result<(), Errno> {
    let request: *const libc::ifreq = request;
    // SAFETY: `request` is a live `ifreq` with a terminated name; the kernel reads it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), operation, request) };
    check(result.into()).map(drop)
}

/// `struct sockaddr_in` in the shape that ioctls take.
fn internet_address(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: `sockaddr` is plain data for which all zeros is a valid value.
    let mut result: libc::sockaddr = unsafe { std::mem::zeroed() };
    #[expect(clippy::cast_possible_truncation, reason = "the constant is 2")]
    let family = libc::AF_INET as libc::sa_family_t;
    result.sa_family = family;
    // The port takes the first two bytes.
    for (slot, byte) in result.sa_data[2..].iter_mut().zip(address.octets()) {
        *slot = byte.cast_signed();
    }
    result
}

/// Blocks every signal of the calling thread, and makes a descriptor that reads them.
pub(crate) fn signal_descriptor() -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is initialised by `sigfillset` before it is read; a null old set is allowed; the
    // descriptor is new, so nothing else owns it.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()).into())?;
        let descriptor = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC);
        check(descriptor.into())?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// What the device mapper is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MapperCommand {
    /// `DM_DEV_CREATE`.
    Create = 3,
    /// `DM_DEV_SUSPEND`, which also resumes.
    Suspend = 6,
    /// `DM_TABLE_LOAD`.
    LoadTable = 9,
}

/// An ioctl of `/dev/mapper/control`, whose answer takes the document's place.
pub(crate) fn device_mapper(
    control: BorrowedFd<'_>,
    command: MapperCommand,
    document: &mut [u8],
) -> Result<(), Errno> {
    // `_IOWR(0xfd, command, struct dm_ioctl)`, whose size is 312.
    const BASE: u32 = 3 << 30 | 312 << 16 | 0xfd << 8;
    let size = document.get(12..16).map(<[u8]>::to_vec);
    let is_whole = u32::try_from(document.len()).is_ok_and(|length| {
        length >= 312 && size.as_deref() == Some(length.to_ne_bytes().as_slice())
    });
    if !is_whole {
        return Err(Errno::INVAL);
    }
    let request = BASE | command as u32;
    // SAFETY: the kernel reads and writes `data_size` bytes from the pointer on, which is the length
    // of the live slice, as was checked.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), request.into(), document.as_mut_ptr()) };
    check(result.into()).map(drop)
}

/// `kill(2)` with any signal, also a real-time one.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: the call takes two numbers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Sets every signal that can be changed back to its default action and unblocks all of them.
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: setting a disposition to the default installs no handler. The calls that fail
        // (`SIGKILL`, `SIGSTOP`, the two signals the C library keeps) change nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: `set` is initialised by `sigemptyset` before it is read; a null old set is allowed.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Closes a descriptor by its number, in a forked child that will `exec` or exit and never drop its
/// owner.
pub(crate) fn close_in_child(descriptor: BorrowedFd<'_>) {
    // SAFETY: the child's memory is a copy: the owner's destructor does not run in it, so the number
    // is closed once.
    unsafe { libc::close(descriptor.as_raw_fd()) };
}
