//! Debian's `docker-registry` on a port of loopback.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::sync::OnceLock;

use crate::{Absent, Program, Scratch, find_program, wait_for};

/// A running registry that stores in a temporary folder and asks for no credentials.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    data: PathBuf,
    _daemon: Child,
}

impl Registry {
    /// The registry of this process, started when it is first asked for.
    pub fn get() -> Result<&'static Self, Absent> {
        static REGISTRY: OnceLock<Result<Registry, Absent>> = OnceLock::new();
        REGISTRY
            .get_or_init(Self::start)
            .as_ref()
            .map_err(Clone::clone)
    }

    fn start() -> Result<Self, Absent> {
        let program = find_program("docker-registry")?;
        let folder = Scratch::folder("registry");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let config = folder.join("config.yml");
        let data = folder.join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
             delete: {{enabled: true}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            data.display()
        );
        fs::write(&config, text).expect("a temporary folder");
        let daemon = Program::new(program)
            .arg("serve")
            .arg(&config)
            .start(&folder.join("log"));
        Scratch::stop_at_end("registry", daemon.id());
        let registry = Self {
            port,
            data,
            _daemon: daemon,
        };
        match wait_for(port, "/v2/", |answer| answer.contains(" 200 ")) {
            Ok(_) => Ok(registry),
            Err(error) => Err(Absent(format!(
                "`docker-registry` does not start here: {error}"
            ))),
        }
    }

    /// The folder of a repository in the registry's storage.
    pub fn repository(&self, name: &str) -> PathBuf {
        self.data.join("docker/registry/v2/repositories").join(name)
    }

    /// Host and port, the first part of a reference.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
