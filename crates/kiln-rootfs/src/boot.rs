//! Starts a disk in QEMU and waits until it does what it should: a check before it is delivered.
//!
//! The machine has no network, and its disk's file stays as it is, whatever the program writes.
//! Everything has one deadline; the machine is gone when the answer is there.
//!
//! # The kernel
//!
//! A kernel has to have the disk's driver and file system built in. Debian's cloud kernels have `nvme`
//! and ext4, and no erofs and squashfs, which are modules there. [`find_kernel`] looks for one; to get
//! one without installing it: `apt-get download linux-image-cloud-amd64`'s dependency
//! (`linux-image-…-cloud-amd64`), then `dpkg-deb --extract` it and take `boot/vmlinuz-…`.
//!
//! # Ports
//!
//! A port is watched from inside: `kiln-init` says when something listens on it. So no network is
//! needed for it, and no driver.
//!
//! Deliberately absent: networks, and machines other than QEMU's.

mod console;
mod error;
mod kernel;
mod machine;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln_base::CancelToken;
use kiln_init::report::Ready;
use kiln_sys::process::Ended;

pub use error::{BootError, BootProblem};
pub use kernel::find_kernel;

use crate::vmm::{self, Accelerator, DiskAccess, Machine, QemuMachine};

/// What to start, and what to wait for.
#[derive(Debug, Clone)]
pub struct BootRequest {
    /// The disk's file, uncompressed.
    pub disk: PathBuf,
    /// The disk's part of the kernel command line, of [`crate::init::Installed`].
    pub kernel_arguments: Vec<String>,
    /// Whether the disk's first process reports ([`crate::init::Installed::has_reports`]). Where it
    /// does not, the handshake is that the kernel has started it and did not panic.
    pub has_reports: bool,
    /// Whether the machine ends with its program; under systemd it runs on.
    pub ends_with_program: bool,
    /// The kernel.
    pub kernel: PathBuf,
    /// An initial file system.
    pub initrd: Option<PathBuf>,
    /// The kind of machine.
    pub machine: QemuMachine,
    /// What runs it; see [`find_accelerator`].
    pub accelerator: Accelerator,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// When the disk is good.
    pub wait_for: WaitFor,
    /// How long all of it may take.
    pub deadline: Duration,
}

/// When a disk is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitFor {
    /// The program runs.
    Ready,
    /// This is on the console.
    Output(String),
    /// Something listens on this TCP port.
    Port(u16),
    /// The program has ended, with this code if there is one, and the machine with it where it
    /// ends with its program.
    Exit(Option<i32>),
}

/// What a machine did.
#[derive(Debug, Clone)]
pub struct Booted {
    /// Who runs; `None` where the first process does not report.
    pub ready: Option<Ready>,
    /// From the start of QEMU to the handshake.
    pub handshake: Duration,
    /// From the start of QEMU to what was waited for.
    pub took: Duration,
    /// How the program ended, if it has.
    pub exit: Option<Ended>,
    /// What the first process warned of.
    pub warnings: Vec<String>,
    /// What was on the console; of much, the end.
    pub console: String,
    /// What ran it.
    pub accelerator: Accelerator,
}

impl BootRequest {
    /// A small machine for a disk, and 30 seconds for it to become ready, run by QEMU itself.
    pub fn new(disk: &Path, kernel: &Path, kernel_arguments: &[String]) -> Self {
        Self {
            disk: disk.to_owned(),
            kernel_arguments: kernel_arguments.to_vec(),
            has_reports: true,
            ends_with_program: true,
            kernel: kernel.to_owned(),
            initrd: None,
            machine: default_machine(),
            accelerator: Accelerator::Tcg,
            memory_mib: 256,
            cpus: 1,
            wait_for: WaitFor::Ready,
            deadline: Duration::from_secs(30),
        }
    }

    fn machine(&self) -> Machine {
        let text = |path: &Path| path.display().to_string();
        let mut kernel_arguments = self.kernel_arguments.clone();
        // Kernel messages cost time on a serial line; but where nothing else reports, they are what
        // is waited for.
        let level = if self.has_reports {
            "quiet"
        } else {
            "loglevel=7"
        };
        kernel_arguments.push(level.to_owned());
        if let WaitFor::Port(port) = self.wait_for {
            kernel_arguments.push(format!("kiln.port={port}"));
        }
        Machine {
            kernel: text(&self.kernel),
            initrd: self.initrd.as_deref().map(text),
            disk: text(&self.disk),
            disk_access: DiskAccess::Discard,
            kernel_arguments,
            memory_mib: self.memory_mib,
            cpus: self.cpus,
        }
    }
}

/// The kind of machine that starts fastest for kiln's own architecture.
pub const fn default_machine() -> QemuMachine {
    if cfg!(target_arch = "aarch64") {
        QemuMachine::Virt
    } else {
        QemuMachine::Q35
    }
}

/// Starts the machine and waits.
///
/// # Errors
///
/// See [`BootProblem`]; the error has what the console said until then.
pub fn boot(request: &BootRequest, cancel: &CancelToken) -> Result<Booted, BootError> {
    let words = vmm::qemu(&request.machine(), request.machine, request.accelerator);
    let start = Instant::now();
    let mut machine = machine::Running::start(&words, cancel)?;
    let mut console = console::Console::new(request.has_reports);
    let result = machine::watch(&mut machine, &mut console, request, start);
    // The machine is gone before anything is said of it.
    drop(machine);
    let took = start.elapsed();
    match result {
        Ok(()) => Ok(Booted {
            handshake: console.handshake().map_or(took, |at| at - start),
            took,
            exit: console.exit(),
            ready: console.take_ready(),
            warnings: console.take_warnings(),
            console: console.into_text(),
            accelerator: request.accelerator,
        }),
        Err(problem) => Err(BootError {
            problem,
            console: console.into_text(),
        }),
    }
}

/// Whether KVM works here: that `/dev/kvm` can be opened says little, since a nested one may hang.
/// So the kernel is started for a moment with no disk, where it soon panics and ends the machine.
///
/// Whoever checks many disks asks once.
pub fn find_accelerator(
    kernel: &Path,
    patience: Duration,
    cancel: &CancelToken,
) -> Result<Accelerator, BootError> {
    let device = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm");
    if device.is_err() {
        return Ok(Accelerator::Tcg);
    }
    let request = BootRequest {
        deadline: patience,
        accelerator: Accelerator::Kvm,
        ..BootRequest::new(Path::new("/dev/null"), kernel, &[])
    };
    match boot(&request, cancel) {
        Err(BootError {
            problem: BootProblem::Panic(_) | BootProblem::Ended(_),
            console,
        }) if console.contains("Kernel panic") => Ok(Accelerator::Kvm),
        Err(BootError {
            problem: problem @ (BootProblem::Cancelled | BootProblem::NoQemu { .. }),
            console,
        }) => Err(BootError { problem, console }),
        _ => Ok(Accelerator::Tcg),
    }
}
