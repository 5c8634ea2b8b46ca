//! One build from the request to its outputs.

use std::sync::{Mutex, PoisonError};

use kiln_base::CancelToken;
use kiln_base::events::Events;
use kiln_cache::{Mode, Target};
use kiln_graph::{Graph, Op, StepIndex};
use kiln_image::Image;
use kiln_oci::Digest;
use kiln_solve::{Dag, SolveError, solve};

use crate::assemble::{Times, assemble};
use crate::chain::Chain;
use crate::context::canonical;
use crate::deliver::Delivery;
use crate::driver::{BuildDriver, Product};
use crate::error::{BuildError, OutputError, StepError};
use crate::layers::{LayerFormat, LayerQueue};
use crate::plan::{Plan, PlannedBuild, PlannedResult};
use crate::remote::{Exporter, RemoteCaches, StepResult};
use crate::reporter::Reporter;
use crate::request::{BuildRequest, Context, Dockerfile, FileTimes, ImageOptions, Output};
use crate::{BuildOutcome, BuiltImage, Engine};

impl Engine {
    /// Builds an image, or files, and hands the result to the request's outputs.
    ///
    /// Returns when nothing of the build runs any more, also when it failed or was cancelled; then
    /// nothing is left of it but finished steps in the cache.
    pub fn build(
        &self,
        request: &BuildRequest,
        events: &dyn Events,
        cancel: &CancelToken,
    ) -> Result<BuildOutcome, BuildError> {
        let outcomes = self.build_all(std::slice::from_ref(request), events, cancel)?;
        let outcome = outcomes.into_iter().next();
        outcome.ok_or_else(|| BuildError::Graph("the build has no result".to_owned()))
    }

    /// Builds several requests as one graph: what they have in common is done once. The outcomes
    /// are in the requests' order.
    pub fn build_all(
        &self,
        requests: &[BuildRequest],
        events: &dyn Events,
        cancel: &CancelToken,
    ) -> Result<Vec<BuildOutcome>, BuildError> {
        let reporter = Reporter::for_builds(events, requests);
        let plan = self.plan(requests, &reporter, cancel)?;
        let remote = self.import_caches(&plan.builds, &reporter, cancel)?;
        let queues = Queues::new(self, &plan.builds, cancel);
        let outcome = std::thread::scope(|scope| {
            let closing: Vec<_> = queues.all.iter().map(LayerQueue::close_on_drop).collect();
            let workers: Vec<_> = queues
                .all
                .iter()
                .map(|queue| scope.spawn(|| queue.work()))
                .collect();
            let result = self
                .solve(&plan, (&reporter, &queues, &remote), cancel)
                .and_then(|solved| {
                    self.finish((&plan, solved), (&reporter, &queues, &remote), cancel)
                });
            drop(closing);
            for worker in workers {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            result
        })?;
        plan.contexts.save_digests()?;
        Ok(outcome)
    }

    /// Hands all results out, and writes caches.
    fn finish(
        &self,
        (plan, solved): (&Plan<'_>, Solved),
        (reporter, queues, remote): Tools<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<BuildOutcome>, BuildError> {
        let exporter = Exporter {
            engine: self,
            graph: &plan.graph,
            remote,
            results: solved.results,
            reporter,
            cancel,
        };
        let builds = plan.builds.iter().zip(&queues.of_build);
        let builds = builds.zip(&solved.chains);
        let mut outcomes = Vec::new();
        for ((build, queue), chains) in builds.clone() {
            let layers = queue.map(|queue| &queues.all[queue]);
            outcomes.push(self.deliver(build, chains, (&exporter, layers), cancel)?);
        }
        for ((build, queue), _) in builds {
            if let Some(queue) = queue {
                exporter.export(build, &queues.all[*queue])?;
            }
        }
        Ok(outcomes)
    }

    /// Runs what has to run, and returns the layers of each build's results.
    fn solve(
        &self,
        plan: &Plan<'_>,
        (reporter, queues, remote): Tools<'_>,
        cancel: &CancelToken,
    ) -> Result<Solved, BuildError> {
        let Plan { graph, builds, .. } = plan;
        let driver = BuildDriver {
            engine: self,
            builds,
            graph,
            contexts: &plan.contexts,
            bases: &plan.bases,
            places: builds.iter().map(|build| place(build.request)).collect(),
            reporter,
            numbers: graph
                .steps()
                .iter()
                .map(|step| reporter.declare(&step.meta.name))
                .collect(),
            layers: &queues.all,
            exported: queues.exported(graph, builds),
            selected: Mutex::default(),
            scans: Mutex::default(),
            remote,
            notes_results: builds.iter().any(|build| build.request.exports_cache()),
            results: Mutex::default(),
            ran: Mutex::default(),
        };
        let inputs = graph
            .steps()
            .iter()
            .map(|step| step.inputs.iter().map(|input| input.as_usize()).collect());
        let dag =
            Dag::new(inputs.collect()).map_err(|error| BuildError::Graph(error.to_string()))?;
        let results = || builds.iter().flat_map(|build| &build.results);
        let targets: Vec<usize> = results().map(|result| result.target.as_usize()).collect();
        let jobs = builds.iter().map(|build| build.request.jobs).max();
        let jobs = jobs.unwrap_or(std::num::NonZeroUsize::MIN);
        let result = solve(&driver, &dag, &targets, jobs, cancel);
        let BuildDriver { ran, results, .. } = driver;
        let ran = ran.into_inner().unwrap_or_else(PoisonError::into_inner);
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !ran.is_empty() {
            self.store.put_explanations(&ran)?;
        }
        cancel.check()?;
        let resolved = result.map_err(|error| failed(plan, error))?;
        let mut chains = Vec::new();
        for resolved in resolved {
            let Product::Root(chain) = resolved.output else {
                return Err(BuildError::Graph("the target has no root".to_owned()));
            };
            chains.push(chain);
        }
        let mut chains = chains.into_iter();
        let of_build =
            |build: &PlannedBuild<'_>| chains.by_ref().take(build.results.len()).collect();
        Ok(Solved {
            chains: builds.iter().map(of_build).collect(),
            results: results.into_values().collect(),
        })
    }

    /// Hands the result to the outputs.
    fn deliver(
        &self,
        build: &PlannedBuild<'_>,
        chains: &[Chain],
        (exporter, layers): (&Exporter<'_>, Option<&LayerQueue<'_>>),
        cancel: &CancelToken,
    ) -> Result<BuildOutcome, BuildError> {
        let (request, reporter) = (build.request, exporter.reporter);
        let (Some(planned), Some(chain)) = (build.results.first(), chains.first()) else {
            return Err(BuildError::Graph("the build has no platform".to_owned()));
        };
        let make = |layers| {
            let make = |_| self.make_image((build, planned), chain, (exporter, layers));
            reporter.step("export the image", cancel, make)
        };
        let image = layers
            .filter(|_| request.outputs_image())
            .map(make)
            .transpose()?;
        for output in request.effective_outputs() {
            cancel.check()?;
            reporter.step(&output.title(), cancel, |number| {
                let progress = (reporter, number);
                let delivery = Delivery {
                    engine: self,
                    request,
                    image: image.as_ref(),
                    chain,
                    progress,
                    cancel,
                };
                delivery.deliver(&output)
            })?;
        }
        Ok(BuildOutcome {
            image: image.map(|image| BuiltImage {
                manifest: image.descriptor().clone(),
                config: image.id().clone(),
                names: request.tags.clone(),
            }),
        })
    }

    /// Puts the image together, and its documents into the store.
    fn make_image(
        &self,
        (build, planned): (&PlannedBuild<'_>, &PlannedResult),
        chain: &Chain,
        (exporter, layers): (&Exporter<'_>, &LayerQueue<'_>),
    ) -> Result<Image, BuildError> {
        let request = build.request;
        let ready = layers.ready(chain)?;
        let times = Times {
            now: self.now(),
            epoch: request.source_date_epoch,
        };
        let config = planned.config.clone();
        let image = assemble(config, planned.base_history, &ready, request.format, times)?;
        let image = if request.has_inline_cache() {
            let records = exporter.records(build, Mode::Min, layers)?;
            with_inline_cache(&image, records, request)?
        } else {
            image
        };
        for document in [image.config_bytes(), image.manifest_bytes()] {
            if !self.store.has_blob(&Digest::sha256(document))? {
                self.store.write_blob(document).map_err(OutputError::from)?;
            }
        }
        // Clamped times are in the layers only; a build on top of them has to see those.
        if request.source_date_epoch.is_none() || request.file_times == FileTimes::Keep {
            self.note_built(&image, chain)?;
        }
        Ok(image)
    }
}

impl BuildRequest {
    /// Whether any output needs the image, and not only its files.
    fn outputs_image(&self) -> bool {
        let files = |output: &Output| {
            matches!(
                output,
                Output::Tar { .. } | Output::Local { .. } | Output::CacheOnly
            )
        };
        self.outputs.is_empty() || !self.outputs.iter().all(files)
    }

    /// Whether layers have to be packed.
    fn needs_layers(&self) -> bool {
        self.outputs_image() || self.exports_cache()
    }

    /// Whether results are to be remembered for a cache.
    fn exports_cache(&self) -> bool {
        !self.cache_to.is_empty() || self.has_inline_cache()
    }

    /// Whether the image's configuration is to hold its cache.
    fn has_inline_cache(&self) -> bool {
        let argument = self.build_args.get("BUILDKIT_INLINE_CACHE");
        let is_inline = |target: &kiln_cache::CacheTarget| target.target == Target::Inline;
        argument.is_some_and(|value| matches!(value.as_str(), "1" | "true"))
            || self.cache_to.iter().any(is_inline)
    }

    /// The outputs; where none was asked for, the local store.
    fn effective_outputs(&self) -> Vec<Output> {
        if self.outputs.is_empty() {
            vec![Output::Store {
                image: ImageOptions::default(),
                unpack: false,
            }]
        } else {
            self.outputs.clone()
        }
    }
}

/// The same image with its own steps' keys in the configuration.
fn with_inline_cache(
    image: &Image,
    records: Vec<kiln_cache::Record>,
    request: &BuildRequest,
) -> Result<Image, BuildError> {
    let exported = kiln_cache::Exported {
        records,
        mount_from: Vec::new(),
    };
    let layers: Vec<Digest> = image
        .layers()
        .iter()
        .map(|layer| layer.digest.clone())
        .collect();
    let config = kiln_cache::inline::embed(image.config(), &exported, &layers)?;
    let layers = image.layers().to_vec();
    let annotations = image.manifest().annotations.clone();
    Ok(Image::new(request.format, config, layers, annotations))
}

/// What the solver came to.
struct Solved {
    /// The layers of each build's results.
    chains: Vec<Vec<Chain>>,
    /// What each step came to, where a cache is exported.
    results: Vec<StepResult>,
}

/// What all parts of a call share.
type Tools<'a> = (&'a Reporter<'a>, &'a Queues<'a>, &'a RemoteCaches<'a>);

/// Where layers are packed, one queue for each way of packing that the builds ask for.
struct Queues<'a> {
    all: Vec<LayerQueue<'a>>,
    /// Each build's queue; `None` where it makes no image.
    of_build: Vec<Option<usize>>,
}

impl<'a> Queues<'a> {
    fn new(engine: &'a Engine, builds: &[PlannedBuild<'_>], cancel: &CancelToken) -> Self {
        let mut formats: Vec<LayerFormat> = Vec::new();
        let mut of_build = Vec::new();
        for build in builds {
            let format = layer_format(build.request);
            of_build.push(build.request.needs_layers().then(|| {
                let known = formats.iter().position(|known| *known == format);
                known.unwrap_or_else(|| {
                    formats.push(format);
                    formats.len() - 1
                })
            }));
        }
        let queue = |format| LayerQueue::new(engine, format, cancel.clone());
        Self {
            all: formats.into_iter().map(queue).collect(),
            of_build,
        }
    }

    /// For each step the queues of the images that will hold its layer.
    fn exported(&self, graph: &Graph, builds: &[PlannedBuild<'_>]) -> Vec<Vec<usize>> {
        let mut exported = vec![Vec::new(); graph.steps().len()];
        for (build, queue) in builds.iter().zip(&self.of_build) {
            let Some(queue) = queue else { continue };
            for result in &build.results {
                for step in in_image(graph, result.target) {
                    let queues: &mut Vec<usize> = &mut exported[step.as_usize()];
                    if !queues.contains(queue) {
                        queues.push(*queue);
                    }
                }
            }
        }
        exported
    }
}

fn layer_format(request: &BuildRequest) -> LayerFormat {
    LayerFormat {
        family: request.format,
        compression: request.compression,
        clamp: match request.file_times {
            FileTimes::Clamp => request.source_date_epoch,
            FileTimes::Keep => None,
        },
        threads: request.jobs,
    }
}

fn failed(plan: &Plan<'_>, error: SolveError<StepError>) -> BuildError {
    match error {
        SolveError::Cancelled(cancelled)
        | SolveError::Failed {
            error: StepError::Cancelled(cancelled),
            ..
        } => cancelled.into(),
        SolveError::Failed { step, error, .. } => {
            let meta = &plan.graph.steps()[step].meta;
            let dockerfile = &plan.builds[meta.build].dockerfile;
            BuildError::Step {
                step: meta.name.clone(),
                at: meta.span.clone().map(|span| {
                    let span = kiln_dockerfile::Span::new(span.start, span.end);
                    Box::new(dockerfile.place(span))
                }),
                source: error,
            }
        }
        SolveError::Dag(error) => BuildError::Graph(error.to_string()),
    }
}

/// What tells this Dockerfile's steps from those of other builds.
fn place(request: &BuildRequest) -> String {
    let dockerfile = match &request.dockerfile {
        Dockerfile::Default => "default".to_owned(),
        Dockerfile::Path(path) => canonical(path).display().to_string(),
        Dockerfile::InContext(path) | Dockerfile::Http(path) => path.clone(),
        Dockerfile::Text(_) => "standard input".to_owned(),
    };
    let context = match &request.context {
        Context::Directory(path) => canonical(path).display().to_string(),
        Context::Empty => "no context".to_owned(),
        Context::Git(url) | Context::Http(url) => url.clone(),
        Context::Archive(_) => "an archive".to_owned(),
    };
    format!("{context} {dockerfile}")
}

/// The steps whose layers end up in the target's image: its own, and those below it.
pub(crate) fn in_image(graph: &Graph, target: StepIndex) -> Vec<StepIndex> {
    let mut found = Vec::new();
    let mut open = vec![target];
    while let Some(index) = open.pop() {
        found.push(index);
        let step = graph.step(index);
        match step.op {
            Op::Merge => open.extend(&step.inputs),
            _ => open.extend(step.inputs.first()),
        }
    }
    found
}
