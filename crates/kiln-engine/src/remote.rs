//! Caches of other machines: looked into for steps that the store does not have, and written.
//!
//! A cache is help and no more: one that can't be read, or whose layers are gone, costs time and is
//! worth a warning. One that was to be written and could not is an error, unless it says otherwise.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use kiln_base::{CancelToken, Cancelled};
use kiln_cache::{CacheError, Context, Exported, Found, Imported, Mode, Record, Target};
use kiln_graph::{Graph, Op};
use kiln_image::BlobSource;
use kiln_oci::{Descriptor, Digest, Reference, chain_ids};
use kiln_store::{CacheKey, Download};

use crate::Engine;
use crate::assemble::ReadyLayer;
use crate::blobs::StoreBlobs;
use crate::build::in_image;
use crate::buildkit;
use crate::chain::{Chain, ChainLayer, ImageLayer, Origin};
use crate::error::{BuildError, LayerError, StepError};
use crate::layers::ImageLayers;
use crate::plan::PlannedBuild;
use crate::reporter::Reporter;
use crate::unpack::Arrival;

/// What a step came to.
#[derive(Debug, Clone)]
pub(crate) struct StepResult {
    pub(crate) step: usize,
    /// The keys that lead to it; the one that others build upon first.
    pub(crate) keys: Vec<CacheKey>,
    pub(crate) chain: Chain,
}

/// By key and build: which cache has a result, and what it says of it.
type KnownResults = HashMap<(CacheKey, usize), Option<(usize, Found)>>;

/// The caches that a call looks into.
pub(crate) struct RemoteCaches<'a> {
    engine: &'a Engine,
    imported: Vec<Imported<'a>>,
    /// For each build the caches that it names, by number.
    named_by: Vec<Vec<usize>>,
    /// What was found for the steps of a build: a key is asked for several times.
    known: Mutex<KnownResults>,
    /// What is known of the steps in BuildKit's records; `None` where no cache has such.
    buildkit: Option<Mutex<buildkit::Known>>,
}

impl Engine {
    fn cache_context(&self) -> Context<'_> {
        Context {
            registry: &self.registry,
            config: self.registry.config(),
            clock: self.settings.now,
        }
    }

    /// Reads the documents of all caches that the builds name.
    pub(crate) fn import_caches<'a>(
        &'a self,
        builds: &[PlannedBuild<'_>],
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<RemoteCaches<'a>, BuildError> {
        let mut imported = Vec::new();
        let mut seen = Vec::new();
        let mut numbers = Vec::new();
        for source in builds.iter().flat_map(|build| &build.request.cache_from) {
            if seen.contains(&source) {
                continue;
            }
            seen.push(source);
            match kiln_cache::import(source, self.cache_context(), cancel) {
                Ok(cache) => {
                    numbers.push((source, imported.len()));
                    imported.push(cache);
                }
                Err(_) if cancel.is_cancelled() => cancel.check()?,
                Err(error) => {
                    let text = crate::error::chain_text(&error);
                    reporter.warn(&format!("a cache is not used: {text}"), None);
                }
            }
        }
        let has_buildkit = imported.iter().any(Imported::has_buildkit_records);
        let of_build = |build: &PlannedBuild<'_>| {
            let sources = build.request.cache_from.iter();
            let number = |source| numbers.iter().find(|(known, _)| *known == source);
            sources
                .filter_map(number)
                .map(|(_, number)| *number)
                .collect()
        };
        Ok(RemoteCaches {
            engine: self,
            named_by: builds.iter().map(of_build).collect(),
            imported,
            known: Mutex::default(),
            buildkit: has_buildkit.then(Mutex::default),
        })
    }
}

impl RemoteCaches<'_> {
    /// What the first of a build's caches that knows the key has.
    pub(crate) fn find(&self, key: &CacheKey, build: usize) -> Option<Found> {
        Some(self.look_up(key, build)?.1)
    }

    fn look_up(&self, key: &CacheKey, build: usize) -> Option<(usize, Found)> {
        let named = self.named_by.get(build)?;
        if named.is_empty() {
            return None;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let look = || {
            let found = |number: &usize| Some((*number, self.imported[*number].find(&key.0)?));
            named.iter().find_map(found)
        };
        known.entry((*key, build)).or_insert_with(look).clone()
    }

    /// Whether there is no cache at all.
    pub(crate) const fn is_empty(&self) -> bool {
        self.imported.is_empty()
    }

    /// What the caches have for a step: under its key, or else in a record of BuildKit's, which
    /// then is under the key, too.
    pub(crate) fn find_step(
        &self,
        key: &CacheKey,
        (step, of): (usize, usize),
        build: buildkit::Build<'_>,
        cancel: &CancelToken,
    ) -> Result<Option<Found>, Cancelled> {
        if let Some(found) = self.find(key, of) {
            return Ok(Some(found));
        }
        let Some(buildkit) = &self.buildkit else {
            return Ok(None);
        };
        let found = {
            let mut buildkit = buildkit.lock().unwrap_or_else(PoisonError::into_inner);
            buildkit.find(step, &self.imported, build, cancel)?
        };
        // What another build's cache has is not this one's to take.
        let is_named = |number: &usize| self.named_by.get(of).is_some_and(|n| n.contains(number));
        let Some((number, layers)) = found.filter(|(number, _)| is_named(number)) else {
            return Ok(None);
        };
        let found = Found {
            key: key.0,
            layers,
            extra: Vec::new(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((*key, of), Some((number, found.clone())));
        Ok(Some(found))
    }

    /// Notes the output of an input, from whose files a step's key is made.
    pub(crate) fn learn(&self, user: usize, step: usize, root: &Chain) {
        if let Some(buildkit) = &self.buildkit {
            let mut buildkit = buildkit.lock().unwrap_or_else(PoisonError::into_inner);
            buildkit.learn(user, step, root);
        }
    }

    /// Gets the layers of a result and unpacks them. `None`, after a warning, where they can't be
    /// had.
    pub(crate) fn fetch(
        &self,
        (key, build): (&CacheKey, usize),
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Option<Chain>, StepError> {
        let Some((number, found)) = self.look_up(key, build) else {
            return Ok(None);
        };
        let cache = &self.imported[number];
        let chain = self.chain(&found);
        if self.engine.is_unpacked(&chain)? {
            return Ok(Some(chain));
        }
        let title = format!("import from {}", cache.place());
        let fetched = reporter.step(&title, cancel, |number| -> Result<(), StepError> {
            let progress = (reporter, number);
            self.engine.download_unpacking(
                &chain,
                |layer, arrival| self.fetch_layer(cache, &layer.blob, arrival, cancel),
                progress,
                cancel,
            )?;
            Ok(self.engine.unpack_chain(&chain, progress, cancel)?)
        });
        match fetched {
            Ok(()) => Ok(Some(chain)),
            Err(error) if cancel.is_cancelled() => Err(error),
            Err(error) => {
                let text = crate::error::chain_text(&error);
                reporter.warn(&format!("a cached result is not used: {text}"), None);
                Ok(None)
            }
        }
    }

    fn fetch_layer(
        &self,
        cache: &Imported<'_>,
        layer: &Descriptor,
        arrival: &Arrival,
        cancel: &CancelToken,
    ) -> Result<(), StepError> {
        let mut blob = match self.engine.store.partial(&layer.digest, cancel)? {
            Download::Done => {
                arrival.stored();
                return Ok(());
            }
            Download::Partial(blob) => blob,
        };
        if !blob.is_empty() {
            // Caches are asked for whole blobs.
            blob.restart()?;
        }
        arrival.growing(&blob)?;
        if let Err(error) = cache.fetch_blob(layer, &mut blob, cancel) {
            // Nobody is to go on from what this cache sent.
            blob.restart()?;
            return Err(error.into());
        }
        blob.commit(Some(layer.size))
            .map_err(LayerError::from)
            .map_err(|error| StepError::Layer(Box::new(error)))
    }

    /// A result as a chain of layers.
    pub(crate) fn chain(&self, found: &Found) -> Chain {
        let diff_ids: Vec<Digest> = found
            .layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect();
        chain_ids(&diff_ids)
            .iter()
            .zip(&found.layers)
            .map(|(chain_id, layer)| ChainLayer {
                snapshot: self.engine.machine.snapshot_of_chain(chain_id),
                origin: Origin::Image(Box::new(ImageLayer {
                    diff_id: layer.diff_id.clone(),
                    blob: layer.descriptor.clone(),
                    created: layer.created,
                })),
            })
            .collect()
    }
}

/// Results that are to be exported.
pub(crate) struct Exporter<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) graph: &'a Graph,
    pub(crate) remote: &'a RemoteCaches<'a>,
    pub(crate) results: Vec<StepResult>,
    pub(crate) reporter: &'a Reporter<'a>,
    pub(crate) cancel: &'a CancelToken,
}

impl Exporter<'_> {
    /// What a step came to, where that was noted.
    pub(crate) fn result(&self, step: kiln_graph::StepIndex) -> Option<&Chain> {
        let mut results = self.results.iter();
        let found = results.find(|result| result.step == step.as_usize())?;
        Some(&found.chain)
    }

    /// Writes a build's caches.
    pub(crate) fn export(
        &self,
        build: &PlannedBuild<'_>,
        layers: ImageLayers<'_, '_>,
    ) -> Result<(), BuildError> {
        for target in &build.request.cache_to {
            if target.target == Target::Inline {
                continue;
            }
            let title = format!("export the cache to {}", place(&target.target));
            let exported = self.reporter.step(&title, self.cancel, |_| {
                let records = self.records(build, target.mode, layers)?;
                let exported = Exported {
                    records,
                    mount_from: self.repositories_on(&target.target),
                };
                let context = self.engine.cache_context();
                kiln_cache::export(target, &exported, self, context, self.cancel)?;
                Ok::<_, BuildError>(())
            });
            match exported {
                Err(error)
                    if (target.ignore_error || is_inactive(&error))
                        && !self.cancel.is_cancelled() =>
                {
                    let text = crate::error::chain_text(&error);
                    self.reporter
                        .warn(&format!("the cache was not exported: {text}"), None);
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// The repositories of base images that are on the registry of the target: it has their layers.
    fn repositories_on(&self, target: &Target) -> Vec<String> {
        let Target::Registry(target) = target else {
            return Vec::new();
        };
        let images = self.graph.steps().iter().filter_map(|step| match &step.op {
            Op::Image(image) => image.name.parse::<Reference>().ok(),
            _ => None,
        });
        let repositories: BTreeSet<String> = images
            .filter(|image| image.registry() == target.reference.registry())
            .map(|image| image.repository().to_owned())
            .filter(|repository| repository != target.reference.repository())
            .collect();
        repositories.into_iter().collect()
    }

    /// The results that a mode asks for, with their layers packed.
    pub(crate) fn records(
        &self,
        build: &PlannedBuild<'_>,
        mode: Mode,
        layers: ImageLayers<'_, '_>,
    ) -> Result<Vec<Record>, BuildError> {
        let wanted: BTreeSet<usize> = match mode {
            // Not those of other builds of the call: what they made is not this cache's to tell.
            Mode::Max => needed(self.graph, build),
            Mode::Min => build
                .results
                .iter()
                .flat_map(|result| in_image(self.graph, result.target))
                .map(kiln_graph::StepIndex::as_usize)
                .collect(),
        };
        let kept = |result: &&StepResult| {
            let op = &self.graph.steps()[result.step].op;
            wanted.contains(&result.step) && !matches!(op, Op::Http(_) | Op::Git(_))
        };
        let mut records = Vec::new();
        for result in self.results.iter().filter(kept) {
            self.cancel.check()?;
            let ready = layers.ready(&result.chain)?;
            let created = ready.last().and_then(|layer| layer.created);
            records.push(Record {
                keys: result.keys.iter().map(|key| key.0).collect(),
                layers: ready.into_iter().map(layer).collect(),
                extra: Vec::new(),
                created,
            });
        }
        Ok(records)
    }
}

/// Whether GitHub's cache was to be written where there is none: on a developer's machine, with
/// the command of a workflow.
const fn is_inactive(error: &BuildError) -> bool {
    matches!(error, BuildError::Cache(CacheError::Inactive))
}

/// A target as progress calls it.
fn place(target: &Target) -> String {
    match target {
        Target::Registry(registry) => registry.reference.familiar(),
        Target::Local(local) => local.dest.display().to_string(),
        Target::Inline => "the image".to_owned(),
        Target::S3(s3) => format!("the bucket {}", s3.bucket),
        Target::Gha(gha) => format!("GitHub's cache `{}`", gha.scope),
    }
}

/// All steps that a build's results are made from.
fn needed(graph: &Graph, build: &PlannedBuild<'_>) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<_> = build.results.iter().map(|result| result.target).collect();
    while let Some(index) = open.pop() {
        if needed.insert(index.as_usize()) {
            open.extend(&graph.step(index).inputs);
        }
    }
    needed
}

fn layer(ready: ReadyLayer) -> kiln_cache::Layer {
    kiln_cache::Layer {
        descriptor: ready.blob,
        diff_id: ready.diff_id,
        created: ready.created,
    }
}

/// Layers come from the store; those of results that were found in a cache but not needed come from
/// there.
impl BlobSource for Exporter<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        let store = StoreBlobs(&self.engine.store);
        if let Some(blob) = store.open(digest)? {
            return Ok(Some(blob));
        }
        let known = self.remote.known.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        let found = known.values().flatten().find_map(|(number, found)| {
            let layer = found.layers.iter();
            let mut layer = layer.filter(|layer| layer.descriptor.digest == *digest);
            Some((*number, layer.next()?.descriptor.clone()))
        });
        drop(known);
        let Some((number, descriptor)) = found else {
            return Ok(None);
        };
        self.remote
            .fetch_layer(
                &self.remote.imported[number],
                &descriptor,
                &Arrival::default(),
                self.cancel,
            )
            .map_err(io::Error::other)?;
        store.open(digest)
    }
}
