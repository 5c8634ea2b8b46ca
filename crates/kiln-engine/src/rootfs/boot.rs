//! A disk is started before it is delivered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_rootfs::boot::{
    BootError, BootProblem, BootRequest, WaitFor, boot, find_accelerator, find_kernel,
};
use kiln_rootfs::init::Installed;
use kiln_rootfs::request::DiskFormat;

use super::error::RootfsError;
use crate::reporter::Reporter;

/// How long it is waited for KVM to show that it works.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How a disk is tried.
#[derive(Debug, Clone)]
pub struct VerifyBoot {
    /// The kernel; `None` looks for one of this machine.
    pub kernel: Option<PathBuf>,
    /// When the disk is good.
    pub wait_for: WaitFor,
    /// How long it may take.
    pub deadline: Duration,
}

/// Starts the disk in QEMU, and waits for what is asked for.
pub(super) fn verify(
    request: &VerifyBoot,
    (disk, format): (&Path, DiskFormat),
    (arguments, installed): (&[String], Option<&Installed>),
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<(), RootfsError> {
    if format == DiskFormat::Cpio {
        let what = "boot that could be checked";
        return Err(RootfsError::Option { format, what });
    }
    let failed = |error: BootError| match error.problem {
        BootProblem::Cancelled => kiln_base::Cancelled.into(),
        _ => RootfsError::Boot(error),
    };
    reporter.step("boot", cancel, |number| {
        let kernel = find_kernel(request.kernel.as_deref()).map_err(BootError::from);
        let kernel = kernel.map_err(failed)?;
        let accelerator = find_accelerator(&kernel, PATIENCE, cancel).map_err(failed)?;
        let machine = BootRequest {
            has_reports: installed.is_some_and(|installed| installed.has_reports),
            accelerator,
            wait_for: request.wait_for.clone(),
            deadline: request.deadline,
            ..BootRequest::new(disk, &kernel, arguments)
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
        Ok(())
    })
}
