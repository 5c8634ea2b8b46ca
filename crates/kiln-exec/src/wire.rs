//! What `run` and its helper say to each other.
//!
//! kiln asks the fork server for a helper with one message, [`Start`]: a byte that says which standard
//! streams come along, and the descriptors. The answer is the helper's process id (4 bytes, native
//! order) with a descriptor of the process, or an error number as a negative id with none.
//!
//! The step goes to the helper in a memory file: the length of the system call filter (4 bytes, native
//! order), the filter's instructions (8 bytes each), the rest as JSON, where a descriptor is its place
//! among those that came along. Over a sequenced socket the helper sends [`Report`]s and kiln sends
//! single bytes, each a signal's number for the program. The end of the stream tells either side that
//! the other one is gone. Both ends are the same binary, so there is no version.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use kiln_sys::namespace::Grade;
use kiln_sys::sandbox::BpfInstruction;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::{ExecError, Stage};

/// A descriptor's place among those that came with a step, from 0.
pub(crate) type Place = usize;

/// A [`crate::StepSpec`] with its descriptors as [`Place`]s.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireStep {
    pub(crate) root: Place,
    pub(crate) grade: WireGrade,
    pub(crate) argv: Vec<String>,
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) hostname: String,
    pub(crate) own_network: bool,
    pub(crate) streams: WireStreams,
    /// Columns and rows of the terminal that the helper makes.
    pub(crate) window: Option<(u16, u16)>,
    pub(crate) mounts: Vec<WireMount>,
    /// A file system in memory with the files of [`WireMountKind::Held`].
    pub(crate) held: Option<Place>,
    /// All capabilities, no filter, nothing hidden.
    pub(crate) insecure: bool,
    pub(crate) shm_bytes: Option<u64>,
    pub(crate) ulimits: Vec<WireUlimit>,
    /// Where the helper writes itself to: the `cgroup.procs` files of the step's groups.
    pub(crate) groups_to_join: Vec<PathBuf>,
    /// An emulator to be registered in a user namespace of the step's own.
    pub(crate) emulator: Option<WireEmulator>,
    /// Say when all is set up ([`Report::Ready`]), for those who measure.
    pub(crate) tells_ready: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireUlimit {
    pub(crate) name: String,
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

/// A [`kiln_sys::binfmt::Handler`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireEmulator {
    pub(crate) name: String,
    pub(crate) magic: Vec<u8>,
    pub(crate) mask: Vec<u8>,
    pub(crate) interpreter: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireGrade {
    Root,
    RootlessMapped,
    RootlessSingle,
}

impl From<Grade> for WireGrade {
    fn from(grade: Grade) -> Self {
        match grade {
            Grade::Root => Self::Root,
            Grade::RootlessMapped => Self::RootlessMapped,
            Grade::RootlessSingle => Self::RootlessSingle,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireStreams {
    /// Made for this program: they become its user's.
    Pipes,
    /// Somebody else's.
    Inherited,
    /// A terminal that the helper makes and sends back.
    Terminal,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireMount {
    pub(crate) target: String,
    pub(crate) kind: WireMountKind,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireMountKind {
    /// A detached mount, attributes set; `directory` says what its root is.
    Attach {
        mount: Place,
        directory: bool,
    },
    Tmpfs {
        size: Option<u64>,
        mode: u32,
    },
    /// A memory file with the content.
    File {
        content: Place,
        mode: u32,
    },
    /// The file of this name in [`WireStep::held`].
    Held {
        name: String,
    },
}

/// The content of the memory file.
pub(crate) fn encode_step(step: &WireStep, filter: &[BpfInstruction]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = length.to_ne_bytes().to_vec();
    for instruction in filter {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    serde_json::to_writer(&mut bytes, step)?;
    Ok(bytes)
}

/// Reads what [`encode_step`] wrote.
pub(crate) fn decode_step(bytes: &[u8]) -> io::Result<(WireStep, Vec<BpfInstruction>)> {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (length, mut rest) = bytes.split_first_chunk().ok_or_else(cut)?;
    let mut filter = Vec::new();
    for _ in 0..u32::from_ne_bytes(*length) {
        let (instruction, behind) = rest.split_first_chunk().ok_or_else(cut)?;
        let [c0, c1, jt, jf, k0, k1, k2, k3] = *instruction;
        filter.push(BpfInstruction {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        });
        rest = behind;
    }
    Ok((serde_json::from_slice(rest)?, filter))
}

/// What the helper has to say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    Failed(Failure),
    /// The helper is in a user namespace of its own and waits for the ids in it, and then for
    /// [`GO_ON`].
    NeedsIds,
    /// The controller end of the program's terminal comes with this message.
    Terminal,
    /// All is set up; the program is executed next.
    Ready,
    Exited(i32),
    Signaled(i32),
}

/// The byte that says that the ids are there; as a signal's number it is none.
pub(crate) const GO_ON: u8 = 0;

/// An [`ExecError`] on its way from the helper; errors of the system are numbers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    NotFound { program: String },
    NotExecutable { program: String, errno: i32 },
    WorkingDirectory { path: String, errno: i32 },
    Mount { target: String, errno: i32 },
    Ulimit { limit: String, errno: i32 },
    ControlGroup { path: PathBuf, errno: i32 },
    Emulator { program: PathBuf, errno: i32 },
    Setup { stage: Stage, errno: i32 },
}

/// The number of a system error; other errors become `EIO`.
pub(crate) fn errno_of(error: &io::Error) -> i32 {
    const EIO: i32 = 5;
    error.raw_os_error().unwrap_or(EIO)
}

impl From<Failure> for ExecError {
    fn from(failure: Failure) -> Self {
        let cause = io::Error::from_raw_os_error;
        match failure {
            Failure::NotFound { program } => Self::NotFound { program },
            Failure::NotExecutable { program, errno } => Self::NotExecutable {
                program,
                cause: cause(errno),
            },
            Failure::WorkingDirectory { path, errno } => Self::WorkingDirectory {
                path,
                cause: cause(errno),
            },
            Failure::Mount { target, errno } => Self::Mount {
                target,
                cause: cause(errno),
            },
            Failure::Ulimit { limit, errno } => Self::Ulimit {
                limit,
                cause: cause(errno),
            },
            Failure::ControlGroup { path, errno } => Self::ControlGroup {
                action: "join",
                path,
                cause: cause(errno),
            },
            Failure::Emulator { program, errno } => Self::Emulator {
                program,
                cause: cause(errno),
            },
            Failure::Setup { stage, errno } => Self::Setup {
                stage,
                cause: cause(errno),
            },
        }
    }
}

/// Reports are small: the longest part is a path of the image.
const MAX_REPORT: usize = 64 << 10;

pub(crate) fn send_report(
    socket: BorrowedFd<'_>,
    report: &Report,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let text = serde_json::to_vec(report)?;
    let descriptors: Vec<_> = descriptor.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    sendmsg(
        socket,
        &[IoSlice::new(&text)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// The next report and the descriptor that came with it; `None` at the end of the stream.
pub(crate) fn receive_report(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
    let mut buffer = vec![0; MAX_REPORT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let report = serde_json::from_slice(&buffer[..message.bytes])?;
    Ok(Some((report, descriptor)))
}

/// Asks the helper to send a signal to the program, or tells it to [`GO_ON`]. A helper that is gone needs no signal.
pub(crate) fn send_signal(socket: BorrowedFd<'_>, signal: u8) {
    let _ = send(socket, &[signal], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

/// The next signal that kiln asks for; `None` when kiln is gone.
pub(crate) fn receive_signal(socket: &OwnedFd) -> io::Result<Option<u8>> {
    let mut byte = [0_u8; 1];
    let count = rustix::io::retry_on_intr(|| {
        let received = recv(socket, &mut byte[..], RecvFlags::empty());
        received.map(|(_, count)| count)
    })?;
    Ok((count == 1).then_some(byte[0]))
}

/// Descriptors that one message can carry; the kernel's limit (`SCM_MAX_FD`).
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// What a helper is made from.
#[derive(Debug)]
pub(crate) struct Start<D> {
    /// Standard input, output and error; those that are missing are `/dev/null`.
    pub(crate) streams: [Option<D>; 3],
    /// The memory file with the [`WireStep`].
    pub(crate) step: D,
    /// The helper's end of the socket.
    pub(crate) control: D,
    /// What the step's [`Place`]s mean.
    pub(crate) descriptors: Vec<D>,
}

impl Start<BorrowedFd<'_>> {
    pub(crate) fn send(&self, server: BorrowedFd<'_>) -> io::Result<()> {
        let mut mask = 0_u8;
        let mut all = Vec::with_capacity(self.descriptors.len() + 5);
        for (bit, stream) in self.streams.iter().enumerate() {
            if let Some(stream) = stream {
                mask |= 1 << bit;
                all.push(*stream);
            }
        }
        all.extend([self.step, self.control]);
        all.extend(&self.descriptors);
        if all.len() > MAX_DESCRIPTORS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} descriptors are more than {MAX_DESCRIPTORS}", all.len()),
            ));
        }
        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&all));
        sendmsg(
            server,
            &[IoSlice::new(&[mask])],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }
}

impl Start<OwnedFd> {
    /// The next request; `None` when kiln is gone.
    pub(crate) fn receive(server: &OwnedFd) -> io::Result<Option<Self>> {
        let mut mask = [0_u8; 1];
        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let Some(mut received) = receive_descriptors(server.as_fd(), &mut mask, &mut space)? else {
            return Ok(None);
        };
        let mut next = || received.next().ok_or(io::ErrorKind::InvalidData);
        let mut streams = [None, None, None];
        for (bit, stream) in streams.iter_mut().enumerate() {
            if mask[0] & (1 << bit) != 0 {
                *stream = Some(next()?);
            }
        }
        let (step, control) = (next()?, next()?);
        Ok(Some(Self {
            streams,
            step,
            control,
            descriptors: received.collect(),
        }))
    }
}

/// The answer to a [`Start`]: the helper's process id and a descriptor of the process, or why there
/// is none.
pub(crate) fn send_started(
    server: &OwnedFd,
    started: io::Result<(i32, OwnedFd)>,
) -> io::Result<()> {
    let (id, process) = match started {
        Ok((id, process)) => (id, Some(process)),
        Err(error) => (-errno_of(&error), None),
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = process.iter().map(AsFd::as_fd).collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let bytes = id.to_ne_bytes();
    sendmsg(
        server,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// The helper that the server started.
pub(crate) fn receive_started(server: BorrowedFd<'_>) -> io::Result<(i32, OwnedFd)> {
    let mut bytes = [0_u8; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let received = receive_descriptors(server, &mut bytes, &mut space)?;
    let process = received.ok_or(io::ErrorKind::UnexpectedEof)?.next();
    let id = i32::from_ne_bytes(bytes);
    match process {
        Some(process) => Ok((id, process)),
        None => Err(io::Error::from_raw_os_error(id.saturating_neg())),
    }
}

/// One message whose bytes fill `bytes`, and the descriptors with it; `None` at the end.
fn receive_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    space: &mut [MaybeUninit<u8>],
) -> io::Result<Option<std::vec::IntoIter<OwnedFd>>> {
    let mut ancillary = RecvAncillaryBuffer::new(space);
    let message = rustix::io::retry_on_intr(|| {
        recvmsg(
            socket,
            &mut [IoSliceMut::new(bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let mut received = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    // A truncated list would give the places another meaning.
    if message.bytes != bytes.len() || message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(received.into_iter()))
}
