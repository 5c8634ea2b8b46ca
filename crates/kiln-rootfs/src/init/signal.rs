//! Names of signals, as `STOPSIGNAL` has them.

use super::InitError;

const NAMES: &[(&str, i32)] = &[
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("KILL", 9),
    ("PIPE", 13),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];

/// The first and the last of the real-time signals that programs can have.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `SIGRTMAX-1`.
pub(super) fn number(text: &str) -> Result<i32, InitError> {
    let unknown = || InitError::Signal(text.to_owned());
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let digits = |text: &str| text.parse::<i32>().ok().filter(|number| *number >= 0);
    let number = if let Some(number) = digits(name) {
        Some(number)
    } else if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').and_then(|offset| RTMIN.checked_add(offset))
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest, '-').and_then(|offset| RTMAX.checked_sub(offset))
    } else {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, number)| *number)
    };
    number
        .filter(|number| (1..32).contains(number) || (RTMIN..=RTMAX).contains(number))
        .ok_or_else(unknown)
}

fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    text.strip_prefix(sign)?
        .parse()
        .ok()
        .filter(|number| *number >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i32>) {
        assert_eq!(number(text).ok(), expected);
    }

    #[test]
    fn signals_have_names_and_numbers() {
        check("SIGTERM", Some(15));
        check("quit", Some(3));
        check("SIGRTMIN+3", Some(37));
        check("RTMAX-1", Some(63));
        check("RTMAX", Some(64));
        check("9", Some(9));
        check("0", None);
        check("33", None);
        check("65", None);
        check("-1", None);
        check("SIGRTMIN-1", None);
        check("RTMAX--1", None);
        check("SIG", None);
        check("", None);
    }
}
