//! A graph in Graphviz's language: <https://graphviz.org/doc/info/lang.html>.

use std::fmt::Write as _;

use super::Drawing;
use crate::escape::{one_line, shortened};

/// The longest title of a node, in columns.
const MAX_TITLE: usize = 60;

impl Drawing {
    /// The graph for `dot`, with a box around each stage.
    pub fn dot(&self) -> String {
        let mut out = String::from(
            "digraph build {\n  rankdir=TB;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n",
        );
        for (number, stage) in self.stages().into_iter().enumerate() {
            let _ = writeln!(out, "  subgraph cluster_{number} {{");
            let _ = writeln!(out, "    label={};", quoted(&one_line(stage)));
            for (place, node) in self.nodes().iter().enumerate() {
                if node.stage == stage {
                    let title = quoted(&shortened(&node.title, MAX_TITLE));
                    let full = quoted(&one_line(&node.title));
                    let _ = writeln!(out, "    s{place} [label={title}, tooltip={full}];");
                }
            }
            out.push_str("  }\n");
        }
        for (place, node) in self.nodes().iter().enumerate() {
            for (order, input) in node.inputs.iter().enumerate() {
                // What a step builds on is drawn solid, what it only reads from dashed.
                let style = if order == 0 { "" } else { " [style=dashed]" };
                let _ = writeln!(out, "  s{input} -> s{place}{style};");
            }
        }
        out.push_str("}\n");
        out
    }
}

/// A quoted string in which a backslash is a backslash.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
