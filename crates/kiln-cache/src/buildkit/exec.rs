//! `RUN` as BuildKit has it: `buildkit.exec.v0`.

use kiln_oci::Digest;
use serde::Serialize;

use super::BkPlatform;
use super::json::{self, is_false, is_zero, number};

/// What a `RUN` runs, in which surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// The command, with the shell where the line is for one.
    pub args: Vec<String>,
    /// `NAME=value`: the image's, then `ARG` and `ENV` as they were set, each name where it was set
    /// last. Proxies' variables that no `ARG` declares are not in it.
    pub env: Vec<String>,
    /// The working directory, absolute.
    pub cwd: String,
    /// `USER`, as written; empty where there was none.
    pub user: String,
    /// `--build-arg BUILDKIT_SANDBOX_HOSTNAME`; empty otherwise.
    pub hostname: String,
    /// Names of `--add-host`; BuildKit does not count their addresses.
    pub extra_hosts: Vec<String>,
    /// `--ulimit`: name, soft, hard.
    pub ulimits: Vec<(String, i64, i64)>,
    /// `--cgroup-parent`.
    pub cgroup_parent: String,
    /// `--network`.
    pub network: Network,
    /// `--security=insecure`.
    pub insecure: bool,
    /// All mounts, as BuildKit orders them: the root and those of directories by their targets,
    /// then secrets, then agents.
    pub mounts: Vec<Mount>,
    /// Secrets in variables: id, variable, whether the secret is optional.
    pub secret_env: Vec<(String, String, bool)>,
}

/// Which network a step has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// Its own.
    #[default]
    Default,
    /// The host's.
    Host,
    /// None.
    None,
}

/// One mount of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Which input it shows; `None` for nothing.
    pub input: Option<usize>,
    /// The path in the input; `/` for all of it. It is not part of the definition.
    pub source: String,
    /// Where.
    pub target: String,
    /// Which output it becomes; `None` where what is written there is lost.
    pub output: Option<usize>,
    /// Whether nothing can be written there.
    pub readonly: bool,
    /// What it is.
    pub kind: MountKind,
}

/// Kinds of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A directory or file of an input; also the root.
    Bind,
    /// `type=cache`.
    Cache {
        /// With its name space: `/` and the `id`, which is the target where none is given.
        id: String,
        /// How builds share it.
        sharing: CacheSharing,
    },
    /// `type=tmpfs`, of so many bytes; 0 for no limit.
    Tmpfs(i64),
    /// `type=secret`.
    Secret {
        /// Its name.
        id: String,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Permissions.
        mode: u32,
        /// Whether the step runs without it.
        optional: bool,
    },
    /// `type=ssh`.
    Ssh {
        /// Its name.
        id: String,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Permissions.
        mode: u32,
        /// Whether the step runs without it.
        optional: bool,
    },
}

/// How builds share a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheSharing {
    /// At the same time.
    Shared,
    /// Each has its own.
    Private,
    /// One after the other.
    Locked,
}

impl Mount {
    /// The step's root, which is its first input and output.
    pub fn root() -> Self {
        Self {
            input: Some(0),
            source: "/".to_owned(),
            target: "/".to_owned(),
            output: Some(0),
            readonly: false,
            kind: MountKind::Bind,
        }
    }
}

impl Exec {
    /// The paths that the mounts take of an input.
    pub(super) fn selected(&self, input: usize) -> Vec<&str> {
        let is_tree = |mount: &&Mount| {
            mount.input == Some(input)
                && matches!(mount.kind, MountKind::Bind | MountKind::Cache { .. })
        };
        let mounts = self.mounts.iter().filter(is_tree);
        mounts.map(|mount| mount.source.as_str()).collect()
    }
}

#[derive(Serialize)]
struct DefinitionWire<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Exec")]
    exec: ExecWire<'a>,
    #[serde(rename = "OS")]
    os: &'a str,
    #[serde(rename = "Arch")]
    architecture: &'a str,
    #[serde(rename = "Variant", skip_serializing_if = "str::is_empty")]
    variant: &'a str,
}

#[derive(Serialize)]
struct ExecWire<'a> {
    meta: MetaWire<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<MountWire<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    network: i64,
    #[serde(skip_serializing_if = "is_zero")]
    security: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secretenv: Vec<SecretEnvWire<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetaWire<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    cwd: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_hosts: Vec<HostWire<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    hostname: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ulimit: Vec<UlimitWire<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    cgroup_parent: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    remove_mount_stubs_recursive: bool,
}

#[derive(Serialize)]
struct HostWire<'a> {
    #[serde(rename = "Host", skip_serializing_if = "str::is_empty")]
    host: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UlimitWire<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    soft: i64,
    #[serde(skip_serializing_if = "is_zero")]
    hard: i64,
}

#[derive(Serialize)]
struct SecretEnvWire<'a> {
    #[serde(rename = "ID", skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    optional: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MountWire<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    input: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    dest: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    output: i64,
    #[serde(skip_serializing_if = "is_false")]
    readonly: bool,
    #[serde(skip_serializing_if = "is_zero")]
    mount_type: i64,
    #[serde(rename = "TmpfsOpt", skip_serializing_if = "Option::is_none")]
    tmpfs: Option<TmpfsWire>,
    #[serde(rename = "cacheOpt", skip_serializing_if = "Option::is_none")]
    cache: Option<CacheWire<'a>>,
    #[serde(rename = "secretOpt", skip_serializing_if = "Option::is_none")]
    secret: Option<FileWire<'a>>,
    #[serde(rename = "SSHOpt", skip_serializing_if = "Option::is_none")]
    ssh: Option<FileWire<'a>>,
}

#[derive(Serialize)]
struct TmpfsWire {
    #[serde(skip_serializing_if = "is_zero")]
    size: i64,
}

#[derive(Serialize)]
struct CacheWire<'a> {
    #[serde(rename = "ID", skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    sharing: i64,
}

#[derive(Serialize)]
struct FileWire<'a> {
    #[serde(rename = "ID", skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    uid: i64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: i64,
    #[serde(skip_serializing_if = "is_zero")]
    mode: i64,
    #[serde(skip_serializing_if = "is_false")]
    optional: bool,
}

/// The digests of a definition: as BuildKit has it now, and as older versions do (Docker 20.10's
/// for one), whose steps do not say how what mounts leave behind is removed.
pub(super) fn digests(exec: &Exec, platform: &BkPlatform) -> Vec<Digest> {
    let versions = [true, false];
    let digests = versions.map(|is_new| {
        json::digest(&DefinitionWire {
            kind: "buildkit.exec.v0",
            exec: exec_wire(exec, is_new),
            os: &platform.os,
            architecture: &platform.architecture,
            variant: &platform.variant,
        })
    });
    digests.to_vec()
}

fn exec_wire(exec: &Exec, removes_stubs: bool) -> ExecWire<'_> {
    // A root that is all there is was once left out by mistake, and still is.
    let is_plain = exec.mounts == [Mount::root()]
        || matches!(exec.mounts.as_slice(), [mount] if is_plain_root(mount));
    let mounts = if is_plain { &[][..] } else { &exec.mounts };
    ExecWire {
        meta: MetaWire {
            args: &exec.args,
            env: &exec.env,
            cwd: &exec.cwd,
            user: &exec.user,
            extra_hosts: exec
                .extra_hosts
                .iter()
                .map(|host| HostWire { host })
                .collect(),
            hostname: &exec.hostname,
            ulimit: exec
                .ulimits
                .iter()
                .map(|(name, soft, hard)| UlimitWire {
                    name,
                    soft: *soft,
                    hard: *hard,
                })
                .collect(),
            cgroup_parent: &exec.cgroup_parent,
            remove_mount_stubs_recursive: removes_stubs,
        },
        mounts: mounts.iter().map(mount_wire).collect(),
        network: match exec.network {
            Network::Default => 0,
            Network::Host => 1,
            Network::None => 2,
        },
        security: i64::from(exec.insecure),
        secretenv: exec
            .secret_env
            .iter()
            .map(|(id, name, optional)| SecretEnvWire {
                id,
                name,
                optional: *optional,
            })
            .collect(),
    }
}

fn is_plain_root(mount: &Mount) -> bool {
    mount.target == "/" && !mount.readonly && mount.kind == MountKind::Bind
}

fn mount_wire(mount: &Mount) -> MountWire<'_> {
    let place = |place: Option<usize>| place.map_or(-1, number);
    let plain = MountWire {
        input: place(mount.input),
        dest: &mount.target,
        output: place(mount.output),
        readonly: mount.readonly,
        mount_type: 0,
        tmpfs: None,
        cache: None,
        secret: None,
        ssh: None,
    };
    match &mount.kind {
        MountKind::Bind => plain,
        MountKind::Cache { id, sharing } => MountWire {
            mount_type: 3,
            cache: Some(cache_wire(id, *sharing, &mount.target)),
            ..plain
        },
        MountKind::Tmpfs(size) => MountWire {
            mount_type: 4,
            tmpfs: Some(TmpfsWire { size: *size }),
            ..plain
        },
        MountKind::Secret {
            id,
            uid,
            gid,
            mode,
            optional,
        } => MountWire {
            mount_type: 1,
            // Its place among the outputs is not set, which is 0.
            output: 0,
            secret: Some(file_wire(id, (*uid, *gid), *mode, *optional)),
            ..plain
        },
        MountKind::Ssh {
            id,
            uid,
            gid,
            mode,
            optional,
        } => MountWire {
            mount_type: 2,
            output: 0,
            ssh: Some(file_wire(id, (*uid, *gid), *mode, *optional)),
            ..plain
        },
    }
}

/// A cache's name counts only where it is the one that it has by itself.
fn cache_wire<'a>(id: &'a str, sharing: CacheSharing, target: &str) -> CacheWire<'a> {
    let is_own = id == target || id.split_once('/').is_some_and(|(_, rest)| rest == target);
    let counts = is_own && sharing == CacheSharing::Shared;
    CacheWire {
        id: if counts { id } else { "" },
        sharing: 0,
    }
}

fn file_wire(id: &str, (uid, gid): (u32, u32), mode: u32, optional: bool) -> FileWire<'_> {
    FileWire {
        id,
        uid: i64::from(uid),
        gid: i64::from(gid),
        mode: i64::from(mode),
        optional,
    }
}
