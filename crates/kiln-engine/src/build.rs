//! One build from the request to its outputs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_base::events::Events;
use kiln_graph::{Graph, Op, StepIndex};
use kiln_solve::{Dag, SolveError, solve};

use crate::chain::Chain;
use crate::context::canonical;
use crate::deliver::Delivery;
use crate::driver::{BuildDriver, Product, forced};
use crate::error::{BuildError, StepError};
use crate::export::attest::check_scans;
use crate::export::make::Maker;
use crate::export::{Attester, BuildQueues, Queues};
use crate::layers::LayerQueue;
use crate::plan::{Plan, PlannedBuild};
use crate::remote::{Exporter, RemoteCaches, StepResult};
use crate::reporter::Reporter;
use crate::request::{BuildRequest, Context, Dockerfile};
use crate::{BuildOutcome, Engine, packed};

/// How old a result may get before a build has all results synced to the disk: what is younger is
/// made again if the machine starts anew. One of the builds in this time waits for the disk, and not
/// each of them.
const SYNC_AFTER: Duration = Duration::from_mins(5);

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
        let tracer = &self.tracer;
        let _build = tracer.span("build");
        let reporter = Reporter::for_builds(events, requests).traced(tracer);
        for request in requests {
            request.check_outputs()?;
            if let Some(omission) = request.omissions() {
                reporter.warn(omission, None);
            }
        }
        let dated = self.with_epochs(requests, &reporter, cancel)?;
        let requests = dated.as_deref().unwrap_or(requests);
        let plan = tracer.within("plan", || self.plan(requests, &reporter, cancel))?;
        for build in &plan.builds {
            check_scans(build)?;
        }
        let remote = tracer.within("import caches", || {
            self.import_caches(&plan.builds, &reporter, cancel)
        })?;
        let queues = Queues::new(self, &plan.builds, cancel);
        let _early = queues.early.end_on_drop();
        let outcome = std::thread::scope(|scope| {
            let closing: Vec<_> = queues.all.iter().map(LayerQueue::close_on_drop).collect();
            let workers: Vec<_> = queues
                .all
                .iter()
                .map(|queue| scope.spawn(|| queue.work()))
                .collect();
            let tools = (&reporter, &queues, &remote);
            let result = tracer
                .within("solve", || self.solve(&plan, tools, cancel))
                .and_then(|solved| {
                    let _span = tracer.span("export");
                    self.finish((&plan, solved), tools, cancel)
                });
            if result.is_err() {
                // What is being packed is still wanted, for the next build, but not by a registry.
                queues.early.stop();
            }
            drop(closing);
            for worker in workers {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            result
        })?;
        tracer.within("keep digests", || plan.contexts.save_digests())?;
        tracer.within("sync the store", || self.store.sync_if_older(SYNC_AFTER))?;
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
        let mut outcomes = Vec::new();
        for ((build, wanted), chains) in builds.clone().zip(&solved.chains) {
            outcomes.push(self.deliver((build, wanted, chains), (&exporter, queues), cancel)?);
        }
        for (build, wanted) in builds {
            if let Some(layers) = queues.cache_layers(wanted) {
                exporter.export(build, layers)?;
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
            read: packed::read_steps(graph, builds),
            selected: Mutex::default(),
            scans: Mutex::default(),
            remote,
            notes_results: builds.iter().any(|build| build.request.notes_results()),
            results: Mutex::default(),
            forced: forced(graph),
            ran: Mutex::default(),
            ready: Mutex::default(),
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

    /// Makes what the outputs ask for, and hands it to them.
    fn deliver(
        &self,
        (build, wanted, chains): (&PlannedBuild<'_>, &BuildQueues, &[Chain]),
        (exporter, queues): (&Exporter<'_>, &Queues<'_>),
        cancel: &CancelToken,
    ) -> Result<BuildOutcome, BuildError> {
        let (request, reporter) = (build.request, exporter.reporter);
        let attester = Attester::new(exporter, build, chains, queues.started)?;
        let attester = attester.as_ref();
        let mut made = Vec::new();
        for packing in &wanted.packings {
            let maker = Maker {
                exporter,
                build,
                packing: &packing.0,
                layers: queues.layers(packing),
                attester,
            };
            let image = reporter.step("export the image", cancel, |_| maker.make(chains))?;
            made.push(image);
        }
        for (output, packing) in &wanted.outputs {
            cancel.check()?;
            reporter.step(&output.title(), cancel, |number| {
                let delivery = Delivery {
                    engine: self,
                    request,
                    made: packing.and_then(|packing| made.get(packing)),
                    results: &build.results,
                    chains,
                    attester,
                    early: &queues.early,
                    progress: (reporter, number),
                    cancel,
                };
                delivery.deliver(output)
            })?;
        }
        Ok(BuildOutcome {
            image: made.first().map(|made| made.outcome(request)),
            provenance: attester.map_or_else(|| Ok(Vec::new()), Attester::provenance)?,
        })
    }
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
