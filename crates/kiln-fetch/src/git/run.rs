//! Running the host's git.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_base::CancelToken;
use kiln_dockerfile::gitref::GitRemote;
use kiln_sys::{files, process};
use rustix::process::{Pid, Signal, kill_process_group};

use super::GitRequest;
use super::auth::{self, Header};
use super::error::{GitError, GitProblem, Given, classify};

/// Where programs are looked for: the engine does not read the environment.
const FOLDERS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin"];

/// How much of what git writes is read, in bytes: a listing of some million files.
const MAX_OUTPUT: u64 = 512 * 1024 * 1024;
/// How much of a failed git's messages is kept, in bytes.
const MAX_MESSAGES: usize = 16 * 1024;
/// How many lines of a failed git's messages an error repeats.
const LAST_LINES: usize = 20;

/// What git is told, whatever its own defaults are. The last of them: packs stay packs, so that a
/// fetch that is killed leaves nothing that looks whole.
const SETTINGS: [(&str, &str); 19] = [
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("protocol.git.allow", "always"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("core.logAllRefUpdates", "false"),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("init.defaultBranch", "master"),
    ("advice.detachedHead", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
    ("transfer.unpackLimit", "1"),
];

/// git, ready to be run for one remote.
pub(super) struct Git<'a> {
    pub(super) request: &'a GitRequest<'a>,
    pub(super) remote: &'a GitRemote,
    program: PathBuf,
    headers: Vec<Header>,
    bundle: Option<PathBuf>,
    ssh_command: String,
}

/// One run of git.
#[derive(Debug, Clone, Copy)]
pub(super) struct Invocation<'a> {
    /// What it is for, fit to follow "could not": `fetch`.
    pub(super) action: &'static str,
    pub(super) cwd: &'a Path,
    /// Further variables.
    pub(super) variables: &'a [(&'a str, &'a Path)],
    /// Whether a repository of this machine may be fetched from: kiln's own.
    pub(super) source: Source,
}

/// Where a run of git may fetch from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Remote,
    /// kiln's own folder of repositories; no credentials are needed for that.
    Cache,
}

/// How a run ended that git itself ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Done(Vec<u8>),
    /// Its last messages, without secrets.
    Failed(String),
}

impl<'a> Git<'a> {
    /// git for `remote`, which is the one asked for or one of its submodules.
    pub(super) fn new(
        request: &'a GitRequest<'a>,
        remote: &'a GitRemote,
    ) -> Result<Self, GitError> {
        let program = FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join("git"))
            .find(|path| files::exists(path))
            .ok_or_else(|| GitError::NotInstalled {
                remote: remote.to_string(),
                folders: FOLDERS.join(", "),
            })?;
        files::create_dir_all(request.cache_dir, 0o755)?;
        let bundle = request.network.bundle(request.cache_dir);
        let ssh_command = auth::ssh_command(request.auth).ok_or_else(|| {
            GitError::Path(match &request.auth.known_hosts {
                auth::KnownHosts::File(path) => path.clone(),
                auth::KnownHosts::AcceptAny => PathBuf::new(),
            })
        })?;
        Ok(Self {
            request,
            remote,
            program,
            headers: auth::headers(request.auth, &request.git.remote, remote),
            bundle: bundle.map_err(GitError::Authorities)?,
            ssh_command,
        })
    }

    /// Runs git and returns what it writes to its standard output.
    pub(super) fn run(
        &self,
        invocation: Invocation<'_>,
        arguments: &[&str],
        cancel: &CancelToken,
    ) -> Result<Vec<u8>, GitError> {
        match self.attempt(invocation, arguments, cancel)? {
            Outcome::Done(output) => Ok(output),
            Outcome::Failed(output) => Err(self.failed(invocation.action, output)),
        }
    }

    /// The error of a run that failed with these messages.
    pub(super) fn failed(&self, action: &'static str, output: String) -> GitError {
        GitError::Failed {
            action,
            remote: self.remote.to_string(),
            problem: self.classify(&output),
            output,
        }
    }

    fn classify(&self, output: &str) -> GitProblem {
        let given = Given {
            credential: !self.headers.is_empty(),
            agent: self.request.auth.ssh_agent.is_some(),
        };
        classify(output, given)
    }

    /// Runs git, which may fail.
    pub(super) fn attempt(
        &self,
        invocation: Invocation<'_>,
        arguments: &[&str],
        cancel: &CancelToken,
    ) -> Result<Outcome, GitError> {
        cancel.check()?;
        let not_run = |cause| GitError::Run {
            command: arguments.first().copied().unwrap_or_default().to_owned(),
            cause,
        };
        let mut command = self.command(invocation, arguments);
        let ended = supervise(&mut command, self.request.timeout, cancel).map_err(not_run)?;
        cancel.check()?;
        if ended.timed_out {
            return Err(GitError::TimedOut {
                action: invocation.action,
                remote: self.remote.to_string(),
                limit: self.request.timeout,
            });
        }
        if ended.status.success() {
            return Ok(Outcome::Done(ended.output));
        }
        Ok(Outcome::Failed(self.last_lines(&ended)))
    }

    fn command(&self, invocation: Invocation<'_>, arguments: &[&str]) -> Command {
        // The shell sets the mask, so that files get 0644 and 0755 whatever kiln's own mask is.
        let mut command = process::command("/bin/sh", invocation.cwd);
        command.args(["-c", "umask 022; exec \"$0\" \"$@\""]);
        command.arg(&self.program).args(arguments);
        command.env("PATH", FOLDERS.join(":"));
        command.env("HOME", "/dev/null");
        command.env("LC_ALL", "C");
        command.env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_NO_LAZY_FETCH", "1");
        command.env("GIT_SSH_COMMAND", &self.ssh_command);
        command.env("GIT_SSH_VARIANT", "ssh");
        if let Some(agent) = &self.request.auth.ssh_agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        if let Some(bundle) = &self.bundle {
            command.env("GIT_SSL_CAINFO", bundle);
        }
        for (name, value) in self.request.network.proxy_variables() {
            command.env(name, value);
        }
        self.set_configuration(&mut command, invocation.source);
        for (name, value) in invocation.variables {
            command.env(name, value);
        }
        command.stdin(Stdio::null());
        command
    }

    /// The configuration, headers included, is in variables: arguments can be read by everybody.
    fn set_configuration(&self, command: &mut Command, source: Source) {
        let mut settings: Vec<(String, &str)> = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        match source {
            Source::Cache => settings.push(("protocol.file.allow".to_owned(), "always")),
            Source::Remote => {
                for header in &self.headers {
                    let name = format!("http.{}.extraheader", header.scope);
                    settings.push((name, header.line.expose()));
                }
                if !self.headers.is_empty() {
                    // git keeps sending the header wherever a server redirects to.
                    settings.push(("http.followRedirects".to_owned(), "false"));
                }
            }
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (index, (name, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
    }

    /// The end of git's messages, without what is secret in case a server repeats it.
    fn last_lines(&self, ended: &Ended) -> String {
        let mut text = String::from_utf8_lossy(&ended.messages).into_owned();
        for secret in self.secrets() {
            text = text.replace(&secret, "xxxxx");
        }
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&ended.status) {
            text.push_str("\nkilled by ");
            text.push_str(&kiln_sys::signal::name(signal));
        }
        let lines: Vec<&str> = text
            .split(['\n', '\r'])
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
            .collect();
        let first = lines.len().saturating_sub(LAST_LINES);
        lines[first..].join("\n")
    }

    /// Everything that must not be printed: values of headers, and passwords encoded in them.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        for header in &self.headers {
            let line = header.line.expose();
            let value = line
                .split_once(": ")
                .map_or(line.as_str(), |(_, value)| value);
            secrets.push(value.to_owned());
            let Some((_, last)) = value.rsplit_once(' ') else {
                continue;
            };
            secrets.push(last.to_owned());
            let pair = STANDARD
                .decode(last)
                .ok()
                .and_then(|b| String::from_utf8(b).ok());
            if let Some(password) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
                secrets.push(password.1.to_owned());
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets
    }
}

/// How a program ended, and what it wrote.
struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    messages: Vec<u8>,
    timed_out: bool,
}

/// A running program, which is the first of a process group of its own. It is not reaped before
/// nobody can kill it any more, so that its number means it.
struct Running {
    child: Child,
    is_reaped: bool,
}

impl Running {
    fn kill(&self) {
        if self.is_reaped {
            return;
        }
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended meanwhile; then there is nothing to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a program to its end, or until it is cancelled or takes too long: then it and all it has
/// started are killed.
fn supervise(command: &mut Command, timeout: Duration, cancel: &CancelToken) -> io::Result<Ended> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn()?;
    let (output, messages) = (child.stdout.take(), child.stderr.take());
    let running = Arc::new(Mutex::new(Running {
        child,
        is_reaped: false,
    }));
    let in_callback = Arc::clone(&running);
    let guard = cancel.on_cancel(move || lock(&in_callback).kill());
    let watchdog = Watchdog::start(Arc::clone(&running), timeout);
    let messages = std::thread::spawn(move || read_end(messages));
    let output = read_all(output);
    if output.is_err() {
        lock(&running).kill();
    }
    let messages = messages.join();
    let timed_out = watchdog.stop();
    // A cancellation from here on finds a program that has closed its output: it is at its end.
    let status = {
        let mut running = lock(&running);
        let status = running.child.wait();
        running.is_reaped = true;
        status
    };
    drop(guard);
    Ok(Ended {
        status: status?,
        output: output?,
        messages: messages.map_err(|_| io::Error::other("a thread panicked"))??,
        timed_out,
    })
}

fn read_all(source: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        source.take(MAX_OUTPUT + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MAX_OUTPUT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it wrote more than {MAX_OUTPUT} bytes"),
        ));
    }
    Ok(bytes)
}

/// Reads to the end and keeps the last bytes.
fn read_end(source: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut end = Vec::new();
    let Some(mut source) = source else {
        return Ok(end);
    };
    let mut buffer = [0; 4096];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(end),
            Ok(length) => end.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if end.len() > 2 * MAX_MESSAGES {
            end.drain(..end.len() - MAX_MESSAGES);
        }
    }
}

/// Kills a program that is not done in time.
struct Watchdog {
    state: Arc<(Mutex<bool>, Condvar)>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    fn start(running: Arc<Mutex<Running>>, timeout: Duration) -> Self {
        let state = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let (is_done, changed) = &*shared;
            let is_done = is_done.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = changed.wait_timeout_while(is_done, timeout, |is_done| !*is_done);
            let (is_done, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if *is_done {
                return false;
            }
            lock(&running).kill();
            true
        });
        Self { state, thread }
    }

    /// Ends the watch; whether the time was up before.
    fn stop(self) -> bool {
        let (is_done, changed) = &*self.state;
        *is_done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        self.thread.join().unwrap_or(false)
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = process::command("/bin/sh", Path::new("/"));
        command.args(["-c", script]).env("PATH", "/usr/bin:/bin");
        command
    }

    fn run(script: &str, timeout: Duration) -> (Option<i32>, String, String, bool) {
        let ended = supervise(&mut shell(script), timeout, &CancelToken::new()).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (output, messages) = (text(ended.output), text(ended.messages));
        (ended.status.code(), output, messages, ended.timed_out)
    }

    #[test]
    fn output_and_messages_are_apart() {
        let minute = Duration::from_mins(1);
        let (code, output, messages, timed_out) = run("echo a; echo b >&2; exit 3", minute);
        assert_eq!((code, timed_out), (Some(3), false));
        assert_eq!((output.as_str(), messages.as_str()), ("a\n", "b\n"));
    }

    #[test]
    fn the_end_of_long_messages_is_kept() {
        let script = "i=0; while [ $i -lt 9000 ]; do echo line $i; i=$((i+1)); done >&2";
        let (_, _, messages, _) = run(script, Duration::from_mins(1));
        assert!(messages.len() <= 2 * MAX_MESSAGES && messages.ends_with("line 8999\n"));
    }

    #[test]
    fn what_takes_too_long_is_killed_with_its_children() {
        // The grandchild keeps the pipe open: only killing the whole group ends the reading.
        let (code, _, _, timed_out) = run("sleep 1000 & wait", Duration::from_millis(50));
        assert_eq!((code, timed_out), (None, true));
    }

    #[test]
    fn what_is_cancelled_is_killed_with_its_children() {
        let cancel = CancelToken::new();
        cancel.cancel();
        let hour = Duration::from_hours(1);
        let ended = supervise(&mut shell("sleep 1000 & wait"), hour, &cancel).unwrap();
        assert_eq!((ended.status.code(), ended.timed_out), (None, false));
    }
}
