//! Random graphs, against a solver that does one thing after the other.

use std::collections::{BTreeMap, BTreeSet};

use kiln_base::CancelToken;
use kiln_solve::{FastKey, Input};
use proptest::prelude::*;

use crate::toy::{Store, Toy, ToyStep, fast_key_of, output_of, slow_key_of};

/// The plain statement of what the solver is to do: recursive, lazy, one step at a time.
struct Model<'a> {
    steps: &'a [ToyStep],
    store: Store,
    keys: BTreeMap<usize, (String, Option<String>)>,
    ran: BTreeMap<usize, String>,
}

impl Model<'_> {
    /// The step's key, and its output where it was found.
    fn key(&mut self, index: usize) -> (String, Option<String>) {
        if let Some(known) = self.keys.get(&index) {
            return known.clone();
        }
        let step = &self.steps[index];
        let inputs: Vec<_> = step.inputs.iter().map(|&input| self.key(input).0).collect();
        let stored = |store: &Store, key: &String| store.records.get(key).cloned();
        let known = match fast_key_of(step, &inputs) {
            FastKey::Known(key) => match stored(&self.store, &key) {
                Some((key, output)) => (key, Some(output)),
                None => (key, None),
            },
            FastKey::Tentative { key, content_of } => match stored(&self.store, &key) {
                Some((key, output)) => (key, Some(output)),
                None => self.slow(index, &content_of),
            },
            FastKey::FromContent { content_of } => self.slow(index, &content_of),
        };
        self.keys.insert(index, known.clone());
        known
    }

    fn slow(&mut self, index: usize, content_of: &[usize]) -> (String, Option<String>) {
        let step = &self.steps[index];
        let inputs = step.inputs.iter().enumerate();
        let inputs: Vec<_> = inputs
            .map(|(position, &input)| Input {
                key: self.key(input).0,
                output: content_of.contains(&position).then(|| self.output(input)),
            })
            .collect();
        let key = slow_key_of(step, &inputs);
        match self.store.records.get(&key).cloned() {
            Some((key, output)) => (key, Some(output)),
            None => (key, None),
        }
    }

    fn output(&mut self, index: usize) -> String {
        if let (_, Some(output)) = self.key(index) {
            return output;
        }
        if let Some(output) = self.ran.get(&index) {
            return output.clone();
        }
        let step = &self.steps[index];
        let inputs: Vec<_> = step
            .inputs
            .iter()
            .map(|&input| self.output(input))
            .collect();
        let output = output_of(step, &inputs);
        self.ran.insert(index, output.clone());
        output
    }
}

/// What one step is drawn from: raw inputs and flags, a definition, an output that ignores both.
type Draw = (Vec<(prop::sample::Index, bool)>, u32, bool, bool);

fn steps(draws: &[Draw]) -> Vec<ToyStep> {
    let step = |(index, (inputs, version, has_fast_key, constant)): (usize, &Draw)| {
        let inputs = if index == 0 { &[][..] } else { &inputs[..] };
        let content = inputs.iter().enumerate();
        let content = content.filter(|(_, (_, content))| *content);
        ToyStep {
            name: format!("s{index}"),
            version: *version,
            inputs: inputs.iter().map(|(input, _)| input.index(index)).collect(),
            content_of: content.map(|(position, _)| position).collect(),
            has_fast_key: *has_fast_key,
            output: constant.then(|| format!("constant {index}")),
        }
    };
    draws.iter().enumerate().map(step).collect()
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let inputs = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4);
    prop::collection::vec(
        (inputs, 0..2u32, prop::bool::weighted(0.8), any::<bool>()),
        1..14,
    )
}

fn build(
    steps: &[ToyStep],
    store: Store,
    targets: &[usize],
    jobs: usize,
) -> (Store, BTreeSet<usize>) {
    let toy = Toy::new(steps, store.clone(), &|_, _| Ok(()));
    let solved = toy.solve(targets, jobs, &CancelToken::new()).unwrap();

    let mut model = Model {
        steps,
        store,
        keys: BTreeMap::new(),
        ran: BTreeMap::new(),
    };
    let expected: Vec<_> = targets.iter().map(|&target| model.output(target)).collect();
    let outputs: Vec<_> = solved.into_iter().map(|result| result.output).collect();
    assert_eq!(outputs, expected);

    for step in 0..steps.len() {
        for call in ["fast key", "slow key", "ran"] {
            assert!(toy.count(step, call) <= 1, "step {step}: {call}");
        }
    }
    assert!(toy.running.lock().unwrap().1 <= jobs);
    let ran = (0..steps.len()).filter(|&step| toy.count(step, "ran") > 0);
    let ran: BTreeSet<_> = ran.collect();
    let needed = model.ran.keys().copied().collect();
    assert!(ran.is_superset(&needed));
    if toy.store.lock().unwrap().seen.is_none() {
        assert_eq!(ran, needed, "exactly what is needed runs");
    }
    (toy.store.into_inner().unwrap(), ran)
}

proptest! {
    #[test]
    fn does_what_the_model_does(
        before in draws(),
        versions in prop::collection::vec(0..2u32, 14),
        forgotten in prop::collection::vec(prop::bool::weighted(0.2), 14),
        targets in prop::collection::vec(any::<prop::sample::Index>(), 1..3),
        remembers_keys: bool,
        jobs in 1..5usize,
    ) {
        let store = if remembers_keys { Store::that_remembers_keys() } else { Store::default() };
        let first = steps(&before);
        let targets: Vec<_> = targets.iter().map(|target| target.index(first.len())).collect();
        let (mut store, _) = build(&first, store, &targets, jobs);

        let (_, ran) = build(&first, store.clone(), &targets, jobs);
        prop_assert!(ran.is_empty(), "{ran:?} ran again");

        let mut second = first;
        for (index, step) in second.iter_mut().enumerate() {
            step.version = versions[index];
            if forgotten[index] {
                store.forget(&step.name);
            }
        }
        let (_, alone) = build(&second, store.clone(), &targets, 1);
        let (_, together) = build(&second, store, &targets, jobs);
        prop_assert!(remembers_keys || alone == together);
    }
}
