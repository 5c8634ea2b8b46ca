//! `RUN` as BuildKit would have lowered it: the process, and all that is mounted in its order.

use kiln_cache::buildkit::{
    CacheSharing, Exec, FileAction, MkfileAction, Mount, MountKind, Network, Selected, Step,
};
use kiln_graph::{
    CacheMount, CopyFrom, FileOwner, InlineFile, Op, RunMount, RunOp, Security, Step as GraphStep,
};

use super::Build;
use super::describe::{Described, Inputs, Source, platform, source};
use super::environment::environment;

/// The host name that BuildKit gives to steps, and leaves out of their definitions.
const DEFAULT_HOSTNAME: &str = "buildkitsandbox";
/// Where BuildKit mounts the script of a `RUN`.
const SCRIPTS: &str = "/dev/pipes/";
/// The directory that BuildKit makes for a cache whose owner or mode is given.
const CACHE_DIRECTORY: &str = "/cache";

pub(super) fn describe(build: Build<'_>, step: &GraphStep, op: &RunOp) -> Option<Described> {
    let settings = &build.builds.get(step.meta.build)?.request.steps;
    let mut inputs = Inputs::default();
    let mut exec = Exec {
        args: op.argv.clone(),
        env: environment(build, step, op),
        cwd: op.cwd.clone(),
        user: op.user.clone(),
        hostname: match op.hostname.as_str() {
            DEFAULT_HOSTNAME => String::new(),
            name => name.to_owned(),
        },
        extra_hosts: settings
            .extra_hosts
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        ulimits: settings
            .ulimits
            .iter()
            .map(|limit| (limit.name.clone(), bound(limit.soft), bound(limit.hard)))
            .collect(),
        cgroup_parent: settings.cgroup_parent.clone().unwrap_or_default(),
        network: network(op.network, settings.network),
        insecure: op.security == Security::Insecure,
        ..Exec::default()
    };
    let mut mounts = vec![Place {
        source: source(build, step, 0)?,
        mount: Mount::root(),
    }];
    if let Some(file) = op.files.first() {
        mounts.push(script(file)?);
    }
    for mount in &op.mounts {
        if let RunMount::Secret {
            env: Some(env),
            id,
            required,
            ..
        } = mount
        {
            exec.secret_env.push((id.clone(), env.clone(), !required));
        }
        if mount.target().is_some() {
            mounts.push(place(build, step, mount)?);
        }
    }
    if let Some(size) = settings.shm_size {
        let kind = MountKind::Tmpfs(i64::try_from(size).ok()?);
        mounts.push(Place {
            source: Source::Nothing,
            mount: mount_at("/dev/shm", kind),
        });
    }
    // Secrets and agents come behind what is a directory.
    mounts.sort_by(|a, b| a.rank().cmp(&b.rank()));
    for Place { source, mount } in mounts {
        let input = inputs.add(source);
        if let Some(input) = input.filter(|input| mount.target != "/" && *input > 0) {
            inputs.0[input].selected.push(Selected {
                path: mount.source.clone(),
                is_pattern: false,
            });
        }
        exec.mounts.push(Mount { input, ..mount });
    }
    Some(Described::Step {
        forms: vec![Step::Exec(Box::new(exec), platform(&op.platform))],
        inputs: inputs.0,
    })
}

fn bound(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1))
}

fn network(step: kiln_graph::Network, default: kiln_graph::Network) -> Network {
    let of = |network| match network {
        kiln_graph::Network::Default => Network::Default,
        kiln_graph::Network::Host => Network::Host,
        kiln_graph::Network::None => Network::None,
    };
    match step {
        kiln_graph::Network::Default => of(default),
        given => of(given),
    }
}

/// A mount, and where its files are from.
struct Place {
    source: Source,
    mount: Mount,
}

impl Place {
    fn rank(&self) -> (u8, &str) {
        match self.mount.kind {
            MountKind::Bind | MountKind::Cache { .. } | MountKind::Tmpfs(_) => {
                (0, &self.mount.target)
            }
            MountKind::Secret { .. } => (1, ""),
            MountKind::Ssh { .. } => (2, ""),
        }
    }
}

fn mount_at(target: &str, kind: MountKind) -> Mount {
    Mount {
        input: None,
        source: "/".to_owned(),
        target: target.to_owned(),
        output: None,
        readonly: false,
        kind,
    }
}

/// The script of a heredoc, in a root of its own.
fn script(file: &InlineFile) -> Option<Place> {
    let name = file.path.strip_prefix(SCRIPTS)?;
    Some(Place {
        source: Source::Made(FileAction::Mkfile(MkfileAction {
            path: format!("/{name}"),
            mode: file.mode,
            data: file.content.clone(),
        })),
        mount: Mount {
            readonly: true,
            ..mount_at(SCRIPTS, MountKind::Bind)
        },
    })
}

/// `None` where the mount can't be told, or there is none: a secret that is only a variable.
fn place(build: Build<'_>, step: &GraphStep, mount: &RunMount) -> Option<Place> {
    let (source, mount) = match mount {
        RunMount::Bind {
            target,
            input,
            source: path,
            read_only,
        } => {
            let mount = Mount {
                source: path.clone(),
                readonly: *read_only,
                ..mount_at(target, MountKind::Bind)
            };
            (bound_files(build, step, *input)?, mount)
        }
        RunMount::Cache(cache) => return cache_place(build, step, cache),
        RunMount::Tmpfs { target, size } => {
            let size = i64::try_from(size.unwrap_or(0)).ok()?;
            (Source::Nothing, mount_at(target, MountKind::Tmpfs(size)))
        }
        RunMount::Secret { target: None, .. } => return None,
        RunMount::Secret {
            id,
            target: Some(target),
            required,
            owner: FileOwner { uid, gid, mode },
            ..
        } => {
            let kind = MountKind::Secret {
                id: id.clone(),
                uid: *uid,
                gid: *gid,
                mode: *mode,
                optional: !required,
            };
            (Source::Nothing, mount_at(target, kind))
        }
        RunMount::Ssh {
            id,
            target,
            required,
            owner: FileOwner { uid, gid, mode },
        } => {
            let kind = MountKind::Ssh {
                id: id.clone(),
                uid: *uid,
                gid: *gid,
                mode: *mode,
                optional: !required,
            };
            (Source::Nothing, mount_at(target, kind))
        }
    };
    Some(Place { source, mount })
}

/// What a bind mount shows. Files of a context are an input of their own in the graph; in BuildKit
/// the context itself is the input.
fn bound_files(build: Build<'_>, step: &GraphStep, input: usize) -> Option<Source> {
    let found = source(build, step, input)?;
    let Source::Step(index) = found else {
        return Some(found);
    };
    let other = &build.graph.steps()[index];
    let is_internal = other.meta.name.starts_with("[internal] load ");
    match &other.op {
        Op::Copy(copy) if copy.from == CopyFrom::Context && copy.link && is_internal => {
            source(build, other, 1)
        }
        _ => Some(found),
    }
}

fn cache_place(build: Build<'_>, step: &GraphStep, cache: &CacheMount) -> Option<Place> {
    let default = FileOwner {
        uid: 0,
        gid: 0,
        mode: 0o755,
    };
    let is_owned = cache.owner != default;
    let (source, path) = match &cache.from {
        Some((input, path)) if path != "/" || !is_owned => {
            (source(build, step, *input)?, path.as_str())
        }
        // The directory is made on top of the stage.
        Some(_) => return None,
        None if is_owned => {
            let FileOwner { uid, gid, mode } = cache.owner;
            let made = FileAction::CacheDirectory { uid, gid, mode };
            (Source::Made(made), CACHE_DIRECTORY)
        }
        None => (Source::Nothing, "/"),
    };
    let kind = MountKind::Cache {
        id: format!("{}/{}", cache.namespace, cache.id),
        sharing: match cache.sharing {
            kiln_graph::CacheSharing::Shared => CacheSharing::Shared,
            kiln_graph::CacheSharing::Private => CacheSharing::Private,
            kiln_graph::CacheSharing::Locked => CacheSharing::Locked,
        },
    };
    let mount = Mount {
        source: path.to_owned(),
        readonly: cache.read_only,
        ..mount_at(&cache.target, kind)
    };
    Some(Place { source, mount })
}
