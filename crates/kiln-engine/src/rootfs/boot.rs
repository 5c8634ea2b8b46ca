//! A disk is started before it is delivered.

use std::path::Path;
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_rootfs::boot::{BootError, BootProblem, BootRequest, WaitFor, boot, find_accelerator};
use kiln_rootfs::init::Installed;
use kiln_rootfs::manifest::ManifestBoot;
use kiln_rootfs::request::DiskFormat;

use super::error::RootfsError;
use crate::reporter::Reporter;

/// How long it is waited for KVM to show that it works.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How a disk is tried.
#[derive(Debug, Clone)]
pub struct VerifyBoot {
    /// When the disk is good.
    pub wait_for: WaitFor,
    /// How long it may take.
    pub deadline: Duration,
}

/// What is started.
pub(super) struct Trial<'a> {
    /// The disk.
    pub(super) disk: &'a Path,
    /// Its format.
    pub(super) format: DiskFormat,
    /// Its part of the kernel command line.
    pub(super) arguments: &'a [String],
    /// Its first process, if it got one.
    pub(super) installed: Option<&'a Installed>,
    /// The kernel.
    pub(super) kernel: &'a Path,
    /// What the kernel starts first.
    pub(super) initrd: Option<&'a Path>,
}

/// Starts the disk in QEMU, and waits for what is asked for.
pub(super) fn verify(
    request: &VerifyBoot,
    trial: &Trial<'_>,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<ManifestBoot, RootfsError> {
    let (format, kernel, installed) = (trial.format, trial.kernel, trial.installed);
    if format == DiskFormat::Cpio {
        let what = "boot that could be checked";
        return Err(RootfsError::Option { format, what });
    }
    let failed = |error: BootError| match error.problem {
        BootProblem::Cancelled => kiln_base::Cancelled.into(),
        _ => RootfsError::Boot(error),
    };
    reporter.step("boot", cancel, |number| {
        let accelerator = find_accelerator(kernel, PATIENCE, cancel).map_err(failed)?;
        let machine = BootRequest {
            has_reports: installed.is_some_and(|installed| installed.has_reports),
            ends_with_program: !installed.is_some_and(|installed| installed.has_systemd),
            initrd: trial.initrd.map(Path::to_owned),
            accelerator,
            wait_for: request.wait_for.clone(),
            deadline: request.deadline,
            ..BootRequest::new(trial.disk, kernel, trial.arguments)
        };
        let stream = kiln_base::events::Stream::Stdout;
        let booted = boot(&machine, cancel).map_err(|error| {
            reporter.output(number, stream, error.console.as_bytes());
            failed(error)
        })?;
        reporter.output(number, stream, booted.console.as_bytes());
        for warning in &booted.warnings {
            reporter.warn(warning, None);
        }
        Ok(ManifestBoot {
            kernel: kernel.to_owned(),
            accelerator: booted.accelerator,
            handshake: booted.handshake,
            took: booted.took,
            user: booted.ready.map(|ready| (ready.uid, ready.gid)),
            exit: booted.exit,
        })
    })
}
