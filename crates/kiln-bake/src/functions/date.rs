//! Time: RFC 3339 texts and seconds since 1970.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Args, Function, entry, text};
use crate::source::{Fault, Outcome};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    entry("timestamp", "", |args| {
        text::text(Time::at(args.world.clock().now, 0).rfc3339())
    }),
    entry("timeadd", "ss", |args| {
        let time = Time::parse(args.text(0))?;
        let nanos = duration(args.text(1)).ok_or_else(|| {
            Fault::new(format!("`{}` is no duration such as `1h30m`", args.text(1)))
        })?;
        let seconds =
            i64::try_from((i128::from(time.nanos) + nanos).div_euclid(1_000_000_000)).ok();
        match seconds
            .and_then(|seconds| time.seconds.checked_add(seconds))
            .filter(|at| at.abs() < MAX_SECONDS)
        {
            Some(seconds) => text::text(Time { seconds, ..time }.rfc3339()),
            None => Err(Fault::new("the result is too far away")),
        }
    }),
    entry("formatdate", "ss", |args| {
        format(args.text(0), &Time::parse(args.text(1))?)
    }),
    entry("formattimestamp", "sa", |args| {
        let time = match args.value(1) {
            Value::String(text) => Time::parse(text)?,
            Value::Number(_) => Time::at(seconds(args, 1)?, 0),
            _ => return Err(Fault::new("a timestamp or a number of seconds is required")),
        };
        if args.text(0) == "X" {
            text::text(time.seconds.to_string())
        } else {
            format(args.text(0), &time)
        }
    }),
    entry("unixtimestampparse", "n", parse_unix),
];

/// Some ten thousand years.
const MAX_SECONDS: i64 = 250_000_000_000;

fn seconds(args: &Args<'_>, at: usize) -> Outcome<i64> {
    match args.int(at)? {
        seconds if seconds.abs() < MAX_SECONDS => Ok(seconds),
        _ => Err(Fault::new("the time is too far away")),
    }
}

/// An instant and the offset of the clock that showed it.
#[derive(Clone, Copy)]
struct Time {
    seconds: i64,
    nanos: u32,
    offset_minutes: i64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl Time {
    fn at(seconds: i64, offset_minutes: i64) -> Self {
        Self {
            seconds,
            nanos: 0,
            offset_minutes,
        }
    }

    fn parse(text: &str) -> Outcome<Self> {
        Self::try_parse(text).ok_or_else(|| {
            Fault::new(format!(
                "`{text}` is no timestamp of RFC 3339 such as `2024-01-02T03:04:05Z`"
            ))
        })
    }

    fn try_parse(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| {
            let digits = text.get(range)?;
            digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| digits.parse::<i64>().ok())?
        };
        let bytes = text.as_bytes();
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if !separators
            .iter()
            .all(|&(at, byte)| bytes.get(at) == Some(&byte))
        {
            return None;
        }
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        let (rest, nanos) = match text[19..].strip_prefix('.') {
            Some(after) => {
                let end = after.find(|ch: char| !ch.is_ascii_digit())?;
                let digits = format!("{:0<9}", &after[..end]);
                (&after[end..], digits[..9].parse().ok().filter(|_| end > 0)?)
            }
            None => (&text[19..], 0),
        };
        let offset_minutes = if rest == "Z" {
            0
        } else {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        };
        let valid = date(days(year, month, day)) == (year, month, day) && (1..=12).contains(&month);
        if !valid || hour > 23 || minute > 59 || second > 59 || offset_minutes.abs() > 24 * 60 {
            return None;
        }
        let local = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(Self {
            seconds: local - offset_minutes * 60,
            nanos,
            offset_minutes,
        })
    }

    fn local(&self) -> i64 {
        self.seconds + self.offset_minutes * 60
    }

    fn date(&self) -> (i64, i64, i64) {
        date(self.local().div_euclid(86_400))
    }

    fn clock(&self) -> (i64, i64, i64) {
        let second = self.local().rem_euclid(86_400);
        (second / 3600, second / 60 % 60, second % 60)
    }

    /// From Sunday, 0.
    fn weekday(&self) -> i64 {
        (self.local().div_euclid(86_400) + 4).rem_euclid(7)
    }

    fn offset(&self, colon: &str) -> String {
        let minutes = self.offset_minutes.abs();
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
    }

    fn rfc3339(&self) -> String {
        let ((year, month, day), (hour, minute, second)) = (self.date(), self.clock());
        let zone = if self.offset_minutes == 0 {
            "Z".to_owned()
        } else {
            self.offset(":")
        };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
    }
}

/// Nanoseconds of `1h30m`, `-1.5s`, `100ms`.
fn duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|ch: char| !(ch.is_ascii_digit() || ch == '.'))?;
        let number = crate::value::Number::parse(&rest[..end])?;
        rest = &rest[end..];
        let unit_end = rest
            .find(|ch: char| ch.is_ascii_digit() || ch == '.')
            .unwrap_or(rest.len());
        let unit: i64 = match &rest[..unit_end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        rest = &rest[unit_end..];
        let nanos = number
            .multiply(&crate::value::Number::from_int(unit))?
            .truncate()
            .int()?;
        total = total.checked_add(i128::from(nanos))?;
    }
    Some(if negative { -total } else { total })
}

fn parse_unix(args: &Args<'_>) -> Outcome<Value> {
    let time = Time::at(seconds(args, 0)?, 0);
    let ((year, month, day), (hour, minute, second)) = (time.date(), time.clock());
    let today = days(year, month, day);
    // The week belongs to the year of its Thursday.
    let thursday = today - (time.weekday() + 6) % 7 + 3;
    let iso_year = date(thursday).0;
    let name =
        |names: &[&str], at: i64| Value::text(names[usize::try_from(at).unwrap_or_default()]);
    let entries: [(&str, Value); 13] = [
        ("year", Value::int(year)),
        ("year_day", Value::int(today - days(year, 1, 1) + 1)),
        ("day", Value::int(day)),
        ("month", Value::int(month)),
        ("month_name", name(&MONTHS, month - 1)),
        ("weekday", Value::int(time.weekday())),
        ("weekday_name", name(&DAYS, time.weekday())),
        ("hour", Value::int(hour)),
        ("minute", Value::int(minute)),
        ("second", Value::int(second)),
        ("rfc3339", Value::text(&time.rfc3339())),
        ("iso_year", Value::int(iso_year)),
        (
            "iso_week",
            Value::int((thursday - days(iso_year, 1, 1)) / 7 + 1),
        ),
    ];
    let entries: BTreeMap<String, Value> = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Ok(Value::object(entries))
}

/// Runs of one letter are verbs, quoted text stays.
fn format(template: &str, time: &Time) -> Outcome<Value> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let mut quoted = &rest[1..];
            loop {
                let Some(end) = quoted.find('\'') else {
                    return Err(Fault::new(
                        "a quoted part of the format is not closed by `'`",
                    ));
                };
                out.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                if !quoted.starts_with('\'') {
                    break;
                }
                out.push('\'');
                quoted = &quoted[1..];
            }
            rest = quoted;
        } else if first.is_ascii_alphabetic() {
            let end = rest.find(|ch| ch != first).unwrap_or(rest.len());
            verb(&mut out, &rest[..end], time)?;
            rest = &rest[end..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    text::text(out)
}

fn verb(out: &mut String, verb: &str, time: &Time) -> Outcome<()> {
    let ((year, month, day), (hour, minute, second)) = (time.date(), time.clock());
    let half = if hour % 12 == 0 { 12 } else { hour % 12 };
    let month_name = MONTHS[usize::try_from(month - 1).unwrap_or_default()];
    let day_name = DAYS[usize::try_from(time.weekday()).unwrap_or_default()];
    let utc = time.offset_minutes == 0;
    let result = match verb {
        "YY" => write!(out, "{:02}", year % 100),
        "YYYY" => write!(out, "{year:04}"),
        "M" => write!(out, "{month}"),
        "MM" => write!(out, "{month:02}"),
        "MMM" => write!(out, "{}", &month_name[..3]),
        "MMMM" => write!(out, "{month_name}"),
        "D" => write!(out, "{day}"),
        "DD" => write!(out, "{day:02}"),
        "EEE" => write!(out, "{}", &day_name[..3]),
        "EEEE" => write!(out, "{day_name}"),
        "h" => write!(out, "{hour}"),
        "hh" => write!(out, "{hour:02}"),
        "H" => write!(out, "{half}"),
        "HH" => write!(out, "{half:02}"),
        "AA" => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
        "aa" => write!(out, "{}", if hour < 12 { "am" } else { "pm" }),
        "m" => write!(out, "{minute}"),
        "mm" => write!(out, "{minute:02}"),
        "s" => write!(out, "{second}"),
        "ss" => write!(out, "{second:02}"),
        "Z" if utc => write!(out, "Z"),
        "ZZZ" if utc => write!(out, "UTC"),
        "Z" | "ZZZZZ" => write!(out, "{}", time.offset(":")),
        "ZZZ" | "ZZZZ" => write!(out, "{}", time.offset("")),
        _ => {
            return Err(Fault::new(format!(
                "unknown verb `{verb}` of the format; quote text with `'`"
            )));
        }
    };
    result.map_err(|_| Fault::new("the text can't grow"))
}
