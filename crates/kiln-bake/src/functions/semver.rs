//! `semvercmp`: whether a version satisfies a constraint such as `>= 1.2, < 2 || ^3.1`.

use std::cmp::Ordering;

use super::{Function, entry};
use crate::source::{Fault, Outcome};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[entry("semvercmp", "ss", |args| {
    let version = Version::parse(args.text(0), false)
        .ok_or_else(|| Fault::new(format!("`{}` is no semantic version", args.text(0))))?;
    satisfies(&version, args.text(1)).map(Value::Bool)
})];

/// A version; the parts that a constraint leaves open are counted.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    parts: [u64; 3],
    /// How many of the parts are given.
    given: usize,
    pre: Vec<String>,
}

impl Version {
    fn parse(text: &str, wildcards: bool) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (core, pre) = text
            .split_once('-')
            .map_or((text, None), |(core, pre)| (core, Some(pre)));
        let mut version = Self {
            parts: [0; 3],
            given: 0,
            pre: Vec::new(),
        };
        let mut open = false;
        for (at, part) in core.split('.').enumerate() {
            if at > 2 {
                return None;
            }
            open |= wildcards && matches!(part, "x" | "X" | "*");
            if open {
                continue;
            }
            version.parts[at] = part.parse().ok()?;
            version.given = at + 1;
        }
        if let Some(pre) = pre {
            version.pre = pre.split('.').map(str::to_owned).collect();
            let valid = |part: &String| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|ch| ch.is_ascii_alphanumeric() || ch == '-')
            };
            if !version.pre.iter().all(valid) {
                return None;
            }
        }
        Some(version)
    }

    fn order(&self, other: &Self) -> Ordering {
        let parts = self.parts.cmp(&other.parts);
        parts.then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => pre_order(&self.pre, &other.pre),
        })
    }

    /// The version whose part `at` is one more, and the parts after it zero.
    fn bump(&self, at: usize) -> Self {
        let mut parts = [0; 3];
        parts[..at].copy_from_slice(&self.parts[..at]);
        parts[at] = self.parts[at].saturating_add(1);
        Self {
            parts,
            given: 3,
            pre: Vec::new(),
        }
    }
}

fn pre_order(one: &[String], other: &[String]) -> Ordering {
    for (one, other) in one.iter().zip(other) {
        let order = match (one.parse::<u64>(), other.parse::<u64>()) {
            (Ok(one), Ok(other)) => one.cmp(&other),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => one.cmp(other),
        };
        if order.is_ne() {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

fn satisfies(version: &Version, constraint: &str) -> Outcome<bool> {
    let mut any = false;
    for alternative in constraint.split("||") {
        any |= all(version, alternative, constraint)?;
    }
    Ok(any)
}

fn all(version: &Version, alternative: &str, whole: &str) -> Outcome<bool> {
    let bad = || Fault::new(format!("`{whole}` is no constraint of versions"));
    if let Some((low, high)) = alternative.split_once(" - ") {
        let low = Version::parse(low.trim(), true).ok_or_else(bad)?;
        let high = Version::parse(high.trim(), true).ok_or_else(bad)?;
        return Ok(check(version, ">=", &low) && check(version, "<=", &high));
    }
    let mut rest = alternative.trim_start_matches([' ', ',']);
    let mut result = true;
    let mut found = false;
    while !rest.is_empty() {
        let operator_end = rest.find(|ch| !"=<>!~^".contains(ch)).ok_or_else(bad)?;
        let operator = &rest[..operator_end];
        let known = [
            "", "=", "==", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^",
        ];
        if !known.contains(&operator) {
            return Err(bad());
        }
        rest = rest[operator_end..].trim_start();
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        let wanted = Version::parse(&rest[..end], true).ok_or_else(bad)?;
        result &= check(version, operator, &wanted);
        found = true;
        rest = rest[end..].trim_start_matches([' ', ',']);
    }
    if found { Ok(result) } else { Err(bad()) }
}

fn check(version: &Version, operator: &str, wanted: &Version) -> bool {
    // A pre-release satisfies only constraints that name one.
    if !version.pre.is_empty() && wanted.pre.is_empty() && operator != "!=" {
        return false;
    }
    let order = version.order(wanted);
    let below = |bound: &Version| version.order(bound).is_lt();
    let within = wanted.given == 0
        || !order.is_lt() && (wanted.given == 3 || below(&wanted.bump(wanted.given - 1)));
    match operator {
        "" | "=" | "==" if wanted.given < 3 => within,
        "" | "=" | "==" => order.is_eq(),
        "!=" if wanted.given < 3 => !within,
        "!=" => order.is_ne(),
        ">" if wanted.given < 3 => wanted.given > 0 && !below(&wanted.bump(wanted.given - 1)),
        ">" => order.is_gt(),
        "<" => order.is_lt(),
        ">=" | "=>" => order.is_ge(),
        "<=" | "=<" if wanted.given < 3 => {
            wanted.given == 0 || below(&wanted.bump(wanted.given - 1))
        }
        "<=" | "=<" => order.is_le(),
        "~" | "~>" if wanted.given == 0 => true,
        "~" | "~>" => order.is_ge() && below(&wanted.bump(wanted.given.saturating_sub(1).min(1))),
        _ if wanted.given == 0 => true,
        _ => {
            let first = wanted
                .parts
                .iter()
                .position(|part| *part > 0)
                .unwrap_or(2)
                .min(wanted.given - 1);
            order.is_ge() && below(&wanted.bump(first))
        }
    }
}
