//! What `RUN --mount` asks for, opened for one run of a step.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_base::{CancelToken, Secret};
use kiln_exec::{Access, MountKind, SshAgent, StepMount};
use kiln_graph::{CacheMount, CacheSharing, FileOwner, RunMount, RunOp};
use kiln_store::{CacheMountGuard, CacheMountKey, CacheMountOwner, Sharing};
use kiln_sys::files;
use kiln_sys::fs::Dir;
use kiln_sys::mount::{Recursion, attach_at, bind, bind_fd, open_in_root};

use crate::Engine;
use crate::chain::Chain;
use crate::error::{RootError, StepError};
use crate::request::{BuildRequest, SshSource};
use crate::roots::WritableRoot;

/// Mounts that are open while a step runs.
pub(crate) struct OpenMounts {
    open: Vec<Open>,
    /// Variables that come from secrets.
    pub(crate) variables: Vec<(String, String)>,
}

struct Open {
    target: String,
    kind: Kind,
}

enum Kind {
    Bind {
        mount: OwnedFd,
        access: Access,
        /// What the files lie in, as long as they are mounted.
        _root: Option<OwnedFd>,
        /// The layer that takes the writes, and is thrown away.
        _writes: Option<WritableRoot>,
    },
    Cache {
        mount: OwnedFd,
        access: Access,
        _guard: Arc<CacheMountGuard>,
    },
    Tmpfs(Option<u64>),
    Secret(Secret<Vec<u8>>, FileOwner),
    Agent(SshAgent, FileOwner),
}

impl OpenMounts {
    /// Opens a step's mounts. `inputs` are the step's own.
    pub(crate) fn open(
        engine: &Engine,
        request: &BuildRequest,
        op: &RunOp,
        inputs: &[&Chain],
        cancel: &CancelToken,
    ) -> Result<Self, StepError> {
        let caches = open_caches(engine, op, inputs, cancel)?;
        let mut opened = Self {
            open: Vec::new(),
            variables: Vec::new(),
        };
        for mount in &op.mounts {
            opened.add(engine, request, mount, (inputs, &caches))?;
        }
        Ok(opened)
    }

    fn add(
        &mut self,
        engine: &Engine,
        request: &BuildRequest,
        mount: &RunMount,
        (inputs, caches): (&[&Chain], &Caches),
    ) -> Result<(), StepError> {
        let (target, kind) = match mount {
            RunMount::Bind {
                target,
                input,
                source,
                read_only,
            } => {
                let chain = *inputs.get(*input).ok_or(StepError::NoContext)?;
                let kind = open_bind(engine, chain, (source, target), *read_only)?;
                (target, kind)
            }
            RunMount::Cache(cache) => {
                let guard = caches.get(&name(cache)).ok_or(StepError::NoContext)?;
                (&cache.target, mount_cache(cache, guard)?)
            }
            RunMount::Tmpfs { target, size } => (target, Kind::Tmpfs(*size)),
            RunMount::Secret {
                id,
                target,
                env,
                required,
                owner,
            } => {
                let Some(secret) = request.secrets.get(id) else {
                    return if *required {
                        Err(StepError::NoSecret(id.clone()))
                    } else {
                        Ok(())
                    };
                };
                if let Some(name) = env {
                    let text = std::str::from_utf8(secret.expose()).ok();
                    let text = text.filter(|text| !text.contains('\0'));
                    let text = text.ok_or_else(|| StepError::SecretVariable(id.clone()))?;
                    self.variables.push((name.clone(), text.to_owned()));
                }
                let Some(target) = target else { return Ok(()) };
                (target, Kind::Secret(secret.clone(), *owner))
            }
            RunMount::Ssh {
                id,
                target,
                required,
                owner,
            } => {
                let Some(source) = request.ssh.get(id) else {
                    return if *required {
                        Err(StepError::NoAgent(id.clone()))
                    } else {
                        Ok(())
                    };
                };
                let agent = match source {
                    SshSource::Agent(socket) => SshAgent::socket(socket),
                    SshSource::Keys(files) => SshAgent::keys(files),
                };
                let agent = agent.map_err(|error| StepError::Agent {
                    id: id.clone(),
                    source: Box::new(error),
                })?;
                (target, Kind::Agent(agent, *owner))
            }
        };
        self.open.push(Open {
            target: target.clone(),
            kind,
        });
        Ok(())
    }

    /// The mounts as the executor takes them.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = StepMount<'_>> {
        self.open.iter().map(|open| StepMount {
            target: open.target.clone(),
            kind: match &open.kind {
                Kind::Bind { mount, access, .. } | Kind::Cache { mount, access, .. } => {
                    MountKind::Bind {
                        source: mount.as_fd(),
                        access: *access,
                    }
                }
                Kind::Tmpfs(size) => MountKind::Tmpfs {
                    size: *size,
                    mode: 0o1777,
                },
                Kind::Secret(content, owner) => MountKind::Secret {
                    content: content.clone(),
                    uid: owner.uid,
                    gid: owner.gid,
                    mode: owner.mode,
                },
                Kind::Agent(agent, owner) => MountKind::Agent {
                    agent: agent.clone(),
                    uid: owner.uid,
                    gid: owner.gid,
                    mode: owner.mode,
                },
            },
        })
    }
}

fn open_bind(
    engine: &Engine,
    chain: &Chain,
    (source, target): (&str, &str),
    read_only: bool,
) -> Result<Kind, StepError> {
    let (root, writes) = if read_only {
        (Some(engine.readable_root(chain)?), None)
    } else {
        (None, Some(engine.writable_root(chain)?))
    };
    let mount = match (&root, &writes) {
        (Some(root), _) => sub_mount(engine, root, source),
        (None, Some(writes)) => sub_mount(engine, &writes.mount, source),
        (None, None) => return Err(StepError::NoContext),
    };
    let mount = mount.map_err(|cause| StepError::Mount {
        source_path: source.to_owned(),
        target: target.to_owned(),
        cause,
    })?;
    Ok(Kind::Bind {
        mount,
        access: if read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
        _root: root,
        _writes: writes,
    })
}

/// A part of a mounted root as a mount of its own.
fn sub_mount(engine: &Engine, root: &OwnedFd, path: &str) -> std::io::Result<OwnedFd> {
    let relative = path.trim_start_matches('/');
    if relative.is_empty() {
        return bind_fd(root.as_fd(), Recursion::This);
    }
    let file = open_in_root(root.as_fd(), Path::new(relative))?;
    match bind_fd(file.as_fd(), Recursion::This) {
        // Linux before 6.15 binds no part of a mount that is attached nowhere.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            let place = engine.mount_point()?;
            let attached = attach_at(bind_fd(root.as_fd(), Recursion::This)?, &place.0)?;
            let file = open_in_root(attached.as_fd(), Path::new(relative))?;
            bind_fd(file.as_fd(), Recursion::This)
        }
        bound => bound,
    }
}

/// An empty directory to mount on, which goes when nothing is mounted on it any more.
struct MountPoint(PathBuf);

impl Engine {
    fn mount_point(&self) -> std::io::Result<MountPoint> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".mount-{}-{number}", std::process::id());
        let path = self.store.root().join(name);
        files::create_dir_all(&path, 0o700).map_err(std::io::Error::from)?;
        Ok(MountPoint(path))
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        // One that is left behind is empty and harms nobody.
        let _ = files::remove_dir(&self.0);
    }
}

/// A step's caches by namespace and name.
type Caches = BTreeMap<(String, String), Arc<CacheMountGuard>>;

fn name(cache: &CacheMount) -> (String, String) {
    (cache.namespace.clone(), cache.id.clone())
}

/// Opens each cache of a step once, however often it is mounted, as strictly as any of its mounts
/// asks. In the order of their names, which is the same for all steps and all processes: two that
/// want the same caches for themselves don't wait for each other.
fn open_caches(
    engine: &Engine,
    op: &RunOp,
    inputs: &[&Chain],
    cancel: &CancelToken,
) -> Result<Caches, StepError> {
    let mut wanted: BTreeMap<(String, String), Vec<&CacheMount>> = BTreeMap::new();
    for mount in &op.mounts {
        if let RunMount::Cache(cache) = mount {
            wanted.entry(name(cache)).or_default().push(cache);
        }
    }
    let mut opened = Caches::new();
    for (name, mounts) in wanted {
        let guard = open_cache(engine, &mounts, inputs, cancel)?;
        opened.insert(name, Arc::new(guard));
    }
    Ok(opened)
}

/// Opens one cache; `mounts` are all of its mounts in a step, at least one.
fn open_cache(
    engine: &Engine,
    mounts: &[&CacheMount],
    inputs: &[&Chain],
    cancel: &CancelToken,
) -> Result<CacheMountGuard, StepError> {
    let cache = mounts.first().ok_or(StepError::NoContext)?;
    let key = CacheMountKey {
        namespace: cache.namespace.clone(),
        id: cache.id.clone(),
        scope: engine.machine.scope().to_vec(),
    };
    let owner = CacheMountOwner {
        uid: cache.owner.uid,
        gid: cache.owner.gid,
        mode: cache.owner.mode,
    };
    let asks = |sharing| mounts.iter().any(|mount| mount.sharing == sharing);
    let sharing = if asks(CacheSharing::Locked) {
        Sharing::Locked
    } else if asks(CacheSharing::Private) {
        Sharing::Private
    } else {
        Sharing::Shared
    };
    let mut guard = engine
        .store
        .open_cache_mount(&key, owner, sharing, cancel)?;
    let from = mounts.iter().find_map(|mount| mount.from.as_ref());
    if let (true, Some((input, path))) = (guard.is_new(), from) {
        let chain = *inputs.get(*input).ok_or(StepError::NoContext)?;
        fill(engine, chain, path, guard.dir(), cancel)?;
    }
    guard.mark_filled()?;
    Ok(guard)
}

fn mount_cache(cache: &CacheMount, guard: &Arc<CacheMountGuard>) -> Result<Kind, StepError> {
    let mount = bind(guard.dir(), Recursion::This).map_err(RootError::Handle)?;
    Ok(Kind::Cache {
        mount,
        access: if cache.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
        _guard: Arc::clone(guard),
    })
}

/// Copies what a new cache begins with.
fn fill(
    engine: &Engine,
    chain: &Chain,
    path: &str,
    into: &Path,
    cancel: &CancelToken,
) -> Result<(), StepError> {
    let root = engine
        .machine
        .tree(Dir::from_fd(engine.readable_root(chain)?));
    let source = root.open_dir_in_root(path)?;
    let target = engine.machine.tree(Dir::open(into)?);
    let options = kiln_layer::ExportOptions { clamp_mtime: None };
    kiln_layer::export_tree(&source, &target, &options, cancel).map_err(StepError::FillCache)
}
