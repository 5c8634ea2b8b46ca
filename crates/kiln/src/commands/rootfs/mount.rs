//! `kiln rootfs mount`: a disk as a directory.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_engine::MountError;

use super::super::Invocation;
use super::open_disk;
use crate::args::DiskMountArgs;
use crate::error::{Blame, CliError, Exit};
use crate::interrupt;
use crate::terminal::tell;

/// How often it is looked whether to stop.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn mount(args: &DiskMountArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), |_| ());
    let disk = open_disk(&args.disk, invocation, &cancel)?;
    let mounted = disk.mount(&invocation.environment.resolve(&args.directory))?;
    tell(&format!(
        "{} is mounted on {}; Ctrl-C or `umount {1}` ends that\n",
        args.disk.display(),
        args.directory.display()
    ));
    while !cancel.is_cancelled() && !mounted.is_over() {
        thread::sleep(PAUSE);
    }
    drop(watch);
    mounted.unmount()?;
    Ok(ExitCode::SUCCESS)
}

impl From<MountError> for CliError {
    fn from(error: MountError) -> Self {
        let extract = "`kiln rootfs extract` takes files from a disk, and needs nothing";
        match error {
            MountError::NotADirectory(_) => Self::usage(error).hint("make it: `mkdir DIR`"),
            MountError::NoDevice(_) => Self::new(Blame::Environment, Exit::Resources, error)
                .hint("load the kernel's module, `modprobe fuse`; in a container, pass `--device /dev/fuse`")
                .hint(extract),
            MountError::Mount { .. } => Self::new(Blame::Environment, Exit::Resources, error)
                .hint("without root it takes `fusermount3`: install the package fuse3")
                .hint(extract),
            MountError::Unmount(..) => Self::new(Blame::Environment, Exit::General, error),
        }
    }
}
