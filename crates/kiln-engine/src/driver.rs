//! What the solver asks, answered with containers: keys of steps, look-up in the store, and
//! running.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_base::CancelToken;
use kiln_base::events::{CacheVerdict, StepNumber, StepOutcome};
use kiln_base::trace::{STEP, Since, Tracer};
use kiln_cache::Found;
use kiln_graph::{CopyFrom, CopyOp, Graph, KeyHasher, Op, Part, RunMount, RunOp, Step, Unpack};
use kiln_oci::Digest;
use kiln_solve::{Driver, FastKey, Input, Keys, LookUp};
use kiln_store::{CacheKey, KeyPart, SlotId};

use crate::Engine;
use crate::base::Base;
use crate::buildkit;
use crate::chain::Chain;
use crate::contexts::Contexts;
use crate::copy::{From, Selected};
use crate::error::StepError;
use crate::explain;
use crate::export::queues::Packed;
use crate::layers::{LayerQueue, Packer};
use crate::plan::PlannedBuild;
use crate::remote::{RemoteCaches, StepResult};
use crate::reporter::Reporter;
use crate::request::BuildRequest;
use crate::{copy, run_step, workdir};

/// What a step leaves behind.
#[derive(Debug, Clone)]
pub(crate) enum Product {
    /// A root file system.
    Root(Chain),
    /// The files of a context, by its number; they are read where they are used.
    Context(usize),
}

/// The answers for all builds of a call.
pub(crate) struct BuildDriver<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) builds: &'a [PlannedBuild<'a>],
    pub(crate) graph: &'a Graph,
    pub(crate) contexts: &'a Contexts<'a>,
    pub(crate) bases: &'a [Base],
    /// Which Dockerfile in which context each build is, for [`BuildDriver::slot`].
    pub(crate) places: Vec<String>,
    pub(crate) reporter: &'a Reporter<'a>,
    pub(crate) numbers: Vec<StepNumber>,
    /// Where layers are packed, one queue for each way of packing.
    pub(crate) layers: &'a [LayerQueue<'a>],
    /// For each step how the images that will need its layer have it packed, so that this is done as
    /// soon as it exists.
    pub(crate) exported: Vec<Vec<Packed>>,
    /// Which steps' files are read by other steps or outputs.
    pub(crate) read: Vec<bool>,
    /// What a slow key found out about a copy's sources, for the copy itself.
    pub(crate) selected: Mutex<HashMap<usize, Arc<Selected>>>,
    /// What was found in the context, by [`scan_key`]: several copies often take the same files.
    pub(crate) scans: Mutex<HashMap<Vec<u8>, Arc<Selected>>>,
    /// Caches of other machines.
    pub(crate) remote: &'a RemoteCaches<'a>,
    /// Whether [`BuildDriver::results`] is wanted.
    pub(crate) notes_results: bool,
    /// What each step came to, for the caches that are exported.
    pub(crate) results: Mutex<BTreeMap<usize, StepResult>>,
    /// Which steps run whatever the cache has, by [`forced`].
    pub(crate) forced: Vec<bool>,
    /// What the keys of steps that ran were made from, for the next build's `--explain`.
    pub(crate) ran: Mutex<Vec<(SlotId, Vec<KeyPart>)>>,
    /// When steps became ready to run, where time is traced.
    pub(crate) ready: Mutex<HashMap<usize, Since>>,
}

impl Driver for BuildDriver<'_> {
    type Key = CacheKey;
    type Output = Product;
    type Error = StepError;

    fn fast_key(&self, index: usize, inputs: &[CacheKey]) -> Result<FastKey<CacheKey>, StepError> {
        let _span = self.tracer(index).span("fast key");
        let step = self.step(index);
        Ok(match &step.op {
            Op::Copy(copy) if copy.from == CopyFrom::Context => FastKey::FromContent {
                content_of: vec![1],
            },
            // What the keys of inputs that ran anew lead to was made from their old results; only
            // content tells whether the new ones are the same.
            Op::Copy(copy) if copy.from == CopyFrom::Root && self.has_forced_input(step) => {
                FastKey::FromContent {
                    content_of: vec![1],
                }
            }
            Op::Copy(copy) if copy.from == CopyFrom::Root => FastKey::Tentative {
                key: self.definition_key(step, inputs),
                content_of: vec![1],
            },
            Op::Run(run) => match self.mounted(run, step) {
                mounted if mounted.is_empty() => FastKey::Known(self.definition_key(step, inputs)),
                content_of if self.has_forced_input(step) => FastKey::FromContent { content_of },
                content_of => FastKey::Tentative {
                    key: self.definition_key(step, inputs),
                    content_of,
                },
            },
            _ => FastKey::Known(self.definition_key(step, inputs)),
        })
    }

    fn slow_key(
        &self,
        index: usize,
        inputs: &[Input<CacheKey, Product>],
        cancel: &CancelToken,
    ) -> Result<CacheKey, StepError> {
        let tracer = self.tracer(index);
        let _span = tracer.span("slow key");
        let step = self.step(index);
        self.learn(index, inputs);
        let copy = match &step.op {
            Op::Copy(copy) => copy,
            Op::Run(run) => return self.mounts_key((step, run), inputs, &tracer, cancel),
            _ => return Ok(self.definition_key(step, &[])),
        };
        let source = inputs.get(1).and_then(|input| input.output.as_ref());
        let selected = self.select(copy, source, &tracer, cancel)?;
        let users = (copy.owners != 0).then(|| inputs[copy.owners].key);
        let key = content_key(step, inputs[0].key, users, selected.digest());
        self.selected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(index, selected);
        Ok(key)
    }

    fn look_up(
        &self,
        index: usize,
        keys: &Keys<CacheKey>,
        cancel: &CancelToken,
    ) -> Result<LookUp<CacheKey, Product>, StepError> {
        let _span = self.tracer(index).span("look up");
        let step = self.step(index);
        match &step.op {
            // These cost nothing to have.
            Op::Context(context) => {
                return Ok(hit(*keys.primary(), Product::Context(context.id)));
            }
            Op::Scratch => return Ok(hit(*keys.primary(), Product::Root(Chain::default()))),
            Op::Image(image) => {
                let chain = self.base_chain(&image.manifest)?;
                return Ok(if self.engine.is_unpacked(&chain)? {
                    self.finish_cached(index);
                    hit(*keys.primary(), Product::Root(chain))
                } else {
                    LookUp::Absent
                });
            }
            // Nothing is stored for a merge; its inputs are all it is.
            Op::Merge => return Ok(LookUp::Absent),
            Op::Run(_) | Op::Copy(_) | Op::Workdir(_) | Op::Http(_) | Op::Git(_) => {}
        }
        if self.forced[index] {
            self.explain(index, CacheVerdict::NotAsked("--no-cache".to_owned()));
            return Ok(LookUp::NeverSeen);
        }
        let (key, chain) = match self.engine.cached(keys.primary())? {
            Cached::Usable(key, chain) => (key, chain),
            missing => {
                let build = self.as_buildkit();
                let key = keys.primary();
                return Ok(
                    match self
                        .remote
                        .find_step(key, (index, step.meta.build), build, cancel)?
                    {
                        Some(found) => self.elsewhere(index, keys, &found),
                        // A cache may have what is made from this, and not this itself.
                        None if !self.remote.is_empty() => LookUp::Absent,
                        None if matches!(missing, Cached::Unknown) => LookUp::NeverSeen,
                        None => LookUp::Absent,
                    },
                );
            }
        };
        if let Keys::Slow {
            slow,
            fast: Some(fast),
        } = keys
        {
            self.engine.store.cache_alias(fast, slow)?;
        }
        self.submit(index, &chain);
        self.note(index, key, keys, &chain);
        let by = match keys {
            Keys::Fast(_) => "the same definition on the same inputs",
            Keys::Slow { .. } => "the same files",
        };
        self.explain(index, CacheVerdict::Hit(by.to_owned()));
        self.finish_cached(index);
        Ok(hit(key, Product::Root(chain)))
    }

    fn fetch(
        &self,
        index: usize,
        keys: &Keys<CacheKey>,
        cancel: &CancelToken,
    ) -> Result<Option<Product>, StepError> {
        let tracer = self.tracer(index);
        self.waited(index, &tracer);
        let _step = tracer.span(STEP);
        let build = self.step(index).meta.build;
        let Some(chain) = self
            .remote
            .fetch((keys.primary(), build), self.reporter, cancel)?
        else {
            return Ok(None);
        };
        self.store_result(keys, &chain)?;
        self.note(index, *keys.primary(), keys, &chain);
        self.submit(index, &chain);
        Ok(Some(Product::Root(chain)))
    }

    fn ready(&self, index: usize) {
        let tracer = self.tracer(index);
        if tracer.is_on() {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            ready.insert(index, tracer.since());
        }
    }

    fn run(
        &self,
        index: usize,
        keys: &Keys<CacheKey>,
        inputs: Vec<Product>,
        cancel: &CancelToken,
    ) -> Result<Product, StepError> {
        let number = self.numbers[index];
        let step = self.step(index);
        let tracer = self.tracer(index);
        self.waited(index, &tracer);
        let _step = tracer.span(STEP);
        self.reporter.start(number);
        self.explain_miss(index, step, keys)?;
        let result = self.execute(index, &inputs, &tracer, cancel);
        let outcome = match &result {
            Ok(_) => StepOutcome::Done,
            Err(_) if cancel.is_cancelled() => StepOutcome::Cancelled,
            Err(error) => StepOutcome::Failed(error.to_string()),
        };
        let product = match result {
            Ok(product) => product,
            Err(error) => {
                self.reporter.finish(number, outcome);
                return Err(error);
            }
        };
        if let (Product::Root(chain), true) = (&product, is_kept(&step.op)) {
            tracer.within("record", || self.store_result(keys, chain))?;
            self.note(index, *keys.primary(), keys, chain);
            self.submit(index, chain);
        }
        self.reporter.finish(number, outcome);
        Ok(product)
    }
}

/// What the store knows under a key.
pub(crate) enum Cached {
    /// A result with all its layers, and the key it is stored under.
    Usable(CacheKey, Chain),
    /// A result some of whose layers are gone.
    Incomplete,
    /// Nothing.
    Unknown,
}

impl Engine {
    /// What the store knows under a key.
    fn cached(&self, key: &CacheKey) -> Result<Cached, StepError> {
        let Some(record) = self.store.cache_get(key)? else {
            return Ok(Cached::Unknown);
        };
        match self.chain_of(&record.extra)? {
            Some(chain) if self.has_layers(&chain)? => Ok(Cached::Usable(record.key, chain)),
            Some(_) | None => Ok(Cached::Incomplete),
        }
    }
}

/// Which steps run whatever the cache has: those that were asked to, and those that stand on them.
/// A step that only takes files from one of them is not among these: the files decide.
pub(crate) fn forced(graph: &Graph) -> Vec<bool> {
    let mut forced: Vec<bool> = Vec::with_capacity(graph.steps().len());
    for step in graph.steps() {
        let is = |input: usize| {
            let input = step.inputs.get(input);
            input.is_some_and(|input| forced[input.as_usize()])
        };
        let stands_on = match &step.op {
            Op::Run(_) | Op::Workdir(_) => is(0),
            Op::Copy(copy) => is(0) || is(copy.owners),
            Op::Merge => is(0) || is(1),
            _ => false,
        };
        forced.push(step.meta.ignore_cache || stands_on);
    }
    forced
}

impl BuildDriver<'_> {
    /// Whether any input of a step ran whatever the cache had.
    fn has_forced_input(&self, step: &Step) -> bool {
        let mut inputs = step.inputs.iter();
        inputs.any(|input| self.forced[input.as_usize()])
    }

    /// What takes the spans of a step.
    fn tracer(&self, index: usize) -> Tracer {
        self.reporter.tracer(self.numbers[index])
    }

    /// Says how long a step that now runs was ready to.
    fn waited(&self, index: usize, tracer: &Tracer) {
        if tracer.is_on() {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            tracer.waited("wait for a slot", ready.remove(&index).unwrap_or_default());
        }
    }

    fn step(&self, index: usize) -> &Step {
        &self.graph.steps()[index]
    }

    /// What a step's description in BuildKit's words is made from.
    fn as_buildkit(&self) -> buildkit::Build<'_> {
        buildkit::Build {
            engine: self.engine,
            graph: self.graph,
            builds: self.builds,
            bases: self.bases,
            contexts: self.contexts,
            reporter: self.reporter,
        }
    }

    /// Lets the caches of BuildKit know the files that a step's key is made from.
    fn learn(&self, index: usize, inputs: &[Input<CacheKey, Product>]) {
        let steps = self.step(index).inputs.iter();
        for (step, input) in steps.zip(inputs) {
            if let Some(Product::Root(chain)) = &input.output {
                self.remote.learn(index, step.as_usize(), chain);
            }
        }
    }

    /// A result that an imported cache has.
    fn elsewhere(
        &self,
        index: usize,
        keys: &Keys<CacheKey>,
        found: &Found,
    ) -> LookUp<CacheKey, Product> {
        let key = CacheKey(found.key);
        self.note(index, key, keys, &self.remote.chain(found));
        self.explain(
            index,
            CacheVerdict::Hit("an imported cache has it".to_owned()),
        );
        self.finish_cached(index);
        LookUp::Elsewhere { key }
    }

    /// Remembers a result for the caches that are exported.
    fn note(&self, index: usize, key: CacheKey, keys: &Keys<CacheKey>, chain: &Chain) {
        if !self.notes_results {
            return;
        }
        let mut all = vec![key];
        match keys {
            Keys::Fast(fast) => all.push(*fast),
            Keys::Slow { slow, fast } => {
                all.push(*slow);
                all.extend(fast);
            }
        }
        all.sort_unstable();
        all.dedup();
        // The key that others build upon comes first.
        all.retain(|other| *other != key);
        all.insert(0, key);
        let result = StepResult {
            step: index,
            keys: all,
            chain: chain.clone(),
        };
        self.results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(index, result);
    }

    /// The request that asked for a step.
    fn request(&self, step: &Step) -> &BuildRequest {
        self.builds[step.meta.build].request
    }

    /// Packs a step's layer for every image that will need it.
    fn submit(&self, index: usize, chain: &Chain) {
        for packed in &self.exported[index] {
            if let Some(queue) = self.layers.get(packed.queue) {
                queue.submit(chain, &packed.to, &self.tracer(index));
            }
        }
    }

    /// What packs a copy of which only the blob is kept: nobody reads its files, one kind of blob is
    /// wanted, and the files can be made from it.
    fn packed_by(&self, index: usize, op: &CopyOp) -> Option<Packer<'_, '_>> {
        if self.read[index] || op.unpack != Unpack::Never {
            return None;
        }
        let [Packed { queue, to }] = self.exported[index].as_slice() else {
            return None;
        };
        let queue = self.layers.get(*queue)?;
        queue.keeps_times().then_some(Packer { queue, to })
    }

    /// Which inputs a process sees by bind mounts, and are known by more than their content.
    fn mounted(&self, run: &RunOp, step: &Step) -> Vec<usize> {
        let mut inputs: Vec<usize> = run
            .mounts
            .iter()
            .filter_map(|mount| match mount {
                RunMount::Bind { input, .. } => Some(*input),
                _ => None,
            })
            .filter(|input| !self.is_keyed_by_content(step, *input))
            .collect();
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    }

    /// Whether the key of an input is made from nothing but its files: a copy of the context alone.
    fn is_keyed_by_content(&self, step: &Step, input: usize) -> bool {
        let Some(input) = step.inputs.get(input) else {
            return false;
        };
        let input = self.graph.step(*input);
        let on_nothing = || {
            let below = input
                .inputs
                .first()
                .map(|below| &self.graph.step(*below).op);
            matches!(below, Some(Op::Scratch))
        };
        matches!(&input.op, Op::Copy(copy) if copy.from == CopyFrom::Context) && on_nothing()
    }

    /// The key of a process from its definition and the files that bind mounts show it.
    fn mounts_key(
        &self,
        (step, run): (&Step, &RunOp),
        inputs: &[Input<CacheKey, Product>],
        tracer: &Tracer,
        cancel: &CancelToken,
    ) -> Result<CacheKey, StepError> {
        let mounted = self.mounted(run, step);
        let mut hasher = KeyHasher::new("run with mounted files");
        hasher.field("owners", self.engine.machine.scope());
        for (number, input) in inputs.iter().enumerate() {
            if !mounted.contains(&number) {
                hasher.field("input", &input.key.0);
            }
        }
        hasher.parts(&step.op.parts());
        for mount in &run.mounts {
            let RunMount::Bind { input, source, .. } = mount else {
                continue;
            };
            if !mounted.contains(input) {
                continue;
            }
            let Some(Product::Root(chain)) = inputs.get(*input).and_then(|i| i.output.as_ref())
            else {
                return Err(StepError::NoContext);
            };
            let digest = copy::digest_of(self.engine, chain, source, tracer, cancel)?;
            hasher.field("mounted files", &digest);
        }
        Ok(CacheKey(hasher.finish()))
    }

    /// The key from a step's definition and its inputs' keys.
    fn definition_key(&self, step: &Step, inputs: &[CacheKey]) -> CacheKey {
        let mut hasher = KeyHasher::new(step.op.kind());
        hasher.field("owners", self.engine.machine.scope());
        for input in inputs {
            hasher.field("input", &input.0);
        }
        CacheKey(hasher.parts(&step.op.parts()).finish())
    }

    fn base_chain(&self, manifest: &Digest) -> Result<Chain, StepError> {
        let base = self
            .bases
            .iter()
            .find(|base| base.image.descriptor().digest == *manifest);
        base.map(|base| base.chain.clone())
            .ok_or_else(|| StepError::UnknownBase(manifest.clone()))
    }

    fn select(
        &self,
        op: &CopyOp,
        source: Option<&Product>,
        tracer: &Tracer,
        cancel: &CancelToken,
    ) -> Result<Arc<Selected>, StepError> {
        let known = || self.scans.lock().unwrap_or_else(PoisonError::into_inner);
        let context = match source {
            Some(Product::Context(number)) => *number,
            _ => 0,
        };
        let scan = scan_key(op, context);
        let files;
        if op.from == CopyFrom::Context
            && let Some(selected) = known().get(&scan)
        {
            return Ok(Arc::clone(selected));
        }
        let from = match (op.from, source) {
            (CopyFrom::Nothing, _) => From::Nothing,
            (CopyFrom::Context, Some(Product::Context(number))) => {
                let opened = self.contexts.files(*number, self.reporter, cancel);
                let opened = opened.map_err(|error| StepError::Context(Box::new(error)))?;
                files = opened.ok_or(StepError::NoContext)?;
                From::Context(&files)
            }
            (CopyFrom::Root, Some(Product::Root(chain))) => From::Root(chain),
            (CopyFrom::Context | CopyFrom::Root, _) => return Err(StepError::NoContext),
        };
        let selected = Arc::new(copy::select(self.engine, op, &from, tracer, cancel)?);
        if op.from == CopyFrom::Context {
            known().insert(scan, Arc::clone(&selected));
        }
        Ok(selected)
    }

    /// What a slow key found out about a copy's sources.
    fn selected(&self, index: usize) -> Option<Arc<Selected>> {
        self.selected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&index)
            .cloned()
    }

    fn execute(
        &self,
        index: usize,
        inputs: &[Product],
        tracer: &Tracer,
        cancel: &CancelToken,
    ) -> Result<Product, StepError> {
        let progress = (self.reporter, self.numbers[index]);
        let root = |at: usize| match inputs.get(at) {
            Some(Product::Root(chain)) => Ok(chain),
            Some(Product::Context(_)) | None => Err(StepError::NoContext),
        };
        let step = self.step(index);
        let request = self.request(step);
        for input in inputs {
            if let Product::Root(chain) = input
                && !matches!(step.op, Op::Merge)
            {
                self.engine.stack(chain, cancel)?;
                if let Some(top) = chain.top() {
                    self.engine.filled_layer(&top.snapshot, cancel)?;
                }
            }
        }
        let chain = match &step.op {
            Op::Context(context) => return Ok(Product::Context(context.id)),
            Op::Scratch => Chain::default(),
            Op::Image(image) => {
                let chain = self.base_chain(&image.manifest)?;
                tracer.within("unpack", || {
                    self.engine.unpack_chain(&chain, progress, cancel)
                })?;
                chain
            }
            Op::Http(op) => self
                .engine
                .fetcher(request, self.reporter, cancel)
                .place(op)?,
            Op::Git(op) => self
                .engine
                .fetcher(request, self.reporter, cancel)
                .checkout(op)?,
            Op::Run(op) => {
                let roots = (0..inputs.len()).map(root).collect::<Result<Vec<_>, _>>()?;
                run_step::run(self.engine, request, op, &roots, progress, cancel)?
            }
            Op::Workdir(op) => workdir::make((self.engine, tracer), op, root(0)?)?,
            Op::Copy(op) => {
                let selected = match self.selected(index) {
                    Some(selected) => selected,
                    None => self.select(op, inputs.get(1), tracer, cancel)?,
                };
                let roots = (root(0)?, root(op.owners)?);
                match self.packed_by(index, op) {
                    Some(packer) => {
                        let how = (selected, packer);
                        copy::copy_packed((self.engine, tracer), op, how, roots, cancel)?
                    }
                    None => copy::copy((self.engine, tracer), op, &selected, roots, cancel)?,
                }
            }
            Op::Merge => root(0)?.with_all(root(1)?),
        };
        Ok(Product::Root(chain))
    }

    fn store_result(&self, keys: &Keys<CacheKey>, chain: &Chain) -> Result<(), StepError> {
        let store = &self.engine.store;
        let top = chain.top().map(|layer| &layer.snapshot);
        store.cache_put(keys.primary(), top, &self.engine.record_of(chain)?)?;
        if let Keys::Slow {
            slow,
            fast: Some(fast),
        } = keys
        {
            store.cache_alias(fast, slow)?;
        }
        Ok(())
    }

    fn explain(&self, index: usize, verdict: CacheVerdict) {
        if self.request(self.step(index)).explain {
            self.reporter.explain(self.numbers[index], verdict);
        }
    }

    /// Says why a step has to run, and notes what its key was made from.
    fn explain_miss(
        &self,
        index: usize,
        step: &Step,
        keys: &Keys<CacheKey>,
    ) -> Result<(), StepError> {
        if !is_kept(&step.op) {
            return Ok(());
        }
        let mut parts = step.op.parts();
        if let Some(selected) = self.selected(index) {
            parts.push(Part::new(
                "what the copied files hold",
                selected.digest().to_vec(),
            ));
        }
        parts.push(Part::new(explain::EARLIER, keys.primary().0.to_vec()));
        let parts = explain::digested(&parts);
        let slot = self.slot(index);
        if self.request(step).explain && !self.forced[index] {
            let last = self.engine.store.explanation(&slot)?;
            let reason = explain::difference(last.as_deref(), &parts);
            self.explain(index, CacheVerdict::Miss(reason));
        }
        self.ran
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((slot, parts));
        Ok(())
    }

    /// The step's place: what the same place held in the last build is what it is compared with.
    fn slot(&self, index: usize) -> SlotId {
        let stage = &self.step(index).meta.stage;
        let before = &self.graph.steps()[..index];
        let position = before
            .iter()
            .filter(|step| step.meta.stage == *stage)
            .count();
        let place = &self.places[self.step(index).meta.build];
        SlotId::of(format!("{place} {stage} {position}").as_bytes())
    }

    fn finish_cached(&self, index: usize) {
        self.reporter
            .finish(self.numbers[index], StepOutcome::Cached);
    }
}

/// Whether the store keeps what a step came to.
const fn is_kept(op: &Op) -> bool {
    matches!(
        op,
        Op::Run(_) | Op::Copy(_) | Op::Workdir(_) | Op::Http(_) | Op::Git(_)
    )
}

fn hit(key: CacheKey, output: Product) -> LookUp<CacheKey, Product> {
    LookUp::Hit { key, output }
}

/// The key of a copy from what it writes and where, not from where it takes it. `users` is the key
/// of the root whose users `--chown` names, where that is not the one below.
fn content_key(
    step: &Step,
    below: CacheKey,
    users: Option<CacheKey>,
    content: &[u8; 32],
) -> CacheKey {
    let parts: Vec<Part> = step
        .op
        .parts()
        .into_iter()
        .filter(|part| WRITTEN.contains(&part.label.as_str()))
        .collect();
    let mut hasher = KeyHasher::new("copied files");
    hasher.field("input", &below.0);
    if let Some(users) = users {
        hasher.field("users", &users.0);
    }
    hasher.parts(&parts).field("content", content);
    CacheKey(hasher.finish())
}

/// What decides which files of the context a copy takes, and as what they are digested.
fn scan_key(op: &CopyOp, context: usize) -> Vec<u8> {
    let mut hasher = KeyHasher::new("scan");
    hasher.field("context", context.to_string().as_bytes());
    for part in Op::Copy(op.clone()).parts() {
        if !["destination", "unpack", "--link"].contains(&part.label.as_str()) {
            hasher.field(&part.label, &part.value);
        }
    }
    hasher.finish().to_vec()
}

/// The parts of a copy that say what is written: sources, patterns and heredocs are in the digest
/// of the content.
const WRITTEN: [&str; 5] = ["destination", "--chown", "--chmod", "unpack", "--link"];

#[cfg(test)]
mod tests {
    use kiln_graph::{GraphBuilder, StepMeta};

    use super::*;

    fn linked_copy() -> Step {
        let op = Op::Copy(CopyOp {
            sources: Vec::new(),
            from: CopyFrom::Context,
            dest: "/x".to_owned(),
            chown: Some("app".to_owned()),
            owners: 2,
            chmod: None,
            parents: false,
            exclude: Vec::new(),
            unpack: kiln_graph::Unpack::Never,
            link: true,
        });
        let meta = StepMeta {
            name: String::new(),
            stage: String::new(),
            span: None,
            ignore_cache: false,
            build: 0,
            sharing: kiln_graph::Sharing::default(),
        };
        let mut builder = GraphBuilder::new();
        let index = builder.add(op, Vec::new(), meta);
        builder.finish().step(index).clone()
    }

    #[test]
    fn what_stands_on_a_forced_step_is_forced() {
        let mut builder = GraphBuilder::new();
        let meta = |ignore_cache| StepMeta {
            name: String::new(),
            stage: String::new(),
            span: None,
            ignore_cache,
            build: 0,
            sharing: kiln_graph::Sharing::default(),
        };
        let dir = |path: &str| {
            Op::Workdir(kiln_graph::WorkdirOp {
                path: path.to_owned(),
                user: String::new(),
            })
        };
        let Op::Copy(copy) = linked_copy().op else {
            unreachable!()
        };
        let takes = CopyOp {
            from: CopyFrom::Root,
            owners: 0,
            ..copy
        };
        let root = builder.add(Op::Scratch, vec![], meta(false));
        let again = builder.add(dir("/a"), vec![root], meta(true));
        let on_it = builder.add(dir("/b"), vec![again], meta(false));
        builder.add(Op::Copy(takes), vec![root, on_it], meta(false));
        assert_eq!(forced(builder.graph()), [false, true, true, false]);
    }

    #[test]
    fn a_name_of_another_root_s_user_is_part_of_a_linked_copy_s_key() {
        let key = |users| content_key(&linked_copy(), CacheKey([0; 32]), users, &[0; 32]);
        let users = |byte| Some(CacheKey([byte; 32]));
        assert_ne!(key(users(1)), key(users(2)));
        assert_ne!(key(users(1)), key(None));
        assert_eq!(key(users(1)), key(users(1)));
    }
}
