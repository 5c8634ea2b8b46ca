//! What can go wrong between kiln and a repository.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kiln_base::Cancelled;
use kiln_sys::fs::FsError;
use kiln_sys::lock::LockError;

/// A repository was not resolved or not checked out. Holds no credential.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git.
    #[error(
        "git is needed for `{remote}` and not installed (looked in {folders}): install the package `git`"
    )]
    NotInstalled {
        /// The repository.
        remote: String,
        /// Where it was looked for.
        folders: String,
    },
    /// git is too old to be told what it must not do.
    #[error("git {version} is too old: kiln needs {oldest} or later")]
    TooOld {
        /// What is installed.
        version: String,
        /// What is needed.
        oldest: String,
    },
    /// git could not be started, or its output could not be read.
    #[error("could not run `git {command}`")]
    Run {
        /// The subcommand.
        command: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// git failed.
    #[error("could not {action} `{remote}`: {problem}{}", indented(output))]
    Failed {
        /// `fetch`, `ask` …
        action: &'static str,
        /// The repository, without credentials.
        remote: String,
        /// What git's output means.
        problem: GitProblem,
        /// The last lines that git wrote.
        output: String,
    },
    /// git was stopped because it took too long.
    #[error("could not {action} `{remote}`: git was not done after {} seconds", limit.as_secs())]
    TimedOut {
        /// `fetch`, `ask` …
        action: &'static str,
        /// The repository.
        remote: String,
        /// How long it had.
        limit: Duration,
    },
    /// The repository has no such branch or tag.
    #[error(
        "`{remote}` has no branch or tag `{reference}` (a commit has to be given with all of its 40 or 64 digits)"
    )]
    NoReference {
        /// The repository.
        remote: String,
        /// What was asked for.
        reference: String,
    },
    /// The repository has no default branch: it is empty.
    #[error("`{remote}` has no default branch: name the branch, tag or commit after `#`")]
    NoDefaultBranch {
        /// The repository.
        remote: String,
    },
    /// The commit is not in the repository.
    #[error("`{remote}` has no commit `{commit}`")]
    NoCommit {
        /// The repository.
        remote: String,
        /// The commit, or the annotated tag.
        commit: String,
    },
    /// The commit is not the expected one.
    #[error("`{remote}` is at commit `{actual}` where the checksum `{expected}` is expected")]
    Checksum {
        /// The repository.
        remote: String,
        /// The beginning of the hash that is expected.
        expected: String,
        /// The commit, and the annotated tag where there is one.
        actual: String,
    },
    /// `fetch-by-commit` needs to know the commit.
    #[error(
        "`fetch-by-commit` for `{remote}` needs the whole commit hash as `checksum` or as reference"
    )]
    NeedsChecksum {
        /// The repository.
        remote: String,
    },
    /// An answer of git that can't be.
    #[error("git said something about `{remote}` that can't be: {what}")]
    Answer {
        /// The repository.
        remote: String,
        /// What.
        what: &'static str,
    },
    /// The folder that is asked for is not in the repository, or is not a folder.
    #[error("`{subdir}` is not a folder of `{remote}` at this commit: {reason}")]
    Subdir {
        /// The repository.
        remote: String,
        /// The folder.
        subdir: String,
        /// Why.
        reason: &'static str,
    },
    /// A submodule can't be fetched as the repository describes it.
    #[error(
        "submodule `{path}` of `{remote}` {problem}: build without submodules by `?submodules=false`"
    )]
    Submodule {
        /// The repository.
        remote: String,
        /// Where the submodule belongs.
        path: String,
        /// What is wrong with it, fit to follow the name.
        problem: String,
    },
    /// The folder to check out into has something in it.
    #[error("can't check out into `{0}`: it is not empty")]
    NotEmpty(PathBuf),
    /// A path that can't be handed to git.
    #[error("path `{0}` can't be handed to git: it has to be absolute and plain text")]
    Path(PathBuf),
    /// The certificate authorities can't be read.
    #[error("could not read the certificate authorities")]
    Authorities(#[source] FsError),
    /// A file or folder of the checkout or of the cache.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The lock of a cached repository.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The build was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Why git failed, as far as its output tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitProblem {
    /// The server wants a credential, or refuses the one it got.
    Denied {
        /// Whether one was sent.
        had_credential: bool,
    },
    /// An SSH server refuses the keys.
    KeyRefused {
        /// Whether there was an agent.
        had_agent: bool,
    },
    /// There is no such repository, or it is hidden from whoever has no credential.
    NotFound {
        /// Whether one was sent.
        had_credential: bool,
    },
    /// The host's name means nothing.
    UnknownHost,
    /// Nobody answers.
    Unreachable,
    /// The server's certificate is not trusted.
    Certificate,
    /// The SSH server's key is not among the known hosts.
    HostKey,
    /// The server redirects, and credentials are not sent along.
    Redirected,
    /// Anything else.
    Other,
}

impl fmt::Display for GitProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECRETS: &str = "the secret `GIT_AUTH_TOKEN` or `GIT_AUTH_HEADER`";
        match self {
            Self::Denied {
                had_credential: false,
            } => write!(f, "the server wants a credential: give it {SECRETS}"),
            Self::Denied {
                had_credential: true,
            } => write!(f, "the server refused the credential: check {SECRETS}"),
            Self::KeyRefused { had_agent: false } => {
                f.write_str("the server wants a key: forward an SSH agent, as by `--ssh default`")
            }
            Self::KeyRefused { had_agent: true } => {
                f.write_str("the server refused the keys of the SSH agent")
            }
            Self::NotFound {
                had_credential: false,
            } => write!(f, "there is no such repository, or it is private and needs {SECRETS}"),
            Self::NotFound {
                had_credential: true,
            } => f.write_str("there is no such repository, or the credential is not for it"),
            Self::UnknownHost => f.write_str("the host's name can't be resolved"),
            Self::Unreachable => f.write_str("the server can't be reached"),
            Self::Certificate => f.write_str(
                "the server's certificate is not trusted: add its authority to the trusted ones",
            ),
            Self::HostKey => f.write_str("the server's key is not among the known hosts"),
            Self::Redirected => f.write_str(
                "the server redirects, where credentials don't follow: give the repository's new address",
            ),
            Self::Other => f.write_str("git failed"),
        }
    }
}

/// What git was given, as far as it matters for what its failure means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) credential: bool,
    pub(crate) agent: bool,
}

/// What the output of a failed git means.
pub(crate) fn classify(output: &str, given: Given) -> GitProblem {
    let has = |words: &[&str]| words.iter().any(|word| output.contains(word));
    let denied = GitProblem::Denied {
        had_credential: given.credential,
    };
    if has(&["Host key verification failed"]) {
        GitProblem::HostKey
    } else if has(&["Permission denied (", "Too many authentication failures"]) {
        GitProblem::KeyRefused {
            had_agent: given.agent,
        }
    } else if has(&[
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "HTTP Basic: Access denied",
        "returned error: 401",
        "returned error: 403",
    ]) {
        denied
    } else if has(&[
        "returned error: 301",
        "returned error: 302",
        "returned error: 307",
        "returned error: 308",
        "unable to update url base from redirection",
    ]) {
        GitProblem::Redirected
    } else if has(&[
        "returned error: 404",
        "Repository not found",
        "repository not found",
        "not found: did you run",
        "repository not exported",
        "does not appear to be a git repository",
    ]) || (output.contains("fatal: repository '") && output.contains("' not found"))
    {
        GitProblem::NotFound {
            had_credential: given.credential,
        }
    } else if has(&[
        "Could not resolve host",
        "Could not resolve hostname",
        "unable to look up",
    ]) {
        GitProblem::UnknownHost
    } else if has(&["certificate", "SSL"]) {
        GitProblem::Certificate
    } else if has(&[
        "Failed to connect",
        "unable to connect",
        "Connection refused",
        "Connection timed out",
        "Couldn't connect",
        "No route to host",
        "Operation too slow",
    ]) {
        GitProblem::Unreachable
    } else {
        GitProblem::Other
    }
}

fn indented(output: &str) -> String {
    let mut indented = String::new();
    for line in output.lines() {
        indented.push_str("\n  ");
        indented.push_str(line);
    }
    indented
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let given = Given {
            credential: false,
            agent: false,
        };
        assert_eq!(classify(output, given).to_string(), expected);
    }

    #[test]
    fn failures_say_what_to_do() {
        check(
            "fatal: could not read Username for 'https://example.com': terminal prompts disabled",
            "the server wants a credential: give it the secret `GIT_AUTH_TOKEN` or `GIT_AUTH_HEADER`",
        );
        check(
            "git@example.com: Permission denied (publickey).",
            "the server wants a key: forward an SSH agent, as by `--ssh default`",
        );
        check(
            "Host key verification failed.\nfatal: Could not read from remote repository.",
            "the server's key is not among the known hosts",
        );
        check(
            "fatal: repository 'https://example.com/t.git/' not found",
            "there is no such repository, or it is private and needs the secret `GIT_AUTH_TOKEN` or `GIT_AUTH_HEADER`",
        );
        check(
            "fatal: unable to access 'https://nowhere.example/t.git/': Could not resolve host: nowhere.example",
            "the host's name can't be resolved",
        );
        check(
            "fatal: unable to access 'https://a/': SSL certificate problem: self-signed certificate",
            "the server's certificate is not trusted: add its authority to the trusted ones",
        );
        check(
            "fatal: unable to access 'http://127.0.0.1:1/t.git/': Failed to connect to 127.0.0.1 port 1",
            "the server can't be reached",
        );
        check("fatal: bad object", "git failed");
    }
}
