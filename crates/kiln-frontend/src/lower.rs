//! From the tree to the graph.

use std::collections::HashMap;

use kiln_dockerfile::ast::Stage;
use kiln_dockerfile::{Diagnostic, Dockerfile, Span, Text};
use kiln_graph::{
    CopyFrom, CopyOp, CopySource, Graph, GraphBuilder, ImageOp, Op, StepIndex, StepMeta, Unpack,
};
use kiln_oci::{History, ImageConfig, Platform, Reference, RuntimeConfig};

use crate::scope::{self, Scope, refuse};
use crate::stage::{Progress, StageState, is_step};
use crate::stages::{Base, SourceName, Stages, parse_trigger};
use crate::text::{Expander, Result as LowerResult};
use crate::{BaseRoot, Facts, ImageName, LowerOptions, Needs, NoCache, SourceRequest, lint_build};

/// The variable that says where programs are, for bases that do not set it.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What lowering came to.
#[derive(Debug, Clone)]
pub enum Lowering {
    /// This has to be known first.
    Needs(Needs),
    /// The graph is complete.
    Done(Box<Lowered>),
}

/// A lowered Dockerfile.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// What was in the graph before, and all steps that the target needs.
    pub steps: GraphBuilder,
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

impl Lowered {
    /// The graph so far.
    pub const fn graph(&self) -> &Graph {
        self.steps.graph()
    }
}

/// Lowers a Dockerfile that has no errors, on top of the steps that are there.
///
/// # Errors
///
/// What keeps it from being built, with places; at least one is an error.
pub fn lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    facts: &Facts,
    steps: &GraphBuilder,
) -> Result<Lowering, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    match try_lower(dockerfile, options, (facts, steps), &mut errors) {
        Ok(lowering) if errors.is_empty() => match lowering {
            Lowering::Done(lowered) => checked(dockerfile, options, facts, *lowered),
            Lowering::Needs(_) => Ok(lowering),
        },
        Ok(_) => Err(errors),
        Err(error) => {
            errors.push(*error);
            Err(errors)
        }
    }
}

/// Adds what the checks find, which may keep the file from being built.
fn checked(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    facts: &Facts,
    mut lowered: Lowered,
) -> Result<Lowering, Vec<Diagnostic>> {
    let found = lint_build(dockerfile, options, facts);
    lowered.warnings.extend(found.diagnostics_with_verdict());
    lowered
        .warnings
        .sort_by_key(|warning| (warning.is_error(), warning.span.start));
    if lowered.warnings.iter().any(Diagnostic::is_error) {
        return Err(lowered.warnings);
    }
    Ok(Lowering::Done(Box::new(lowered)))
}

/// What keeps a file from being built, as far as it is known.
pub(crate) fn errors(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    facts: &Facts,
) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    let steps = GraphBuilder::new();
    if let Err(error) = try_lower(dockerfile, options, (facts, &steps), &mut errors) {
        errors.push(*error);
    }
    errors
}

/// Lowers as far as it makes sense: an error in an instruction goes into `errors`, and the next
/// instruction is looked at; one that what follows depends on is returned.
fn try_lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    (facts, steps): (&Facts, &GraphBuilder),
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
        return Ok(Lowering::Needs(Needs {
            bases: missing,
            sources: Vec::new(),
        }));
    }
    let mut lowerer = Lowerer {
        options,
        facts,
        globals,
        stages,
        expander: Expander::new(dockerfile),
        builder: steps.clone(),
        done: HashMap::new(),
        wanted: Vec::new(),
        errors: Vec::new(),
        warnings: Vec::new(),
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
    if !lowerer.wanted.is_empty() {
        return Ok(Lowering::Needs(Needs {
            bases: Vec::new(),
            sources: lowerer.wanted,
        }));
    }
    let stages = lowerer.done.values().chain([&state]);
    let declared = stages.flat_map(|stage| &stage.build_args);
    let declared = declared.map(|(name, _)| name.as_str());
    let unused_args = scope::unused(dockerfile, options, &declared.collect());
    state.config.runtime.labels.extend(options.labels.clone());
    state.config.platform = state.config.platform.normalized();
    Ok(Lowering::Done(Box::new(Lowered {
        steps: lowerer.builder,
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

/// Where files are taken from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// The output of a step.
    Root(StepIndex),
    /// A context, by the caller's number: its ignore rules apply.
    Files(usize),
}

/// The work of lowering: what is given, and what has come of it so far.
pub(crate) struct Lowerer<'a> {
    pub(crate) options: &'a LowerOptions,
    pub(crate) facts: &'a Facts,
    pub(crate) globals: Scope,
    pub(crate) stages: Stages<'a>,
    pub(crate) expander: Expander,
    pub(crate) builder: GraphBuilder,
    done: HashMap<usize, StageState>,
    /// Sources of which nothing is known yet.
    wanted: Vec<SourceRequest>,
    /// What is wrong with instructions.
    errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl<'a> Lowerer<'a> {
    /// Lowers a stage whose needs are lowered.
    fn stage(&mut self, index: usize) -> LowerResult<StageState> {
        let written: &'a Stage = self.stages.all[index].stage;
        let own = if self.stages.all[index].is_replaced {
            &[]
        } else {
            written.commands.as_slice()
        };
        let from = written.from.span;
        let triggers = self.stages.triggers(index, self.facts);
        let triggers: Vec<_> = triggers
            .iter()
            .map(|trigger| parse_trigger(trigger, from))
            .collect::<LowerResult<_>>()?;
        let commands = || triggers.iter().chain(own);
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
        let title = [self.options.prefix.as_str(), &self.stages.title(index)];
        let title = title.map(str::trim).join(" ").trim().to_owned();
        let mut progress = Progress::new(title, steps);
        let ignore_cache = self.ignores_cache(index);
        let (root, mut config, base_history) = match self.stages.all[index].base.clone() {
            Base::Stage(base) => {
                let Some(base) = self.done.get(&base) else {
                    return refuse(Diagnostic::error(span, "the base stage was not lowered"));
                };
                let state = StageState {
                    ignore_cache,
                    progress,
                    cmd_is_set: false,
                    in_trigger: false,
                    ..base.clone()
                };
                return Ok(state);
            }
            Base::Scratch => {
                let root = self.scratch(&progress.title);
                (root, scratch_config(&platform), 0)
            }
            Base::Files(context) => {
                let root = self.files_as_base(&progress.title, context, span);
                let mut config = scratch_config(&platform);
                config.history.push(History {
                    created_by: Some("FROM a build context".to_owned()),
                    ..History::default()
                });
                (root, config, 0)
            }
            Base::Image(image) => {
                progress.total += 1;
                let name = progress.next(&format!("FROM {image}"));
                let stage = progress.title.clone();
                let (root, config) = self.image(&image, &platform, (name, stage), span)?;
                let history = match self.facts.get(&image, &platform).map(|facts| &facts.root) {
                    Some(BaseRoot::Step { base_history, .. }) => *base_history,
                    _ => config.history.len(),
                };
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
            platform: config.platform.normalized(),
            ignore_cache,
            config: ImageConfig {
                created: None,
                diff_ids: Vec::new(),
                ..config
            },
            base_history,
            env,
            build_args: Vec::new(),
            progress,
            cmd_is_set: false,
            in_trigger: false,
        })
    }

    /// The step of an empty root.
    pub(crate) fn scratch(&mut self, stage: &str) -> StepIndex {
        let meta = StepMeta {
            name: "FROM scratch".to_owned(),
            ..self.internal(stage)
        };
        self.builder.add(Op::Scratch, Vec::new(), meta)
    }

    /// All files of a context as the root that a stage begins with.
    fn files_as_base(&mut self, stage: &str, context: usize, span: Span) -> StepIndex {
        let inputs = vec![self.scratch(stage), self.context(stage, context)];
        let op = CopyOp {
            sources: vec![CopySource::Path("/".to_owned())],
            from: CopyFrom::Context,
            dest: "/".to_owned(),
            chown: None,
            owners: 0,
            chmod: None,
            parents: false,
            exclude: Vec::new(),
            unpack: Unpack::Never,
            link: true,
        };
        let meta = StepMeta {
            name: "[internal] load a context as base".to_owned(),
            span: Some(span.start..span.end),
            ..self.internal(stage)
        };
        self.builder.add(Op::Copy(op), inputs, meta)
    }

    /// The step of an image's root, and the image's configuration.
    fn image(
        &mut self,
        image: &ImageName,
        platform: &Platform,
        (name, stage): (String, String),
        span: Span,
    ) -> LowerResult<(StepIndex, ImageConfig)> {
        let Some(facts) = self.facts.get(image, platform) else {
            let message = format!("the image `{image}` is not known");
            return refuse(Diagnostic::error(span, message));
        };
        let config = facts.config.clone();
        let manifest = match &facts.root {
            BaseRoot::Step { step, .. } => return Ok((*step, config)),
            BaseRoot::Manifest(manifest) => manifest.clone(),
        };
        let has_layers = config.history.iter().any(|entry| !entry.empty_layer);
        if config.diff_ids.is_empty() && !has_layers {
            return Ok((self.scratch(&stage), config));
        }
        let op = Op::Image(ImageOp {
            name: image.to_string(),
            platform: platform.clone(),
            manifest,
        });
        let meta = StepMeta {
            name,
            span: Some(span.start..span.end),
            ..self.internal(&stage)
        };
        Ok((self.builder.add(op, Vec::new(), meta), config))
    }

    /// Where the files are that `COPY --from` or `RUN --mount=from=` names.
    pub(crate) fn source(&mut self, from: &SourceName) -> LowerResult<Source> {
        let base = self.stages.source(from)?;
        let from = &from.name;
        let root = match base {
            Base::Files(context) => return Ok(Source::Files(context)),
            Base::Scratch => self.scratch("scratch"),
            Base::Stage(index) => match self.done.get(&index) {
                Some(done) => done.root,
                None => {
                    return refuse(Diagnostic::error(from.span, "the stage was not lowered"));
                }
            },
            Base::Image(image) => {
                let names = (format!("FROM {image}"), from.value.clone());
                let platform = &self.options.target_platform;
                self.image(&image, platform, names, from.span)?.0
            }
        };
        Ok(Source::Root(root))
    }

    /// Asks for what is not known of a source.
    pub(crate) fn want(&mut self, request: SourceRequest) {
        let known = |other: &SourceRequest| other.source == request.source;
        if !self.wanted.iter().any(known) {
            self.wanted.push(request);
        }
    }

    /// Whether every step of a stage is to ignore the cache.
    fn ignores_cache(&self, stage: usize) -> bool {
        match &self.options.no_cache {
            NoCache::None => false,
            NoCache::All => true,
            NoCache::Stages(stages) => {
                let name = self.stages.all[stage].stage.from.name.as_ref();
                stages.iter().any(|wanted| {
                    name.is_some_and(|name| name.value.eq_ignore_ascii_case(wanted))
                        || wanted.parse() == Ok(stage)
                })
            }
        }
    }
}

fn scratch_config(platform: &Platform) -> ImageConfig {
    ImageConfig::empty(platform.clone()).with_runtime(|runtime| RuntimeConfig {
        working_dir: "/".to_owned(),
        ..runtime
    })
}
