//! One command, timed as a whole process, with what it cost in processor time, memory and bytes.
//!
//! The command runs below a small process of its own ([`helper`]), since the kernel adds up what
//! ended processes have used for their parent only, and never starts again from zero. So nothing is
//! sampled while the command runs, however short it is. What a daemon did meanwhile is a
//! difference, see [`crate::family`].
//!
//! When this program is asked to end, or is gone, the helper ends the command with all below it. A
//! terminal's signals reach neither: they are in a process group of their own.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kiln_sys::signal;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::process::{Signal, WaitOptions};

use crate::family::{self, Watch};
use crate::interrupt;
use crate::model::Sample;

/// The word that makes this program a [`helper`].
pub(crate) const HELPER: &str = "__measure";

/// No command of any workload may take longer.
const LIMIT: Duration = Duration::from_mins(5);

/// What nobody measures may take as long as it takes.
const NO_LIMIT: Duration = Duration::MAX;

/// How long a command that is asked to end has for that; its mounts and files want to be removed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// The program and its arguments.
    pub(crate) words: Vec<OsString>,
    /// Variables beside those of this process.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Whom it runs as, where that is not this process's user.
    pub(crate) user: Option<User>,
    /// The daemon that does the work, if one does.
    pub(crate) daemon: Option<u32>,
}

/// An ordinary user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    /// The user's id.
    pub(crate) uid: u32,
    /// The id of the user's group.
    pub(crate) gid: u32,
}

impl Invocation {
    /// A command of the program.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self {
            words: vec![program.into()],
            environment: Vec::new(),
            user: None,
            daemon: None,
        }
    }

    /// The same with more arguments.
    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.words.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The same with one more argument.
    pub(crate) fn arg(self, argument: impl Into<OsString>) -> Self {
        self.args([argument])
    }

    /// The same with a variable.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// This one and, when it succeeded, the other, as one command; whoever runs this runs both.
    pub(crate) fn then(self, next: &Self) -> Self {
        let line = format!("{self} && {next}");
        Self {
            words: ["/bin/sh", "-c", &line].map(Into::into).to_vec(),
            ..self
        }
    }

    /// The command for the operating system.
    pub(crate) fn command(&self) -> Command {
        let mut command = command(self.words.first().cloned().unwrap_or_default());
        command.args(self.words.iter().skip(1));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// The command as a shell would read it.
impl fmt::Display for Invocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(formatter, "{space}{}", quoted(&word.to_string_lossy()))?;
        }
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Starts a process: benchmarks compare whole programs, as their users start them.
#[expect(
    clippy::disallowed_methods,
    reason = "the benchmarked programs need the environment and directory of their user"
)]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// Runs the command to its end and says what it cost. An exit code other than 0 is an error that
/// shows the end of its output.
///
/// Earlier writes are brought to the disk first, so that nobody pays for another's.
pub(crate) fn measure(invocation: &Invocation, scratch: &Path) -> Result<Sample, String> {
    let files = Files::new(scratch);
    let mut command = helper_command(invocation, &files)?;
    command.stdout(Stdio::null());
    settle();
    let watch = invocation.daemon.map(Watch::start);
    let ended = end(invocation, command, LIMIT);
    let daemon = watch.map(Watch::end).unwrap_or_default();
    let (code, own) = files.report(ended)?;
    if code != 0 {
        complain(&format!("  exit code {code}: {invocation}"));
        return Err(format!("exit code {code}: {}", files.tail()));
    }
    Ok(Sample {
        wall: own.wall,
        cpu: own.cpu + daemon.cpu,
        peak: own.peak.max(daemon.peak),
        read: own.read + daemon.read,
        written: own.written + daemon.written,
    })
}

/// Brings what was written before to the disk, so that nobody waits for another's writes.
pub(crate) fn settle() {
    rustix::fs::sync();
}

/// Runs the command to its end without measuring it, with the same errors; gives what it wrote.
pub(crate) fn run(invocation: &Invocation, scratch: &Path) -> Result<String, String> {
    let files = Files::new(scratch);
    let failed = |error: std::io::Error| format!("{invocation}: {error}");
    let mut command = helper_command(invocation, &files)?;
    command.stdout(fs::File::create(&files.said).map_err(failed)?);
    let ended = end(invocation, command, NO_LIMIT);
    let (code, _) = files.report(ended)?;
    if code == 0 {
        let said = fs::read(&files.said).map_err(failed)?;
        return Ok(String::from_utf8_lossy(&said).into_owned());
    }
    let tail = files.tail();
    Err(format!("`{invocation}`: exit code {code}: {tail}"))
}

/// Starts a helper and waits for its end.
fn end(invocation: &Invocation, mut helper: Command, limit: Duration) -> Result<(), String> {
    interrupt::check()?;
    let child = helper
        .spawn()
        .map_err(|error| format!("{invocation}: {error}"))?;
    wait(child, limit)
}

/// Where a helper leaves what it found, and where the command's messages go.
struct Files {
    report: PathBuf,
    output: PathBuf,
    said: PathBuf,
}

impl Files {
    fn new(scratch: &Path) -> Self {
        let report = scratch.join("measured");
        let output = scratch.join("output");
        let said = scratch.join("said");
        let _ = fs::remove_file(&report);
        Self {
            report,
            output,
            said,
        }
    }

    /// What the helper found; or why it found nothing.
    fn report(&self, ended: Result<(), String>) -> Result<(i32, Sample), String> {
        let report = fs::read_to_string(&self.report).unwrap_or_default();
        interrupt::check()?;
        parse(&report).ok_or_else(|| {
            let why = ended.err().unwrap_or_else(|| "no measurement".to_owned());
            format!("{why}\n{}", self.tail())
        })
    }

    /// The last lines of the messages.
    fn tail(&self) -> String {
        let text = fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(3)..].join("\n")
    }
}

fn helper_command(invocation: &Invocation, files: &Files) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = fs::File::create(&files.output).map_err(|error| error.to_string())?;
    let user = invocation.user;
    let user = user.map_or("-".to_owned(), |user| format!("{}:{}", user.uid, user.gid));
    let mut helper = command(own);
    helper.arg(HELPER).arg(&files.report).arg(user);
    helper.args(&invocation.words);
    let variables = invocation.environment.iter();
    helper.envs(variables.map(|(name, value)| (name, value)));
    helper.stdin(Stdio::null()).stderr(output).process_group(0);
    Ok(helper)
}

/// Waits for the helper; has it end everything below it when it takes too long, or when somebody
/// asks for the end of all.
fn wait(mut child: Child, limit: Duration) -> Result<(), String> {
    let began = Instant::now();
    let mut asked: Option<(Instant, String)> = None;
    let mut pause = Duration::from_millis(2);
    loop {
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        match (ended, &asked) {
            (Some(_), Some((_, why))) => return Err(why.clone()),
            (Some(status), None) if status.success() => return Ok(()),
            (Some(status), None) => return Err(status.to_string()),
            (None, Some((since, _))) if since.elapsed() > PATIENCE * 2 => family::kill(child.id()),
            (None, Some(_)) => {}
            (None, None) => {
                let late = (began.elapsed() > limit)
                    .then(|| format!("not done after {} s", limit.as_secs()));
                asked = interrupt::check().err().or(late).map(|why| {
                    family::signal(child.id(), Signal::TERM);
                    (Instant::now(), why)
                });
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// `__measure REPORT UID:GID|- PROGRAM ARGUMENT...`: runs the program and writes what it cost.
pub(crate) fn helper(words: &[OsString]) -> ExitCode {
    match measured(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn measured(words: &[OsString]) -> Result<(), String> {
    let [report, user, words @ ..] = words else {
        return Err("a report, a user and a command are needed".to_owned());
    };
    let user = user.to_string_lossy();
    let user = user.split_once(':').and_then(|(uid, gid)| {
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(User { uid, gid })
    });
    let invocation = Invocation {
        words: words.to_vec(),
        environment: Vec::new(),
        user,
        daemon: None,
    };
    // Whatever the command starts and leaves behind is counted as soon as it ends.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let is_asked = Arc::new(AtomicBool::new(false));
    end_when_asked(Arc::clone(&is_asked))?;
    let began = Instant::now();
    let status = invocation.command().status();
    let wall = began.elapsed();
    let status = status.map_err(|error| format!("{invocation}: {error}"))?;
    while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
    if is_asked.load(Ordering::Acquire) {
        while rustix::process::wait(WaitOptions::empty()).is_ok() {}
        return Err("ended before it was done".to_owned());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let line = format!(
        "{} {} {micros} {} {} {}\n",
        status.code().unwrap_or(-1),
        wall.as_nanos(),
        usage.max_rss(),
        usage.block_reads(),
        usage.block_writes()
    );
    fs::write(report, line).map_err(|error| error.to_string())
}

/// Ends what this helper has started when it is asked to, or when whoever started it is gone.
/// Handlers are not inherited: the command itself hears signals as it would anywhere.
fn end_when_asked(is_asked: Arc<AtomicBool>) -> Result<(), String> {
    let watch = signal::watch(&signal::STOP, move |_| {
        is_asked.store(true, Ordering::Release);
        family::end_children(PATIENCE);
    });
    let watch = watch.map_err(|error| format!("signals can't be watched: {error}"))?;
    // As long as this process lives: the callback does not return.
    let _ = std::mem::ManuallyDrop::new(watch);
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    Ok(())
}

/// The exit code and the cost that [`helper`] wrote.
fn parse(report: &str) -> Option<(i32, Sample)> {
    let mut words = report.split_whitespace();
    let code = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let sample = Sample {
        wall: Duration::from_nanos(number()?),
        cpu: Duration::from_micros(number()?),
        peak: number()? * 1024,
        // The kernel counts blocks of 512 bytes.
        read: number()? * 512,
        written: number()? * 512,
    };
    Some((code, sample))
}

/// A line for the person who waits; nothing is lost with it when the terminal is gone.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_helper_writes_is_read() {
        let (code, sample) = parse("0 1500000 2500 64 3 4\n").unwrap();
        assert_eq!(code, 0);
        assert_eq!(
            sample,
            Sample {
                wall: Duration::from_micros(1500),
                cpu: Duration::from_micros(2500),
                peak: 65536,
                read: 1536,
                written: 2048,
            }
        );
        assert_eq!(parse("0 15"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn commands_are_shown_as_a_shell_reads_them() {
        let one = Invocation::new("docker").args(["build", "a b"]);
        let two = Invocation::new("docker").arg("it's");
        assert_eq!(one.to_string(), "docker build 'a b'");
        let both = one.env("A", "1").then(&two);
        assert_eq!(both.environment.len(), 1);
        assert_eq!(
            both.words[2].to_string_lossy(),
            r"docker build 'a b' && docker 'it'\''s'"
        );
    }
}
