//! `--profile`: where the time of a command went, in a file for a trace viewer.
//!
//! The clock is started before the command line is understood, if it looks as if it asked for that;
//! what was before `main`, the kernel and the loader, no program can see of itself. The file is
//! written at the end, however the command ends, except by a second Ctrl-C.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use kiln_base::trace::Tracer;
use kiln_sys::files;

use crate::args::ProfileArgs;
use crate::error::CliError;
use crate::settings::Environment;
use crate::terminal::tell;

/// The flag, as it is typed.
const FLAG: &str = "--profile";

/// A tracer that is on where the command line asks for it.
pub(crate) fn tracer(words: &[OsString]) -> Tracer {
    let asks = |word: &OsString| word.as_encoded_bytes().starts_with(FLAG.as_bytes());
    if !words.iter().any(asks) {
        return Tracer::off();
    }
    let began = Instant::now();
    let tracer = Tracer::new(move || began.elapsed(), kiln_sys::host::thread_id);
    tracer.name_thread("main");
    tracer
}

/// Does the work of a command, and writes what it took to the file that was asked for.
pub(crate) fn profiled(
    args: &ProfileArgs,
    (environment, tracer): (&Environment, &Tracer),
    work: impl FnOnce() -> Result<ExitCode, CliError>,
) -> Result<ExitCode, CliError> {
    let Some(path) = &args.profile else {
        return work();
    };
    let path = environment.resolve(path);
    tracer.within("make room for the profile", || make_way(&path))?;
    let result = work();
    let text = kiln_report::chrome_trace(&tracer.take());
    match (files::write(&path, text.as_bytes()), result) {
        (Ok(()), result) => result,
        (Err(error), Ok(_)) => Err(error.into()),
        (Err(error), result @ Err(_)) => {
            tell(&format!("warning: the profile is lost: {error}\n"));
            result
        }
    }
}

/// Finds out whether the file can be written, and leaves nothing there meanwhile: it may lie in the
/// folder that is built, and would be taken for a part of it.
fn make_way(path: &Path) -> Result<(), CliError> {
    if path.exists() && !path.is_file() {
        // A device or a pipe is opened once, when there is something to write.
        return Ok(());
    }
    drop(files::create(path)?);
    files::remove_file(path)?;
    Ok(())
}
