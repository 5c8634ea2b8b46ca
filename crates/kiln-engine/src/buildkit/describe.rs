//! A step of the graph as BuildKit would have lowered the same line.

use kiln_cache::buildkit::{
    BkImage, BkPlatform, CacheSharing, CopyAction, Exec, FileAction, FileOp, MkdirAction,
    MkfileAction, Mount, MountKind, Network, Owner, Selected, Step, UserName,
};
use kiln_graph::{
    CacheMount, CopyFrom, CopyOp, CopySource, FileOwner, ImageOp, InlineFile, Op, RunMount, RunOp,
    Security, Step as GraphStep, Unpack, WorkdirOp,
};
use kiln_oci::Platform;

use super::Build;

/// The host name that BuildKit gives to steps, and leaves out of their definitions.
const DEFAULT_HOSTNAME: &str = "buildkitsandbox";
/// Where BuildKit mounts the script of a `RUN`.
const SCRIPTS: &str = "/dev/pipes/";
/// The directory that BuildKit makes for a cache whose owner or mode is given.
const CACHE_DIRECTORY: &str = "/cache";

/// What BuildKit has for a step.
pub(super) enum Described {
    /// The same as for another step.
    Same(usize),
    /// This.
    Step {
        /// As written in one way or another: what the graph does not tell apart.
        forms: Vec<Step>,
        /// In BuildKit's order.
        inputs: Vec<Taken>,
    },
}

/// An input, and what the step takes of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    pub(super) source: Source,
    /// What BuildKit names in the selector of a copy.
    pub(super) named: Vec<String>,
    /// What decides by its content alone.
    pub(super) selected: Vec<Selected>,
}

/// Where an input is from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Another step of the graph.
    Step(usize),
    /// A context, by its number.
    Context(usize),
    /// What BuildKit makes for this step alone.
    Made(FileAction),
}

impl Default for Source {
    fn default() -> Self {
        Self::Context(0)
    }
}

/// Inputs, each once.
#[derive(Default)]
struct Inputs(Vec<Taken>);

impl Inputs {
    fn add(&mut self, source: Source) -> usize {
        let known = self.0.iter().position(|taken| taken.source == source);
        known.unwrap_or_else(|| {
            self.0.push(Taken {
                source,
                ..Taken::default()
            });
            self.0.len() - 1
        })
    }
}

/// A step of one action on nothing.
pub(super) fn alone(action: FileAction) -> FileOp {
    FileOp {
        base: None,
        inputs: 0,
        actions: vec![action],
    }
}

/// `None` for a step that BuildKit has no record of, or that can't be told exactly.
pub(super) fn describe(build: Build<'_>, index: usize) -> Option<Described> {
    let step = &build.graph.steps()[index];
    match &step.op {
        Op::Image(op) => image(build, op),
        Op::Run(op) => run(build, step, op),
        Op::Copy(op) => copy(build, step, op),
        Op::Workdir(op) => workdir(build, step, op),
        Op::Merge => merge(build, step),
        Op::Scratch | Op::Context(_) | Op::Http(_) | Op::Git(_) => None,
    }
}

fn platform(platform: &Platform) -> BkPlatform {
    let platform = platform.clone().normalized();
    BkPlatform {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.variant.unwrap_or_default(),
    }
}

fn image(build: Build<'_>, op: &ImageOp) -> Option<Described> {
    let is_it = |digest| digest == op.manifest;
    let mut bases = build.bases.iter();
    let base = bases.find(|base| is_it(base.image.descriptor().digest.clone()))?;
    let image = BkImage {
        manifest: Some(op.manifest.clone()),
        diff_ids: base.image.config().diff_ids.clone(),
        platform: platform(&op.platform),
    };
    Some(Described::Step {
        forms: vec![Step::Image(image)],
        inputs: Vec::new(),
    })
}

/// An input of a step: nothing for an empty root.
fn source(build: Build<'_>, step: &GraphStep, input: usize) -> Option<Option<Source>> {
    let index = *step.inputs.get(input)?;
    let other = build.graph.step(index);
    Some(match &other.op {
        Op::Scratch => None,
        Op::Context(context) => Some(Source::Context(context.id)),
        _ => Some(Source::Step(index.as_usize())),
    })
}

fn workdir(build: Build<'_>, step: &GraphStep, op: &WorkdirOp) -> Option<Described> {
    let mut inputs = Inputs::default();
    let base = source(build, step, 0)?.map(|base| inputs.add(base));
    let request = build.builds.get(step.meta.build)?.request;
    let nanoseconds = |time: kiln_base::Timestamp| {
        let seconds = time.seconds().checked_mul(1_000_000_000)?;
        seconds.checked_add(i64::from(time.nanoseconds()))
    };
    let action = MkdirAction {
        path: op.path.clone(),
        owner: (!op.user.is_empty()).then(|| owner(&op.user)),
        timestamp: request.source_date_epoch.and_then(nanoseconds),
    };
    Some(file(base, inputs, vec![vec![FileAction::Mkdir(action)]]))
}

fn file(base: Option<usize>, inputs: Inputs, forms: Vec<Vec<FileAction>>) -> Described {
    let forms = forms.into_iter().map(|actions| {
        Step::File(FileOp {
            base,
            inputs: inputs.0.len(),
            actions,
        })
    });
    Described::Step {
        forms: forms.collect(),
        inputs: inputs.0,
    }
}

/// A user, and a group if there is one, as `--chown` and `USER` name them.
fn owner(text: &str) -> Owner {
    let name = |text: &str| match text.parse::<u32>() {
        Ok(id) if !text.starts_with('+') => UserName::Id(id),
        _ => UserName::Name(text.to_owned()),
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    Owner {
        user: Some(name(user)),
        group: group.map(name),
    }
}

fn merge(build: Build<'_>, step: &GraphStep) -> Option<Described> {
    let layer = step.inputs.get(1)?.as_usize();
    let Some(below) = source(build, step, 0)? else {
        // Nothing to merge with.
        return Some(Described::Same(layer));
    };
    let inputs = [below, Source::Step(layer)].map(|source| Taken {
        source,
        ..Taken::default()
    });
    Some(Described::Step {
        forms: vec![Step::Merge(2)],
        inputs: inputs.to_vec(),
    })
}

fn copy(build: Build<'_>, step: &GraphStep, op: &CopyOp) -> Option<Described> {
    if op.parents || !op.exclude.is_empty() {
        return None;
    }
    let mut inputs = Inputs::default();
    let base = source(build, step, 0)?.map(|base| inputs.add(base));
    let mut actions = Vec::new();
    for one in &op.sources {
        actions.push(match one {
            CopySource::Path(path) => {
                let from = source(build, step, 1)??;
                path_action(build, op, (path, from), (base, &mut inputs))?
            }
            CopySource::Inline(file) => heredoc_action(op, file, &mut inputs),
        });
    }
    let mut forms = vec![actions];
    if op.dest.len() > 1 && op.dest.ends_with('/') {
        // `dir/.` is the same place, and another word for it.
        let dotted = forms[0].iter().cloned().map(|action| match action {
            FileAction::Copy(copy) => FileAction::Copy(CopyAction {
                dest: format!("{}.", copy.dest),
                ..copy
            }),
            other => other,
        });
        forms.push(dotted.collect());
    }
    Some(file(base, inputs, forms))
}

fn path_action(
    build: Build<'_>,
    op: &CopyOp,
    (path, from): (&str, Source),
    (base, inputs): (Option<usize>, &mut Inputs),
) -> Option<FileAction> {
    let is_fetched = match &from {
        Source::Step(step) => matches!(build.graph.steps()[*step].op, Op::Http(_) | Op::Git(_)),
        Source::Context(_) | Source::Made(_) => false,
    };
    let input = inputs.add(from);
    if Some(input) == base {
        return None;
    }
    let src = clean(path);
    let taken = &mut inputs.0[input];
    taken.named.push(src.clone());
    taken.selected.push(Selected {
        path: src.clone(),
        is_pattern: !is_fetched,
    });
    Some(FileAction::Copy(CopyAction {
        src,
        unpack: op.unpack == Unpack::Archives,
        is_selection: !is_fetched,
        ..action(op, input)
    }))
}

fn heredoc_action(op: &CopyOp, file: &InlineFile, inputs: &mut Inputs) -> FileAction {
    let path = format!("/{}", file.path);
    let input = inputs.add(Source::Made(FileAction::Mkfile(MkfileAction {
        path: path.clone(),
        mode: file.mode,
        data: file.content.clone(),
    })));
    inputs.0[input].named.push(path.clone());
    FileAction::Copy(CopyAction {
        src: path,
        ..action(op, input)
    })
}

/// What all sources of a copy have in common.
fn action(op: &CopyOp, from: usize) -> CopyAction {
    let (mut mode, mut mode_text) = (None, String::new());
    if let Some(text) = &op.chmod {
        match u32::from_str_radix(text, 8) {
            Ok(bits) => mode = Some(bits),
            Err(_) => mode_text.clone_from(text),
        }
    }
    CopyAction {
        from,
        src: String::new(),
        dest: op.dest.clone(),
        owner: op.chown.as_deref().map(owner),
        mode,
        mode_text,
        unpack: false,
        is_selection: false,
    }
}

/// Absolute, without `.`, `..`, doubled slashes and one at the end.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

fn run(build: Build<'_>, step: &GraphStep, op: &RunOp) -> Option<Described> {
    let settings = &build.builds.get(step.meta.build)?.request.steps;
    let mut inputs = Inputs::default();
    let mut exec = Exec {
        args: op.argv.clone(),
        env: op
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
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
        match mount {
            RunMount::Secret {
                env: Some(env),
                id,
                required,
                ..
            } => {
                exec.secret_env.push((id.clone(), env.clone(), !required));
            }
            RunMount::Bind { .. }
            | RunMount::Cache(_)
            | RunMount::Tmpfs { .. }
            | RunMount::Secret { .. }
            | RunMount::Ssh { .. } => {}
        }
        mounts.extend(place(build, step, mount)?);
    }
    if let Some(size) = settings.shm_size {
        let kind = MountKind::Tmpfs(i64::try_from(size).ok()?);
        mounts.push(Place {
            source: None,
            mount: mount_at("/dev/shm", kind),
        });
    }
    // Secrets and agents come behind what is a directory.
    mounts.sort_by(|a, b| a.rank().cmp(&b.rank()));
    for Place { source, mount } in mounts {
        let input = source.map(|source| inputs.add(source));
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
    source: Option<Source>,
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
        source: Some(Source::Made(FileAction::Mkfile(MkfileAction {
            path: format!("/{name}"),
            mode: file.mode,
            data: file.content.clone(),
        }))),
        mount: Mount {
            readonly: true,
            ..mount_at(SCRIPTS, MountKind::Bind)
        },
    })
}

/// `None` where the mount can't be told; nothing in it for a secret that is only a variable.
fn place(build: Build<'_>, step: &GraphStep, mount: &RunMount) -> Option<Option<Place>> {
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
        RunMount::Cache(cache) => return cache_place(build, step, cache).map(Some),
        RunMount::Tmpfs { target, size } => {
            let size = i64::try_from(size.unwrap_or(0)).ok()?;
            (None, mount_at(target, MountKind::Tmpfs(size)))
        }
        RunMount::Secret { target: None, .. } => return Some(None),
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
            (None, mount_at(target, kind))
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
            (None, mount_at(target, kind))
        }
    };
    Some(Some(Place { source, mount }))
}

/// What a bind mount shows. Files of a context are an input of their own in the graph; in BuildKit
/// the context itself is the input.
fn bound_files(build: Build<'_>, step: &GraphStep, input: usize) -> Option<Option<Source>> {
    let found = source(build, step, input)?;
    let Some(Source::Step(index)) = found else {
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
            (Some(Source::Made(made)), CACHE_DIRECTORY)
        }
        None => (None, "/"),
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
