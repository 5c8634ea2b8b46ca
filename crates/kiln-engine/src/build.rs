//! One build from the request to its outputs.

use std::sync::{Mutex, PoisonError};

use kiln_base::CancelToken;
use kiln_base::events::Events;
use kiln_frontend::{
    BaseFacts, BaseRequest, Facts, LowerOptions, Lowered, Lowering, NoCache, lower,
};
use kiln_graph::{Graph, Op, StepIndex};
use kiln_image::Image;
use kiln_oci::{Digest, Platform};
use kiln_solve::{Dag, SolveError, solve};

use crate::assemble::{Times, assemble};
use crate::base::Base;
use crate::chain::Chain;
use crate::context::{ContextFiles, DockerfileText, canonical, open_context};
use crate::deliver::Delivery;
use crate::driver::{BuildDriver, Product};
use crate::error::{BuildError, DockerfileErrors, OutputError, StepError};
use crate::layers::{LayerFormat, LayerQueue};
use crate::reporter::Reporter;
use crate::request::{
    BuildRequest, CacheUse, Context, Dockerfile, FileTimes, ImageOptions, Output,
};
use crate::{BuildOutcome, BuiltImage, Engine};

/// A Dockerfile with everything found that it begins with.
struct Prepared {
    dockerfile: DockerfileText,
    lowered: Lowered,
    bases: Vec<Base>,
}

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
        let reporter = Reporter::new(events);
        let prepared = self.prepare(request, &reporter, cancel)?;
        let context = match &request.context {
            Context::Directory(path) => Some(ContextFiles::open(self, path, &prepared.dockerfile)?),
            _ => None,
        };
        let format = LayerFormat {
            family: request.format,
            compression: request.compression,
            clamp: match request.file_times {
                FileTimes::Clamp => request.source_date_epoch,
                FileTimes::Keep => None,
            },
            threads: request.jobs,
        };
        let layers = LayerQueue::new(self, format, cancel.clone());
        let outcome = std::thread::scope(|scope| {
            let closing = layers.close_on_drop();
            let worker = request
                .outputs_image()
                .then(|| scope.spawn(|| layers.work()));
            let result = self
                .solve(
                    request,
                    &prepared,
                    context.as_ref(),
                    (&reporter, &layers),
                    cancel,
                )
                .and_then(|chain| {
                    self.deliver(
                        request,
                        &prepared.lowered,
                        &chain,
                        (&reporter, &layers),
                        cancel,
                    )
                });
            drop(closing);
            drop(worker);
            result
        });
        // What an output says after the caller cancelled is an effect of that.
        let outcome =
            outcome.or_else(|error| cancel.check().map_err(Into::into).and(Err(error)))?;
        if let Some(context) = &context {
            context.save_digests(self)?;
        }
        self.store.sync()?;
        Ok(outcome)
    }

    /// Reads the Dockerfile and finds the images that it begins with, until the graph is known.
    fn prepare(
        &self,
        request: &BuildRequest,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Prepared, BuildError> {
        if let Context::Directory(path) = &request.context {
            open_context(path)?;
        }
        let dockerfile = DockerfileText::read(&request.dockerfile, &request.context)?;
        let (tree, mut diagnostics) = kiln_dockerfile::parse(&dockerfile.text);
        let refuse = |diagnostics| {
            BuildError::Dockerfile(Box::new(DockerfileErrors {
                file: dockerfile.name.clone(),
                text: dockerfile.text.clone(),
                diagnostics,
            }))
        };
        if diagnostics
            .iter()
            .any(kiln_dockerfile::Diagnostic::is_error)
        {
            return Err(refuse(diagnostics));
        }
        let options = lower_options(request);
        let mut facts = Facts::default();
        let mut bases: Vec<Base> = Vec::new();
        let lowered = loop {
            cancel.check()?;
            match lower(&tree, &options, &facts) {
                Err(errors) => {
                    diagnostics.extend(errors);
                    return Err(refuse(diagnostics));
                }
                Ok(Lowering::Done(lowered)) => break lowered,
                Ok(Lowering::NeedBases(wanted)) => {
                    for base in wanted {
                        let found =
                            self.find_base(request, &base, &dockerfile, reporter, cancel)?;
                        let manifest = found.image.descriptor().digest.clone();
                        let config = found.image.config().clone();
                        facts.insert(&base, BaseFacts { manifest, config });
                        bases.push(found);
                    }
                }
            }
        };
        for warning in diagnostics.iter().chain(&lowered.warnings) {
            reporter.warn(
                &warning.message,
                Some(dockerfile.line_number(warning.span.start)),
            );
        }
        for name in &lowered.unused_args {
            reporter.warn(
                &format!("no `ARG` declares the build argument `{name}`"),
                None,
            );
        }
        Ok(Prepared {
            dockerfile,
            lowered: *lowered,
            bases,
        })
    }

    fn find_base(
        &self,
        request: &BuildRequest,
        wanted: &BaseRequest,
        dockerfile: &DockerfileText,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Base, BuildError> {
        let BaseRequest {
            reference,
            platform,
            span,
        } = wanted;
        self.base(reference, platform, request.pull, reporter, cancel)
            .map_err(|source| BuildError::Base {
                reference: reference.clone(),
                at: Some(Box::new(dockerfile.place(*span))),
                source,
            })
    }

    /// Runs what has to run, and returns the layers of the target.
    fn solve(
        &self,
        request: &BuildRequest,
        prepared: &Prepared,
        context: Option<&ContextFiles>,
        (reporter, layers): (&Reporter<'_>, &LayerQueue<'_>),
        cancel: &CancelToken,
    ) -> Result<Chain, BuildError> {
        let Lowered { graph, target, .. } = &prepared.lowered;
        let driver = BuildDriver {
            engine: self,
            request,
            graph,
            context,
            bases: &prepared.bases,
            place: place(request),
            reporter,
            numbers: graph
                .steps()
                .iter()
                .map(|step| reporter.declare(&step.meta.name))
                .collect(),
            layers,
            exported: if request.outputs_image() {
                exported(graph, *target)
            } else {
                vec![false; graph.steps().len()]
            },
            selected: Mutex::default(),
            scans: Mutex::default(),
            ran: Mutex::default(),
        };
        let inputs = graph
            .steps()
            .iter()
            .map(|step| step.inputs.iter().map(|input| input.as_usize()).collect());
        let dag =
            Dag::new(inputs.collect()).map_err(|error| BuildError::Graph(error.to_string()))?;
        let result = solve(&driver, &dag, &[target.as_usize()], request.jobs, cancel);
        let ran = driver
            .ran
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if !ran.is_empty() {
            self.store.put_explanations(&ran)?;
        }
        cancel.check()?;
        match result {
            Ok(mut resolved) => match resolved.pop().map(|resolved| resolved.output) {
                Some(Product::Root(chain)) => Ok(chain),
                Some(Product::Context) | None => {
                    Err(BuildError::Graph("the target has no root".to_owned()))
                }
            },
            Err(
                SolveError::Cancelled(cancelled)
                | SolveError::Failed {
                    error: StepError::Cancelled(cancelled),
                    ..
                },
            ) => Err(cancelled.into()),
            Err(SolveError::Failed { step, error, .. }) => {
                let meta = &graph.steps()[step].meta;
                Err(BuildError::Step {
                    step: meta.name.clone(),
                    at: meta.span.clone().map(|span| {
                        let span = kiln_dockerfile::Span::new(span.start, span.end);
                        Box::new(prepared.dockerfile.place(span))
                    }),
                    source: error,
                })
            }
            Err(SolveError::Dag(error)) => Err(BuildError::Graph(error.to_string())),
        }
    }

    /// Hands the result to the outputs.
    fn deliver(
        &self,
        request: &BuildRequest,
        lowered: &Lowered,
        chain: &Chain,
        (reporter, layers): (&Reporter<'_>, &LayerQueue<'_>),
        cancel: &CancelToken,
    ) -> Result<BuildOutcome, BuildError> {
        let make = |_| self.make_image(request, lowered, chain, layers);
        let image = request
            .outputs_image()
            .then(|| reporter.step("export the image", cancel, make));
        let image = image.transpose()?;
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
        request: &BuildRequest,
        lowered: &Lowered,
        chain: &Chain,
        layers: &LayerQueue<'_>,
    ) -> Result<Image, BuildError> {
        let ready = layers.ready(chain)?;
        let times = Times {
            now: self.now(),
            epoch: request.source_date_epoch,
        };
        let config = lowered.config.clone();
        let image = assemble(config, lowered.base_history, &ready, request.format, times)?;
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

fn lower_options(request: &BuildRequest) -> LowerOptions {
    LowerOptions {
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        labels: request.labels.clone(),
        target_platform: request.platforms[0].clone(),
        build_platform: Platform::host(),
        no_cache: match request.cache {
            CacheUse::Use => NoCache::None,
            CacheUse::Ignore | CacheUse::IgnoreStages(_) => NoCache::All,
        },
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
        Context::Archive(path) => canonical(path).display().to_string(),
    };
    format!("{context} {dockerfile}")
}

/// Which steps' layers end up in the target's image: its own, and those below it.
fn exported(graph: &Graph, target: StepIndex) -> Vec<bool> {
    let mut exported = vec![false; graph.steps().len()];
    let mut open = vec![target];
    while let Some(index) = open.pop() {
        exported[index.as_usize()] = true;
        let step = graph.step(index);
        match step.op {
            Op::Merge => open.extend(&step.inputs),
            _ => open.extend(step.inputs.first()),
        }
    }
    exported
}
