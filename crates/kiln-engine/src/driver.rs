//! What the solver asks, answered with containers: keys of steps, look-up in the store, and
//! running.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kiln_base::CancelToken;
use kiln_base::events::{CacheVerdict, StepNumber, StepOutcome};
use kiln_graph::{CopyFrom, CopyOp, Graph, KeyHasher, Op, Part, Step};
use kiln_oci::Digest;
use kiln_solve::{Driver, FastKey, Input, Keys, LookUp};
use kiln_store::{CacheKey, KeyPart, SlotId};

use crate::Engine;
use crate::base::Base;
use crate::chain::Chain;
use crate::context::ContextFiles;
use crate::copy::{From, Selected};
use crate::error::StepError;
use crate::explain;
use crate::layers::LayerQueue;
use crate::reporter::Reporter;
use crate::request::{BuildRequest, CacheUse};
use crate::{copy, run_step, workdir};

/// What a step leaves behind.
#[derive(Debug, Clone)]
pub(crate) enum Product {
    /// A root file system.
    Root(Chain),
    /// The files of a context; they are read where they are used.
    Context,
}

/// One build's answers.
pub(crate) struct BuildDriver<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) request: &'a BuildRequest,
    pub(crate) graph: &'a Graph,
    pub(crate) context: Option<&'a ContextFiles>,
    pub(crate) bases: &'a [Base],
    /// Which Dockerfile in which context this is, for [`BuildDriver::slot`].
    pub(crate) place: String,
    pub(crate) reporter: &'a Reporter<'a>,
    pub(crate) numbers: Vec<StepNumber>,
    pub(crate) layers: &'a LayerQueue<'a>,
    /// Which steps' layers the image will need, so that they are packed as soon as they exist.
    pub(crate) exported: Vec<bool>,
    /// What a slow key found out about a copy's sources, for the copy itself.
    pub(crate) selected: Mutex<HashMap<usize, Arc<Selected>>>,
    /// What was found in the context, by [`scan_key`]: several copies often take the same files.
    pub(crate) scans: Mutex<HashMap<Vec<u8>, Arc<Selected>>>,
    /// What the keys of steps that ran were made from, for the next build's `--explain`.
    pub(crate) ran: Mutex<Vec<(SlotId, Vec<KeyPart>)>>,
}

impl Driver for BuildDriver<'_> {
    type Key = CacheKey;
    type Output = Product;
    type Error = StepError;

    fn fast_key(&self, index: usize, inputs: &[CacheKey]) -> Result<FastKey<CacheKey>, StepError> {
        let step = self.step(index);
        Ok(match &step.op {
            Op::Copy(copy) if copy.from == CopyFrom::Context => FastKey::FromContent {
                content_of: vec![1],
            },
            Op::Copy(copy) if copy.from == CopyFrom::Root => FastKey::Tentative {
                key: self.definition_key(step, inputs),
                content_of: vec![1],
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
        let step = self.step(index);
        let Op::Copy(copy) = &step.op else {
            return Ok(self.definition_key(step, &[]));
        };
        let source = inputs.get(1).and_then(|input| input.output.as_ref());
        let selected = self.select(copy, source, cancel)?;
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
        _cancel: &CancelToken,
    ) -> Result<LookUp<CacheKey, Product>, StepError> {
        let step = self.step(index);
        match &step.op {
            // These cost nothing to have.
            Op::Context(_) => return Ok(hit(*keys.primary(), Product::Context)),
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
            Op::Run(_) | Op::Copy(_) | Op::Workdir(_) => {}
        }
        if self.ignores_cache(step) {
            self.explain(index, CacheVerdict::NotAsked("--no-cache".to_owned()));
            return Ok(LookUp::NeverSeen);
        }
        let (key, chain) = match self.engine.cached(keys.primary())? {
            Cached::Usable(key, chain) => (key, chain),
            Cached::Incomplete => return Ok(LookUp::Absent),
            Cached::Unknown => return Ok(LookUp::NeverSeen),
        };
        if let Keys::Slow {
            slow,
            fast: Some(fast),
        } = keys
        {
            self.engine.store.cache_alias(fast, slow)?;
        }
        if self.exported[index] {
            self.layers.submit(&chain);
        }
        let by = match keys {
            Keys::Fast(_) => "the same definition on the same inputs",
            Keys::Slow { .. } => "the same files",
        };
        self.explain(index, CacheVerdict::Hit(by.to_owned()));
        self.finish_cached(index);
        Ok(hit(key, Product::Root(chain)))
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
        self.reporter.start(number);
        self.explain_miss(index, step, keys)?;
        let result = self.execute(index, &inputs, cancel);
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
        if let (Product::Root(chain), Op::Run(_) | Op::Copy(_) | Op::Workdir(_)) =
            (&product, &step.op)
        {
            self.store_result(keys, chain)?;
            if self.exported[index] {
                self.layers.submit(chain);
            }
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
        match Chain::from_bytes(&record.extra) {
            Some(chain) if self.is_unpacked(&chain)? => Ok(Cached::Usable(record.key, chain)),
            Some(_) | None => Ok(Cached::Incomplete),
        }
    }
}

impl BuildDriver<'_> {
    fn step(&self, index: usize) -> &Step {
        &self.graph.steps()[index]
    }

    /// All that changes the step's output by definition: its own parts, and what the request says
    /// for all steps.
    fn parts(&self, step: &Step) -> Vec<Part> {
        let mut parts = step.op.parts();
        if let Op::Run(run) = &step.op {
            parts.extend(run_step::request_parts(run, self.request));
        }
        parts
    }

    /// The key from a step's definition and its inputs' keys.
    fn definition_key(&self, step: &Step, inputs: &[CacheKey]) -> CacheKey {
        let mut hasher = KeyHasher::new(step.op.kind());
        hasher.field("owners", self.engine.machine.scope());
        for input in inputs {
            hasher.field("input", &input.0);
        }
        CacheKey(hasher.parts(&self.parts(step)).finish())
    }

    fn ignores_cache(&self, step: &Step) -> bool {
        self.request.cache == CacheUse::Ignore || step.meta.ignore_cache
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
        cancel: &CancelToken,
    ) -> Result<Arc<Selected>, StepError> {
        let known = || self.scans.lock().unwrap_or_else(PoisonError::into_inner);
        let scan = scan_key(op);
        if op.from == CopyFrom::Context
            && let Some(selected) = known().get(&scan)
        {
            return Ok(Arc::clone(selected));
        }
        let from = match (op.from, source) {
            (CopyFrom::Nothing, _) => From::Nothing,
            (CopyFrom::Context, _) => From::Context(self.context.ok_or(StepError::NoContext)?),
            (CopyFrom::Root, Some(Product::Root(chain))) => From::Root(chain),
            (CopyFrom::Root, Some(Product::Context) | None) => return Err(StepError::NoContext),
        };
        let selected = Arc::new(copy::select(self.engine, op, &from, cancel)?);
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
        cancel: &CancelToken,
    ) -> Result<Product, StepError> {
        let progress = (self.reporter, self.numbers[index]);
        let root = |at: usize| match inputs.get(at) {
            Some(Product::Root(chain)) => Ok(chain),
            Some(Product::Context) | None => Err(StepError::NoContext),
        };
        let chain = match &self.step(index).op {
            Op::Context(_) => return Ok(Product::Context),
            Op::Scratch => Chain::default(),
            Op::Image(image) => {
                let chain = self.base_chain(&image.manifest)?;
                self.engine.unpack_chain(&chain, progress, cancel)?;
                chain
            }
            Op::Run(op) => {
                run_step::run(self.engine, self.request, op, root(0)?, progress, cancel)?
            }
            Op::Workdir(op) => workdir::make(self.engine, op, root(0)?)?,
            Op::Copy(op) => {
                let selected = match self.selected(index) {
                    Some(selected) => selected,
                    None => self.select(op, inputs.get(1), cancel)?,
                };
                let roots = (root(0)?, root(op.owners)?);
                copy::copy(self.engine, op, &selected, roots, cancel)?
            }
            Op::Merge => root(0)?.with_all(root(1)?),
        };
        Ok(Product::Root(chain))
    }

    fn store_result(&self, keys: &Keys<CacheKey>, chain: &Chain) -> Result<(), StepError> {
        let store = &self.engine.store;
        let top = chain.layers.last().map(|layer| &layer.snapshot);
        store.cache_put(keys.primary(), top, &chain.to_bytes())?;
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
        if self.request.explain {
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
        if !matches!(step.op, Op::Run(_) | Op::Copy(_) | Op::Workdir(_)) {
            return Ok(());
        }
        let mut parts = self.parts(step);
        if let Some(selected) = self.selected(index) {
            parts.push(Part::new(
                "what the copied files hold",
                selected.digest().to_vec(),
            ));
        }
        parts.push(Part::new(explain::EARLIER, keys.primary().0.to_vec()));
        let parts = explain::digested(&parts);
        let slot = self.slot(index);
        if self.request.explain && !self.ignores_cache(step) {
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
        SlotId::of(format!("{} {stage} {position}", self.place).as_bytes())
    }

    fn finish_cached(&self, index: usize) {
        self.reporter
            .finish(self.numbers[index], StepOutcome::Cached);
    }
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
fn scan_key(op: &CopyOp) -> Vec<u8> {
    let mut hasher = KeyHasher::new("scan");
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
        };
        let mut builder = GraphBuilder::new();
        let index = builder.add(op, Vec::new(), meta);
        builder.finish().step(index).clone()
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
