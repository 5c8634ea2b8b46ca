//! Medians, ratios and whether a target was reached: the one place where they are computed.

use std::time::Duration;

use crate::model::{Curve, Program, Row, Sample, Table, Target, Unit};

/// What was found about a [`Target`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    /// What kiln did.
    pub(crate) figure: Figure,
    /// Whether that is what it means to reach.
    pub(crate) reached: bool,
}

/// What kiln did, in the measure of its target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figure {
    /// It was so many times faster than this program.
    Times(Program, f64),
    /// It took so long.
    Time(Duration),
    /// It needed so many bytes.
    Memory(u64),
}

impl Unit {
    /// How many equal parts a run has.
    const fn parts(self) -> u32 {
        match self {
            Self::Part(parts) if parts > 0 => parts,
            Self::Part(_) | Self::Whole => 1,
        }
    }
}

impl Row {
    /// The row's figure: the median of the rounds for each measure, and of the peaks the largest.
    /// Wall and processor time are of one part. Nothing if there are no samples.
    pub(crate) fn figure(&self, unit: Unit) -> Option<Sample> {
        let parts = unit.parts();
        Some(Sample {
            wall: median(self.samples.iter().map(|sample| sample.wall))? / parts,
            cpu: median(self.samples.iter().map(|sample| sample.cpu))? / parts,
            peak: self.samples.iter().map(|sample| sample.peak).max()?,
            read: median_bytes(self.samples.iter().map(|sample| sample.read))?,
            written: median_bytes(self.samples.iter().map(|sample| sample.written))?,
        })
    }

    /// The shortest and the longest wall time, of one part.
    pub(crate) fn range(&self, unit: Unit) -> Option<(Duration, Duration)> {
        let walls = || self.samples.iter().map(|sample| sample.wall / unit.parts());
        Some((walls().min()?, walls().max()?))
    }
}

impl Table {
    /// The row of a program.
    pub(crate) fn row(&self, program: Program) -> Option<&Row> {
        self.rows.iter().find(|row| row.program == program)
    }

    /// How many times kiln's wall time a row's is. Nothing if one of them has no samples, or kiln
    /// took no time at all.
    pub(crate) fn times_kiln(&self, row: &Row) -> Option<f64> {
        let kiln = self.row(Program::Kiln)?.figure(self.unit)?.wall;
        let other = row.figure(self.unit)?.wall;
        (!kiln.is_zero()).then(|| other.as_secs_f64() / kiln.as_secs_f64())
    }

    /// Whether a target was reached. Nothing if a program it names was not measured.
    pub(crate) fn outcome(&self, target: &Target) -> Option<Outcome> {
        let figure = |program| self.row(program)?.figure(self.unit);
        match *target {
            Target::Times(program, least) => {
                let (rival, times) = self.fastest(program)?;
                Some(Outcome {
                    figure: Figure::Times(rival, times),
                    reached: times >= least,
                })
            }
            Target::AtMost(program, most) => {
                let wall = figure(program)?.wall;
                Some(Outcome {
                    figure: Figure::Time(wall),
                    reached: wall <= most,
                })
            }
            Target::Memory(program, most) => {
                let peak = figure(program)?.peak;
                Some(Outcome {
                    figure: Figure::Memory(peak),
                    reached: peak <= most,
                })
            }
        }
    }

    /// Of the ways to the same builder the fastest, and how many times kiln's time it takes.
    fn fastest(&self, program: Program) -> Option<(Program, f64)> {
        let ways: &[Program] = match &program {
            Program::BuildKit => &[Program::BuildKit, Program::Docker],
            other => std::slice::from_ref(other),
        };
        let times = ways
            .iter()
            .filter_map(|way| Some((*way, self.times_kiln(self.row(*way)?)?)));
        times.min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

impl Curve {
    /// What one more of the size costs: from the first point to the last, and between the two
    /// neighbours where it is steepest, with their sizes. Nothing for fewer than two points.
    pub(crate) fn slope(&self) -> Option<Slope> {
        let first = self.points.first()?;
        let last = self.points.last()?;
        let mean = rise(first, last)?;
        let rises = self.points.windows(2).filter_map(|pair| match pair {
            [low, high] => Some((rise(low, high)?, (low.0, high.0))),
            _ => None,
        });
        let (steepest, between) = rises.max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(Slope {
            mean,
            steepest,
            between,
        })
    }
}

/// What one more of a size costs, in seconds; below zero where more of it took less time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slope {
    /// Over the whole curve.
    pub(crate) mean: f64,
    /// Between the two neighbours where it is largest.
    pub(crate) steepest: f64,
    /// The sizes of those neighbours.
    pub(crate) between: (u64, u64),
}

fn rise(low: &(u64, Sample), high: &(u64, Sample)) -> Option<f64> {
    let more = high.0.checked_sub(low.0).filter(|more| *more > 0)?;
    Some((high.1.wall.as_secs_f64() - low.1.wall.as_secs_f64()) / float(more))
}

/// The middle value; of an even number of values the mean of the two in the middle.
fn median(values: impl Iterator<Item = Duration>) -> Option<Duration> {
    let (low, high) = middle(values)?;
    Some(low + high.saturating_sub(low) / 2)
}

fn median_bytes(values: impl Iterator<Item = u64>) -> Option<u64> {
    let (low, high) = middle(values)?;
    Some(u64::midpoint(low, high))
}

/// The two values in the middle, the lower first; of an odd number of values one, twice.
fn middle<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<(T, T)> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    Some((values[last / 2], values[last.div_ceil(2)]))
}

/// A count as a number to compute with.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures are shown with three digits"
)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(program: Program, millis: &[u64]) -> Row {
        Row {
            program,
            samples: millis.iter().map(|wall| sample(*wall)).collect(),
            failure: None,
            measured: None,
        }
    }

    fn sample(millis: u64) -> Sample {
        Sample {
            wall: Duration::from_millis(millis),
            cpu: Duration::from_millis(2 * millis),
            peak: 1000 + millis,
            read: 10 * millis,
            written: 100 * millis,
        }
    }

    fn table(unit: Unit, rows: Vec<Row>) -> Table {
        Table {
            name: "steps".to_owned(),
            letter: 'a',
            title: String::new(),
            notes: String::new(),
            unit,
            measured: None,
            rows,
            targets: Vec::new(),
        }
    }

    #[track_caller]
    fn check_figure(unit: Unit, millis: &[u64], wall: u64, cpu: u64, bytes: [u64; 3]) {
        let [peak, read, written] = bytes;
        let expected = Sample {
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(cpu),
            peak,
            read,
            written,
        };
        let row = row(Program::Kiln, millis);
        assert_eq!(row.figure(unit), Some(expected));
    }

    #[test]
    fn a_figure_is_the_median_and_the_largest_peak() {
        check_figure(Unit::Whole, &[30], 30, 60, [1030, 300, 3000]);
        check_figure(Unit::Whole, &[90, 10, 30], 30, 60, [1090, 300, 3000]);
        check_figure(Unit::Whole, &[40, 10, 90, 20], 30, 60, [1090, 300, 3000]);
        check_figure(Unit::Part(10), &[90, 10, 30], 3, 6, [1090, 300, 3000]);
        check_figure(Unit::Part(0), &[30], 30, 60, [1030, 300, 3000]);
        assert_eq!(row(Program::Kiln, &[]).figure(Unit::Whole), None);
    }

    #[test]
    fn a_range_is_of_one_part() {
        let millis = |low, high| Some((Duration::from_millis(low), Duration::from_millis(high)));
        let row = row(Program::Kiln, &[90, 10, 30]);
        assert_eq!(row.range(Unit::Whole), millis(10, 90));
        assert_eq!(row.range(Unit::Part(10)), millis(1, 9));
    }

    #[test]
    fn ratios_are_over_kiln() {
        let table = table(
            Unit::Part(5),
            vec![
                row(Program::Kiln, &[20, 10, 30]),
                row(Program::Docker, &[80]),
                row(Program::Buildah, &[]),
            ],
        );
        let times = |program| table.times_kiln(table.row(program).unwrap());
        assert_eq!(times(Program::Kiln), Some(1.0));
        assert_eq!(times(Program::Docker), Some(4.0));
        assert_eq!(times(Program::Buildah), None);
        assert!(table.row(Program::Kaniko).is_none());
    }

    #[test]
    fn no_ratio_over_nothing() {
        let none = table(Unit::Whole, vec![row(Program::Docker, &[80])]);
        assert_eq!(none.times_kiln(&none.rows[0]), None);
        let zero = table(
            Unit::Whole,
            vec![row(Program::Kiln, &[0]), row(Program::Docker, &[80])],
        );
        assert_eq!(zero.times_kiln(&zero.rows[1]), None);
    }

    #[track_caller]
    fn check_outcome(target: &Target, expected: Option<(Figure, bool)>) {
        let table = table(
            Unit::Whole,
            vec![
                row(Program::Kiln, &[20]),
                row(Program::BuildKit, &[200]),
                row(Program::Docker, &[160]),
                row(Program::Buildah, &[]),
            ],
        );
        let expected = expected.map(|(figure, reached)| Outcome { figure, reached });
        assert_eq!(table.outcome(target), expected);
    }

    #[test]
    fn targets() {
        let kiln = Program::Kiln;
        let docker = Figure::Times(Program::Docker, 8.0);
        // The faster of the two ways to BuildKit is the one to beat.
        let buildkit = Program::BuildKit;
        check_outcome(&Target::Times(buildkit, 8.0), Some((docker.clone(), true)));
        check_outcome(&Target::Times(buildkit, 8.1), Some((docker.clone(), false)));
        check_outcome(&Target::Times(Program::Docker, 8.0), Some((docker, true)));
        check_outcome(&Target::Times(Program::Buildah, 3.0), None);
        check_outcome(&Target::Times(Program::Kaniko, 3.0), None);
        let time = Duration::from_millis;
        let took = Figure::Time(time(20));
        check_outcome(&Target::AtMost(kiln, time(20)), Some((took.clone(), true)));
        check_outcome(&Target::AtMost(kiln, time(19)), Some((took, false)));
        check_outcome(&Target::AtMost(Program::KilnRootless, time(19)), None);
        let needed = Figure::Memory(1020);
        check_outcome(&Target::Memory(kiln, 1020), Some((needed.clone(), true)));
        check_outcome(&Target::Memory(kiln, 1019), Some((needed, false)));
    }

    #[test]
    fn the_steepest_place_of_a_curve() {
        let curve = |points: &[(u64, u64)]| Curve {
            name: "cold".to_owned(),
            points: points.iter().map(|(n, ms)| (*n, sample(*ms))).collect(),
        };
        let slope = curve(&[(0, 0), (100, 1000), (200, 1500), (400, 8000)]).slope();
        assert_eq!(
            slope,
            Some(Slope {
                mean: 0.02,
                steepest: 0.0325,
                between: (200, 400),
            })
        );
        assert_eq!(curve(&[(10, 5)]).slope(), None);
        assert_eq!(curve(&[(10, 5), (10, 6)]).slope(), None);
    }
}
