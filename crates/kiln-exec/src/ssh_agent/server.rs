//! One step's socket, and the threads behind it.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Gid, Mode, Uid, chmodat, chownat};
use rustix::pipe::{PipeFlags, pipe_with};

use super::protocol::{answer, failure, may_pass, read_message, write_message};
use super::{Source, SshAgent};

/// More clients at once than this are turned away.
const MOST_CLIENTS: usize = 64;

/// A socket that is being served. Dropping it ends all connections and waits for the threads.
#[derive(Debug)]
pub(crate) struct Listening {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Makes a socket of this name in `directory` with this owner and mode, and serves it.
pub(crate) fn serve(
    agent: &SshAgent,
    (directory, name): (BorrowedFd<'_>, &str),
    (uid, gid): (u32, u32),
    mode: u32,
) -> io::Result<Listening> {
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()));
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    chownat(
        directory,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    chmodat(directory, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
    let source = agent.0.clone();
    let thread = std::thread::Builder::new()
        .name("kiln-ssh-agent".to_owned())
        .spawn(move || accept_all(&listener, &stopped, &source))?;
    Ok(Listening {
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and has no other effect.
            let _ = thread.join();
        }
    }
}

/// Every open stream, so that the end of the step ends them.
type Streams = Arc<Mutex<Vec<Arc<UnixStream>>>>;

fn accept_all(listener: &UnixListener, stopped: &OwnedFd, source: &Source) {
    let streams = Streams::default();
    std::thread::scope(|scope| {
        while wait(listener, stopped) {
            let Ok((client, _)) = listener.accept() else {
                continue;
            };
            // An accepted socket does not inherit it from the listener, but other systems differ.
            if client.set_nonblocking(false).is_err() {
                continue;
            }
            let client = Arc::new(client);
            if !remember(&streams, &client) {
                continue;
            }
            let (streams, started) = (Arc::clone(&streams), Arc::clone(&client));
            let spawned = std::thread::Builder::new().spawn_scoped(scope, move || {
                // A client that breaks off, or an agent that does, ends this connection only.
                let _ = talk(&started, source, &streams);
                forget(&streams, &started);
            });
            if spawned.is_err() {
                let _ = client.shutdown(Shutdown::Both);
            }
        }
        for stream in &*streams.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}

/// Waits for a client; `false` when the step has ended.
fn wait(listener: &UnixListener, stopped: &OwnedFd) -> bool {
    let mut polled = [
        PollFd::new(listener, PollFlags::IN),
        PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN),
    ];
    let waited = rustix::io::retry_on_intr(|| poll(&mut polled, None));
    waited.is_ok() && polled[1].revents().is_empty()
}

/// `false` if there are too many.
fn remember(streams: &Streams, stream: &Arc<UnixStream>) -> bool {
    let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
    // Each client of the user's agent has a second stream, to that agent.
    let has_room = streams.len() < 2 * MOST_CLIENTS;
    if has_room {
        streams.push(Arc::clone(stream));
    }
    has_room
}

fn forget(streams: &Streams, stream: &Arc<UnixStream>) {
    let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
    streams.retain(|known| !Arc::ptr_eq(known, stream));
}

fn talk(client: &UnixStream, source: &Source, streams: &Streams) -> io::Result<()> {
    match source {
        Source::Keys(keys) => answer_all(client, |request| Ok(answer(keys, request))),
        Source::Socket(path) => {
            let agent = Arc::new(UnixStream::connect(path)?);
            if !remember(streams, &agent) {
                return Ok(());
            }
            let talked = answer_all(client, |request| {
                write_message(&mut &*agent, request)?;
                read_message(&mut &*agent)?.ok_or(io::ErrorKind::UnexpectedEof.into())
            });
            forget(streams, &agent);
            talked
        }
    }
}

fn answer_all(
    client: &UnixStream,
    mut answer: impl FnMut(&[u8]) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    while let Some(request) = read_message(&mut &*client)? {
        let response = if may_pass(&request) {
            answer(&request)?
        } else {
            failure()
        };
        write_message(&mut &*client, &response)?;
    }
    Ok(())
}
