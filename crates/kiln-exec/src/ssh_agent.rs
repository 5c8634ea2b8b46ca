//! SSH agents for steps: the user's own, or one in this process that holds some private keys.
//!
//! Each step gets a socket of its own, in a directory in memory that nothing else sees. Of the agent
//! protocol only the two requests pass that a client needs, the list of keys and a signature; changes
//! (adding, removing, locking) are refused, as with BuildKit.
//!
//! Formats: draft-ietf-sshm-ssh-agent; the private key files of OpenSSH (`PROTOCOL.key`), PKCS#8, PKCS#1
//! and SEC 1 in PEM. Deliberately absent: encrypted keys, certificates, keys on tokens (the user's own
//! agent has those), and signatures with SHA-1.

mod file;
mod keys;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keys::Key;
pub(crate) use server::{Listening, serve};

/// Who answers to a step's `ssh` client. Clones share the keys.
#[derive(Clone)]
pub struct SshAgent(Source);

#[derive(Clone)]
enum Source {
    /// The user's agent.
    Socket(PathBuf),
    /// Keys that this process holds.
    Keys(Arc<Vec<Key>>),
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum SshAgentError {
    /// The agent's socket or a key can't be read.
    #[error("could not open `{path}`", path = path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The path of the agent is something else.
    #[error("`{path}` is not a socket", path = path.display())]
    NotASocket {
        /// Its path.
        path: PathBuf,
    },
    /// The key has a passphrase.
    #[error("the key `{path}` is encrypted", path = path.display())]
    Encrypted {
        /// Its path.
        path: PathBuf,
    },
    /// The file holds no private key of a known form.
    #[error("`{path}` holds no private key that can be used: {reason}", path = path.display())]
    NotAKey {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl SshAgentError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Encrypted { path } => Some(format!(
                "add it to an agent with `ssh-add {}`, and give the agent's socket instead",
                path.display()
            )),
            Self::NotASocket { .. } => {
                Some("give the agent's socket, usually `$SSH_AUTH_SOCK`".to_owned())
            }
            Self::Open { .. } | Self::NotAKey { .. } => None,
        }
    }
}

impl SshAgent {
    /// The agent that listens at `path`.
    pub fn socket(path: &Path) -> Result<Self, SshAgentError> {
        let found = std::fs::metadata(path).map_err(|cause| SshAgentError::Open {
            path: path.to_owned(),
            cause,
        })?;
        if !found.file_type().is_socket() {
            return Err(SshAgentError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(Self(Source::Socket(path.to_owned())))
    }

    /// An agent in this process with the keys in these files.
    pub fn keys(paths: &[PathBuf]) -> Result<Self, SshAgentError> {
        let keys = paths.iter().map(|path| file::load(path));
        Ok(Self(Source::Keys(Arc::new(
            keys.collect::<Result<_, _>>()?,
        ))))
    }
}

impl fmt::Debug for SshAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Socket(path) => f.debug_tuple("SshAgent::socket").field(path).finish(),
            Source::Keys(keys) => write!(f, "SshAgent::keys({})", keys.len()),
        }
    }
}
