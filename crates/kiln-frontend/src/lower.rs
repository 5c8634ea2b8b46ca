//! From the tree to the graph.

use std::collections::HashMap;

use kiln_dockerfile::{Diagnostic, Dockerfile, Span};
use kiln_graph::{Graph, GraphBuilder, ImageOp, Op, StepIndex, StepMeta};
use kiln_oci::{ImageConfig, Platform, Reference, RuntimeConfig};

use crate::scope::{self, Scope, refuse};
use crate::stage::{self, StageState};
use crate::stages::{Base, Stages};
use crate::text::{Expander, Result as LowerResult};
use crate::{BaseRequest, Facts, LowerOptions, NoCache};

/// The variable that says where programs are, for bases that do not set it.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What lowering came to.
#[derive(Debug, Clone)]
pub enum Lowering {
    /// These images have to be known first.
    NeedBases(Vec<BaseRequest>),
    /// The graph is complete.
    Done(Box<Lowered>),
}

/// A lowered Dockerfile.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// All steps that the target needs.
    pub graph: Graph,
    /// The step whose output is the result's root file system.
    pub target: StepIndex,
    /// The result's configuration: its history is complete but for the times of new entries, and
    /// it has no diff ids.
    pub config: ImageConfig,
    /// How many entries at the beginning of the history come from the base.
    pub base_history: usize,
    /// What the author should look at.
    pub warnings: Vec<Diagnostic>,
}

/// Lowers a Dockerfile that has no errors.
///
/// # Errors
///
/// What keeps it from being built, with places; at least one is an error.
pub fn lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    facts: &Facts,
) -> Result<Lowering, Vec<Diagnostic>> {
    try_lower(dockerfile, options, facts).map_err(|diagnostic| vec![*diagnostic])
}

fn try_lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    facts: &Facts,
) -> LowerResult<Lowering> {
    check_frontend(dockerfile)?;
    if dockerfile.stages.is_empty() {
        return refuse(Diagnostic::error(
            Span::default(),
            "the Dockerfile has no `FROM`",
        ));
    }
    let globals = scope::global(dockerfile, options)?;
    let stages = Stages::read(dockerfile, options, &globals)?;
    let target = stages.target(options.target.as_deref())?;
    let (order, missing) = stages.order(target, facts)?;
    if !missing.is_empty() {
        return Ok(Lowering::NeedBases(missing));
    }
    let mut lowerer = Lowerer {
        options,
        facts,
        globals,
        stages,
        expander: Expander::new(dockerfile),
        builder: GraphBuilder::new(),
        done: HashMap::new(),
    };
    for index in order {
        let state = lowerer.stage(index)?;
        lowerer.done.insert(index, state);
    }
    let Some(mut state) = lowerer.done.remove(&target) else {
        return refuse(Diagnostic::error(
            Span::default(),
            "the target was not lowered",
        ));
    };
    state.config.runtime.labels.extend(options.labels.clone());
    Ok(Lowering::Done(Box::new(Lowered {
        graph: lowerer.builder.finish(),
        target: state.root,
        config: state.config,
        base_history: state.base_history,
        warnings: Vec::new(),
    })))
}

/// `# syntax=docker/dockerfile:…` means the language that is built in; no other is.
fn check_frontend(dockerfile: &Dockerfile) -> LowerResult<()> {
    let Some(syntax) = &dockerfile.directives.syntax else {
        return Ok(());
    };
    let built_in = ["docker/dockerfile", "docker/dockerfile-upstream"];
    let known = syntax.value.parse::<Reference>().is_ok_and(|reference| {
        reference.registry() == "docker.io" && built_in.contains(&reference.repository())
    });
    if known {
        return Ok(());
    }
    let message = format!("the frontend `{}` is not supported", syntax.value);
    refuse(
        Diagnostic::error(syntax.span, message).with_hint(
            "kiln reads Dockerfiles itself: remove the line, or use `docker/dockerfile:1`",
        ),
    )
}

/// The work of lowering: what is given, and what has come of it so far.
pub(crate) struct Lowerer<'a> {
    pub(crate) options: &'a LowerOptions,
    facts: &'a Facts,
    pub(crate) globals: Scope,
    pub(crate) stages: Stages<'a>,
    pub(crate) expander: Expander,
    pub(crate) builder: GraphBuilder,
    done: HashMap<usize, StageState>,
}

impl Lowerer<'_> {
    /// Lowers a stage whose needs are lowered.
    fn stage(&mut self, index: usize) -> LowerResult<StageState> {
        let mut state = self.begin(index)?;
        let triggers = self.stages.triggers(index, self.facts);
        state.config.runtime.on_build.clear();
        let from = self.stages.all[index].stage.from.span;
        let commands = &self.stages.all[index].stage.commands;
        let mut triggered = Vec::new();
        for trigger in &triggers {
            triggered.push(crate::stages::parse_trigger(trigger, from)?);
        }
        // The references outlive `self`'s borrow: the tree is borrowed from the caller.
        let commands: Vec<_> = triggered.iter().chain(commands).cloned().collect();
        state.total += commands
            .iter()
            .filter(|command| stage::is_step(command))
            .count();
        for (position, command) in commands.iter().enumerate() {
            state.in_trigger = position < triggered.len();
            self.command(&mut state, command)?;
        }
        Ok(state)
    }

    /// What a stage begins with.
    fn begin(&mut self, index: usize) -> LowerResult<StageState> {
        let platform = self.stages.platform(index).clone();
        let title = self.stages.title(index);
        let span = self.stages.all[index].stage.from.span;
        let (root, mut config, base_history, counts) = match self.stages.all[index].base.clone() {
            Base::Stage(base) => {
                let Some(base) = self.done.get(&base) else {
                    return refuse(Diagnostic::error(span, "the base stage was not lowered"));
                };
                let state = StageState {
                    title,
                    platform,
                    total: 0,
                    index: 0,
                    cmd_is_set: false,
                    in_trigger: false,
                    ..base.clone()
                };
                return Ok(state);
            }
            Base::Scratch => {
                let root = self.scratch(&title);
                let config = scratch_config(&platform);
                (root, config, 0, false)
            }
            Base::Image(reference) => {
                let (root, config) = self.image(&reference, &platform, &title, span)?;
                let history = config.history.len();
                (root, config, history, true)
            }
        };
        if config.runtime.env_value("PATH").is_none() {
            config.runtime.env.push(DEFAULT_PATH.to_owned());
        }
        let mut env = Scope::default();
        for entry in &config.runtime.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            env.set(name, value);
        }
        Ok(StageState {
            root,
            config: ImageConfig {
                created: None,
                diff_ids: Vec::new(),
                ..config
            },
            base_history,
            env,
            build_args: Vec::new(),
            platform,
            title,
            total: usize::from(counts),
            index: usize::from(counts),
            cmd_is_set: false,
            in_trigger: false,
        })
    }

    /// The step of an empty root.
    pub(crate) fn scratch(&mut self, stage: &str) -> StepIndex {
        let meta = StepMeta {
            name: "FROM scratch".to_owned(),
            stage: stage.to_owned(),
            offset: None,
            ignore_cache: false,
        };
        self.builder.add(Op::Scratch, Vec::new(), meta)
    }

    /// The step of an image's root, and the image's configuration.
    fn image(
        &mut self,
        reference: &Reference,
        platform: &Platform,
        stage: &str,
        span: Span,
    ) -> LowerResult<(StepIndex, ImageConfig)> {
        let Some(facts) = self.facts.get(reference, platform) else {
            let message = format!("the image `{reference}` is not known");
            return refuse(Diagnostic::error(span, message));
        };
        let config = facts.config.clone();
        if config.diff_ids.is_empty() {
            return Ok((self.scratch(stage), config));
        }
        let op = Op::Image(ImageOp {
            reference: reference.clone(),
            platform: platform.clone(),
            manifest: facts.manifest.clone(),
        });
        let meta = StepMeta {
            name: format!("FROM {}", reference.familiar()),
            stage: stage.to_owned(),
            offset: None,
            ignore_cache: false,
        };
        Ok((self.builder.add(op, Vec::new(), meta), config))
    }

    /// The root that `COPY --from` names.
    pub(crate) fn source(
        &mut self,
        from: &kiln_dockerfile::Text,
        state: &StageState,
    ) -> LowerResult<StepIndex> {
        match self.stages.source(from)? {
            Base::Scratch => Ok(self.scratch("scratch")),
            Base::Stage(index) => match self.done.get(&index) {
                Some(done) => Ok(done.root),
                None => refuse(Diagnostic::error(from.span, "the stage was not lowered")),
            },
            Base::Image(reference) => {
                let platform = state.platform.clone();
                let (root, _) = self.image(&reference, &platform, &from.value, from.span)?;
                Ok(root)
            }
        }
    }

    /// Whether every step is to ignore the cache.
    pub(crate) fn ignores_cache(&self) -> bool {
        self.options.no_cache == NoCache::All
    }
}

fn scratch_config(platform: &Platform) -> ImageConfig {
    ImageConfig::empty(platform.clone()).with_runtime(|runtime| RuntimeConfig {
        working_dir: "/".to_owned(),
        ..runtime
    })
}
