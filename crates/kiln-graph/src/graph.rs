//! Steps in topological order.

use std::collections::HashMap;
use std::ops::Range;

use crate::key::{KeyHasher, StepId};
use crate::op::Op;

/// The place of a step in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(usize);

impl StepIndex {
    /// The place as a number, for indexing tables that run beside the graph.
    pub const fn as_usize(self) -> usize {
        self.0
    }
}

/// What a reader or the scheduler wants to know of a step, and the digest does not cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMeta {
    /// What progress calls it, for example `[build 2/5] RUN make`.
    pub name: String,
    /// The stage it was first needed by: its name, or its number where it has none.
    pub stage: String,
    /// Where the instruction stands in the Dockerfile, in bytes.
    pub span: Option<Range<usize>>,
    /// The step has to run even if its result is known (`--no-cache`).
    pub ignore_cache: bool,
    /// Which of the builds that share the graph asked for it first: whose secrets it gets.
    pub build: usize,
    /// Which builds it may be shared with.
    pub sharing: Sharing,
}

/// Which builds a step may be shared with: those that have the same numbers. They are the caller's,
/// and of the step's id within its graph only, not of its cache key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sharing {
    /// For every step: the same caches, the same trust.
    pub all: usize,
    /// For steps that are given secrets: the same secrets.
    pub with_secrets: usize,
}

/// One step: an operation on the outputs of earlier steps.
#[derive(Debug, Clone)]
pub struct Step {
    /// Digest of `op` and of the inputs' ids.
    pub id: StepId,
    /// What it does.
    pub op: Op,
    /// Whose outputs it works on; each comes earlier in the graph.
    pub inputs: Vec<StepIndex>,
    /// What the digest does not cover.
    pub meta: StepMeta,
}

/// Steps in topological order: each step's inputs come before it.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    steps: Vec<Step>,
}

impl Graph {
    /// All steps, inputs first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// One step.
    ///
    /// # Panics
    ///
    /// Where `index` was made by another graph's builder.
    pub fn step(&self, index: StepIndex) -> &Step {
        &self.steps[index.0]
    }

    /// The indexes of all steps, inputs first.
    pub fn indexes(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..self.steps.len()).map(StepIndex)
    }
}

/// Adds steps to a graph, joining those that are the same.
#[derive(Debug, Clone, Default)]
pub struct GraphBuilder {
    graph: Graph,
    known: HashMap<StepId, StepIndex>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step, or finds the one that does the same to the same inputs.
    ///
    /// A step that is found keeps its first name and place; it ignores the cache if either asks
    /// for that.
    pub fn add(&mut self, op: Op, inputs: Vec<StepIndex>, meta: StepMeta) -> StepIndex {
        let id = self.id(&op, &inputs, meta.sharing);
        if let Some(&index) = self.known.get(&id) {
            self.graph.steps[index.0].meta.ignore_cache |= meta.ignore_cache;
            return index;
        }
        let index = StepIndex(self.graph.steps.len());
        self.graph.steps.push(Step {
            id,
            op,
            inputs,
            meta,
        });
        self.known.insert(id, index);
        index
    }

    /// What there is so far.
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The finished graph.
    pub fn finish(self) -> Graph {
        self.graph
    }

    fn id(&self, op: &Op, inputs: &[StepIndex], sharing: Sharing) -> StepId {
        let mut hasher = KeyHasher::new(op.kind());
        // A build alone has the ids that it has among others that are like it.
        if sharing.all != 0 {
            hasher.field("sharing", &sharing.all.to_le_bytes());
        }
        if sharing.with_secrets != 0 && op.takes_secrets() {
            hasher.field("secrets", &sharing.with_secrets.to_le_bytes());
        }
        for input in inputs {
            hasher.field("input", self.graph.steps[input.0].id.as_bytes());
        }
        hasher.parts(&op.parts()).finish_step()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_oci::Platform;

    use crate::op::{FileOwner, Network, RunMount, RunOp, Security, WorkdirOp};

    fn meta(name: &str) -> StepMeta {
        StepMeta {
            name: name.into(),
            stage: "0".into(),
            span: None,
            ignore_cache: false,
            build: 0,
            sharing: Sharing::default(),
        }
    }

    fn run(command: &str) -> Op {
        Op::Run(RunOp {
            argv: vec![command.into()],
            env: Vec::new(),
            uncached_env: vec![("http_proxy".into(), command.into())],
            cwd: "/".into(),
            user: String::new(),
            network: Network::Default,
            security: Security::Sandbox,
            platform: Platform::new("linux", "amd64"),
            hostname: "h".into(),
            files: Vec::new(),
            mounts: Vec::new(),
            settings: Vec::new(),
        })
    }

    #[test]
    fn the_same_step_is_added_once() {
        let mut builder = GraphBuilder::new();
        let scratch = builder.add(Op::Scratch, vec![], meta("a"));
        let one = builder.add(run("make"), vec![scratch], meta("b"));
        let ignoring = StepMeta {
            ignore_cache: true,
            ..meta("c")
        };
        let same = builder.add(run("make"), vec![scratch], ignoring);
        let other = builder.add(run("make test"), vec![one], meta("d"));
        assert_eq!(one, same);
        assert_ne!(one, other);
        let graph = builder.finish();
        assert_eq!(graph.steps().len(), 3);
        assert!(graph.step(one).meta.ignore_cache);
        assert_eq!(graph.step(one).meta.name, "b");
    }

    #[test]
    fn builds_with_other_secrets_share_what_takes_none() {
        let mut builder = GraphBuilder::new();
        let mut add = |op: Op, all: usize, with_secrets: usize| {
            let sharing = Sharing { all, with_secrets };
            let meta = StepMeta {
                sharing,
                ..meta("x")
            };
            builder.add(op, vec![], meta)
        };
        let secret = || {
            let Op::Run(mut op) = run("make") else {
                unreachable!()
            };
            op.mounts.push(RunMount::Secret {
                id: "a".into(),
                target: None,
                env: Some("A".into()),
                required: false,
                owner: FileOwner {
                    uid: 0,
                    gid: 0,
                    mode: 0o400,
                },
            });
            Op::Run(op)
        };
        assert_eq!(add(run("make"), 0, 0), add(run("make"), 0, 1));
        assert_ne!(add(secret(), 0, 0), add(secret(), 0, 1));
        assert_ne!(add(run("make"), 0, 0), add(run("make"), 1, 0));
    }

    #[test]
    fn the_proxy_is_not_part_of_the_id() {
        let mut builder = GraphBuilder::new();
        let Op::Run(mut with_proxy) = run("make") else {
            unreachable!()
        };
        with_proxy.uncached_env = vec![("https_proxy".into(), "other".into())];
        let one = builder.add(run("make"), vec![], meta("a"));
        assert_eq!(builder.add(Op::Run(with_proxy), vec![], meta("b")), one);
    }

    #[test]
    fn a_mount_is_part_of_the_id() {
        let owner = FileOwner {
            uid: 0,
            gid: 0,
            mode: 0o400,
        };
        let secret = |env: Option<&str>, target: Option<&str>| {
            let Op::Run(mut op) = run("make") else {
                unreachable!()
            };
            op.mounts.push(RunMount::Secret {
                id: "a".into(),
                target: target.map(Into::into),
                env: env.map(Into::into),
                required: false,
                owner,
            });
            Op::Run(op).parts()
        };
        assert_ne!(secret(Some("X"), None), secret(None, Some("X")));
        assert_ne!(secret(Some("-"), None), secret(None, None));
    }

    #[test]
    fn the_user_of_a_directory_is_part_of_the_id() {
        let mut builder = GraphBuilder::new();
        let dir = |user: &str| {
            Op::Workdir(WorkdirOp {
                path: "/a".into(),
                user: user.into(),
            })
        };
        let one = builder.add(dir(""), vec![], meta("a"));
        assert_ne!(builder.add(dir("www"), vec![], meta("a")), one);
    }
}
