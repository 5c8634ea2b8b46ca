//! Verdicts on disks that could not be made.

use kiln_engine::{MergeError, RootfsError};
use kiln_layer::RecompressError;
use kiln_rootfs::spec::SpecError;

use super::{MACHINE, STOPPED, USAGE, Verdict, base, root, step};
use crate::args::ByteSize;
use crate::error::CliError;

impl From<RootfsError> for CliError {
    fn from(error: RootfsError) -> Self {
        match error {
            RootfsError::Image(error) => error.into(),
            error => rootfs(&error).on(error),
        }
    }
}

impl From<SpecError> for CliError {
    fn from(error: SpecError) -> Self {
        USAGE.on(error)
    }
}

fn rootfs(error: &RootfsError) -> Verdict {
    match error {
        RootfsError::Base(error) => base(error),
        RootfsError::Root(error) => root(error),
        RootfsError::Command { source, .. } => step(source),
        RootfsError::SizeLimit { size, .. } => USAGE.hint(format!(
            "allow as much, `--size-limit {size}` ({}), or leave something out",
            ByteSize(*size)
        )),
        RootfsError::Option { .. } => USAGE.hint("leave it out, or choose `--format ext4`"),
        RootfsError::Image(_)
        | RootfsError::Plan { .. }
        | RootfsError::Format(_)
        | RootfsError::Label(_)
        | RootfsError::NotAFile(_) => USAGE,
        RootfsError::Cancelled(_)
        | RootfsError::Merge(MergeError::Cancelled(_))
        | RootfsError::Compress(RecompressError::Cancelled(_)) => STOPPED,
        RootfsError::Merge(_)
        | RootfsError::Write { .. }
        | RootfsError::Read { .. }
        | RootfsError::Compress(_)
        | RootfsError::Fs(_) => MACHINE,
    }
}
