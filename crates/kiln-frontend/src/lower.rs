//! From the tree to the graph.

use std::collections::HashMap;

use kiln_dockerfile::ast::Stage;
use kiln_dockerfile::{Diagnostic, Dockerfile, Span, Text};
use kiln_graph::{Graph, GraphBuilder, ImageOp, Op, StepIndex, StepMeta};
use kiln_oci::{ImageConfig, Platform, Reference, RuntimeConfig};

use crate::scope::{self, Scope, refuse};
use crate::stage::{Progress, SetOnce, StageState, is_step};
use crate::stages::{Base, Stages, parse_trigger};
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
    /// Names of build arguments that no `ARG` declares: often misspelt. Sorted.
    pub unused_args: Vec<String>,
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
    let mut errors = Vec::new();
    match try_lower(dockerfile, options, facts, &mut errors) {
        Ok(lowering) if errors.is_empty() => Ok(lowering),
        Ok(_) => Err(errors),
        Err(error) => {
            errors.push(*error);
            Err(errors)
        }
    }
}

/// Lowers as far as it makes sense: an error in an instruction goes into `errors`, and the next
/// instruction is looked at; one that what follows depends on is returned.
fn try_lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    facts: &Facts,
    errors: &mut Vec<Diagnostic>,
) -> LowerResult<Lowering> {
    check_frontend(dockerfile, options)?;
    if dockerfile.stages.is_empty() {
        return refuse(Diagnostic::error(
            Span::default(),
            "the Dockerfile has no `FROM`",
        ));
    }
    let globals = scope::global(dockerfile, options)?;
    let stages = Stages::read(dockerfile, options, &globals)?;
    errors.extend(stages.wrong_sources());
    let target = stages.target(options.target.as_deref())?;
    if let Some(error) = errors.pop() {
        return refuse(error);
    }
    let (order, missing) = stages.order(target, facts)?;
    if !missing.is_empty() {
        return Ok(Lowering::NeedBases(missing));
    }
    let warnings = stages.odd_names();
    let mut lowerer = Lowerer {
        options,
        facts,
        globals,
        stages,
        expander: Expander::new(dockerfile),
        builder: GraphBuilder::new(),
        done: HashMap::new(),
        errors: Vec::new(),
        warnings,
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
    errors.append(&mut lowerer.errors);
    let stages = lowerer.done.values().chain([&state]);
    let declared = stages.flat_map(|stage| &stage.build_args);
    let declared = declared.map(|(name, _)| name.as_str());
    let unused_args = scope::unused(dockerfile, options, &declared.collect());
    state.config.runtime.labels.extend(options.labels.clone());
    state.config.platform = state.config.platform.normalized();
    lowerer.warnings.sort_by_key(|warning| warning.span.start);
    Ok(Lowering::Done(Box::new(Lowered {
        graph: lowerer.builder.finish(),
        target: state.root,
        config: state.config,
        base_history: state.base_history,
        warnings: lowerer.warnings,
        unused_args,
    })))
}

/// `# syntax=docker/dockerfile:…` means the language that is built in; no other is. The build
/// argument says the same with more weight.
fn check_frontend(dockerfile: &Dockerfile, options: &LowerOptions) -> LowerResult<()> {
    let argument = options.build_args.get("BUILDKIT_SYNTAX");
    let argument = argument.map(|value| Text::new(value.clone(), Span::default()));
    let Some(syntax) = argument.as_ref().or(dockerfile.directives.syntax.as_ref()) else {
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
    /// What is wrong with instructions.
    errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl<'a> Lowerer<'a> {
    /// Lowers a stage whose needs are lowered.
    fn stage(&mut self, index: usize) -> LowerResult<StageState> {
        let written: &'a Stage = self.stages.all[index].stage;
        let from = written.from.span;
        let triggers = self.stages.triggers(index, self.facts);
        let triggers: Vec<_> = triggers
            .iter()
            .map(|trigger| parse_trigger(trigger, from))
            .collect::<LowerResult<_>>()?;
        let commands = || triggers.iter().chain(&written.commands);
        let steps = commands().filter(|command| is_step(command)).count();
        let mut state = self.begin(index, steps)?;
        state.config.runtime.on_build.clear();
        for (position, command) in commands().enumerate() {
            state.in_trigger = position < triggers.len();
            let Err(error) = self.command(&mut state, command) else {
                continue;
            };
            // A trigger's own places are not in this file.
            let span = if state.in_trigger { from } else { error.span };
            self.errors.push(Diagnostic { span, ..*error });
        }
        Ok(state)
    }

    /// What a stage with that many steps of its own begins with.
    fn begin(&mut self, index: usize, steps: usize) -> LowerResult<StageState> {
        let platform = self.stages.platform(index).clone();
        let span = self.stages.all[index].stage.from.span;
        let mut progress = Progress::new(self.stages.title(index), steps);
        let (root, mut config, base_history) = match self.stages.all[index].base.clone() {
            Base::Stage(base) => {
                let Some(base) = self.done.get(&base) else {
                    return refuse(Diagnostic::error(span, "the base stage was not lowered"));
                };
                let state = StageState {
                    progress,
                    set_once: SetOnce::default(),
                    in_trigger: false,
                    ..base.clone()
                };
                return Ok(state);
            }
            Base::Scratch => {
                let root = self.scratch(&progress.title);
                (root, scratch_config(&platform), 0)
            }
            Base::Image(reference) => {
                progress.total += 1;
                let name = progress.next(&format!("FROM {reference}"));
                let stage = progress.title.clone();
                let (root, config) = self.image(&reference, &platform, (name, stage), span)?;
                let history = config.history.len();
                (root, config, history)
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
            progress,
            set_once: SetOnce::default(),
            workdir_is_set: false,
            in_trigger: false,
        })
    }

    /// The step of an empty root.
    pub(crate) fn scratch(&mut self, stage: &str) -> StepIndex {
        let meta = StepMeta {
            name: "FROM scratch".to_owned(),
            stage: stage.to_owned(),
            span: None,
            ignore_cache: false,
        };
        self.builder.add(Op::Scratch, Vec::new(), meta)
    }

    /// The step of an image's root, and the image's configuration.
    fn image(
        &mut self,
        reference: &Reference,
        platform: &Platform,
        (name, stage): (String, String),
        span: Span,
    ) -> LowerResult<(StepIndex, ImageConfig)> {
        let Some(facts) = self.facts.get(reference, platform) else {
            let message = format!("the image `{reference}` is not known");
            return refuse(Diagnostic::error(span, message));
        };
        let config = facts.config.clone();
        let has_layers = config.history.iter().any(|entry| !entry.empty_layer);
        if config.diff_ids.is_empty() && !has_layers {
            return Ok((self.scratch(&stage), config));
        }
        let op = Op::Image(ImageOp {
            reference: reference.clone(),
            platform: platform.clone(),
            manifest: facts.manifest.clone(),
        });
        let meta = StepMeta {
            name,
            stage,
            span: Some(span.start..span.end),
            ignore_cache: false,
        };
        Ok((self.builder.add(op, Vec::new(), meta), config))
    }

    /// The root that `COPY --from` names.
    pub(crate) fn source(&mut self, from: &Text) -> LowerResult<StepIndex> {
        match self.stages.source(from)? {
            Base::Scratch => Ok(self.scratch("scratch")),
            Base::Stage(index) => match self.done.get(&index) {
                Some(done) => Ok(done.root),
                None => refuse(Diagnostic::error(from.span, "the stage was not lowered")),
            },
            Base::Image(reference) => {
                let names = (format!("FROM {reference}"), from.value.clone());
                let platform = &self.options.target_platform;
                let (root, _) = self.image(&reference, platform, names, from.span)?;
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
