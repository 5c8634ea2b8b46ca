//! Running the host's git.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_base::CancelToken;
use kiln_dockerfile::gitref::GitRemote;
use kiln_sys::{files, process};

use super::GitRequest;
use super::auth::{self, Header};
use super::error::{GitError, GitProblem, Given, classify};
use super::supervise::{Ended, supervise};

/// Where programs are looked for: the engine does not read the environment.
const FOLDERS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin"];

/// How many lines of a failed git's messages an error repeats.
const LAST_LINES: usize = 20;

/// The oldest git that takes its configuration from variables.
const OLDEST: (u32, u32) = (2, 31);

/// The transports that git may use, whatever a repository asks for.
const TRANSPORTS: &str = "http:https:ssh:git";

/// What git is told, whatever its own defaults are. The last of them: packs stay packs, so that a
/// fetch that is killed leaves nothing that looks whole.
const SETTINGS: [(&str, &str); 14] = [
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
        cancel: &CancelToken,
    ) -> Result<Self, GitError> {
        if !request.cache_dir.is_absolute() {
            return Err(GitError::Path(request.cache_dir.to_owned()));
        }
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
        let git = Self {
            request,
            remote,
            program,
            headers: auth::headers(request.auth, &request.git.remote, remote),
            bundle: bundle.map_err(GitError::Authorities)?,
            ssh_command,
        };
        git.check_version(cancel)?;
        Ok(git)
    }

    /// An older git would run, and not hear the half of what it is told.
    fn check_version(&self, cancel: &CancelToken) -> Result<(), GitError> {
        let invocation = Invocation {
            action: "ask git for its version for",
            cwd: self.request.cache_dir,
            variables: &[],
            source: Source::Remote,
        };
        let output = self.run(invocation, &["version"], cancel)?;
        let output = String::from_utf8_lossy(&output);
        let version = output.trim_end().trim_start_matches("git version ");
        if parse_version(version).is_some_and(|version| version >= OLDEST) {
            return Ok(());
        }
        Err(GitError::TooOld {
            version: version.to_owned(),
            oldest: format!("{}.{}", OLDEST.0, OLDEST.1),
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
        command.env(
            "GIT_ALLOW_PROTOCOL",
            match invocation.source {
                Source::Remote => TRANSPORTS,
                Source::Cache => "file",
            },
        );
        // A repository around the folder that git starts in is none of its business.
        if let Some(parent) = invocation.cwd.parent() {
            command.env("GIT_CEILING_DIRECTORIES", parent);
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
        if source == Source::Remote {
            for header in &self.headers {
                let name = format!("http.{}.extraheader", header.scope);
                settings.push((name, header.line.expose()));
            }
            if !self.headers.is_empty() {
                // git keeps sending the header wherever a server redirects to.
                settings.push(("http.followRedirects".to_owned(), "false"));
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

/// The first two numbers of a version.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('.')?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let minor = &rest[..end.unwrap_or(rest.len())];
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("2.47.3"), Some((2, 47)));
        assert_eq!(parse_version("2.9.0.windows.1"), Some((2, 9)));
        assert_eq!(parse_version("2.31-rc1"), Some((2, 31)));
        assert_eq!(parse_version("two"), None);
        assert!(parse_version("2.9.5") < Some(OLDEST));
    }
}
