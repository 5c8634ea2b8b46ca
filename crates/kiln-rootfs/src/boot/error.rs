//! Why a disk is not good.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use kiln_sys::fs::FsError;
use kiln_sys::process::Ended;

/// Why a disk is not good, and what its console said.
#[derive(Debug)]
pub struct BootError {
    /// Why.
    pub problem: BootProblem,
    /// What was on the console; of much, the end.
    pub console: String,
}

/// Why a disk is not good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootProblem {
    /// QEMU is not installed.
    #[error("`{program}` is not installed (Debian: {package})")]
    NoQemu {
        /// The program.
        program: String,
        /// The package that has it.
        package: &'static str,
    },
    /// There is no kernel that could start the disk.
    #[error(
        "no kernel was found at `/boot/vmlinuz-*cloud*`: install one (Debian: \
         linux-image-cloud-{0}) or say where one is; it has to have the disk's driver (NVMe) and \
         file system built in"
    )]
    NoKernel(&'static str),
    /// The kernel that was asked for.
    #[error("the kernel can't be read")]
    Kernel(#[source] FsError),
    /// QEMU could not be started, or spoken with.
    #[error("could not start QEMU")]
    Start(#[source] io::Error),
    /// QEMU ended before what was waited for; with what it said itself.
    #[error("the machine ended too early: {0}")]
    Ended(String),
    /// The kernel gave up.
    #[error("{0}")]
    Panic(String),
    /// The first process could not start the program.
    #[error("{message} (exit code {code})")]
    NotStarted {
        /// As Docker has it: 125, 126, 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// The program ended before what was waited for.
    #[error("the program ended before {what}: {}", describe(*.ended))]
    ProgramEnded {
        /// How.
        ended: Ended,
        /// What was waited for.
        what: String,
    },
    /// The program ended as it should not.
    #[error("the program ended with {}, and exit code {expected} was asked for", describe(*.ended))]
    WrongExit {
        /// How.
        ended: Ended,
        /// The code that was asked for.
        expected: i32,
    },
    /// It took too long.
    #[error("no {what} within {} seconds", .deadline.as_secs_f32())]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        deadline: Duration,
    },
    /// The caller does not want to know any more.
    #[error("cancelled")]
    Cancelled,
}

fn describe(ended: Ended) -> String {
    match ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signaled(number) => format!("killed by {}", kiln_sys::signal::name(number)),
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(formatter)
    }
}

impl Error for BootError {
    /// What the problem says is not said twice.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

impl From<BootProblem> for BootError {
    fn from(problem: BootProblem) -> Self {
        Self {
            problem,
            console: String::new(),
        }
    }
}
