//! Numbers for people: three significant digits, and the unit that suits them.

use std::time::Duration;

use super::figure::float;

/// `5.32 ms`, `1.20 s`: milliseconds below a second, seconds from there on.
pub(super) fn time(time: Duration) -> String {
    let time = time.as_secs_f64();
    let (digits, unit) = in_unit(time, below_a_second(time));
    format!("{digits} {unit}")
}

/// `22.2 µs`, `-2.10 ms`: a number of seconds that is often very small, and may be below zero.
pub(super) fn small(seconds: f64) -> String {
    if seconds.abs() < 0.000_999_5 {
        return format!("{} µs", digits(seconds * 1e6));
    }
    let (digits, unit) = in_unit(seconds, below_a_second(seconds));
    format!("{digits} {unit}")
}

/// A round number of seconds on an axis: `50 µs`, `5 ms`, `10 s`.
pub(super) fn tick(seconds: f64) -> String {
    let (number, unit) = match seconds {
        ..0.000_999_5 => (seconds * 1e6, "µs"),
        0.000_999_5..0.9995 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    // Round numbers have one digit; powers of ten are not exact.
    let decimals = if number < 0.95 { 2 } else { 0 };
    format!("{} {unit}", grouped(&format!("{number:.decimals$}")))
}

/// A figure that someone chose, with the digits they chose: `10`, `2.5`.
pub(super) fn plain(number: f64) -> String {
    grouped(&number.to_string())
}

/// The same for a time: `5 ms`, `1.5 s`.
pub(super) fn plain_time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        // Through microseconds: 0.0029 s is not 2.9 ms in binary.
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        format!("{} ms", plain(float(micros) / 1000.0))
    } else {
        // One that was computed has more digits than anybody chose.
        let hundredths = u64::try_from(time.as_millis() / 10).unwrap_or(u64::MAX);
        format!("{} s", plain(float(hundredths) / 100.0))
    }
}

/// The same for megabytes: `64`.
pub(super) fn plain_megabytes(bytes: u64) -> String {
    plain(float(bytes) / 1e6)
}

/// `6.02–6.40 ms`: both in the unit of the longer.
pub(super) fn range(shortest: Duration, longest: Duration) -> String {
    let millis = below_a_second(longest.as_secs_f64());
    let (low, unit) = in_unit(shortest.as_secs_f64(), millis);
    let (high, _) = in_unit(longest.as_secs_f64(), millis);
    format!("{low}–{high} {unit}")
}

fn in_unit(time: f64, millis: bool) -> (String, &'static str) {
    if millis {
        (digits(time * 1000.0), "ms")
    } else {
        (digits(time), "s")
    }
}

/// Whether it is still below one when it is shown with three digits.
fn below_a_second(time: f64) -> bool {
    time.abs() < 0.9995
}

/// `7.11`, `31.2`, `189`, `2,950`: three significant digits; zero is `0`.
pub(super) fn digits(number: f64) -> String {
    // Rounds first: 9.999 has two digits before the point when it is shown.
    let rounded = format!("{number:.2e}");
    let exponent = rounded
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    let (Some(exponent), Ok(rounded)) = (exponent, rounded.parse::<f64>()) else {
        return number.to_string();
    };
    if rounded == 0.0 {
        return "0".to_owned();
    }
    let decimals = usize::try_from(2 - exponent).unwrap_or(0);
    grouped(&format!("{rounded:.decimals$}"))
}

/// `33.1`, `1,230`: megabytes of 1,000,000 bytes, to the tenth.
pub(super) fn megabytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        1..50_000 => "< 0.1".to_owned(),
        50_000..99_950_000 => format!("{:.1}", float(bytes) / 1e6),
        _ => digits(float(bytes) / 1e6),
    }
}

/// `23.4 GiB`: memory is sold in these.
pub(super) fn gibibytes(bytes: u64) -> String {
    format!("{} GiB", digits(float(bytes) / float(1 << 30)))
}

/// `20,000`.
pub(super) fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// Commas between the thousands of the digits before the point.
fn grouped(number: &str) -> String {
    let end = number.find('.').unwrap_or(number.len());
    let start = number.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let mut out = String::with_capacity(number.len() + number.len() / 3);
    for (place, c) in number.char_indices() {
        if place > start && place < end && (end - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        let all = [
            0.0,
            0.000_523,
            0.5234,
            1.0,
            7.114,
            9.996,
            31.24,
            99.96,
            188.8,
            999.6,
            2946.0,
            1_234_567.0,
            -7.114,
        ];
        assert_eq!(
            all.map(digits),
            [
                "0",
                "0.000523",
                "0.523",
                "1.00",
                "7.11",
                "10.0",
                "31.2",
                "100",
                "189",
                "1,000",
                "2,950",
                "1,230,000",
                "-7.11"
            ]
        );
    }

    #[test]
    fn times_have_a_unit() {
        let show = |micros| time(Duration::from_micros(micros));
        assert_eq!(
            [
                show(0),
                show(523),
                show(6_100),
                show(999_400),
                show(999_600),
                show(60_240_000),
                show(2_946_000_000)
            ],
            [
                "0 ms", "0.523 ms", "6.10 ms", "999 ms", "1.00 s", "60.2 s", "2,950 s"
            ]
        );
        assert_eq!(
            [0.000_022_2, 0.000_999_6, -0.0021, 1.5].map(small),
            ["22.2 µs", "1.00 ms", "-2.10 ms", "1.50 s"]
        );
    }

    #[test]
    fn chosen_figures_keep_their_digits() {
        assert_eq!([10.0, 2.5, 1200.0].map(plain), ["10", "2.5", "1,200"]);
        let show = |micros| plain_time(Duration::from_micros(micros));
        assert_eq!(
            [show(5_000), show(2_900), show(1_500_000), show(60_000_000)],
            ["5 ms", "2.9 ms", "1.5 s", "60 s"]
        );
        assert_eq!(plain_megabytes(64_000_000), "64");
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            [5e-5, 0.001, 0.005, 0.1 + 0.1, 1.0, 10.000_000_1, 2000.0].map(tick),
            ["50 µs", "1 ms", "5 ms", "200 ms", "1 s", "10 s", "2,000 s"]
        );
    }

    #[test]
    fn ranges_have_one_unit() {
        let show = |low, high| range(Duration::from_millis(low), Duration::from_millis(high));
        assert_eq!(show(6, 7), "6.00–7.00 ms");
        assert_eq!(show(981, 1200), "0.981–1.20 s");
    }

    #[test]
    fn bytes() {
        let all = [0, 4096, 50_000, 33_149_000, 99_950_000, 1_234_567_890];
        assert_eq!(
            all.map(megabytes),
            ["0", "< 0.1", "0.1", "33.1", "100", "1,230"]
        );
        assert_eq!(gibibytes(24 << 30), "24.0 GiB");
        assert_eq!(
            [0, 999, 1000, 20_000, 1_234_567].map(count),
            ["0", "999", "1,000", "20,000", "1,234,567"]
        );
    }
}
