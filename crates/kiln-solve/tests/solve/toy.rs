//! A world in which steps are words and outputs are strings.
//!
//! A graph is written one step a line: `name@version: input other! = output`.
//! `other!` means that the step's slow key is made from `other`'s content; a leading `~` that the
//! step has no fast key at all. Without `= output` a step's output spells how it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::thread::{self, ThreadId};

use kiln_base::CancelToken;
use kiln_solve::{Dag, Driver, FastKey, Input, Keys, LookUp, Resolved, SolveError, solve};

/// One line of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToyStep {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) inputs: Vec<usize>,
    pub(crate) content_of: Vec<usize>,
    pub(crate) has_fast_key: bool,
    pub(crate) output: Option<String>,
}

/// What is remembered from build to build.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    /// Key to primary key and output.
    pub(crate) records: BTreeMap<String, (String, String)>,
    /// Every key that ever had a record; `None` answers [`LookUp::Absent`] instead of asking it.
    pub(crate) seen: Option<BTreeSet<String>>,
    /// Results that can be fetched: key to primary key and output, `None` where it is gone after
    /// all.
    pub(crate) elsewhere: BTreeMap<String, (String, Option<String>)>,
}

type Hook<'a> = dyn Fn(&str, &CancelToken) -> Result<(), String> + Sync + 'a;
type Solved = Result<Vec<Resolved<String, String>>, SolveError<String>>;

/// One build.
pub(crate) struct Toy<'a> {
    pub(crate) steps: &'a [ToyStep],
    pub(crate) store: Mutex<Store>,
    pub(crate) hook: &'a Hook<'a>,
    pub(crate) calls: Mutex<Vec<(usize, &'static str)>>,
    pub(crate) threads: Mutex<BTreeSet<String>>,
    pub(crate) running: Mutex<(usize, usize)>,
}

impl<'a> Toy<'a> {
    pub(crate) fn new(steps: &'a [ToyStep], store: Store, hook: &'a Hook<'a>) -> Self {
        Self {
            steps,
            store: Mutex::new(store),
            hook,
            calls: Mutex::default(),
            threads: Mutex::default(),
            running: Mutex::default(),
        }
    }

    pub(crate) fn solve(&self, targets: &[usize], jobs: usize, cancel: &CancelToken) -> Solved {
        let inputs = self.steps.iter().map(|step| step.inputs.clone()).collect();
        let jobs = NonZeroUsize::new(jobs).unwrap();
        solve(self, &Dag::new(inputs).unwrap(), targets, jobs, cancel)
    }

    pub(crate) fn count(&self, step: usize, call: &str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|made| **made == (step, call)).count()
    }

    fn note(&self, step: usize, call: &'static str) {
        self.calls.lock().unwrap().push((step, call));
        let id: ThreadId = thread::current().id();
        self.threads.lock().unwrap().insert(format!("{id:?}"));
    }
}

/// What a step makes of its inputs' outputs.
pub(crate) fn output_of(step: &ToyStep, inputs: &[String]) -> String {
    let made = || format!("{}{}({})", step.name, step.version, inputs.join(","));
    step.output.clone().unwrap_or_else(made)
}

pub(crate) fn fast_key_of(step: &ToyStep, inputs: &[String]) -> FastKey<String> {
    let definition = format!("{}@{}{:?}", step.name, step.version, step.output);
    let key = format!("{definition}({})", inputs.join(","));
    match (step.content_of.is_empty(), step.has_fast_key) {
        (true, true) => FastKey::Known(key),
        (false, true) => FastKey::Tentative {
            key,
            content_of: step.content_of.clone(),
        },
        (_, false) => FastKey::FromContent {
            content_of: step.content_of.clone(),
        },
    }
}

pub(crate) fn slow_key_of(step: &ToyStep, inputs: &[Input<String, String>]) -> String {
    let inputs = inputs.iter().map(|input| match &input.output {
        Some(output) => format!("={output}"),
        None => input.key.clone(),
    });
    let inputs: Vec<_> = inputs.collect();
    format!(
        "{}@{}{:?}<{}>",
        step.name,
        step.version,
        step.output,
        inputs.join(",")
    )
}

impl Driver for Toy<'_> {
    type Key = String;
    type Output = String;
    type Error = String;

    fn fast_key(&self, step: usize, inputs: &[String]) -> Result<FastKey<String>, String> {
        self.note(step, "fast key");
        Ok(fast_key_of(&self.steps[step], inputs))
    }

    fn slow_key(
        &self,
        step: usize,
        inputs: &[Input<String, String>],
        _cancel: &CancelToken,
    ) -> Result<String, String> {
        self.note(step, "slow key");
        let given = inputs.iter().enumerate();
        let given = given.filter(|(_, input)| input.output.is_some());
        let given: Vec<_> = given.map(|(position, _)| position).collect();
        let mut asked = self.steps[step].content_of.clone();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(given, asked);
        Ok(slow_key_of(&self.steps[step], inputs))
    }

    fn look_up(
        &self,
        step: usize,
        keys: &Keys<String>,
        _cancel: &CancelToken,
    ) -> Result<LookUp<String, String>, String> {
        let mut store = self.store.lock().unwrap();
        if let Some(record) = store.records.get(keys.primary()).cloned() {
            self.note(step, "hit");
            let (key, output) = record.clone();
            if let Keys::Slow {
                fast: Some(fast), ..
            } = keys
            {
                store.records.insert(fast.clone(), record);
            }
            return Ok(LookUp::Hit { key, output });
        }
        if let Some((key, _)) = store.elsewhere.get(keys.primary()) {
            return Ok(LookUp::Elsewhere { key: key.clone() });
        }
        Ok(match &store.seen {
            Some(seen) if !seen.contains(keys.primary()) => LookUp::NeverSeen,
            _ => LookUp::Absent,
        })
    }

    fn fetch(
        &self,
        step: usize,
        keys: &Keys<String>,
        _cancel: &CancelToken,
    ) -> Result<Option<String>, String> {
        self.note(step, "fetched");
        let store = self.store.lock().unwrap();
        let found = store.elsewhere.get(keys.primary());
        Ok(found.and_then(|(_, output)| output.clone()))
    }

    fn run(
        &self,
        step: usize,
        keys: &Keys<String>,
        inputs: Vec<String>,
        cancel: &CancelToken,
    ) -> Result<String, String> {
        self.note(step, "ran");
        {
            let mut running = self.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        let outcome = (self.hook)(&self.steps[step].name, cancel);
        self.running.lock().unwrap().0 -= 1;
        outcome?;
        let output = output_of(&self.steps[step], &inputs);
        let record = (keys.primary().clone(), output.clone());
        let mut store = self.store.lock().unwrap();
        if let Keys::Slow {
            fast: Some(fast), ..
        } = keys
        {
            store.records.insert(fast.clone(), record.clone());
        }
        if let Some(seen) = &mut store.seen {
            seen.insert(keys.primary().clone());
        }
        store.records.insert(keys.primary().clone(), record);
        Ok(output)
    }
}

/// Reads a graph.
pub(crate) fn parse(text: &str) -> Vec<ToyStep> {
    let mut steps: Vec<ToyStep> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (rest, output) = match line.split_once(" = ") {
            Some((rest, output)) => (rest, Some(output.to_owned())),
            None => (line, None),
        };
        let (head, inputs) = rest.split_once(':').unwrap_or((rest, ""));
        let (name, version) = head.trim().split_once('@').unwrap_or((head.trim(), "0"));
        let mut content_of = Vec::new();
        let inputs = inputs.split_whitespace().enumerate();
        let inputs = inputs.map(|(position, input)| {
            if input.ends_with('!') {
                content_of.push(position);
            }
            let input = input.trim_end_matches('!');
            steps.iter().position(|step| step.name == input).unwrap()
        });
        let inputs = inputs.collect();
        steps.push(ToyStep {
            name: name.trim_start_matches('~').to_owned(),
            version: version.parse().unwrap(),
            inputs,
            content_of,
            has_fast_key: !name.starts_with('~'),
            output,
        });
    }
    steps
}

impl Store {
    /// A store that can tell keys it never saw from records it dropped.
    pub(crate) fn that_remembers_keys() -> Self {
        Self {
            seen: Some(BTreeSet::new()),
            ..Self::default()
        }
    }

    /// Drops every record of the step, as a prune does.
    pub(crate) fn forget(&mut self, name: &str) {
        let prefix = format!("{name}@");
        self.records.retain(|_, (key, _)| !key.starts_with(&prefix));
    }

    /// Moves every record elsewhere; what is `gone` turns out not to be there.
    pub(crate) fn move_elsewhere(&mut self, gone: &[&str]) {
        for (key, (primary, output)) in std::mem::take(&mut self.records) {
            let is_gone = gone.iter().any(|name| key.starts_with(&format!("{name}@")));
            let output = (!is_gone).then_some(output);
            self.elsewhere.insert(key, (primary, output));
        }
    }

    /// Builds the last step of the graph with one job and with four, which has to come to the
    /// same, and tells for each step what happened to it.
    pub(crate) fn build(&mut self, graph: &str) -> String {
        let steps = parse(graph);
        let [one, four] = [1, 4].map(|jobs| {
            let toy = Toy::new(&steps, self.clone(), &|_, _| Ok(()));
            let solved = toy.solve(&[steps.len() - 1], jobs, &CancelToken::new());
            let mut text = String::new();
            for (index, step) in steps.iter().enumerate() {
                let fate = ["hit", "fetched", "ran"].into_iter();
                let fate = fate.filter(|call| toy.count(index, call) > 0);
                let fate = fate.collect::<Vec<_>>().join(" ");
                let slow = if toy.count(index, "slow key") > 0 {
                    " by content"
                } else {
                    ""
                };
                let fate = if fate.is_empty() { "-" } else { &fate };
                writeln!(text, "{}: {fate}{slow}", step.name).unwrap();
            }
            writeln!(text, "=> {}", solved.unwrap()[0].output).unwrap();
            (text, toy.store.into_inner().unwrap())
        });
        assert_eq!(one.0, four.0);
        *self = one.1;
        one.0
    }
}
