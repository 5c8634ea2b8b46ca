//! Where layers are packed: one queue for each way of packing that the builds ask for.

use kiln_base::{CancelToken, Timestamp};
use kiln_graph::Graph;

use crate::Engine;
use crate::build::in_image;
use crate::layers::{ImageLayers, LayerFormat, LayerQueue};
use crate::plan::PlannedBuild;
use crate::request::{BuildRequest, ImageOptions, Output};

use super::Packing;

/// The queues of a call.
pub(crate) struct Queues<'a> {
    pub(crate) all: Vec<LayerQueue<'a>>,
    /// Each build's part of them.
    pub(crate) of_build: Vec<BuildQueues>,
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
            .map(|build| BuildQueues::new(build.request, &mut formats))
            .collect();
        let queue = |format| LayerQueue::new(engine, format, cancel.clone());
        Self {
            all: formats.into_iter().map(queue).collect(),
            of_build,
            started: engine.now(),
        }
    }

    /// For each step the queues of the images that will hold its layer.
    pub(crate) fn exported(&self, graph: &Graph, builds: &[PlannedBuild<'_>]) -> Vec<Vec<usize>> {
        let mut exported = vec![Vec::new(); graph.steps().len()];
        for (build, queues) in builds.iter().zip(&self.of_build) {
            for result in &build.results {
                for step in in_image(graph, result.target) {
                    let known: &mut Vec<usize> = &mut exported[step.as_usize()];
                    for queue in queues.used() {
                        if !known.contains(&queue) {
                            known.push(queue);
                        }
                    }
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
    fn new(request: &BuildRequest, formats: &mut Vec<LayerFormat>) -> Self {
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
