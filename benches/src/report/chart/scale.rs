//! A logarithmic axis.

/// Values from `low` to `high` between the pixels `from` and `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// An axis of exactly these values, which are above zero and not equal.
    pub(super) const fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self {
            low,
            high,
            from,
            to,
        }
    }

    /// An axis of round values around all of `values`: 1, 2 and 5 and their decades. The smallest
    /// value is never at the very edge. Values that are not above zero don't count.
    pub(super) fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        if most == 0.0 {
            return Self::new(1.0, 10.0, from, to);
        }
        let below = |value: &f64| *value <= least * 0.8;
        let low = steps(decade(least) - 1, decade(least)).rfind(below);
        let high = steps(decade(most), decade(most) + 1).find(|value| *value >= most * 1.05);
        // A decade below and a decade above hold such values always.
        let (low, high) = (low.unwrap_or(least / 10.0), high.unwrap_or(most * 10.0));
        Self::new(low, high, from, to)
    }

    /// The largest value.
    pub(super) const fn high(&self) -> f64 {
        self.high
    }

    /// The pixel of a value; outside of the axis the nearest end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let span = (self.high / self.low).log10();
        let part = (value.max(self.low) / self.low).log10() / span;
        self.from + (self.to - self.from) * part.clamp(0.0, 1.0)
    }

    /// Round values on the axis, ascending: whole decades, and with few of these 2 and 5, too.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let all = || {
            let all = steps(decade(self.low), decade(self.high));
            // Powers of ten are not exact.
            all.filter(|tick| *tick > self.low * 0.999 && *tick < self.high * 1.001)
        };
        let decades: Vec<f64> = all()
            .filter(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-9)
            .collect();
        if decades.len() > 3 {
            decades
        } else {
            all().collect()
        }
    }
}

/// The 1, 2 and 5 of each decade, from one to another.
fn steps(first: i32, last: i32) -> impl DoubleEndedIterator<Item = f64> {
    (first..=last).flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10.0_f64.powi(decade)))
}

/// The power of ten at or below a value.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the logarithm of a number fits any integer"
)]
fn decade(value: f64) -> i32 {
    (value.log10() + 1e-9).floor() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], low: f64, high: f64, ticks: &str) {
        let scale = Scale::around(values.iter().copied(), 0.0, 100.0);
        assert!((scale.low / low - 1.0).abs() < 1e-9, "{scale:?}");
        assert!((scale.high / high - 1.0).abs() < 1e-9, "{scale:?}");
        let found: Vec<String> = scale.ticks().iter().map(|t| format!("{t:.3}")).collect();
        assert_eq!(found.join(" "), ticks);
    }

    #[test]
    fn round_ends() {
        check(
            &[0.006, 0.3],
            0.002,
            0.5,
            "0.002 0.005 0.010 0.020 0.050 0.100 0.200 0.500",
        );
        check(
            &[0.005, 60.0],
            0.002,
            100.0,
            "0.010 0.100 1.000 10.000 100.000",
        );
        check(&[1.0, 1.0], 0.5, 2.0, "0.500 1.000 2.000");
        check(
            &[0.0, -1.0, f64::NAN],
            1.0,
            10.0,
            "1.000 2.000 5.000 10.000",
        );
    }

    #[test]
    fn places() {
        let scale = Scale::new(1.0, 100.0, 10.0, 30.0);
        let at = [0.0, 1.0, 10.0, 100.0, 1000.0].map(|value| scale.at(value));
        assert_eq!(
            at.map(|at| format!("{at:.3}")),
            ["10.000", "10.000", "20.000", "30.000", "30.000"]
        );
    }
}
