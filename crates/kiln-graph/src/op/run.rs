//! `RUN`: a process, and what is mounted while it runs.

use kiln_oci::Platform;

use super::{InlineFile, list};
use crate::key::Part;

/// Which network a process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// What the build was told to use by default.
    Default,
    /// The host's network.
    Host,
    /// Only a loopback interface of its own.
    None,
}

/// How much of the machine a process is kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Security {
    /// As much as an ordinary container.
    Sandbox,
    /// No filter, no masked paths, all capabilities that kiln has.
    Insecure,
}

/// A process in a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOp {
    /// Program and arguments; the shell is already put in front of a shell-form command.
    pub argv: Vec<String>,
    /// Environment in its final order, each name once. Includes the build arguments in scope.
    pub env: Vec<(String, String)>,
    /// Environment that reaches the process but is not part of the key (the proxy variables).
    pub uncached_env: Vec<(String, String)>,
    /// Absolute working directory; created if it does not exist.
    pub cwd: String,
    /// `USER` as written, resolved in the root when the step runs; empty means root.
    pub user: String,
    /// The network.
    pub network: Network,
    /// The sandbox.
    pub security: Security,
    /// The platform whose programs run.
    pub platform: Platform,
    /// What the process is told its machine is called.
    pub hostname: String,
    /// Files that exist only while the process runs: the scripts of heredocs, at their path.
    pub files: Vec<InlineFile>,
    /// What is mounted while the process runs, ordered by target.
    pub mounts: Vec<RunMount>,
    /// What the build says for all of its processes, as parts of the key: extra hosts, limits.
    pub settings: Vec<Part>,
}

/// Something mounted while a process runs. Targets are absolute and clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMount {
    /// Files of another root.
    Bind {
        /// Where.
        target: String,
        /// Which of the step's inputs holds the files.
        input: usize,
        /// The path in it, absolute and clean.
        source: String,
        /// Writes fail; otherwise they are possible and thrown away afterwards.
        read_only: bool,
    },
    /// A directory that lasts from build to build.
    Cache(CacheMount),
    /// A directory in memory.
    Tmpfs {
        /// Where.
        target: String,
        /// The most it may hold, in bytes.
        size: Option<u64>,
    },
    /// A secret of the build.
    Secret {
        /// Its name.
        id: String,
        /// The file it appears as; `None` where only a variable is wanted.
        target: Option<String>,
        /// The variable it appears as.
        env: Option<String>,
        /// The step fails where the build has no such secret.
        required: bool,
        /// Owner and mode of the file.
        owner: FileOwner,
    },
    /// A socket by which the build's SSH keys are used.
    Ssh {
        /// The agent's name.
        id: String,
        /// The socket.
        target: String,
        /// The step fails where the build has no such agent.
        required: bool,
        /// Owner and mode of the socket.
        owner: FileOwner,
    },
}

/// A directory that lasts from build to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Where.
    pub target: String,
    /// Its name, which is all that tells caches apart beside `namespace`.
    pub id: String,
    /// `BUILDKIT_CACHE_MOUNT_NS`; empty where not set.
    pub namespace: String,
    /// What happens when two processes want it at a time.
    pub sharing: CacheSharing,
    /// Its first content: an input of the step, and a path in it.
    pub from: Option<(usize, String)>,
    /// Writes fail.
    pub read_only: bool,
    /// Owner and mode of a new cache's directory.
    pub owner: FileOwner,
}

/// What happens when two processes want a cache at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheSharing {
    /// Both use it.
    Shared,
    /// The second gets one of its own.
    Private,
    /// The second waits.
    Locked,
}

/// Owner and mode of a mounted file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileOwner {
    /// User id in the image.
    pub uid: u32,
    /// Group id in the image.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl RunOp {
    pub(super) fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::new("command", list(&self.argv))];
        for (name, value) in &self.env {
            parts.push(Part::new(format!("variable `{name}`"), value.as_str()));
        }
        parts.push(Part::new("working directory", self.cwd.as_str()));
        parts.push(Part::new("user", self.user.as_str()));
        let network = match self.network {
            Network::Default => "default",
            Network::Host => "host",
            Network::None => "none",
        };
        parts.push(Part::new("network", network));
        let security = match self.security {
            Security::Sandbox => "sandbox",
            Security::Insecure => "insecure",
        };
        parts.push(Part::new("security", security));
        parts.push(Part::new("platform", self.platform.to_string()));
        parts.push(Part::new("host name", self.hostname.as_str()));
        for file in &self.files {
            parts.push(file.part());
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            parts.push(Part::new(format!("mount {}", index + 1), mount.text()));
        }
        parts.extend_from_slice(&self.settings);
        parts
    }
}

impl RunMount {
    /// Where it appears; `None` for a secret that is only a variable.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Bind { target, .. } | Self::Tmpfs { target, .. } | Self::Ssh { target, .. } => {
                Some(target)
            }
            Self::Cache(cache) => Some(&cache.target),
            Self::Secret { target, .. } => target.as_deref(),
        }
    }

    /// Its definition, the same for equal mounts only. Contents of caches, secrets and agents are
    /// no part of any key.
    fn text(&self) -> Vec<u8> {
        let mut words: Vec<String> = Vec::new();
        let mut add =
            |words_of: &[&str]| words.extend(words_of.iter().map(|&word| word.to_owned()));
        let yes = |on: bool| if on { "yes" } else { "no" };
        match self {
            Self::Bind {
                target,
                input,
                source,
                read_only,
            } => add(&["bind", target, &input.to_string(), source, yes(*read_only)]),
            Self::Cache(cache) => cache.words(&mut add),
            Self::Tmpfs { target, size } => {
                let size = size.map_or_else(String::new, |size| size.to_string());
                add(&["tmpfs", target, &size]);
            }
            Self::Secret {
                id,
                target,
                env,
                required,
                owner,
            } => {
                let optional =
                    |text: Option<&str>| text.map_or("-".to_owned(), |t| format!("={t}"));
                let (target, env) = (optional(target.as_deref()), optional(env.as_deref()));
                add(&["secret", id, &target, &env, yes(*required), &owner.text()]);
            }
            Self::Ssh {
                id,
                target,
                required,
                owner,
            } => add(&["ssh", id, target, yes(*required), &owner.text()]),
        }
        list(&words)
    }
}

impl CacheMount {
    fn words(&self, add: &mut impl FnMut(&[&str])) {
        let sharing = match self.sharing {
            CacheSharing::Shared => "shared",
            CacheSharing::Private => "private",
            CacheSharing::Locked => "locked",
        };
        let from = self
            .from
            .as_ref()
            .map_or_else(String::new, |(input, path)| format!("{input} {path}"));
        let read_only = if self.read_only { "yes" } else { "no" };
        let (id, namespace) = (&self.id, &self.namespace);
        add(&["cache", &self.target, id, namespace, sharing, &from]);
        add(&[read_only, &self.owner.text()]);
    }
}

impl FileOwner {
    fn text(self) -> String {
        format!("{}:{} {:o}", self.uid, self.gid, self.mode)
    }
}
