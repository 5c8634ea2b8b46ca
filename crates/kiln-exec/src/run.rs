//! Running a step.
use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_base::events::Stream;

use crate::{ExecError, StepSpec};

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

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by {}", kiln_sys::signal::name(*signal)),
        }
    }
}

/// Sends signals to a running program; clones speak to the same one.
#[derive(Debug, Clone, Default)]
pub struct Control {}

/// Runs a program to its end.
pub fn run(
    spec: &StepSpec<'_>,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &CancelToken,
) -> Result<ExitStatus, ExecError> {
    let _ = (spec, output, cancel);
    unimplemented!()
}

/// What the binary does when it is started as `kiln __step <fd>`.
pub fn helper_main(argument: &std::ffi::OsStr) -> ExitCode {
    let _ = argument;
    unimplemented!()
}
