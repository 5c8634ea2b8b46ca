//! What is to be done for one or several builds, before anything runs: Dockerfiles are read, images
//! and sources they begin with are found, and all becomes one graph.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kiln_base::CancelToken;
use kiln_dockerfile::{Diagnostic, Dockerfile as Tree};
use kiln_frontend::{
    BaseFacts, BaseRequest, BaseRoot, Facts, IgnoreList, ImageName, LowerOptions, Lowered,
    Lowering, Needs, NoCache, lower,
};
use kiln_graph::{Graph, GraphBuilder, Sharing, StepIndex};
use kiln_oci::{ImageConfig, Platform};

use crate::Engine;
use crate::base::{Base, Layers};
use crate::context::DockerfileText;
use crate::contexts::Contexts;
use crate::error::{BuildError, DockerfileErrors};
use crate::reporter::Reporter;
use crate::request::{BuildRequest, CacheUse, NamedContext};
use crate::run_step::request_parts;

/// All that is known before anything runs.
pub(crate) struct Plan<'a> {
    pub(crate) graph: Graph,
    /// One for each request, in their order.
    pub(crate) builds: Vec<PlannedBuild<'a>>,
    /// The images that stages begin with.
    pub(crate) bases: Vec<Base>,
    pub(crate) contexts: Contexts<'a>,
}

/// One request's part of the plan.
pub(crate) struct PlannedBuild<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) dockerfile: DockerfileText,
    /// What the contexts are called that it takes files from, by number.
    pub(crate) context_names: BTreeMap<usize, String>,
    /// One for each platform, in their order.
    pub(crate) results: Vec<PlannedResult>,
}

/// What a build comes to for one platform.
#[derive(Debug, Clone)]
pub(crate) struct PlannedResult {
    pub(crate) platform: Platform,
    /// The step whose output is the result's root.
    pub(crate) target: StepIndex,
    /// Its configuration, without times and diff ids.
    pub(crate) config: ImageConfig,
    /// How many entries of its history are the base's.
    pub(crate) base_history: usize,
}

impl Engine {
    /// Plans builds as one graph.
    pub(crate) fn plan<'a>(
        &'a self,
        requests: &'a [BuildRequest],
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Plan<'a>, BuildError> {
        let mut contexts = Contexts::new(self);
        let mut opened = Vec::new();
        for request in requests {
            cancel.check()?;
            opened.push(Opened::read(request, &mut contexts, reporter, cancel)?);
        }
        let mut planner = Planner {
            engine: self,
            opened: &opened,
            reporter,
            cancel,
            steps: GraphBuilder::new(),
            bases: Vec::new(),
            results: Vec::new(),
            open: HashSet::new(),
            warned: BTreeSet::new(),
        };
        let mut results = Vec::new();
        for (build, request) in requests.iter().enumerate() {
            let of_build = request
                .platforms
                .iter()
                .map(|platform| planner.result(build, platform))
                .collect::<Result<Vec<_>, _>>()?;
            results.push(of_build);
        }
        let (graph, bases) = (planner.steps.finish(), planner.bases);
        let builds = opened.into_iter().zip(results);
        let builds = builds.map(|(opened, results)| PlannedBuild {
            request: opened.request,
            context_names: opened.context_names(),
            dockerfile: opened.dockerfile,
            results,
        });
        Ok(Plan {
            graph,
            builds: builds.collect(),
            bases,
            contexts,
        })
    }
}

/// A request whose Dockerfile is read.
struct Opened<'a> {
    request: &'a BuildRequest,
    dockerfile: DockerfileText,
    tree: Tree,
    /// The number of the main context.
    context: usize,
    named: BTreeMap<String, kiln_frontend::NamedContext>,
    /// What the context leaves out, for the check that warns of copying that.
    ignore: Option<IgnoreList>,
}

impl<'a> Opened<'a> {
    fn read(
        request: &'a BuildRequest,
        contexts: &mut Contexts<'a>,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Self, BuildError> {
        let opening = reporter.phases().span("read the Dockerfile");
        let (context, dockerfile) = contexts.open_main(request, reporter, cancel)?;
        drop(opening);
        let parsed = || kiln_dockerfile::parse(&dockerfile.text);
        let (tree, diagnostics) = reporter.phases().within("parse", parsed);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(refused(&dockerfile, diagnostics));
        }
        for warning in &diagnostics {
            let line = dockerfile.line_number(warning.span.start);
            reporter.warn(&shown(warning), Some(line));
        }
        let mut named = BTreeMap::new();
        for (name, context) in &request.contexts {
            let image = kiln_frontend::NamedContext::Image;
            let context = match context {
                NamedContext::Files(files) => {
                    let number = contexts.add_named(request, files)?;
                    kiln_frontend::NamedContext::Files(number)
                }
                NamedContext::Image(reference) => image(ImageName::Reference(reference.clone())),
                NamedContext::Layout { .. } => image(ImageName::Layout(name.clone())),
                NamedContext::Build(build) => image(ImageName::Build(*build)),
            };
            named.insert(name.clone(), context);
        }
        let ignore = contexts.ignore_text(context)?;
        Ok(Self {
            // What is wrong with the file is told when it is used.
            ignore: ignore.and_then(|text| IgnoreList::parse(&text).ok()),
            request,
            dockerfile,
            tree,
            context,
            named,
        })
    }

    fn context_names(&self) -> BTreeMap<usize, String> {
        let files = self
            .named
            .iter()
            .filter_map(|(name, context)| match context {
                kiln_frontend::NamedContext::Files(number) => Some((*number, name.clone())),
                kiln_frontend::NamedContext::Image(_) => None,
            });
        let mut names: BTreeMap<usize, String> = files.collect();
        names.insert(self.context, "context".to_owned());
        names
    }

    fn options(&self, build: usize, sharing: Sharing, platform: &Platform) -> LowerOptions {
        let request = self.request;
        let prefix = if request.platforms.len() > 1 {
            format!("{} {platform}", request.name).trim().to_owned()
        } else {
            request.name.clone()
        };
        LowerOptions {
            build,
            sharing,
            prefix,
            target: request.target.clone(),
            build_args: request.build_args.clone(),
            labels: request.labels.clone(),
            target_platform: platform.clone(),
            build_platform: Platform::host(),
            no_cache: match &request.cache {
                CacheUse::Use => NoCache::None,
                CacheUse::Ignore => NoCache::All,
                CacheUse::IgnoreStages(stages) => NoCache::Stages(stages.clone()),
            },
            context: self.context,
            contexts: self.named.clone(),
            allow: kiln_frontend::Allow {
                network_host: request.steps.allow.network_host,
                security_insecure: request.steps.allow.security_insecure,
            },
            run_settings: request_parts(&request.steps),
        }
    }
}

struct Planner<'p, 'a> {
    engine: &'a Engine,
    opened: &'p [Opened<'a>],
    reporter: &'p Reporter<'p>,
    cancel: &'p CancelToken,
    steps: GraphBuilder,
    bases: Vec<Base>,
    results: Vec<(usize, PlannedResult)>,
    /// Builds that are being planned, to see those that need themselves.
    open: HashSet<usize>,
    /// What was warned of: each platform finds the same.
    warned: BTreeSet<(usize, usize, String)>,
}

impl Planner<'_, '_> {
    /// Plans a build for a platform, once.
    fn result(&mut self, build: usize, platform: &Platform) -> Result<PlannedResult, BuildError> {
        let known = |(number, result): &&(usize, PlannedResult)| {
            *number == build && result.platform == *platform
        };
        if let Some((_, result)) = self.results.iter().find(known) {
            return Ok(result.clone());
        }
        let name = || {
            self.opened
                .get(build)
                .map(|opened| opened.request.name.clone())
        };
        if !self.open.insert(build) {
            return Err(BuildError::NeedsItself(name().unwrap_or_default()));
        }
        let lowered = self.lower(build, platform)?;
        self.open.remove(&build);
        self.warn(build, &lowered);
        let result = PlannedResult {
            platform: platform.clone(),
            target: lowered.target,
            config: lowered.config,
            base_history: lowered.base_history,
        };
        self.steps = lowered.steps;
        self.results.push((build, result.clone()));
        Ok(result)
    }

    fn lower(&mut self, build: usize, platform: &Platform) -> Result<Lowered, BuildError> {
        let Some(opened) = self.opened.get(build) else {
            return Err(BuildError::Graph(format!("there is no build {build}")));
        };
        let options = opened.options(build, self.sharing(build), platform);
        let mut facts = Facts::default();
        if let Some(ignore) = &opened.ignore {
            facts.set_ignore(ignore.clone());
        }
        loop {
            self.cancel.check()?;
            let tracer = &self.engine.tracer;
            match tracer.within("lower", || {
                lower(&opened.tree, &options, &facts, &self.steps)
            }) {
                Err(errors) => return Err(refused(&opened.dockerfile, errors)),
                Ok(Lowering::Done(lowered)) => return Ok(*lowered),
                Ok(Lowering::Needs(needs)) => {
                    let _span = tracer.span("find bases and sources");
                    self.find(opened, &needs, &mut facts)?;
                }
            }
        }
    }

    fn find(
        &mut self,
        opened: &Opened<'_>,
        needs: &Needs,
        facts: &mut Facts,
    ) -> Result<(), BuildError> {
        for wanted in &needs.bases {
            let found = self.base(opened, wanted)?;
            facts.insert(wanted, found);
        }
        let fetcher = self
            .engine
            .fetcher(opened.request, self.reporter, self.cancel);
        for source in &needs.sources {
            let found = fetcher
                .resolve(&source.source)
                .map_err(|error| BuildError::Source {
                    at: Box::new(opened.dockerfile.place(source.span)),
                    source: error,
                })?;
            facts.insert_source(source, found);
        }
        Ok(())
    }

    fn base(&mut self, opened: &Opened<'_>, wanted: &BaseRequest) -> Result<BaseFacts, BuildError> {
        let failed = |source| BuildError::Base {
            reference: match &wanted.image {
                ImageName::Reference(reference) => reference.familiar(),
                other => other.to_string(),
            },
            at: Some(Box::new(opened.dockerfile.place(wanted.span))),
            source,
        };
        let base = match &wanted.image {
            ImageName::Build(build) => {
                let result = self.result(*build, &wanted.platform)?;
                return Ok(BaseFacts {
                    root: BaseRoot::Step {
                        step: result.target,
                        base_history: result.base_history,
                    },
                    config: result.config,
                });
            }
            ImageName::Reference(reference) => {
                // What a cache has may need no base at all.
                let layers = match opened.request.cache_from.as_slice() {
                    [] => Layers::Unpacked,
                    [..] => Layers::Stored,
                };
                let pull = (opened.request.pull, layers);
                let (reporter, cancel) = (self.reporter, self.cancel);
                self.engine
                    .base(reference, &wanted.platform, pull, reporter, cancel)
                    .map_err(failed)?
            }
            ImageName::Layout(name) => self
                .engine
                .layout_base(opened.request, name, &wanted.platform, self.cancel)
                .map_err(failed)?,
        };
        let facts = BaseFacts {
            root: BaseRoot::Manifest(base.image.descriptor().digest.clone()),
            config: base.image.config().clone(),
        };
        self.bases.push(base);
        Ok(facts)
    }

    /// Steps are shared with builds that look into the same caches and trust the same authorities;
    /// those that are given secrets with builds that have the same ones. The number is that of the
    /// first build that is alike.
    fn sharing(&self, build: usize) -> Sharing {
        let of = |number: usize| self.opened[number].request;
        let first = |alike: &dyn Fn(&BuildRequest, &BuildRequest) -> bool| {
            let found = (0..build).find(|earlier| alike(of(*earlier), of(build)));
            found.unwrap_or(build)
        };
        Sharing {
            all: first(&|a, b| {
                a.cache_from == b.cache_from
                    && a.trust == b.trust
                    && a.steps.resources == b.steps.resources
                    && a.steps.cgroup_parent == b.steps.cgroup_parent
            }),
            with_secrets: first(&|a, b| a.secrets == b.secrets && a.ssh == b.ssh),
        }
    }

    fn warn(&mut self, build: usize, lowered: &Lowered) {
        let dockerfile = &self.opened[build].dockerfile;
        for warning in &lowered.warnings {
            let place = (build, warning.span.start, warning.message.clone());
            if self.warned.insert(place) {
                let line = dockerfile.line_number(warning.span.start);
                self.reporter.warn(&shown(warning), Some(line));
            }
        }
        for name in &lowered.unused_args {
            let message = format!("no `ARG` declares the build argument `{name}`");
            if self.warned.insert((build, usize::MAX, message.clone())) {
                self.reporter.warn(&message, None);
            }
        }
    }
}

/// A warning with the name of its check.
fn shown(warning: &Diagnostic) -> String {
    match warning.rule {
        Some(rule) => format!("{rule}: {}", warning.message),
        None => warning.message.clone(),
    }
}

fn refused(dockerfile: &DockerfileText, diagnostics: Vec<Diagnostic>) -> BuildError {
    BuildError::Dockerfile(Box::new(DockerfileErrors {
        file: dockerfile.name.clone(),
        text: dockerfile.text.clone(),
        diagnostics,
    }))
}
