//! Where layers are packed: one queue for each way of packing that the builds ask for.

use std::sync::Arc;

use kiln_base::{CancelToken, Timestamp};
use kiln_graph::Graph;

use crate::Engine;
use crate::build::in_image;
use crate::early::{Destination, EarlyUploads};
use crate::layers::{ImageLayers, LayerFormat, LayerQueue};
use crate::plan::PlannedBuild;
use crate::request::{BuildRequest, ImageOptions, Output};

use super::Packing;

/// The queues of a call.
pub(crate) struct Queues<'a> {
    pub(crate) all: Vec<LayerQueue<'a>>,
    /// Each build's part of them.
    pub(crate) of_build: Vec<BuildQueues>,
    /// What is sent before it is packed completely.
    pub(crate) early: Arc<EarlyUploads>,
    /// When all was planned, which is when the build begins.
    pub(crate) started: Timestamp,
}

/// What one build's outputs want.
pub(crate) struct BuildQueues {
    /// The outputs, and which of the packings each of them gets.
    pub(crate) outputs: Vec<(Output, Option<usize>)>,
    /// Every way of writing an image, each once, with its queue.
    pub(crate) packings: Vec<(Packing, usize)>,
    /// How the caches' layers are packed, with its queue; `None` where no cache is written.
    cache: Option<(Packing, usize)>,
    /// Which queue's layers are pushed where.
    pushed: Vec<(usize, Arc<Destination>)>,
}

/// One way in which a step's layer is packed.
pub(crate) struct Packed {
    pub(crate) queue: usize,
    /// Where the layer goes while it is packed.
    pub(crate) to: Vec<Arc<Destination>>,
}

impl<'a> Queues<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        builds: &[PlannedBuild<'_>],
        cancel: &CancelToken,
    ) -> Self {
        let mut formats: Vec<LayerFormat> = Vec::new();
        let of_build = builds
            .iter()
            .map(|build| BuildQueues::new(engine, build.request, &mut formats))
            .collect();
        let early = Arc::default();
        let queue = |format| LayerQueue::new(engine, format, &early, cancel.clone());
        Self {
            all: formats.into_iter().map(queue).collect(),
            of_build,
            early,
            started: engine.now(),
        }
    }

    /// For each step how the images that will hold its layer have it packed.
    pub(crate) fn exported(&self, graph: &Graph, builds: &[PlannedBuild<'_>]) -> Vec<Vec<Packed>> {
        let mut exported: Vec<Vec<Packed>> = Vec::new();
        exported.resize_with(graph.steps().len(), Vec::new);
        for (build, queues) in builds.iter().zip(&self.of_build) {
            for result in &build.results {
                for step in in_image(graph, result.target) {
                    queues.pack(&mut exported[step.as_usize()]);
                }
            }
        }
        exported
    }

    /// The layers of one of a build's images.
    pub(crate) fn layers<'q>(&'q self, (packing, queue): &(Packing, usize)) -> ImageLayers<'q, 'a> {
        ImageLayers {
            queue: &self.all[*queue],
            terms: packing.terms,
        }
    }

    /// The layers of a build's caches; `None` where it writes none.
    pub(crate) fn cache_layers<'q>(&'q self, build: &BuildQueues) -> Option<ImageLayers<'q, 'a>> {
        Some(self.layers(build.cache.as_ref()?))
    }
}

impl BuildQueues {
    fn new(engine: &Engine, request: &BuildRequest, formats: &mut Vec<LayerFormat>) -> Self {
        let mut queue = |format: LayerFormat| {
            let known = formats.iter().position(|known| *known == format);
            known.unwrap_or_else(|| {
                formats.push(format);
                formats.len() - 1
            })
        };
        let mut packings: Vec<(Packing, usize)> = Vec::new();
        let mut outputs = Vec::new();
        for output in effective_outputs(request) {
            let number = Packing::of(request, &output).map(|packing| {
                let known = packings.iter().position(|(known, _)| *known == packing);
                known.unwrap_or_else(|| {
                    let queue = queue(packing.layers);
                    packings.push((packing, queue));
                    packings.len() - 1
                })
            });
            outputs.push((output, number));
        }
        let mut pushed = Vec::new();
        for (output, number) in &outputs {
            let Some((_, queue)) = number.and_then(|number| packings.get(number)) else {
                continue;
            };
            let to = engine.destinations(request, output);
            pushed.extend(to.into_iter().map(|to| (*queue, to)));
        }
        let cache = request.exports_cache().then(|| match packings.first() {
            Some(first) => first.clone(),
            None => {
                let packing = Packing::of_cache(request);
                let queue = queue(packing.layers);
                (packing, queue)
            }
        });
        Self {
            outputs,
            packings,
            cache,
            pushed,
        }
    }

    /// Adds how this build has the layer of one of its steps packed.
    fn pack(&self, packed: &mut Vec<Packed>) {
        for queue in self.used() {
            let known = packed.iter().position(|known| known.queue == queue);
            let at = known.unwrap_or_else(|| {
                let to = Vec::new();
                packed.push(Packed { queue, to });
                packed.len() - 1
            });
            for (_, to) in self.pushed.iter().filter(|(pushed, _)| *pushed == queue) {
                to.add_to(&mut packed[at].to);
            }
        }
    }

    fn used(&self) -> impl Iterator<Item = usize> {
        let all = self.packings.iter().chain(&self.cache);
        all.map(|(_, queue)| *queue)
    }
}

/// The outputs; where none was asked for, the local store.
pub(crate) fn effective_outputs(request: &BuildRequest) -> Vec<Output> {
    if request.outputs.is_empty() {
        vec![Output::Store {
            image: ImageOptions::default(),
            unpack: false,
        }]
    } else {
        request.outputs.clone()
    }
}
