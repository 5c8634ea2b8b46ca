//! A build graph as a drawing.

mod dot;
mod layout;
mod svg;
#[cfg(test)]
mod tests;
mod tree;

use kiln_graph::{Graph, Step};

/// A graph of steps, each after its inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawing {
    nodes: Vec<Node>,
}

/// One step of a drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What the step is called.
    pub title: String,
    /// The stage it belongs to, which decides its colour.
    pub stage: String,
    /// What kind of step it is, for example `run`.
    pub kind: String,
    /// The places of its inputs; each is smaller than its own. The first is the one it builds on.
    pub inputs: Vec<usize>,
}

impl Drawing {
    /// A drawing of `nodes`. Inputs that do not come before the node are left out: there are no
    /// cycles in what is drawn.
    pub fn new(mut nodes: Vec<Node>) -> Self {
        for (place, node) in nodes.iter_mut().enumerate() {
            let mut seen = std::collections::BTreeSet::new();
            node.inputs
                .retain(|input| *input < place && seen.insert(*input));
        }
        Self { nodes }
    }

    /// A drawing of a build graph.
    pub fn of(graph: &Graph) -> Self {
        Self::new(graph.steps().iter().map(node).collect())
    }

    /// The steps.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The stages in the order in which they appear.
    fn stages(&self) -> Vec<&str> {
        let mut seen = std::collections::BTreeSet::new();
        let stages = self.nodes.iter().map(|node| node.stage.as_str());
        stages.filter(|stage| seen.insert(*stage)).collect()
    }

    /// The steps that no other builds on.
    fn results(&self) -> Vec<usize> {
        let mut used = vec![false; self.nodes.len()];
        for input in self.nodes.iter().flat_map(|node| &node.inputs) {
            used[*input] = true;
        }
        (0..self.nodes.len())
            .filter(|place| !used[*place])
            .collect()
    }
}

fn node(step: &Step) -> Node {
    Node {
        title: step.meta.name.clone(),
        stage: step.meta.stage.clone(),
        kind: step.op.kind().to_owned(),
        inputs: step.inputs.iter().map(|input| input.as_usize()).collect(),
    }
}
