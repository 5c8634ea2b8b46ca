//! A graph as a picture that needs nothing from elsewhere.

use std::fmt::Write as _;

use super::layout::{BOX_HEIGHT, BOX_WIDTH, Edge, ROW_GAP, layout};
use super::{Drawing, Node};
use crate::escape::{html, one_line, shortened};

const MARGIN: i64 = 20;
/// The height of a line of the legend.
const LEGEND_LINE: i64 = 22;
const LEGEND_COLUMN: i64 = 180;
/// How many colours there are; stages beyond share them.
const COLOURS: usize = 8;
/// The longest title in a box, in columns: letters of a fixed width, so that none leaves the box.
const TITLE_COLUMNS: usize = 35;

const STYLE: &str = "\
svg{background:#fff;font:12px ui-monospace,Menlo,Consolas,monospace}\
text{fill:#1c1f24}.kind,.legend{fill:#5d6673;font-size:11px}\
.box{stroke-width:1.5}.edge{fill:none;stroke:#8a94a1;stroke-width:1.5}.tip{fill:#8a94a1}\
.read{stroke-dasharray:5 4}\
.c0{fill:#e3edfd;stroke:#3b78d8}.c1{fill:#e1f4e8;stroke:#2a9d62}.c2{fill:#fdf0d9;stroke:#c98a16}\
.c3{fill:#f7e4f4;stroke:#b04ba0}.c4{fill:#dff3f5;stroke:#2594a0}.c5{fill:#fde6e2;stroke:#d05a45}\
.c6{fill:#ebe7fb;stroke:#7a63cf}.c7{fill:#eef1dc;stroke:#83932b}\
@media (prefers-color-scheme:dark){svg{background:#14171b}text{fill:#e4e7eb}\
.kind,.legend{fill:#98a2ae}.edge{stroke:#77818d}.tip{fill:#77818d}\
.c0{fill:#1b2a44}.c1{fill:#173325}.c2{fill:#3a2c10}.c3{fill:#361d33}.c4{fill:#123236}\
.c5{fill:#3d1f1a}.c6{fill:#292243}.c7{fill:#2d3116}}";

impl Drawing {
    /// The graph as an SVG document: no scripts, nothing from elsewhere, readable on a light and
    /// on a dark ground.
    pub fn svg(&self) -> String {
        let stages = self.stages();
        let placed = layout(self);
        let legend_columns = (placed.width / LEGEND_COLUMN).max(1);
        let lines = count(stages.len()).div_euclid(legend_columns) + 1;
        let top = MARGIN + lines * LEGEND_LINE;
        let rows = count(placed.rows);
        let height = top + rows * BOX_HEIGHT + (rows - 1).max(0) * ROW_GAP + MARGIN;
        let width = placed.width.max(LEGEND_COLUMN) + 2 * MARGIN;
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>Build graph</title>\n\
             <style>{STYLE}</style>\n"
        );
        for (place, stage) in (0..).zip(&stages) {
            let x = MARGIN + (place % legend_columns) * LEGEND_COLUMN;
            let y = MARGIN + (place / legend_columns) * LEGEND_LINE;
            let _ = writeln!(
                out,
                "<rect class=\"c{}\" x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"3\"/>\
                 <text class=\"legend\" x=\"{}\" y=\"{}\">{}</text>",
                colour(&stages, stage),
                y - 10,
                x + 18,
                y,
                html(&shortened(stage, 24)),
            );
        }
        for edge in &placed.edges {
            draw_edge(&mut out, edge, top);
        }
        for (node, (x, row)) in self.nodes().iter().zip(&placed.boxes) {
            let class = colour(&stages, &node.stage);
            draw_box(&mut out, node, x + MARGIN, row_top(*row, top), class);
        }
        out.push_str("</svg>\n");
        out
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn row_top(row: usize, top: i64) -> i64 {
    top + count(row) * (BOX_HEIGHT + ROW_GAP)
}

fn colour(stages: &[&str], stage: &str) -> usize {
    let place = stages.iter().position(|known| *known == stage);
    place.unwrap_or(0) % COLOURS
}

fn draw_box(out: &mut String, node: &Node, x: i64, y: i64, colour: usize) {
    let left = x - BOX_WIDTH / 2;
    let _ = writeln!(
        out,
        "<g><title>{}</title>\
         <rect class=\"box c{colour}\" x=\"{left}\" y=\"{y}\" width=\"{BOX_WIDTH}\" \
         height=\"{BOX_HEIGHT}\" rx=\"7\"/>\
         <text x=\"{}\" y=\"{}\">{}</text>\
         <text class=\"kind\" x=\"{}\" y=\"{}\">{}</text></g>",
        html(&one_line(&node.title)),
        left + 12,
        y + 20,
        html(&shortened(&node.title, TITLE_COLUMNS)),
        left + 12,
        y + 36,
        html(&shortened(&node.kind, TITLE_COLUMNS)),
    );
}

/// A line from the lower side of one box to the upper side of another, straight past the rows
/// between.
fn draw_edge(out: &mut String, edge: &Edge, top: i64) {
    let [(first, from), rest @ ..] = edge.path.as_slice() else {
        return;
    };
    let mut x = first + MARGIN;
    let mut y = row_top(*from, top) + BOX_HEIGHT;
    let mut path = format!("M{x} {y}");
    for (index, (next, row)) in rest.iter().enumerate() {
        let (next_x, next_y) = (next + MARGIN, row_top(*row, top));
        let last = index + 1 == rest.len();
        // The tip needs room above its box.
        let end = if last { next_y - 6 } else { next_y };
        let middle = i64::midpoint(y, end);
        let _ = write!(path, "C{x} {middle} {next_x} {middle} {next_x} {end}");
        (x, y) = (next_x, end);
        if !last {
            y = next_y + BOX_HEIGHT;
            let _ = write!(path, "V{y}");
        }
    }
    let read = if edge.order == 0 { "" } else { " read" };
    let _ = writeln!(
        out,
        "<path class=\"edge{read}\" d=\"{path}\"/>\
         <path class=\"tip\" d=\"M{} {y}h8l-4 6z\"/>",
        x - 4
    );
}
