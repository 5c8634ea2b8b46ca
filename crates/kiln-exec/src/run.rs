//! Running programs to their end, seen from kiln.

mod fork_server;
mod held;
mod pack;
mod program;
mod streams;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kiln_base::CancelToken;
use kiln_base::events::Stream;
use kiln_base::trace::Tracer;
use kiln_sys::idmap::{IdMap, write_identity};
use kiln_sys::namespace::Grade;
use kiln_sys::signal::Signal;
use rustix::fs::{FileType, fstat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::cgroup::Groups;
use crate::stubs::{Kind, StubError, Stubs};
use crate::wire::{GO_ON, Report, Start, receive_report, send_signal};
use crate::{Confinement, Control, Emulation, ExecError, MountKind, Stage, StepMount, StepSpec};
use fork_server::ForkServer;
use held::Held;
use pack::Packed;
use streams::Streams;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl ExitStatus {
    /// Whether the program says that all went well.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The code that a shell would show: 128 plus the signal's number for a killed program.
    pub const fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => kiln_sys::signal::exit_code(signal),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by {}", kiln_sys::signal::name(*signal)),
        }
    }
}

/// Runs programs in roots. It keeps a fork server ([`crate::helper_main`]), started when the first
/// program is, so that the next ones cost a fork instead of a start of the binary. Dropping it ends
/// the server.
#[derive(Debug, Default)]
pub struct Executor {
    server: ForkServer,
}

impl Executor {
    /// One that has started nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a program to its end, held as tightly as `confinement` says. `output` gets what it
    /// writes, as it comes; with [`crate::Stdio::Terminal`] all of it is [`Stream::Stdout`].
    ///
    /// When this returns, however it returns, all processes that the program started are dead,
    /// nothing is mounted any more, and the mount points that the root lacked are gone again. Needs
    /// the namespaces of [`kiln_sys::namespace::enter`], entered before the first program is run,
    /// and a binary that calls [`crate::helper_main`].
    ///
    /// # Errors
    ///
    /// [`ExecError::Cancelled`] when `cancel` was used; otherwise what kept the program from running.
    pub fn run(
        &self,
        program: (&StepSpec<'_>, &Confinement),
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &CancelToken,
        control: &Control,
    ) -> Result<ExitStatus, ExecError> {
        self.run_traced(program, output, (cancel, &Tracer::off()), control)
    }

    /// [`Executor::run`] that says where the time goes.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn run_traced(
        &self,
        (spec, confinement): (&StepSpec<'_>, &Confinement),
        output: &mut dyn FnMut(Stream, &[u8]),
        (cancel, tracer): (&CancelToken, &Tracer),
        control: &Control,
    ) -> Result<ExitStatus, ExecError> {
        cancel.check().map_err(|_| ExecError::Cancelled)?;
        if spec.argv.is_empty() {
            return Err(ExecError::NoCommand);
        }
        check_ids(spec)?;
        let points = mount_points(spec)?;
        let make = || Stubs::create(spec.root, &points).map_err(stub_error);
        let stubs = tracer.within("make mount points", make)?;
        let result = self.execute((spec, confinement), output, (cancel, tracer), control);
        let remove = || stubs.remove().map_err(stub_error);
        let cleaned = tracer.within("remove mount points", remove);
        if cancel.is_cancelled() {
            return Err(ExecError::Cancelled);
        }
        let status = result?;
        cleaned?;
        Ok(status)
    }

    fn execute(
        &self,
        (spec, confinement): (&StepSpec<'_>, &Confinement),
        output: &mut dyn FnMut(Stream, &[u8]),
        (cancel, tracer): (&CancelToken, &Tracer),
        control: &Control,
    ) -> Result<ExitStatus, ExecError> {
        let starting = tracer.span("start the helper");
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(helper_error("make a socket for"))?;
        let (mut streams, program_streams) =
            Streams::open(spec.stdio).map_err(helper_error("make pipes for"))?;
        // Both go after the helper, whose processes may have them in use.
        let held = Held::fill(&spec.mounts)?;
        let groups = Groups::make(&confinement.resources, confinement.cgroup_parent.as_deref())?;
        let mut packed = Packed::new((spec, confinement), (&held, &groups))?;
        packed.wire.tells_ready = tracer.is_on();
        let step = packed
            .to_memory()
            .map_err(helper_error("describe the step to"))?;
        let helper = self.server.start(&Start {
            streams: program_streams.given(),
            step: step.as_fd(),
            control: theirs.as_fd(),
            descriptors: packed.descriptors(),
        })?;
        // The helper and the program have these now; we would never see their end otherwise.
        drop((theirs, program_streams, packed, step, starting));

        control.started(ours.try_clone().map_err(helper_error("talk to"))?);
        let killer = control.clone();
        let guard = cancel.on_cancel(move || killer.signal(Signal::KILL));
        let reported = match &confinement.emulation {
            Emulation::Private(_) => give_ids(&ours, helper.id()),
            Emulation::Native | Emulation::Host { .. } => Ok(None),
        };
        let reported = match reported {
            Ok(None) => streams.pump(&ours, output, control, tracer),
            failed => failed,
        };
        // In case that we failed: the helper takes this as our end and kills the program.
        drop(guard);
        control.ended();
        drop(ours);
        let wait = || helper.wait().map_err(helper_error("wait for"));
        tracer.within("end the helper", wait)?;
        match reported? {
            Some(Report::Exited(code)) => Ok(ExitStatus::Code(code)),
            Some(Report::Signaled(signal)) => Ok(ExitStatus::Signal(signal)),
            Some(Report::Failed(failure)) => Err(failure.into()),
            Some(Report::Terminal | Report::NeedsIds | Report::Ready) | None => {
                Err(ExecError::HelperDied("before the program did".to_owned()))
            }
        }
    }
}

/// [`Executor::run`] for a single program that is held as usual.
pub fn run(
    spec: &StepSpec<'_>,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &CancelToken,
) -> Result<ExitStatus, ExecError> {
    run_controlled(spec, output, cancel, &Control::new())
}

/// [`run`] for a program that gets signals meanwhile.
pub fn run_controlled(
    spec: &StepSpec<'_>,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &CancelToken,
    control: &Control,
) -> Result<ExitStatus, ExecError> {
    Executor::new().run((spec, &Confinement::default()), output, cancel, control)
}

fn stub_error(error: StubError) -> ExecError {
    ExecError::Mount {
        target: error.target,
        cause: error.cause,
    }
}

fn helper_error<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> ExecError {
    move |cause| ExecError::Helper {
        action,
        cause: cause.into(),
    }
}

/// Refuses a user whom the user namespace does not have, before anything is started.
fn check_ids(spec: &StepSpec<'_>) -> Result<(), ExecError> {
    if spec.grade == Grade::Root {
        return Ok(());
    }
    let failed = helper_error("read the ids for");
    let users = IdMap::current_users().map_err(failed)?;
    let groups = IdMap::current_groups().map_err(helper_error("read the ids for"))?;
    let refused = |kind, id| ExecError::IdNotMapped {
        kind,
        id,
        grade: spec.grade,
    };
    if !users.is_mapped(spec.user.uid) {
        return Err(refused("user", spec.user.uid));
    }
    // With a single id groups can't be changed at all, and root needs none.
    let supplementary = match spec.grade {
        Grade::RootlessSingle => &[],
        _ => spec.user.groups.as_slice(),
    };
    let mut wanted = std::iter::once(&spec.user.gid).chain(supplementary);
    if let Some(gid) = wanted.find(|gid| !groups.is_mapped(**gid)) {
        return Err(refused("group", *gid));
    }
    for mount in &spec.mounts {
        if let MountKind::Secret { uid, gid, .. } | MountKind::Agent { uid, gid, .. } = &mount.kind
        {
            if !users.is_mapped(*uid) {
                return Err(refused("user", *uid));
            }
            if !groups.is_mapped(*gid) {
                return Err(refused("group", *gid));
            }
        }
    }
    Ok(())
}

/// Where something will be mounted in the root itself, and what has to be there for it.
fn mount_points<'s>(spec: &'s StepSpec<'_>) -> Result<Vec<(&'s str, Kind)>, ExecError> {
    let mut points = vec![
        ("/proc", Kind::Directory),
        ("/sys", Kind::Directory),
        ("/dev", Kind::Directory),
    ];
    for mount in &spec.mounts {
        let target = mount.target.as_str();
        let kind = kind_of(mount)?;
        let inside = |(other, _): &(&str, Kind)| {
            Path::new(target) != Path::new(other) && Path::new(target).starts_with(other)
        };
        // The helper makes what is missing inside another mount.
        if !points.iter().any(inside) {
            points.push((target, kind));
        }
    }
    Ok(points)
}

fn kind_of(mount: &StepMount<'_>) -> Result<Kind, ExecError> {
    match &mount.kind {
        MountKind::Tmpfs { .. } => Ok(Kind::Directory),
        MountKind::File { .. } | MountKind::Secret { .. } | MountKind::Agent { .. } => {
            Ok(Kind::File)
        }
        MountKind::Bind { source, .. } => {
            let stat = fstat(source).map_err(|errno| ExecError::Mount {
                target: mount.target.clone(),
                cause: errno.into(),
            })?;
            Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Kind::Directory,
                _ => Kind::File,
            })
        }
    }
}

/// Waits for the helper to be in a user namespace of its own, and gives it the ids that exist here.
/// Returns what it reports instead, if it does.
fn give_ids(helper: &OwnedFd, id: i32) -> Result<Option<Report>, ExecError> {
    let failed = helper_error("talk to");
    match receive_report(helper.as_fd()).map_err(failed)? {
        Some((Report::NeedsIds, _)) => {
            write_identity(id).map_err(|cause| ExecError::Setup {
                stage: Stage::Ids,
                cause,
            })?;
            send_signal(helper.as_fd(), GO_ON);
            Ok(None)
        }
        Some((report, _)) => Ok(Some(report)),
        None => Err(ExecError::HelperDied("before it had ids".to_owned())),
    }
}
