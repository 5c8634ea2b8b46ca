//! The document that tells kiln-init what to do: its values, and its form in JSON.
//!
//! ```json
//! {
//!   "version": 1,
//!   "root": "overlay",
//!   "tmp": true,
//!   "hostname": "web",
//!   "hosts": "127.0.0.1 localhost\n",
//!   "resolv_conf": "nameserver 10.0.0.1\n",
//!   "network": {"interface": "eth0", "address": "10.0.0.2/24", "gateway": "10.0.0.1"},
//!   "volumes": ["/data"],
//!   "end": "power-off",
//!   "program": {
//!     "args": ["/app", "--serve"],
//!     "env": ["GREETING=hello world"],
//!     "user": "app:web",
//!     "groups": ["audio"],
//!     "working_dir": "/srv",
//!     "umask": 18,
//!     "stop_signal": 15,
//!     "stop_seconds": 10
//!   }
//! }
//! ```
//!
//! Only `version` and `program.args` are required. A field that this version does not know is an
//! error: a machine must not start without something that was asked for.

use serde::{Deserialize, Serialize};

/// Where the document is on the disk.
pub const PATH: &str = "/etc/kiln/init.json";

/// The version of the document that this code writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// Seconds that a program has to end after its stop signal, as Docker has it.
pub const STOP_SECONDS: u32 = 10;

/// The number of `SIGTERM`, the stop signal of images that name none.
pub const STOP_SIGNAL: i32 = 15;

/// What a machine is to be, and to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What happens to the root file system.
    pub root: Root,
    /// Whether `/tmp` is in memory.
    pub tmp: bool,
    /// The machine's name; `None` to leave what the kernel says.
    pub hostname: Option<String>,
    /// The text of `/etc/hosts`; `None` to leave the image's.
    pub hosts: Option<String>,
    /// The text of `/etc/resolv.conf`; `None` to leave the image's.
    pub resolv_conf: Option<String>,
    /// The network; `None` for what the kernel's `ip=` says, if anything.
    pub network: Option<Network>,
    /// Directories that the program can write to, whatever the root is. Absolute paths.
    pub volumes: Vec<String>,
    /// How the machine ends; `None` to power off, or to restart where the power can't be switched
    /// off, or to exit in a container.
    pub end: Option<End>,
    /// The program.
    pub program: Program,
}

/// What happens to the root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Root {
    /// Changes are written to the disk.
    #[default]
    ReadWrite,
    /// Nothing can be changed outside volumes and what is in memory.
    ReadOnly,
    /// The disk is not changed; changes are in memory and gone with the machine.
    Overlay,
}

/// One interface with a fixed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name, `eth0`.
    pub interface: String,
    /// An IPv4 address with the length of the network's prefix, `10.0.0.2/24`.
    pub address: String,
    /// Where everything else is sent.
    pub gateway: Option<String>,
}

/// How a machine ends after its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The power goes off.
    PowerOff,
    /// The machine starts again, which is the end for a monitor that does not restart machines
    /// (Firecracker, `qemu -no-reboot`).
    Restart,
    /// Process 1 ends with the program's code: right in a container, and a panic in a machine.
    Exit,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments; never empty.
    pub args: Vec<String>,
    /// The environment, `NAME=value` each; the later of two of one name counts.
    pub env: Vec<String>,
    /// `user` or `user:group`, each a name or a number; empty for root.
    pub user: String,
    /// Supplementary groups beside those that `/etc/group` lists the user in.
    pub groups: Vec<String>,
    /// The directory to start in, made where it is missing; empty for `/`.
    pub working_dir: String,
    /// The permission bits that new files don't get.
    pub umask: u32,
    /// The signal that asks it to end.
    pub stop_signal: i32,
    /// How long it may then take.
    pub stop_seconds: u32,
}

/// Why a document can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or not of this form.
    #[error("`{PATH}` can't be read: {0}")]
    Form(#[from] serde_json::Error),
    /// A document for another kiln-init.
    #[error("`{PATH}` has version {0}, and this kiln-init reads version {VERSION}")]
    Version(u32),
    /// There is nothing to run.
    #[error("`{PATH}` names no program")]
    NoProgram,
}

impl Program {
    /// A program that runs as root in `/`, with an empty environment.
    pub fn new(args: Vec<String>) -> Self {
        Self {
            args,
            env: Vec::new(),
            user: String::new(),
            groups: Vec::new(),
            working_dir: String::new(),
            umask: 0o022,
            stop_signal: STOP_SIGNAL,
            stop_seconds: STOP_SECONDS,
        }
    }
}

impl Config {
    /// A machine as the kernel makes it, for this program.
    pub fn new(program: Program) -> Self {
        Self {
            root: Root::default(),
            tmp: false,
            hostname: None,
            hosts: None,
            resolv_conf: None,
            network: None,
            volumes: Vec::new(),
            end: None,
            program,
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ConfigError> {
        // The version comes first: another one may have other fields.
        let Version { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(ConfigError::Version(version));
        }
        let document: Document = serde_json::from_slice(bytes)?;
        if document.program.args.is_empty() {
            return Err(ConfigError::NoProgram);
        }
        Ok(document.into())
    }

    /// Writes the document, the same bytes for the same values.
    pub fn to_json(&self) -> Vec<u8> {
        let document = Document::from(self.clone());
        // Strings, numbers and lists: nothing in it can fail.
        let mut bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default)]
    root: RootForm,
    #[serde(default)]
    tmp: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hosts: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resolv_conf: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<NetworkForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<EndForm>,
    program: ProgramForm,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum RootForm {
    #[default]
    ReadWrite,
    ReadOnly,
    Overlay,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EndForm {
    PowerOff,
    Restart,
    Exit,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkForm {
    interface: String,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramForm {
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    working_dir: String,
    #[serde(default = "default_umask")]
    umask: u32,
    #[serde(default = "default_stop_signal")]
    stop_signal: i32,
    #[serde(default = "default_stop_seconds")]
    stop_seconds: u32,
}

const fn default_umask() -> u32 {
    0o022
}

const fn default_stop_signal() -> i32 {
    STOP_SIGNAL
}

const fn default_stop_seconds() -> u32 {
    STOP_SECONDS
}

impl From<Document> for Config {
    fn from(document: Document) -> Self {
        let network = document.network.map(|network| Network {
            interface: network.interface,
            address: network.address,
            gateway: network.gateway,
        });
        let program = document.program;
        Self {
            root: match document.root {
                RootForm::ReadWrite => Root::ReadWrite,
                RootForm::ReadOnly => Root::ReadOnly,
                RootForm::Overlay => Root::Overlay,
            },
            tmp: document.tmp,
            hostname: document.hostname,
            hosts: document.hosts,
            resolv_conf: document.resolv_conf,
            network,
            volumes: document.volumes,
            end: document.end.map(|end| match end {
                EndForm::PowerOff => End::PowerOff,
                EndForm::Restart => End::Restart,
                EndForm::Exit => End::Exit,
            }),
            program: Program {
                args: program.args,
                env: program.env,
                user: program.user,
                groups: program.groups,
                working_dir: program.working_dir,
                umask: program.umask,
                stop_signal: program.stop_signal,
                stop_seconds: program.stop_seconds,
            },
        }
    }
}

impl From<Config> for Document {
    fn from(config: Config) -> Self {
        let network = config.network.map(|network| NetworkForm {
            interface: network.interface,
            address: network.address,
            gateway: network.gateway,
        });
        let program = config.program;
        Self {
            version: VERSION,
            root: match config.root {
                Root::ReadWrite => RootForm::ReadWrite,
                Root::ReadOnly => RootForm::ReadOnly,
                Root::Overlay => RootForm::Overlay,
            },
            tmp: config.tmp,
            hostname: config.hostname,
            hosts: config.hosts,
            resolv_conf: config.resolv_conf,
            network,
            volumes: config.volumes,
            end: config.end.map(|end| match end {
                End::PowerOff => EndForm::PowerOff,
                End::Restart => EndForm::Restart,
                End::Exit => EndForm::Exit,
            }),
            program: ProgramForm {
                args: program.args,
                env: program.env,
                user: program.user,
                groups: program.groups,
                working_dir: program.working_dir,
                umask: program.umask,
                stop_signal: program.stop_signal,
                stop_seconds: program.stop_seconds,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let config = Config {
            root: Root::Overlay,
            tmp: true,
            hostname: Some("web".into()),
            hosts: Some("127.0.0.1 localhost\n".into()),
            resolv_conf: Some("nameserver 10.0.0.1\n".into()),
            network: Some(Network {
                interface: "eth0".into(),
                address: "10.0.0.2/24".into(),
                gateway: Some("10.0.0.1".into()),
            }),
            volumes: vec!["/data".into()],
            end: Some(End::Restart),
            program: Program {
                env: vec!["A=b c \"d\"\n".into()],
                user: "app:web".into(),
                groups: vec!["audio".into()],
                working_dir: "/srv".into(),
                ..Program::new(vec!["/app".into(), String::new()])
            },
        };
        assert_eq!(Config::from_json(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn a_small_document_is_enough() {
        let read = Config::from_json(br#"{"version":1,"program":{"args":["/app"]}}"#).unwrap();
        assert_eq!(read, Config::new(Program::new(vec!["/app".into()])));
        expect![[r#"
            {
              "version": 1,
              "root": "read-write",
              "tmp": false,
              "program": {
                "args": [
                  "/app"
                ],
                "env": [],
                "user": "",
                "groups": [],
                "working_dir": "",
                "umask": 18,
                "stop_signal": 15,
                "stop_seconds": 10
              }
            }
        "#]]
        .assert_eq(std::str::from_utf8(&read.to_json()).unwrap());
    }

    #[track_caller]
    fn check_refused(document: &str, expected: &str) {
        let error = Config::from_json(document.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn other_documents_are_refused() {
        check_refused(
            r#"{"version":2,"something":{}}"#,
            "`/etc/kiln/init.json` has version 2, and this kiln-init reads version 1",
        );
        check_refused(
            r#"{"version":1,"program":{"args":[]}}"#,
            "`/etc/kiln/init.json` names no program",
        );
        check_refused(
            r#"{"version":1,"secrets":[],"program":{"args":["a"]}}"#,
            "`/etc/kiln/init.json` can't be read: unknown field `secrets`, expected one of \
             `version`, `root`, `tmp`, `hostname`, `hosts`, `resolv_conf`, `network`, `volumes`, \
             `end`, `program` at line 1 column 22",
        );
    }
}
