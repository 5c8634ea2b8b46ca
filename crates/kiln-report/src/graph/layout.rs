//! Where the boxes of a layered drawing go.
//!
//! Each step has the row after the last of its inputs. An edge over several rows gets a bend in
//! each row it crosses. The order in a row follows the mean place of the neighbours, a few times
//! down and up; the column is as near to the neighbours' mean as the order and the distances allow.

use super::Drawing;

/// The width of a step's box.
pub(super) const BOX_WIDTH: i64 = 284;
/// The height of a step's box.
pub(super) const BOX_HEIGHT: i64 = 46;
/// Between two rows.
pub(super) const ROW_GAP: i64 = 34;
const COLUMN_GAP: i64 = 28;
/// An edge that passes a row needs this much.
const BEND_WIDTH: i64 = 12;
const SWEEPS: usize = 8;
/// More bends than this are not worth their time; such edges go straight.
const MAX_POINTS: usize = 20_000;

/// A step's box, or the bend of an edge.
#[derive(Debug, Clone)]
struct Point {
    row: usize,
    width: i64,
    /// Places of neighbours in the row above and below.
    above: Vec<usize>,
    below: Vec<usize>,
    /// The centre.
    x: i64,
}

/// An edge: the step it comes from, the points it passes, the step it goes to.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) path: Vec<(i64, usize)>,
    /// The place of this input among the step's inputs.
    pub(super) order: usize,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The centre and the row of each step.
    pub(super) boxes: Vec<(i64, usize)>,
    /// The edges with the centre and row of each point they pass, steps included.
    pub(super) edges: Vec<Edge>,
    /// The width of everything.
    pub(super) width: i64,
    /// The number of rows.
    pub(super) rows: usize,
}

pub(super) fn layout(drawing: &Drawing) -> Layout {
    let mut points: Vec<Point> = Vec::new();
    for node in drawing.nodes() {
        let row = node.inputs.iter().map(|input| points[*input].row + 1);
        points.push(Point {
            row: row.max().unwrap_or(0),
            width: BOX_WIDTH,
            above: Vec::new(),
            below: Vec::new(),
            x: 0,
        });
    }
    lower_sources(drawing, &mut points);
    let paths = route(drawing, &mut points);
    let rows = points.iter().map(|point| point.row + 1).max().unwrap_or(0);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); rows];
    for (place, point) in points.iter().enumerate() {
        order[point.row].push(place);
    }
    for sweep in 0..SWEEPS {
        sort_rows(&points, &mut order, sweep % 2 == 0);
    }
    for row in &order {
        let mut x = 0;
        for place in row {
            points[*place].x = x + points[*place].width / 2;
            x += points[*place].width + COLUMN_GAP;
        }
    }
    for sweep in 0..SWEEPS {
        place_rows(&mut points, &order, sweep % 2 == 0);
    }
    finish(drawing.nodes().len(), &points, paths, rows)
}

/// Moves steps without inputs next to the first step that needs them: a base image that is only
/// copied from at the end need not stand at the top.
fn lower_sources(drawing: &Drawing, points: &mut [Point]) {
    let mut first_use = vec![usize::MAX; points.len()];
    for (place, node) in drawing.nodes().iter().enumerate() {
        for input in &node.inputs {
            first_use[*input] = first_use[*input].min(points[place].row);
        }
    }
    for (place, node) in drawing.nodes().iter().enumerate() {
        if node.inputs.is_empty() && first_use[place] != usize::MAX {
            points[place].row = first_use[place].saturating_sub(1);
        }
    }
}

/// Adds bends, joins neighbours, and gives the points each edge passes.
fn route(drawing: &Drawing, points: &mut Vec<Point>) -> Vec<(Vec<usize>, usize)> {
    let mut paths = Vec::new();
    for (place, node) in drawing.nodes().iter().enumerate() {
        for (order, input) in node.inputs.iter().enumerate() {
            let mut path = vec![*input];
            let (from, to) = (points[*input].row, points[place].row);
            if points.len() < MAX_POINTS {
                for row in from + 1..to {
                    path.push(points.len());
                    points.push(Point {
                        row,
                        width: BEND_WIDTH,
                        above: Vec::new(),
                        below: Vec::new(),
                        x: 0,
                    });
                }
            }
            path.push(place);
            for pair in path.windows(2) {
                points[pair[0]].below.push(pair[1]);
                points[pair[1]].above.push(pair[0]);
            }
            paths.push((path, order));
        }
    }
    paths
}

/// Sorts each row by the mean place of its neighbours in the row before.
fn sort_rows(points: &[Point], order: &mut [Vec<usize>], down: bool) {
    let mut place_in_row = vec![0_i64; points.len()];
    let number = |rows: &[usize], places: &mut [i64]| {
        for (place, point) in (0_i64..).zip(rows) {
            places[*point] = place;
        }
    };
    for row in order.iter() {
        number(row, &mut place_in_row);
    }
    let count = order.len();
    for step in 0..count {
        let row = if down { step } else { count - 1 - step };
        // Thousandths of a place; a point without neighbours stays where it is.
        let key = |point: usize, places: &[i64]| {
            let near = if down {
                &points[point].above
            } else {
                &points[point].below
            };
            mean(near.iter().map(|other| places[*other] * 1000)).unwrap_or(places[point] * 1000)
        };
        let mut sorted = std::mem::take(&mut order[row]);
        sorted.sort_by_key(|point| key(*point, &place_in_row));
        number(&sorted, &mut place_in_row);
        order[row] = sorted;
    }
}

/// Moves each row as near to its neighbours as the order and the distances allow.
fn place_rows(points: &mut [Point], order: &[Vec<usize>], down: bool) {
    let count = order.len();
    for step in 0..count {
        let row = &order[if down { step } else { count - 1 - step }];
        let wanted: Vec<i64> = row
            .iter()
            .map(|place| {
                let point = &points[*place];
                let near = if down { &point.above } else { &point.below };
                mean(near.iter().map(|other| points[*other].x)).unwrap_or(point.x)
            })
            .collect();
        let mut offsets = Vec::with_capacity(row.len());
        let mut offset = 0;
        for (index, place) in row.iter().enumerate() {
            if index > 0 {
                let before = points[row[index - 1]].width;
                offset += i64::midpoint(before, points[*place].width) + COLUMN_GAP;
            }
            offsets.push(offset);
        }
        for (place, x) in row.iter().zip(spread(&wanted, &offsets)) {
            points[*place].x = x;
        }
    }
}

/// The places nearest to `wanted` whose distances are at least those of `offsets`: neighbours that
/// want to be too near are moved together, as a block, to the mean of what they want.
fn spread(wanted: &[i64], offsets: &[i64]) -> Vec<i64> {
    // Each block: the sum of its wishes, its size.
    let mut blocks: Vec<(i64, i64)> = Vec::new();
    for (want, offset) in wanted.iter().zip(offsets) {
        blocks.push((want - offset, 1));
        while let [.., (low_sum, low_size), (high_sum, high_size)] = blocks.as_slice() {
            if low_sum.div_euclid(*low_size) <= high_sum.div_euclid(*high_size) {
                break;
            }
            let joined = (low_sum + high_sum, low_size + high_size);
            blocks.truncate(blocks.len() - 2);
            blocks.push(joined);
        }
    }
    let bases = blocks
        .iter()
        .flat_map(|(sum, size)| (0..*size).map(move |_| sum.div_euclid(*size)));
    bases
        .zip(offsets)
        .map(|(base, offset)| base + offset)
        .collect()
}

fn mean(values: impl Iterator<Item = i64>) -> Option<i64> {
    let (sum, count) = values.fold((0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| i64::div_euclid(sum, count))
}

/// Moves everything to the right of zero and reads the result.
fn finish(steps: usize, points: &[Point], paths: Vec<(Vec<usize>, usize)>, rows: usize) -> Layout {
    let left = points.iter().map(|point| point.x - point.width / 2).min();
    let left = left.unwrap_or(0);
    let places: Vec<(i64, usize)> = points
        .iter()
        .map(|point| (point.x - left, point.row))
        .collect();
    let right = points.iter().map(|point| point.x - left + point.width / 2);
    let edges = paths.into_iter().map(|(path, order)| Edge {
        path: path.iter().map(|place| places[*place]).collect(),
        order,
    });
    Layout {
        width: right.max().unwrap_or(0),
        edges: edges.collect(),
        boxes: places.get(..steps).unwrap_or_default().to_vec(),
        rows,
    }
}
