//! A registry on a port of loopback, that can be emptied between two runs.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::daemon::Daemon;
use super::which;
use crate::measure::Invocation;

/// A registry of our own.
#[derive(Debug)]
pub(crate) struct Registry {
    name: String,
    folder: PathBuf,
    port: u16,
    daemon: Mutex<Option<Daemon>>,
}

impl Registry {
    /// Starts an empty one.
    pub(crate) fn start(scratch: &Path, name: &str) -> Result<Self, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        drop(listener);
        let registry = Self {
            name: name.to_owned(),
            folder: scratch.join(name),
            port: address.port(),
            daemon: Mutex::new(None),
        };
        registry.empty()?;
        Ok(registry)
    }

    /// Host and port, the first part of a name.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many bytes the blobs have.
    pub(crate) fn size(&self) -> u64 {
        size(&self.folder.join("data"))
    }

    /// Forgets everything that was pushed: the daemon starts again with an empty folder, since it
    /// remembers blobs in memory, too.
    pub(crate) fn empty(&self) -> Result<(), String> {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        drop(daemon.take());
        let failed = |error: std::io::Error| format!("`{}`: {error}", self.folder.display());
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => fs::create_dir_all(self.folder.join("data")).map_err(failed)?,
        }
        let config = self.folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  \
             filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{}\n",
            self.folder.join("data").display(),
            self.port
        );
        fs::write(&config, text).map_err(failed)?;
        let invocation = Invocation::new(which("docker-registry")?)
            .arg("serve")
            .arg(&config);
        let mut started = Daemon::start(&self.name, &invocation, &self.folder)?;
        started.wait_until(|| TcpStream::connect(("127.0.0.1", self.port)).is_ok())?;
        *daemon = Some(started);
        Ok(())
    }
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
