//! A graph as a tree of text: results on top, what they are made of below.

use std::collections::VecDeque;

use super::Drawing;
use crate::escape::one_line;

/// Branches deeper than this are drawn as trees of their own, so that lines stay readable.
const MAX_DEPTH: usize = 12;

/// A line that is still to be drawn.
struct Pending {
    place: usize,
    /// What stands before the step's own lines.
    first: String,
    rest: String,
    depth: usize,
}

impl Drawing {
    /// The graph as text. A step is followed by the step it builds on, at the same depth; what it
    /// reads from besides is a branch. A step that was drawn already is only named, with `↑`.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut drawn = vec![false; self.nodes().len()];
        let mut roots: VecDeque<usize> = self.results().into();
        while let Some(root) = roots.pop_front() {
            if drawn[root] {
                continue;
            }
            if !out.is_empty() {
                out.push('\n');
            }
            let mut stack = vec![Pending {
                place: root,
                first: String::new(),
                rest: String::new(),
                depth: 0,
            }];
            while let Some(pending) = stack.pop() {
                let title = one_line(&self.nodes()[pending.place].title);
                let known = drawn[pending.place];
                let deep = pending.depth > MAX_DEPTH && !known;
                let mark = match (known, deep) {
                    (true, _) => " ↑",
                    (_, true) => " ↓",
                    _ => "",
                };
                out.push_str(&pending.first);
                out.push_str(&title);
                out.push_str(mark);
                out.push('\n');
                if deep {
                    roots.push_back(pending.place);
                } else if !known {
                    drawn[pending.place] = true;
                    self.push_inputs(&mut stack, &pending);
                }
            }
        }
        out
    }

    /// Puts a step's inputs on the stack so that branches are drawn first, in their order.
    fn push_inputs(&self, stack: &mut Vec<Pending>, step: &Pending) {
        let Some((trunk, branches)) = self.nodes()[step.place].inputs.split_first() else {
            return;
        };
        stack.push(Pending {
            place: *trunk,
            first: step.rest.clone(),
            rest: step.rest.clone(),
            depth: step.depth,
        });
        for branch in branches.iter().rev() {
            stack.push(Pending {
                place: *branch,
                first: format!("{}├─ ", step.rest),
                rest: format!("{}│  ", step.rest),
                depth: step.depth + 1,
            });
        }
    }
}
