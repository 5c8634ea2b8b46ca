//! Where every step stands, and what is to be done next. No threads, no driver, no I/O: the
//! [`pool`](crate::pool) takes a [`Task`], does it, and reports an [`Outcome`].

use std::collections::{BTreeMap, BTreeSet};

use crate::dag::{Dag, DagError};
use crate::driver::{FastKey, Input, Keys, LookUp, Resolved};

/// One call, or one short sequence of calls, into the driver.
#[derive(Debug)]
pub(crate) struct Task<K, O> {
    pub(crate) step: usize,
    pub(crate) work: Work<K, O>,
}

#[derive(Debug)]
pub(crate) enum Work<K, O> {
    /// Make the fast key and look it up.
    FastKey(Vec<K>),
    /// Make the slow key and look it up.
    SlowKey {
        fast: Option<K>,
        inputs: Vec<Input<K, O>>,
    },
    /// Get the step's result from elsewhere.
    Fetch(Keys<K>),
    /// Run the step.
    Run { keys: Keys<K>, inputs: Vec<O> },
}

/// What became of a [`Task`].
#[derive(Debug)]
pub(crate) enum Outcome<K, O> {
    /// A fast key was made; what was found where one was looked up.
    FastKey(FastKey<K>, Option<LookUp<K, O>>),
    /// A slow key was made and looked up.
    SlowKey(Keys<K>, LookUp<K, O>),
    /// The result was got from elsewhere, if it was still there.
    Fetched(Keys<K>, Option<O>),
    /// The step ran.
    Ran(O),
}

#[derive(Debug)]
enum Status<K, O> {
    /// Not needed by any target.
    Outside,
    /// The keys of some inputs are not known.
    AwaitsKeys,
    /// The fast key is being made and looked up, or queued for it.
    FastKeying,
    /// The slow key needs the outputs of the inputs at these positions.
    AwaitsContent {
        fast: Option<K>,
        content_of: Vec<usize>,
    },
    /// The slow key is being made and looked up, or queued for it.
    SlowKeying,
    /// The key is known, nothing is stored under it here.
    Missing { keys: Keys<K>, absence: Absence },
    /// The step runs, or is queued to.
    Running { key: K },
    /// The output is there.
    Done { key: K, output: O },
}

/// Where a result is that is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    /// Nowhere, and nothing that is made from it is anywhere.
    NeverSeen,
    /// Nowhere.
    Gone,
    /// Where it can be fetched from.
    Elsewhere,
}

#[derive(Debug)]
struct Slot<K, O> {
    status: Status<K, O>,
    /// Whether a target, a running child or a child's slow key needs the output.
    wanted: bool,
    children: Vec<usize>,
}

/// The state of one solve.
#[derive(Debug)]
pub(crate) struct Board<'a, K, O> {
    dag: &'a Dag,
    targets: &'a [usize],
    slots: Vec<Slot<K, O>>,
    to_key: BTreeSet<usize>,
    to_run: BTreeMap<usize, Keys<K>>,
    /// Those of `to_run` that are fetched instead.
    to_fetch: BTreeSet<usize>,
    in_hand: BTreeSet<usize>,
    /// How many of `in_hand` are about keys.
    keying: usize,
    /// What was put into `to_run` since [`Board::take_ready`].
    ready: Vec<usize>,
}

impl<'a, K: Clone, O: Clone> Board<'a, K, O> {
    pub(crate) fn new(dag: &'a Dag, targets: &'a [usize]) -> Result<Self, DagError> {
        let cone = dag.cone(targets)?;
        let mut slots: Vec<_> = cone
            .iter()
            .map(|&needed| Slot {
                status: if needed {
                    Status::AwaitsKeys
                } else {
                    Status::Outside
                },
                wanted: false,
                children: Vec::new(),
            })
            .collect();
        for step in (0..dag.len()).filter(|&step| cone[step]) {
            for &input in dag.inputs(step) {
                if slots[input].children.last() != Some(&step) {
                    slots[input].children.push(step);
                }
            }
        }
        let mut board = Self {
            dag,
            targets,
            slots,
            to_key: BTreeSet::new(),
            to_run: BTreeMap::new(),
            to_fetch: BTreeSet::new(),
            in_hand: BTreeSet::new(),
            keying: 0,
            ready: Vec::new(),
        };
        for &target in targets {
            board.want(target);
        }
        for step in (0..dag.len()).filter(|&step| cone[step]) {
            board.queue_fast_key_if_ready(step);
        }
        Ok(board)
    }

    /// The results of the targets, in their order, once all are there.
    pub(crate) fn results(&self) -> Option<Vec<Resolved<K, O>>> {
        self.targets
            .iter()
            .map(|&target| match &self.slots[target].status {
                Status::Done { key, output } => Some(Resolved {
                    key: key.clone(),
                    output: output.clone(),
                }),
                _ => None,
            })
            .collect()
    }

    /// Whether every target is there.
    pub(crate) fn is_finished(&self) -> bool {
        self.targets.iter().all(|&target| self.is_done(target))
    }

    /// The steps whose tasks were taken and not reported yet.
    pub(crate) fn in_hand(&self) -> &BTreeSet<usize> {
        &self.in_hand
    }

    /// Whether [`Board::take`] would give a task.
    pub(crate) fn has_task(&mut self) -> bool {
        self.start_never_seen_if_quiet();
        !self.to_key.is_empty() || !self.to_run.is_empty()
    }

    /// The next task: keys before runs, since they are short and show what has to run; of each
    /// kind the lowest step.
    pub(crate) fn take(&mut self) -> Option<Task<K, O>> {
        self.start_never_seen_if_quiet();
        let (step, work) = if let Some(step) = self.to_key.pop_first() {
            self.keying += 1;
            (step, self.key_work(step))
        } else {
            let (step, keys) = self.to_run.pop_first()?;
            if self.to_fetch.remove(&step) {
                self.in_hand.insert(step);
                let work = Work::Fetch(keys);
                return Some(Task { step, work });
            }
            let inputs = self.dag.inputs(step).iter();
            let inputs = inputs.filter_map(|&input| self.output(input).cloned());
            let inputs = inputs.collect();
            (step, Work::Run { keys, inputs })
        };
        self.in_hand.insert(step);
        Some(Task { step, work })
    }

    /// The steps that became ready to run since this was asked last.
    pub(crate) fn take_ready(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.ready)
    }

    /// Takes in what became of a task.
    pub(crate) fn report(&mut self, step: usize, outcome: Outcome<K, O>) {
        self.in_hand.remove(&step);
        match outcome {
            Outcome::FastKey(fast, found) => {
                self.keying -= 1;
                self.fast_keyed(step, fast, found);
            }
            Outcome::SlowKey(keys, found) => {
                self.keying -= 1;
                self.looked_up(step, keys, found);
            }
            Outcome::Fetched(keys, None) => {
                let absence = Absence::Gone;
                self.slots[step].status = Status::Missing { keys, absence };
                self.want_inputs(step);
            }
            Outcome::Fetched(_, Some(output)) | Outcome::Ran(output) => {
                if let Status::Running { key } = &self.slots[step].status {
                    let key = key.clone();
                    self.done(step, key, output);
                }
            }
        }
    }

    fn fast_keyed(&mut self, step: usize, fast: FastKey<K>, found: Option<LookUp<K, O>>) {
        let (fast, content_of) = match (fast, found) {
            (_, Some(LookUp::Hit { key, output })) => return self.done(step, key, output),
            (FastKey::Tentative { key: fast, .. }, Some(LookUp::Elsewhere { key })) => {
                let keys = Keys::Slow {
                    slow: key.clone(),
                    fast: Some(fast),
                };
                return self.looked_up(step, keys, LookUp::Elsewhere { key });
            }
            (FastKey::Known(key), found) => {
                let found = found.unwrap_or(LookUp::Absent);
                return self.looked_up(step, Keys::Fast(key), found);
            }
            (FastKey::Tentative { key, content_of }, _) => (Some(key), content_of),
            (FastKey::FromContent { content_of }, _) => (None, content_of),
        };
        for &position in &content_of {
            self.want(self.dag.inputs(step)[position]);
        }
        self.slots[step].status = Status::AwaitsContent { fast, content_of };
        self.queue_slow_key_if_ready(step);
    }

    /// The last look-up of the step: from here on its key is certain.
    fn looked_up(&mut self, step: usize, keys: Keys<K>, found: LookUp<K, O>) {
        let (keys, absence) = match (found, keys) {
            (LookUp::Hit { key, output }, _) => return self.done(step, key, output),
            (LookUp::Absent, keys) => (keys, Absence::Gone),
            (LookUp::NeverSeen, keys) => (keys, Absence::NeverSeen),
            (LookUp::Elsewhere { key }, Keys::Fast(_)) => (Keys::Fast(key), Absence::Elsewhere),
            (LookUp::Elsewhere { key: slow }, Keys::Slow { fast, .. }) => {
                (Keys::Slow { slow, fast }, Absence::Elsewhere)
            }
        };
        self.slots[step].status = Status::Missing { keys, absence };
        if self.slots[step].wanted {
            self.want_made(step);
        }
        self.tell_children(step);
    }

    fn done(&mut self, step: usize, key: K, output: O) {
        self.slots[step].status = Status::Done { key, output };
        self.tell_children(step);
    }

    fn tell_children(&mut self, step: usize) {
        for child in self.slots[step].children.clone() {
            self.queue_fast_key_if_ready(child);
            self.queue_slow_key_if_ready(child);
            self.queue_run_if_ready(child);
        }
    }

    /// Marks the output as needed, and what it is made from where it has to be made.
    fn want(&mut self, step: usize) {
        if std::mem::replace(&mut self.slots[step].wanted, true) {
            return;
        }
        if matches!(self.slots[step].status, Status::Missing { .. }) {
            self.want_made(step);
        }
    }

    /// Has the output of a step that is not here fetched or made.
    fn want_made(&mut self, step: usize) {
        let elsewhere = matches!(
            self.slots[step].status,
            Status::Missing {
                absence: Absence::Elsewhere,
                ..
            }
        );
        if elsewhere {
            self.queue_run_if_ready(step);
        } else {
            self.want_inputs(step);
        }
    }

    fn want_inputs(&mut self, step: usize) {
        // A loop and not recursion: a chain may be as long as a Dockerfile.
        let mut missing = vec![step];
        while let Some(step) = missing.pop() {
            for &input in self.dag.inputs(step) {
                let slot = &mut self.slots[input];
                let was_wanted = std::mem::replace(&mut slot.wanted, true);
                match slot.status {
                    Status::Missing {
                        absence: Absence::Elsewhere,
                        ..
                    } if !was_wanted => self.queue_run_if_ready(input),
                    Status::Missing { .. } if !was_wanted => missing.push(input),
                    _ => {}
                }
            }
            self.queue_run_if_ready(step);
        }
    }

    /// When no key can be found out without running something, steps that are certain to be needed
    /// later start now.
    fn start_never_seen_if_quiet(&mut self) {
        if self.keying > 0 || !self.to_key.is_empty() {
            return;
        }
        for step in 0..self.slots.len() {
            let slot = &self.slots[step];
            let never_seen = matches!(
                slot.status,
                Status::Missing {
                    absence: Absence::NeverSeen,
                    ..
                }
            );
            if never_seen && !slot.wanted {
                self.want(step);
            }
        }
    }

    fn queue_fast_key_if_ready(&mut self, step: usize) {
        let inputs_keyed = || {
            let mut inputs = self.dag.inputs(step).iter();
            inputs.all(|&input| self.key(input).is_some())
        };
        if matches!(self.slots[step].status, Status::AwaitsKeys) && inputs_keyed() {
            self.slots[step].status = Status::FastKeying;
            self.to_key.insert(step);
        }
    }

    fn queue_slow_key_if_ready(&mut self, step: usize) {
        if let Status::AwaitsContent { content_of, .. } = &self.slots[step].status {
            let inputs = self.dag.inputs(step);
            if content_of
                .iter()
                .all(|&position| self.is_done(inputs[position]))
            {
                self.to_key.insert(step);
            }
        }
    }

    fn queue_run_if_ready(&mut self, step: usize) {
        let slot = &self.slots[step];
        let Status::Missing { keys, absence } = &slot.status else {
            return;
        };
        let elsewhere = *absence == Absence::Elsewhere;
        let inputs = self.dag.inputs(step);
        if slot.wanted && (elsewhere || inputs.iter().all(|&input| self.is_done(input))) {
            let keys = keys.clone();
            let key = keys.primary().clone();
            if elsewhere {
                self.to_fetch.insert(step);
            }
            self.slots[step].status = Status::Running { key };
            self.to_run.insert(step, keys);
            self.ready.push(step);
        }
    }

    fn key_work(&mut self, step: usize) -> Work<K, O> {
        let inputs = self.dag.inputs(step);
        match std::mem::replace(&mut self.slots[step].status, Status::SlowKeying) {
            Status::AwaitsContent { fast, content_of } => {
                let inputs = inputs.iter().enumerate().filter_map(|(position, &input)| {
                    let wanted = content_of.contains(&position);
                    Some(Input {
                        key: self.key(input)?.clone(),
                        output: self.output(input).filter(|_| wanted).cloned(),
                    })
                });
                Work::SlowKey {
                    fast,
                    inputs: inputs.collect(),
                }
            }
            status => {
                self.slots[step].status = status;
                let keys = inputs.iter().filter_map(|&input| self.key(input).cloned());
                Work::FastKey(keys.collect())
            }
        }
    }

    /// The step's key, once it is certain.
    fn key(&self, step: usize) -> Option<&K> {
        match &self.slots[step].status {
            Status::Missing { keys, .. } => Some(keys.primary()),
            Status::Running { key } | Status::Done { key, .. } => Some(key),
            Status::Outside
            | Status::AwaitsKeys
            | Status::FastKeying
            | Status::AwaitsContent { .. }
            | Status::SlowKeying => None,
        }
    }

    fn output(&self, step: usize) -> Option<&O> {
        match &self.slots[step].status {
            Status::Done { output, .. } => Some(output),
            _ => None,
        }
    }

    fn is_done(&self, step: usize) -> bool {
        matches!(self.slots[step].status, Status::Done { .. })
    }
}
