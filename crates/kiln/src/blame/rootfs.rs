//! Verdicts on disks that could not be made.

use kiln_engine::{MergeError, RootfsError};
use kiln_layer::RecompressError;
use kiln_rootfs::boot::BootProblem;
use kiln_rootfs::harden::HardenError;
use kiln_rootfs::init::InitError;
use kiln_rootfs::optimise::OptimiseError;
use kiln_rootfs::reach::ReachError;
use kiln_rootfs::spec::SpecError;

use super::{BUILT, MACHINE, SCARCE, STOPPED, USAGE, Verdict, base, root, step};
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
        RootfsError::Program(ReachError::NoCommand) | RootfsError::Init(InitError::NoCommand) => {
            USAGE.hint("say what to run, `--cmd WORD`, or take the files alone: `--init none`")
        }
        RootfsError::Init(InitError::Architecture(_)) => {
            USAGE.hint("take the files alone, `--init none`, or `--init custom`")
        }
        RootfsError::Program(_) | RootfsError::Init(_) => {
            USAGE.hint("mend the image, or take its files as they are: `--init none`")
        }
        RootfsError::NoCustomInit => USAGE.hint("name it: `--init-path PATH`"),
        RootfsError::Losses(_) => {
            USAGE.hint("keep it: `--preserve PATTERN`, or leave the rule out of `--optimise`")
        }
        RootfsError::Boot(error) => boot(&error.problem),
        RootfsError::Initrd(_) => SCARCE.hint(
            "choose another kernel, `--kernel FILE`; its modules are looked for in `lib/modules` \
             beside its folder and in `/lib/modules`",
        ),
        RootfsError::SameFile(_) => USAGE.hint(
            "name another one: `--sbom=FORMAT,dest=FILE`, `--manifest FILE`, `--initrd FILE`",
        ),
        RootfsError::NoFolder { folder, .. } => {
            let folder = folder.display();
            USAGE.hint(format!(
                "make it, `mkdir -p '{folder}'`, or name a file elsewhere"
            ))
        }
        RootfsError::Image(_)
        | RootfsError::Optimise(OptimiseError::Options(_))
        | RootfsError::Harden(HardenError::Preserve(_))
        | RootfsError::Plan { .. }
        | RootfsError::Label(_)
        | RootfsError::NotAFile(_) => USAGE,
        RootfsError::Cancelled(_)
        | RootfsError::Merge(MergeError::Cancelled(_))
        | RootfsError::Optimise(OptimiseError::Cancelled(_))
        | RootfsError::Harden(HardenError::Cancelled(_))
        | RootfsError::Compress(RecompressError::Cancelled(_)) => STOPPED,
        RootfsError::Optimise(_) | RootfsError::Harden(_) => BUILT,
        RootfsError::Merge(_)
        | RootfsError::Write { .. }
        | RootfsError::Read { .. }
        | RootfsError::Compress(_)
        | RootfsError::Scan(_)
        | RootfsError::Statement(_)
        | RootfsError::Unsigned
        | RootfsError::Fs(_) => MACHINE,
    }
}

/// A disk that does not boot is a build that failed.
fn boot(problem: &BootProblem) -> Verdict {
    match problem {
        BootProblem::NoQemu { .. } | BootProblem::NoKernel(_) => SCARCE,
        BootProblem::Kernel(_) => USAGE,
        BootProblem::Cancelled => STOPPED,
        _ => BUILT,
    }
}
