//! Steps as BuildKit has them, so that what is in its caches is found for the same lines.
//!
//! ```text
//! step of the graph ──describe──> Step of BuildKit's ──records of its inputs, content──> Records
//! ```
//!
//! A step is described only after kiln's own keys were not found, and with it all that it is made
//! from. Nothing runs for that; files are read only where a step takes them from a context, or from
//! a root that is there already.
//!
//! Deliberately absent: the digests themselves (`kiln-cache` makes them), and steps that depend on
//! what only BuildKit's daemon knows. They are not found, and run.

mod describe;
mod environment;
mod files;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use kiln_base::{CancelToken, Cancelled};
use kiln_cache::buildkit::{ContentTree, Records, Step, StepInput, content_digests};
use kiln_cache::{Imported, Layer};
use kiln_graph::Graph;
use kiln_oci::Digest;
use kiln_sys::fs::Dir;

use crate::Engine;
use crate::base::Base;
use crate::chain::Chain;
use crate::contexts::Contexts;
use crate::copy::file_time;
use crate::plan::PlannedBuild;
use crate::reporter::Reporter;
use describe::{Described, Source, Taken};
use files::{Files, Stop};

/// What the build is made of.
#[derive(Clone, Copy)]
pub(crate) struct Build<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) graph: &'a Graph,
    pub(crate) builds: &'a [PlannedBuild<'a>],
    pub(crate) bases: &'a [Base],
    pub(crate) contexts: &'a Contexts<'a>,
    pub(crate) reporter: &'a Reporter<'a>,
}

/// What is known of the steps of a call.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// By step: its records in each cache.
    records: BTreeMap<usize, Vec<Records>>,
    /// By step: its output, where a key was made from its files.
    roots: BTreeMap<usize, Chain>,
    /// What was read of contexts and of roots.
    trees: BTreeMap<Source, Files>,
}

impl Known {
    /// Remembers the output of a step, from whose files the key of `user` is made.
    pub(crate) fn learn(&mut self, user: usize, step: usize, root: &Chain) {
        self.roots.insert(step, root.clone());
        self.records.remove(&user);
    }

    /// What the first cache has for a step: which cache, and the layers.
    pub(crate) fn find(
        &mut self,
        step: usize,
        imported: &[Imported<'_>],
        build: Build<'_>,
        cancel: &CancelToken,
    ) -> Result<Option<(usize, Vec<Layer>)>, Cancelled> {
        for step in self.unknown_below(step, build.graph) {
            cancel.check()?;
            let records = self.records_of(step, imported, build, cancel)?;
            self.records.insert(step, records);
        }
        let Some(records) = self.records.get(&step) else {
            return Ok(None);
        };
        let caches = imported.iter().zip(records).enumerate();
        let mut found = caches.filter_map(|(number, (cache, records))| {
            Some((number, cache.buildkit_layers(records)?))
        });
        Ok(found.next())
    }

    /// The step and those it is made from that were not looked for yet, inputs first.
    fn unknown_below(&self, step: usize, graph: &Graph) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![step];
        while let Some(step) = open.pop() {
            if self.records.contains_key(&step) || !found.insert(step) {
                continue;
            }
            let inputs = graph.steps()[step].inputs.iter();
            open.extend(inputs.map(|input| input.as_usize()));
        }
        found
    }

    /// The records of a step whose inputs' records are known.
    fn records_of(
        &mut self,
        step: usize,
        imported: &[Imported<'_>],
        build: Build<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<Records>, Cancelled> {
        let nothing = || vec![Records::default(); imported.len()];
        let described = match describe::describe(build, step) {
            None => return Ok(nothing()),
            Some(Described::Same(other)) => {
                return Ok(self.records.get(&other).cloned().unwrap_or_else(nothing));
            }
            Some(Described::Step { forms, inputs }) => (forms, inputs),
        };
        let (forms, inputs) = described;
        let mut contents = Vec::new();
        for input in &inputs {
            contents.push(self.content(input, build, cancel)?);
        }
        let mut all = Vec::new();
        for (number, cache) in imported.iter().enumerate() {
            let own: Vec<Option<Records>> = inputs
                .iter()
                .map(|input| self.records_of_source(&input.source, (number, cache)))
                .collect();
            let inputs: Vec<StepInput<'_>> = inputs
                .iter()
                .zip(own.iter().zip(&contents))
                .map(|(input, (own, content))| StepInput {
                    records: own.as_ref(),
                    content: content.clone(),
                    selected: input.named.clone(),
                })
                .collect();
            let mut found = Records::default();
            for form in &forms {
                found.extend(cache.buildkit_records(form, &inputs));
            }
            all.push(found);
        }
        Ok(all)
    }

    fn records_of_source(
        &self,
        source: &Source,
        (number, cache): (usize, &Imported<'_>),
    ) -> Option<Records> {
        match source {
            Source::Step(step) => self.records.get(step)?.get(number).cloned(),
            Source::Context(_) | Source::Nothing => None,
            Source::Made(action) => {
                let step = Step::File(describe::alone(action.clone()));
                Some(cache.buildkit_records(&step, &[]))
            }
        }
    }

    /// The digests of what a step takes from an input, where that can be read.
    fn content(
        &mut self,
        taken: &Taken,
        build: Build<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<Digest>, Cancelled> {
        if taken.selected.is_empty() {
            return Ok(Vec::new());
        }
        match self.read(taken, build, cancel) {
            Ok(Some(tree)) => Ok(content_digests(tree, &taken.selected)),
            Err(Stop::Cancelled(cancelled)) => Err(cancelled),
            // What is unreadable the step itself reads as well, and says what is wrong with it.
            Ok(None) | Err(Stop::Unreadable) => Ok(Vec::new()),
        }
    }

    fn read(
        &mut self,
        taken: &Taken,
        build: Build<'_>,
        cancel: &CancelToken,
    ) -> Result<Option<&ContentTree>, Stop> {
        let files = self.trees.entry(taken.source.clone()).or_default();
        match &taken.source {
            Source::Context(number) => {
                let opened = build.contexts.files(*number, build.reporter, cancel);
                cancel.check()?;
                let Some(context) = opened.map_err(|_| Stop::Unreadable)? else {
                    return Ok(None);
                };
                let rules = files::Context {
                    ignore: &context.ignore,
                    opened: file_time(context.opened()),
                };
                files.read(&context.root, Some(rules), &taken.selected, cancel)?;
            }
            Source::Step(step) => {
                let Some(chain) = self.roots.get(step) else {
                    return Ok(None);
                };
                let root = build.engine.readable_root(chain);
                let root = root.map_err(|_| Stop::Unreadable)?;
                let root = build.engine.machine.tree(Dir::from_fd(root));
                files.read(&root, None, &taken.selected, cancel)?;
            }
            Source::Made(_) | Source::Nothing => return Ok(None),
        }
        Ok(files.tree())
    }
}
