//! `RUN --mount`.

use kiln_dockerfile::ast::{Command, FileOptions, Mount, MountFlag, MountKind, Run, Sharing};
use kiln_dockerfile::{Diagnostic, Text};
use kiln_graph::{
    CacheMount, CacheSharing, ContextOp, CopyFrom, CopyOp, CopySource, FileOwner, Op, RunMount,
    StepIndex, StepMeta, Unpack,
};

use crate::lower::{Lowerer, Source};
use crate::paths;
use crate::scope::refuse;
use crate::stage::StageState;
use crate::stages::{SourceKind, SourceName};
use crate::text::Result;

/// Where a secret without a target appears.
const SECRETS: &str = "/run/secrets";
/// Where the socket of an SSH agent without a target appears, before its number.
const AGENTS: &str = "/run/buildkit/ssh_agent.";
/// The build argument that keeps the caches of projects apart.
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// The mounts of one `RUN`, with the steps that they need as inputs.
pub(crate) struct Mounts {
    pub(crate) mounts: Vec<RunMount>,
    /// The root, and then what mounts refer to.
    pub(crate) inputs: Vec<StepIndex>,
}

/// What a mount names with `from=`, if it does. It is never expanded.
pub(crate) fn source_name(flag: &MountFlag) -> Option<SourceName> {
    let from = flag.fields.iter().rev().find_map(|field| {
        let (key, value) = field.split_once('=')?;
        key.eq_ignore_ascii_case("from").then_some(value)
    })?;
    (!from.is_empty()).then(|| SourceName {
        name: Text::new(from.to_owned(), flag.span),
        kind: SourceKind::Mount,
    })
}

impl Lowerer<'_> {
    /// Lowers the mounts of a `RUN`, whose root is the stage's.
    pub(crate) fn mounts(
        &mut self,
        state: &StageState,
        command: &Command,
        run: &Run,
    ) -> Result<Mounts> {
        let mut lowered = Mounts {
            mounts: Vec::new(),
            inputs: vec![state.root],
        };
        let mut agents = 0;
        for flag in &run.mounts {
            let mount = self.resolve(state, flag)?;
            let target = mount.target.as_deref().filter(|target| !target.is_empty());
            let target = target.map(|target| paths::clean(&paths::absolute(state.cwd(), target)));
            let source = source_name(flag);
            let one = OneMount {
                flag,
                mount: &mount,
                target,
                source,
            };
            let mount = match &mount.kind {
                MountKind::Bind { source, .. } => {
                    self.bind(state, command, (&one, source.as_deref()), &mut lowered)?
                }
                MountKind::Cache { .. } => self.cache(&one, &mut lowered)?,
                MountKind::Tmpfs { size } => RunMount::Tmpfs {
                    target: one.required_target()?,
                    size: *size,
                },
                MountKind::Secret {
                    id,
                    env,
                    required,
                    owner,
                } => one.secret((id.as_deref(), env.as_deref()), *required, *owner)?,
                MountKind::Ssh {
                    id,
                    required,
                    owner,
                } => {
                    agents += 1;
                    one.ssh(id.as_deref(), agents - 1, *required, *owner)
                }
            };
            lowered.mounts.push(mount);
        }
        // One that lies below another has to be mounted after it.
        lowered
            .mounts
            .sort_by(|a, b| a.target().unwrap_or("").cmp(b.target().unwrap_or("")));
        Ok(lowered)
    }

    /// The mount with its variables replaced.
    fn resolve(&self, state: &StageState, flag: &MountFlag) -> Result<Mount> {
        flag.resolve(|word| self.expander.raw(word, &state.env))
            .map_err(|error| {
                let diagnostic = Diagnostic::error(flag.span, error.to_string());
                Box::new(match error.hint() {
                    Some(hint) => diagnostic.with_hint(hint),
                    None => diagnostic,
                })
            })
    }

    fn bind(
        &mut self,
        state: &StageState,
        command: &Command,
        (one, path): (&OneMount<'_>, Option<&str>),
        lowered: &mut Mounts,
    ) -> Result<RunMount> {
        let target = one.required_target()?;
        let path = paths::clean(path.unwrap_or_default());
        let root = match &one.source {
            None => {
                let context = self.options.context;
                self.context_files(state, command, context, &path)
            }
            Some(name) => match self.source(name)? {
                Source::Root(root) => root,
                Source::Files(context) => self.context_files(state, command, context, &path),
            },
        };
        Ok(RunMount::Bind {
            target,
            input: lowered.input(root),
            source: path,
            read_only: one.mount.read_only,
        })
    }

    /// The files of a context below `path`, at the same place in a root of their own: what the
    /// ignore file leaves out is not there, and nothing that a step does reaches the context.
    fn context_files(
        &mut self,
        state: &StageState,
        command: &Command,
        context: usize,
        path: &str,
    ) -> StepIndex {
        let title = state.progress.title.clone();
        let scratch = self.scratch(&title);
        let files = self.context(&title, context);
        let op = CopyOp {
            sources: vec![CopySource::Path(paths::literal(path))],
            from: CopyFrom::Context,
            dest: path.to_owned(),
            chown: None,
            owners: 0,
            chmod: None,
            parents: false,
            exclude: Vec::new(),
            unpack: Unpack::Never,
            link: true,
        };
        let meta = StepMeta {
            name: format!("[internal] load {path} of the build context"),
            span: Some(command.span.start..command.span.end),
            ..self.internal(&title)
        };
        self.builder.add(Op::Copy(op), vec![scratch, files], meta)
    }

    /// The files of a context.
    pub(crate) fn context(&mut self, stage: &str, context: usize) -> StepIndex {
        let meta = StepMeta {
            name: "[internal] load build context".to_owned(),
            ..self.internal(stage)
        };
        let op = Op::Context(ContextOp { id: context });
        self.builder.add(op, Vec::new(), meta)
    }

    fn cache(&mut self, one: &OneMount<'_>, lowered: &mut Mounts) -> Result<RunMount> {
        let MountKind::Cache {
            id,
            source,
            sharing,
            owner,
            ..
        } = &one.mount.kind
        else {
            return one
                .required_target()
                .map(|target| RunMount::Tmpfs { target, size: None });
        };
        let target = one.required_target()?;
        let from = match &one.source {
            None => None,
            Some(name) => match self.source(name)? {
                Source::Root(root) => {
                    let path = paths::clean(source.as_deref().unwrap_or_default());
                    Some((lowered.input(root), path))
                }
                Source::Files(_) => {
                    let message = format!(
                        "the first content of a cache can't come from the files of `{}`",
                        name.name.value
                    );
                    return refuse(
                        Diagnostic::error(one.flag.span, message)
                            .with_hint("copy them into a stage and name that"),
                    );
                }
            },
        };
        let written = one.mount.target.as_deref().unwrap_or_default();
        let id = id.clone().filter(|id| !id.is_empty());
        Ok(RunMount::Cache(CacheMount {
            target,
            id: id.unwrap_or_else(|| clean_as_written(written)),
            namespace: self
                .options
                .build_args
                .get(NAMESPACE)
                .cloned()
                .unwrap_or_default(),
            sharing: match sharing {
                Sharing::Shared => CacheSharing::Shared,
                Sharing::Private => CacheSharing::Private,
                Sharing::Locked => CacheSharing::Locked,
            },
            from,
            read_only: one.mount.read_only,
            owner: file_owner(*owner, 0o755),
        }))
    }
}

/// A mount while it is lowered.
struct OneMount<'a> {
    flag: &'a MountFlag,
    mount: &'a Mount,
    /// Absolute and clean, where there is one.
    target: Option<String>,
    source: Option<SourceName>,
}

impl OneMount<'_> {
    fn required_target(&self) -> Result<String> {
        match self.target.as_deref() {
            Some("/") => {
                let message = "`/` can't be the target of a mount";
                refuse(Diagnostic::error(self.flag.span, message))
            }
            Some(target) => Ok(target.to_owned()),
            None => {
                let message = "the mount has no `target`";
                refuse(Diagnostic::error(self.flag.span, message))
            }
        }
    }

    fn secret(
        &self,
        (id, env): (Option<&str>, Option<&str>),
        required: bool,
        owner: FileOptions,
    ) -> Result<RunMount> {
        let written = self.mount.target.as_deref().unwrap_or_default();
        let id = match id.filter(|id| !id.is_empty()) {
            Some(id) => id,
            None => base_name(written),
        };
        if id.is_empty() {
            let message = "a secret mount needs an `id` or a `target`";
            return refuse(Diagnostic::error(self.flag.span, message));
        }
        let target = match (&self.target, env) {
            (Some(_), _) => Some(self.required_target()?),
            (None, Some(_)) => None,
            (None, None) => Some(format!("{SECRETS}/{}", base_name(id))),
        };
        Ok(RunMount::Secret {
            id: id.to_owned(),
            target,
            env: env.map(|name| if name.is_empty() { id } else { name }.to_owned()),
            required,
            owner: file_owner(owner, 0o400),
        })
    }

    fn ssh(&self, id: Option<&str>, number: usize, required: bool, owner: FileOptions) -> RunMount {
        RunMount::Ssh {
            id: id
                .filter(|id| !id.is_empty())
                .unwrap_or("default")
                .to_owned(),
            target: match &self.target {
                Some(target) => target.clone(),
                None => format!("{AGENTS}{number}"),
            },
            required,
            owner: file_owner(owner, 0o600),
        }
    }
}

impl Mounts {
    /// The place of a step among the inputs.
    fn input(&mut self, step: StepIndex) -> usize {
        match self.inputs.iter().skip(1).position(|known| *known == step) {
            Some(place) => place + 1,
            None => {
                self.inputs.push(step);
                self.inputs.len() - 1
            }
        }
    }

    /// The variable that tells programs of the first agent.
    pub(crate) fn agent_socket(&self) -> Option<&str> {
        self.mounts.iter().find_map(|mount| match mount {
            RunMount::Ssh { target, .. } => Some(target.as_str()),
            _ => None,
        })
    }
}

/// The target as the cache's name: without `.`, `..` and doubled slashes, but still relative where
/// it was.
fn clean_as_written(target: &str) -> String {
    let clean = paths::clean(target);
    match (target.starts_with('/'), clean.strip_prefix('/')) {
        (false, Some(relative)) => relative.to_owned(),
        _ => clean,
    }
}

fn base_name(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    trimmed.rsplit_once('/').map_or(trimmed, |(_, name)| name)
}

fn file_owner(options: FileOptions, mode: u32) -> FileOwner {
    FileOwner {
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
        mode: options.mode.unwrap_or(mode),
    }
}
