//! Debian's order of versions (Debian Policy 5.6.12).

use std::cmp::Ordering;

/// Compares two versions `[epoch:]upstream[-revision]`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    a.0.cmp(&b.0)
        .then_with(|| compare_part(a.1.as_bytes(), b.1.as_bytes()))
        .then_with(|| compare_part(a.2.as_bytes(), b.2.as_bytes()))
}

fn split(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Text and numbers in turn; `~` is before everything, even the end, and letters are before others.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (rank(a.first()), rank(b.first()));
            if x == 0 && y == 0 {
                break;
            }
            if x != y {
                return x.cmp(&y);
            }
            a = &a[1..];
            b = &b[1..];
        }
        let (x, y) = (take_number(&mut a), take_number(&mut b));
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// 0 for a digit and for the end.
fn rank(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

/// The digits at the begin, without zeros before them.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    *text = rest;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions in rising order; `=` between equal ones.
    #[track_caller]
    fn check(chain: &str) {
        let words: Vec<&str> = chain.split(' ').collect();
        for three in words.windows(3).step_by(2) {
            let expected = match three[1] {
                "<" => Ordering::Less,
                _ => Ordering::Equal,
            };
            assert_eq!(compare(three[0], three[2]), expected, "{three:?}");
            assert_eq!(compare(three[2], three[0]), expected.reverse(), "{three:?}");
        }
    }

    #[test]
    fn versions_are_ordered_as_debian_says() {
        check("~~ < ~~a < ~ = ~0 < 0 < 0a < 0b < 0+ < 1~rc1-1 < 1 < 1-0.1 < 1-1 < 1-1+b1 < 1.2");
        check("1.9 < 1.10 < 1.10a < 1.10.1 < 2 = 2-0 = 0:2 < 1:0.1 < 2:0");
        check("12.2.0-14 < 12.2.0-14+deb12u1 < 12.10");
        check("1.2.3 = 1.02.3 < 1.2.30");
    }
}
