//! The fork server and the helpers that it forks: a helper makes the namespaces, forks the program's
//! process, and watches it.
//!
//! The server never reads a specification, so nothing of one step is in the memory of another.
//!
//! Two processes for each program, because the program has to be pid 1 of its namespace, as under runc, and something
//! outside has to outlive it to report how it ended, and to kill it when kiln dies. The kernel's own
//! "die with your parent" is set as well, but is taken back by any set-user-id program.

mod devices;
mod filesystems;
mod inside;

use std::ffi::OsStr;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use kiln_sys::binfmt::Handler;
use kiln_sys::files;
use kiln_sys::process::{adopt, close_others_on_exec};
use kiln_sys::sandbox::{BpfInstruction, Forked, Namespaces, exit_now, fork, unshare};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, setsid, waitid,
};

use crate::Stage;
use crate::wire::{
    Failure, GO_ON, Place, Report, Start, WireMountKind, WireStep, decode_step, errno_of,
    receive_signal, send_report, send_started,
};
use filesystems::ControlGroups;

/// What the binary does when it is started as `kiln __step <descriptor>`: it serves forks. To be
/// called first in `main`, before anything opens a descriptor or starts a thread.
///
/// Returns in the server, when kiln is gone, and in each watching process, when its program has
/// ended.
pub fn helper_main(descriptor: &OsStr) -> ExitCode {
    // The kernel named it after the descriptor that it was started from; a name is only for people.
    let _ = rustix::thread::set_name(c"kiln-step");
    let number = descriptor.to_str().and_then(|text| text.parse().ok());
    let Some(server) = number.and_then(|number| adopt(number).ok()) else {
        return ExitCode::FAILURE;
    };
    match serve(&server) {
        Ok(Some(start)) => {
            // The server's alone: its end is the server's end.
            drop(server);
            help(start)
        }
        Ok(None) => ExitCode::SUCCESS,
        // There is nobody to tell; kiln sees that we are gone.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Forks a helper for each request. Returns `None` when kiln is gone, and in a helper its request.
fn serve(server: &OwnedFd) -> io::Result<Option<Start<OwnedFd>>> {
    // What kiln itself was started with is not for programs.
    close_others_on_exec()?;
    // Keys typed at kiln's terminal are for kiln, which passes on what it wants to.
    setsid()?;
    while let Some(start) = Start::receive(server)? {
        reap();
        let forked = match fork() {
            Ok(Forked::Child) => return Ok(Some(start)),
            Ok(Forked::Parent(helper)) => {
                // Not reaped before the next request, so the number still means it.
                let process = pidfd_open(helper, PidfdFlags::empty());
                let process = process.map_err(io::Error::from);
                process.map(|process| (helper.as_raw_nonzero().get(), process))
            }
            Err(error) => Err(error),
        };
        drop(start);
        send_started(server, forked)?;
    }
    Ok(None)
}

/// Forgets the helpers that have ended. How they ended is in their reports.
fn reap() {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    while let Ok(Some(_)) = waitid(WaitId::All, options) {}
}

/// A helper's life.
fn help(start: Start<OwnedFd>) -> ExitCode {
    // Without a specification there is nothing to complain about; kiln sees that we are gone.
    let Ok(mut step) = Step::adopt(start) else {
        return ExitCode::FAILURE;
    };
    let done = step.join_control_groups();
    match done.and_then(|()| step.start_and_watch()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            step.report(&Report::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

/// A stage's failure in the form that is reported.
fn setup((stage, cause): StageError) -> Failure {
    Failure::Setup {
        stage,
        errno: errno_of(&cause),
    }
}

/// A stage that failed, and why.
type StageError = (Stage, io::Error);

/// Names the stage in which an error happened.
fn at<E: Into<io::Error>>(stage: Stage) -> impl FnOnce(E) -> StageError {
    move |cause| (stage, cause.into())
}

/// The specification with its descriptors in hand.
struct Step {
    wire: WireStep,
    control: OwnedFd,
    root: OwnedFd,
    mounts: Vec<Mount>,
    /// The file system of [`MountKind::Held`].
    held: Option<OwnedFd>,
    control_groups: ControlGroups,
    filter: Vec<BpfInstruction>,
}

struct Mount {
    target: String,
    kind: MountKind,
}

enum MountKind {
    Attach { mount: OwnedFd, directory: bool },
    Tmpfs { size: Option<u64>, mode: u32 },
    File { content: OwnedFd, mode: u32 },
    Held { name: String },
}

impl Step {
    fn adopt(start: Start<OwnedFd>) -> io::Result<Self> {
        let [input, output, error] = start.streams;
        if let Some(input) = input {
            rustix::stdio::dup2_stdin(input)?;
        }
        if let Some(output) = output {
            rustix::stdio::dup2_stdout(output)?;
        }
        if let Some(error) = error {
            rustix::stdio::dup2_stderr(error)?;
        }
        let mut file = std::fs::File::from(start.step);
        file.rewind()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let (mut wire, filter) = decode_step(&text)?;
        let mut descriptors: Vec<_> = start.descriptors.into_iter().map(Some).collect();
        let mut take = |place: Place| {
            let found = descriptors.get_mut(place).and_then(Option::take);
            found.ok_or(io::ErrorKind::InvalidInput)
        };
        let (root, held) = (take(wire.root)?, wire.held.map(&mut take).transpose()?);
        let mounts = std::mem::take(&mut wire.mounts).into_iter().map(|mount| {
            let kind = match mount.kind {
                WireMountKind::Attach { mount, directory } => MountKind::Attach {
                    mount: take(mount)?,
                    directory,
                },
                WireMountKind::Tmpfs { size, mode } => MountKind::Tmpfs { size, mode },
                WireMountKind::File { content, mode } => MountKind::File {
                    content: take(content)?,
                    mode,
                },
                WireMountKind::Held { name } => MountKind::Held { name },
            };
            Ok(Mount {
                target: mount.target,
                kind,
            })
        });
        let mounts = mounts.collect::<io::Result<_>>()?;
        Ok(Self {
            control: start.control,
            root,
            held,
            mounts,
            control_groups: ControlGroups::of_host(),
            filter,
            wire,
        })
    }

    fn report(&self, report: &Report) {
        // If kiln is gone there is nobody to tell.
        let _ = send_report(self.control.as_fd(), report, None);
    }

    /// Before there is a control group namespace, whose root the step's own group is to be.
    fn join_control_groups(&mut self) -> Result<(), Failure> {
        for path in &self.wire.groups_to_join {
            // 0 is the process that writes.
            files::write(path, b"0").map_err(|error| Failure::ControlGroup {
                path: path.clone(),
                errno: error.raw_os_error().unwrap_or_default(),
            })?;
        }
        if !self.wire.groups_to_join.is_empty() {
            self.control_groups = ControlGroups::of_host();
        }
        Ok(())
    }

    /// Enters a user namespace of its own, the only place where an emulator can be registered without
    /// the whole machine noticing. The ids in it are given from outside.
    fn enter_user_namespace(&self) -> Result<(), StageError> {
        unshare(Namespaces::NEWUSER).map_err(at(Stage::Namespaces))?;
        self.report(&Report::NeedsIds);
        match receive_signal(&self.control).map_err(at(Stage::Namespaces))? {
            Some(GO_ON) => Ok(()),
            // Cancelled, or kiln is gone.
            _ => Err((Stage::Namespaces, io::ErrorKind::Interrupted.into())),
        }
    }

    /// The returned mount holds the registration.
    fn register_emulator(&self) -> Result<Option<OwnedFd>, Failure> {
        let Some(emulator) = &self.wire.emulator else {
            return Ok(None);
        };
        let handler = Handler {
            name: emulator.name.clone(),
            magic: emulator.magic.clone(),
            mask: emulator.mask.clone(),
            interpreter: emulator.interpreter.clone(),
        };
        let registered = handler.register_private();
        registered.map(Some).map_err(|cause| Failure::Emulator {
            program: handler.interpreter.clone(),
            errno: errno_of(&cause),
        })
    }

    fn start_and_watch(&self) -> Result<(), Failure> {
        // Keys typed at kiln's terminal are for kiln, which passes on what it wants to.
        setsid().map_err(at(Stage::Namespaces)).map_err(setup)?;
        if self.wire.emulator.is_some() {
            self.enter_user_namespace().map_err(setup)?;
        }
        let mut namespaces = Namespaces::NEWNS
            | Namespaces::NEWPID
            | Namespaces::NEWIPC
            | Namespaces::NEWUTS
            | Namespaces::NEWCGROUP;
        if self.wire.own_network {
            namespaces |= Namespaces::NEWNET;
        }
        unshare(namespaces)
            .map_err(at(Stage::Namespaces))
            .map_err(setup)?;
        // Held by this process for as long as the program lives.
        let _emulator = self.register_emulator()?;
        match fork().map_err(at(Stage::Fork)).map_err(setup)? {
            Forked::Child => {
                let failure = self.become_program();
                self.report(&Report::Failed(failure));
                exit_now(1)
            }
            Forked::Parent(program) => self.watch(program).map_err(at(Stage::Fork)).map_err(setup),
        }
    }

    /// Waits for the program, passing on signals; kills it when kiln is gone.
    fn watch(&self, program: Pid) -> io::Result<()> {
        let pidfd = pidfd_open(program, PidfdFlags::empty())?;
        release_streams()?;
        loop {
            let (asked, ended) = self.wait(pidfd.as_fd())?;
            if ended {
                break;
            }
            if asked {
                let signal = match receive_signal(&self.control)? {
                    Some(number) => Signal::from_named_raw(number.into()),
                    None => Some(Signal::KILL),
                };
                if let Some(signal) = signal {
                    // It may have ended just now; the next round tells.
                    let _ = pidfd_send_signal(&pidfd, signal);
                    if signal == Signal::KILL {
                        break;
                    }
                }
            }
        }
        let options = WaitIdOptions::EXITED;
        let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), options))?;
        let report = status.map_or(Report::Signaled(0), |status| {
            status.exit_status().map_or_else(
                || Report::Signaled(status.terminating_signal().unwrap_or(0)),
                Report::Exited,
            )
        });
        self.report(&report);
        Ok(())
    }

    fn wait(&self, pidfd: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
        let mut polled = [
            PollFd::new(&self.control, PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
        let [asked, ended] = polled.map(|one| !one.revents().is_empty());
        Ok((asked, ended))
    }
}

/// Lets go of the program's streams, so that their readers see its end.
fn release_streams() -> io::Result<()> {
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
