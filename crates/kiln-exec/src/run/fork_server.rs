//! kiln's side of the fork server: started with the first helper, asked for each.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use kiln_sys::process::{Child, Stdio, spawn};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{helper_error, program};
use crate::ExecError;
use crate::wire::{Start, receive_started};

/// A fork server, or the place for one.
#[derive(Debug, Default)]
pub(super) struct ForkServer {
    /// One request at a time: an answer belongs to the request before it.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    /// `None` only while it is being dropped.
    socket: Option<OwnedFd>,
    process: Option<Child>,
}

/// A helper. It is no child of this process; the server reaps it.
#[derive(Debug)]
pub(super) struct Helper {
    id: i32,
    process: OwnedFd,
}

impl ForkServer {
    /// A helper for a step.
    pub(super) fn start(&self, request: &Start<BorrowedFd<'_>>) -> Result<Helper, ExecError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let server = match running.take() {
            Some(server) => server,
            None => Running::begin()?,
        };
        let (id, process) = server.ask(request).map_err(helper_error("start"))?;
        // One that failed is not asked again: the next step gets a new one.
        *running = Some(server);
        Ok(Helper { id, process })
    }
}

impl Running {
    fn begin() -> Result<Self, ExecError> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(helper_error("make a socket for"))?;
        let binary = program::protected().map_err(helper_error("find"))?;
        let number = theirs.as_raw_fd().to_string();
        let null = Stdio {
            input: None,
            output: None,
            error: None,
        };
        let process = spawn(
            Path::new(&format!("/proc/self/fd/{}", binary.as_raw_fd())),
            &["kiln", "__step", &number].map(OsStr::new),
            null,
            &[theirs.as_fd()],
        )
        .map_err(helper_error("start"))?;
        Ok(Self {
            socket: Some(ours),
            process: Some(process),
        })
    }
}

impl Running {
    fn ask(&self, request: &Start<BorrowedFd<'_>>) -> io::Result<(i32, OwnedFd)> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        request.send(socket.as_fd())?;
        receive_started(socket.as_fd())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of the socket is the end of the server. It has nothing to say about it.
        drop(self.socket.take());
        if let Some(process) = self.process.take() {
            let _ = process.wait();
        }
    }
}

impl Helper {
    /// The process id.
    pub(super) const fn id(&self) -> i32 {
        self.id
    }

    /// Waits until the process is gone, and with it its mounts.
    pub(super) fn wait(self) -> io::Result<()> {
        let mut polled = [PollFd::new(&self.process, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
        Ok(())
    }
}
