//! The hot paths as programs whose instructions `cargo xtask counts` counts, by Valgrind's
//! Callgrind:
//!
//! ```text
//! kiln-counts list                      the paths, one a line
//! kiln-counts prepare PATH FOLDER       makes what the path works on, in an empty folder
//! kiln-counts idle PATH FOLDER          loads that, and ends
//! kiln-counts once PATH FOLDER          loads that, and walks the path once
//! ```
//!
//! It ends with 3 where the kernel, or Valgrind in its place, does not know a system call that the
//! path needs.
//!
//! The path's count is `once` minus `idle`: starting a process and making inputs cancel out, every
//! thread is counted, and no function has to be found by its name. Whatever could make two counts
//! differ is fixed: the inputs' bytes, the clock, the length of paths (the working directory is the
//! folder, and its name has a fixed length), the number of threads.
//!
//! Deliberately absent: comparing and the table of what is expected, which are `cargo xtask
//! counts`; and time, which `benches` measures.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program reports to its terminal"
)]

mod input;
mod keys;
mod layers;
mod lower;
mod noop;
mod path;
mod scan;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use path::HotPath;

/// How the engine starts this program as the helper of a `RUN` step.
const STEP: &str = "__step";

/// The exit code where a system call does not exist.
const NO_SUCH_CALL: u8 = 3;

/// What ends a command early.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let [word, argument] = words.as_slice()
        && word == STEP
    {
        return kiln_exec::helper_main(argument);
    }
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let result = match words.as_slice() {
        ["list"] => {
            for path in HotPath::ALL {
                println!("{}", path.name());
            }
            Ok(())
        }
        [command @ ("prepare" | "idle" | "once"), name, folder] => perform(command, name, folder),
        _ => Err("usage: kiln-counts list | (prepare | idle | once) PATH FOLDER".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = causes(&*error);
            let shown: Vec<String> = causes.iter().map(ToString::to_string).collect();
            eprintln!("error: {}", shown.join(": "));
            if causes.iter().any(|cause| is_no_such_call(*cause)) {
                return ExitCode::from(NO_SUCH_CALL);
            }
            ExitCode::FAILURE
        }
    }
}

fn perform(command: &str, name: &str, folder: &str) -> Result<(), Failure> {
    let path = HotPath::named(name).ok_or_else(|| format!("there is no path `{name}`"))?;
    std::env::set_current_dir(folder).map_err(|error| format!("`{folder}`: {error}"))?;
    if command == "prepare" {
        return path.prepare();
    }
    let walk = path.load()?;
    if command == "once" {
        walk()?;
    }
    Ok(())
}

/// An error and what is behind it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut causes = vec![error];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    causes
}

fn is_no_such_call(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::Unsupported)
}
