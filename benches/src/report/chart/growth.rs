//! A plot of cost by size: a line for each curve, both axes logarithmic.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::figure::float;
use super::super::number;
use super::scale::Scale;
use super::{LINE, MARGIN, Picture, escaped, estimated, legend, shortened};
use crate::model::{Curve, Growth};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 720.0;
/// How high the plot is, without what is above and below it.
const PLOT: f64 = 300.0;
/// How many kinds of lines there are; curves beyond share them.
const KINDS: usize = 5;

/// Where the plot is.
struct Axes {
    sizes: Scale,
    times: Scale,
    top: f64,
    bottom: f64,
}

impl Axes {
    fn place(&self, (size, time): (u64, f64)) -> (f64, f64) {
        (self.sizes.at(float(size)), self.times.at(time))
    }
}

pub(super) fn draw(growth: &Growth) -> String {
    let mut picture = Picture::new();
    let title = shortened(&growth.title, (WIDTH - 2.0 * MARGIN) * 0.7);
    picture.text("head", (MARGIN, 30.0), &title);
    let top = names(&mut picture, growth) + 14.0;
    let axes = axes(growth, top);
    grid(&mut picture, growth, &axes);
    guide(&mut picture, growth, &axes);
    for (kind, curve) in growth.curves.iter().enumerate() {
        line(&mut picture, curve, kind % KINDS, &axes);
    }
    labels(&mut picture, growth, &axes);
    let under = axes.bottom + 2.0 * LINE;
    let middle = f64::midpoint(LEFT, RIGHT);
    let what_grows = shortened(&growth.axis, RIGHT - LEFT);
    picture.text("quiet mid", (middle, under), &what_grows);
    picture.finish((WIDTH, under + MARGIN), &growth.title, &description(growth))
}

/// The legend; gives where it ends.
fn names(picture: &mut Picture, growth: &Growth) -> f64 {
    let curves = growth
        .curves
        .iter()
        .map(|curve| shortened(&curve.name, 300.0));
    let mut texts: Vec<String> = curves.collect();
    texts.push("proportional to the size".to_owned());
    let (places, end) = legend(&texts, 56.0, WIDTH);
    for (kind, (text, (x, y))) in texts.iter().zip(places).enumerate() {
        let class = if kind == growth.curves.len() {
            "guide".to_owned()
        } else {
            format!("line s{}", kind % KINDS)
        };
        picture.line(&class, (x, y - 4.0), (x + 18.0, y - 4.0));
        picture.text("", (x + 24.0, y), text);
    }
    end
}

fn axes(growth: &Growth, top: f64) -> Axes {
    let bottom = top + PLOT;
    let points = || growth.curves.iter().flat_map(|curve| &curve.points);
    let sizes = || points().map(|(size, _)| float(*size).max(1.0));
    let times = points().map(|(_, cost)| cost.wall.as_secs_f64());
    let (low, high) = (
        sizes().fold(f64::INFINITY, f64::min),
        sizes().fold(1.0, f64::max),
    );
    // Room for the labels of the first and the last point.
    let (from, to) = (LEFT + 30.0, RIGHT - 30.0);
    let sizes = if low < high {
        Scale::new(low, high, from, to)
    } else {
        Scale::around(sizes(), from, to)
    };
    Axes {
        sizes,
        times: Scale::around(times, bottom, top),
        top,
        bottom,
    }
}

fn grid(picture: &mut Picture, growth: &Growth, axes: &Axes) {
    for tick in axes.times.ticks() {
        let y = axes.times.at(tick);
        picture.line("grid", (LEFT, y), (RIGHT, y));
        picture.text("quiet end", (LEFT - 8.0, y + 4.0), &number::tick(tick));
    }
    let points = growth.curves.iter().flat_map(|curve| &curve.points);
    let sizes: BTreeSet<u64> = points.map(|(size, _)| *size).collect();
    // From the right, so that the largest size always has its label.
    let mut free = f64::INFINITY;
    for size in sizes.into_iter().rev() {
        let x = axes.sizes.at(float(size));
        picture.line("grid", (x, axes.top), (x, axes.bottom));
        let label = number::count(size);
        let half = estimated(&label) / 2.0;
        if x + half <= free {
            picture.text("quiet mid", (x, axes.bottom + 18.0), &label);
            free = x - half - 6.0;
        }
    }
    picture.line("axis", (LEFT, axes.top), (LEFT, axes.bottom));
    picture.line("axis", (LEFT, axes.bottom), (RIGHT, axes.bottom));
}

/// What the first curve would be if each of its costs were proportional to the size.
fn guide(picture: &mut Picture, growth: &Growth, axes: &Axes) {
    let points = growth.curves.first().map(|curve| curve.points.as_slice());
    let Some([(first, cost), .., (last, _)]) = points else {
        return;
    };
    let (first, last) = (float(*first).max(1.0), float(*last).max(1.0));
    let cost = cost.wall.as_secs_f64();
    // It ends where the plot does.
    let end = (last / first).min(axes.times.high() / cost.max(f64::MIN_POSITIVE));
    let from = (axes.sizes.at(first), axes.times.at(cost));
    let to = (axes.sizes.at(first * end), axes.times.at(cost * end));
    picture.line("guide", from, to);
}

fn line(picture: &mut Picture, curve: &Curve, kind: usize, axes: &Axes) {
    let places: Vec<(f64, f64)> = places(curve, axes).collect();
    let path: Vec<String> = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let _ = writeln!(
        picture.body,
        "<polyline class=\"line s{kind}\" points=\"{}\"/>",
        path.join(" ")
    );
    for ((x, y), (size, cost)) in places.iter().zip(&curve.points) {
        let name = escaped(&curve.name);
        let (size, time) = (number::count(*size), number::time(cost.wall));
        let _ = writeln!(
            picture.body,
            "<circle class=\"p{kind}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\">\
             <title>{name}, {size}: {time}</title></circle>"
        );
    }
}

fn places(curve: &Curve, axes: &Axes) -> impl Iterator<Item = (f64, f64)> {
    let points = curve.points.iter();
    points.map(|(size, cost)| axes.place((*size, cost.wall.as_secs_f64())))
}

/// The times beside the points, as many as have room, those of the largest sizes first.
fn labels(picture: &mut Picture, growth: &Growth, axes: &Axes) {
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    let points: Vec<(f64, f64)> = growth
        .curves
        .iter()
        .flat_map(|curve| places(curve, axes))
        .collect();
    for curve in &growth.curves {
        for ((x, y), (_, cost)) in places(curve, axes)
            .zip(&curve.points)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let label = number::time(cost.wall);
            let half = estimated(&label) / 2.0;
            // Above the point, or else below it.
            let free = [y - 9.0, y + 18.0].into_iter().find(|baseline| {
                let centre = baseline - 4.0;
                let inside = *baseline < axes.bottom - 2.0;
                let apart = taken.iter().all(|(other, at, other_half)| {
                    (x - other).abs() > half + other_half + 4.0 || (baseline - at).abs() > 14.0
                });
                let beside = points
                    .iter()
                    .all(|(px, py)| (x - px).abs() > half + 4.0 || (centre - py).abs() > 8.0);
                inside && apart && beside
            });
            if let Some(baseline) = free {
                picture.text("halo mid", (x, baseline), &label);
                taken.push((x, baseline, half));
            }
        }
    }
}

/// The figures in words.
fn description(growth: &Growth) -> String {
    let curves = growth.curves.iter().map(|curve| {
        let points = curve
            .points
            .iter()
            .map(|(size, cost)| format!("{} at {}", number::time(cost.wall), number::count(*size)));
        let points: Vec<String> = points.collect();
        format!("{}: {}.", curve.name, points.join(", "))
    });
    let curves: Vec<String> = curves.collect();
    format!("Time by {}. {}", growth.axis, curves.join(" "))
}
