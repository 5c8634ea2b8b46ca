//! Durations as Go writes them: `1m30s`, `1.5h`, `300ms`.

use std::time::Duration;

/// Reads a duration; `None` where it is not one, is negative or too long for Go (292 years).
pub(super) fn parse(text: &str) -> Option<Duration> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned == "0" || text == "-0" {
        return Some(Duration::ZERO);
    }
    let mut rest = unsigned;
    let mut nanoseconds: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after
            .find(|ch: char| ch == '.' || ch.is_ascii_digit())
            .unwrap_or(after.len());
        let unit = unit(&after[..end])?;
        rest = &after[end..];
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        nanoseconds = whole
            .checked_mul(unit)?
            .checked_add(part_of(unit, fraction))?
            .checked_add(nanoseconds)?;
    }
    (nanoseconds <= i64::MAX.unsigned_abs()).then(|| Duration::from_nanos(nanoseconds))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|ch: char| !ch.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `unit` times `0.fraction`, rounded down.
fn part_of(unit: u64, fraction: &str) -> u64 {
    let (value, scale) = fraction
        .bytes()
        .take(15)
        .fold((0_u128, 1_u128), |(value, scale), digit| {
            (value * 10 + u128::from(digit - b'0'), scale * 10)
        });
    u64::try_from(u128::from(unit) * value / scale).unwrap_or(unit)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations() {
        let cases = [
            ("5s", Some(5_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("300ms", Some(300_000_000)),
            ("1us", Some(1_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("+2s", Some(2_000_000_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5x", None),
            ("1.s", Some(1_000_000_000)),
            ("99999999999h", None),
        ];
        for (text, expected) in cases {
            let nanoseconds = parse(text).map(|duration| duration.as_nanos());
            assert_eq!(nanoseconds, expected, "{text}");
        }
    }
}
