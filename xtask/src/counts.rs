//! `cargo xtask counts`: how many instructions each hot path takes, against `benches/counts.toml`.
//!
//! Instructions are counted by Valgrind's Callgrind, whose synthetic processor does not care how
//! busy the machine is. What would make two counts differ is fixed here: one CPU, so that the
//! number of threads is known; an empty environment; a folder in memory, whose name has a fixed
//! length. `benches/counts` has the paths themselves.
//!
//! Deliberately absent: system calls, waiting and disks. A path that asks the kernel for more is not
//! seen here; `cargo xtask bench` measures that.

mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{self, Need};
use crate::run::{self, Outcome};
use crate::tally::{Runner, Tally};
use table::{Comparison, Environment, Table};

const TABLE: &str = "benches/counts.toml";
const PROGRAM: &str = "target/counts/kiln-counts";
/// Where Callgrind's files are left for `callgrind_annotate`.
const PROFILES: &str = "target/counts/callgrind";
/// A count that is too high is taken so often, and the lowest decides: a hash table whose random
/// order was unlucky, or a thread that had to wait, only ever add to it.
const ATTEMPTS: usize = 3;

/// What to do with the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Fail where a path takes more than the table says.
    Compare,
    /// Write the table.
    Update,
}

/// What a path came to: its name, and its instructions unless Valgrind can't run it.
type Counted = (String, Option<u64>);

/// The exit code of `kiln-counts` where a system call does not exist.
const NO_SUCH_CALL: i32 = 3;

/// Counts all paths. Fails where something is missing that is needed.
pub(crate) fn counts(mode: Mode) -> Outcome {
    if let Some(missing) = missing() {
        return Err(format!(
            "counting needs `{}`\n\nhint: apt-get install {}",
            missing.program, missing.package
        ));
    }
    perform(mode).map(drop)
}

/// Counts all paths as one check of `cargo xtask test`; skipped where something is missing.
pub(crate) fn counts_into(tally: &mut Tally) {
    let skipped = match (missing(), read_table()) {
        (Some(missing), _) => Some(format!("no `{}`", missing.program)),
        (None, Ok(table)) => table.made_with.reason_to_skip(&environment()),
        (None, Err(_)) => None,
    };
    if let Some(reason) = skipped {
        skip(tally, &format!("instruction counts: {reason}"));
        return;
    }
    match perform(Mode::Compare) {
        Ok(skipped) => {
            tally.check(true);
            for path in skipped {
                let reason = "Valgrind does not know a system call that it needs";
                skip(tally, &format!("instruction counts of `{path}`: {reason}"));
            }
        }
        Err(message) => {
            eprintln!("error: {message}");
            tally.check(false);
        }
    }
}

/// Counts one more that could not run.
fn skip(tally: &mut Tally, reason: &str) {
    let line = format!("skipped: {reason}");
    eprintln!("{line}");
    tally.line(Runner::Libtest, &line);
    tally.check(true);
}

fn missing() -> Option<&'static Need> {
    packages::COUNTS
        .iter()
        .find(|need| !packages::is_there(need))
}

/// Counts all paths, and gives those that Valgrind can't run.
fn perform(mode: Mode) -> Outcome<Vec<String>> {
    run::run(&mut run::cargo(&[
        "build",
        "--profile=counts",
        "--package=kiln-counts",
        "--locked",
    ]))?;
    let profiles = run::root().join(PROFILES);
    fs::create_dir_all(&profiles)
        .map_err(|error| format!("could not make `{PROFILES}`: {error}"))?;
    let here = environment();
    let paths = run::read(run::command(program()).arg("list"))?;
    let mut counted: Vec<Counted> = Vec::new();
    match mode {
        Mode::Update => {
            let old = read_table().unwrap_or_default();
            for path in paths.lines() {
                counted.push((path.to_owned(), count(path)?));
            }
            print!("{}", Comparison::new(&old, &here, &counted));
            let text = old.with(here, &counted).to_string();
            fs::write(run::root().join(TABLE), text)
                .map_err(|error| format!("could not write `{TABLE}`: {error}"))?;
        }
        Mode::Compare => {
            let table = read_table()?;
            for path in paths.lines() {
                counted.push((path.to_owned(), lowest(&table, &here, path)?));
            }
            let comparison = Comparison::new(&table, &here, &counted);
            print!("{comparison}");
            comparison.outcome()?;
        }
    }
    let skipped = counted.into_iter().filter(|(_, count)| count.is_none());
    Ok(skipped.map(|(path, _)| path).collect())
}

/// Counts a path until the table allows it, or often enough.
fn lowest(table: &Table, here: &Environment, path: &str) -> Outcome<Option<u64>> {
    let mut lowest = None;
    for _ in 0..ATTEMPTS {
        let Some(count) = count(path)? else {
            return Ok(None);
        };
        lowest = Some(lowest.map_or(count, |lowest: u64| lowest.min(count)));
        if table.allows(here, path, count) {
            break;
        }
    }
    Ok(lowest)
}

fn read_table() -> Outcome<Table> {
    let text = fs::read_to_string(run::root().join(TABLE))
        .map_err(|error| format!("could not read `{TABLE}`: {error}"))?;
    Table::parse(&text).map_err(|reason| format!("`{TABLE}`: {reason}"))
}

/// Prepares and walks one path, and gives its count unless Valgrind can't run it.
fn count(path: &str) -> Outcome<Option<u64>> {
    let folder = Scratch::new()?;
    run::read(&mut pinned([
        program().as_os_str(),
        "prepare".as_ref(),
        path.as_ref(),
        folder.0.as_os_str(),
    ]))?;
    let idle = callgrind("idle", path, &folder)?;
    let once = callgrind("once", path, &folder)?;
    let pair = once.zip(idle);
    Ok(pair.map(|(once, idle)| once.saturating_sub(idle)))
}

/// Runs the program under Callgrind and gives the number of all instructions of all its threads, or
/// `None` where it needs a system call that Valgrind does not know.
fn callgrind(command: &str, path: &str, folder: &Scratch) -> Outcome<Option<u64>> {
    let suffix = if command == "idle" { ".idle" } else { "" };
    let out = run::root()
        .join(PROFILES)
        .join(format!("{path}{suffix}.out"));
    let option = format!("--callgrind-out-file={}", out.display());
    let log = out.with_extension("log");
    let log = format!("--log-file={}", log.display());
    let mut valgrind = pinned([
        "valgrind".as_ref(),
        "--tool=callgrind".as_ref(),
        option.as_ref(),
        log.as_ref(),
        program().as_os_str(),
        command.as_ref(),
        path.as_ref(),
        folder.0.as_os_str(),
    ]);
    let status = valgrind
        .status()
        .map_err(|error| format!("could not run `{}`: {error}", run::display(&valgrind)))?;
    if status.code() == Some(NO_SUCH_CALL) {
        return Ok(None);
    }
    if !status.success() {
        return Err(format!("`{}` failed ({status})", run::display(&valgrind)));
    }
    let text = fs::read_to_string(&out)
        .map_err(|error| format!("could not read `{}`: {error}", out.display()))?;
    let total = table::total(&text);
    total
        .map(Some)
        .ok_or_else(|| format!("`{}` has no total", out.display()))
}

/// A command on one CPU, with next to no environment.
fn pinned<'a>(words: impl IntoIterator<Item = &'a std::ffi::OsStr>) -> Command {
    let mut command = run::command("taskset");
    command.arg("--cpu-list").arg(first_cpu()).args(words);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// The first CPU that this process may run on.
fn first_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    table::first_cpu(&status).unwrap_or("0").to_owned()
}

fn program() -> PathBuf {
    run::root().join(PROGRAM)
}

/// A new folder, in memory where there is such a place: the order in which a folder lists its files
/// is the same there on each machine. Removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let path = parent.join(format!("kiln-counts-{:010}", std::process::id()));
        fs::create_dir(&path)
            .map_err(|error| format!("could not make `{}`: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: could not remove `{}`: {error}", self.0.display());
        }
    }
}

/// What counts depend on beside kiln.
fn environment() -> Environment {
    let word = |program: &str, argument: &str| {
        let text = run::read(run::command(program).arg(argument)).unwrap_or_default();
        text.trim().to_owned()
    };
    let rustc = word("rustc", "--version");
    let features = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Environment {
        architecture: std::env::consts::ARCH.to_owned(),
        libc: word("getconf", "GNU_LIBC_VERSION"),
        processor: table::processor(&features).to_owned(),
        rustc: rustc.split(' ').nth(1).unwrap_or_default().to_owned(),
        valgrind: word("valgrind", "--version"),
    }
}
