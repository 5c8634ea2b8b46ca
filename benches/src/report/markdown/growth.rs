//! How cost grows with a size: the plot, its points as a table, and the slope in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::number;
use super::{Page, cell, code, inline, measured};
use crate::model::{Curve, Growth, Machine, Sample};

pub(super) fn write(page: &mut Page, growth: &Growth, head: &Machine) {
    let title = inline(&growth.title);
    page.line("");
    page.line(&format!("### {title}"));
    page.line("");
    page.line(&format!("{}.", code(&growth.name)));
    measured::of_growth(page, growth, head);
    let axis = inline(&growth.axis);
    page.picture(&growth.name, &format!("Curves: {title}, by {axis}"));
    let mut head = vec![cell(&growth.axis)];
    for curve in &growth.curves {
        head.push(cell(&curve.name));
        head.push("CPU".to_owned());
        head.push("peak MB".to_owned());
    }
    page.row(&head);
    page.line(&format!("|{}", "--:|".repeat(head.len())));
    for (size, costs) in sizes(growth) {
        let mut cells = vec![number::count(size)];
        for cost in costs {
            cells.extend(match cost {
                Some(cost) => [
                    number::time(cost.wall),
                    number::time(cost.cpu),
                    number::megabytes(cost.peak),
                ],
                None => std::array::from_fn(|_| "–".to_owned()),
            });
        }
        page.row(&cells);
    }
    page.line("");
    for curve in &growth.curves {
        slope(page, curve);
    }
}

/// The costs at each size, one for each curve, in ascending order of the sizes.
fn sizes(growth: &Growth) -> BTreeMap<u64, Vec<Option<Sample>>> {
    let mut sizes = BTreeMap::new();
    for (place, curve) in growth.curves.iter().enumerate() {
        for (size, cost) in &curve.points {
            let costs = sizes
                .entry(*size)
                .or_insert_with(|| vec![None; growth.curves.len()]);
            costs[place] = Some(*cost);
        }
    }
    sizes
}

fn slope(page: &mut Page, curve: &Curve) {
    let (Some(slope), Some(first), Some(last)) =
        (curve.slope(), curve.points.first(), curve.points.last())
    else {
        return;
    };
    let mut text = format!(
        "{}: one more costs {} on average, from {} to {}",
        inline(&curve.name),
        number::small(slope.mean),
        number::count(first.0),
        number::count(last.0),
    );
    if curve.points.len() > 2 {
        let (low, high) = slope.between;
        let _ = write!(
            text,
            "; {} where it is steepest, from {} to {}",
            number::small(slope.steepest),
            number::count(low),
            number::count(high),
        );
    }
    page.line(&format!("{text}."));
}
