//! What bounds steps: `/dev/shm`, `setrlimit`, control groups; and names they know.

use std::collections::BTreeMap;

use kiln_engine::Ulimit;

use super::FlagError;
use crate::args::{HostEntry, LegacyArgs, MemorySize, split_csv};

/// The limits that Docker knows.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `--add-host`, each a list.
pub(super) fn hosts(flags: &[String]) -> Result<Vec<(String, String)>, FlagError> {
    let mut hosts = Vec::new();
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let wrong = |reason: &str| FlagError::new("--add-host", flag, reason);
        let fields = split_csv(flag).ok_or_else(|| wrong("a quoted field does not end"))?;
        for field in fields {
            let entry: HostEntry = field.parse().map_err(|reason: String| wrong(&reason))?;
            hosts.push((entry.host, entry.address.to_string()));
        }
    }
    Ok(hosts)
}

/// `--shm-size`; nothing is Docker's word for the default.
pub(super) fn shm_size(flag: Option<&str>) -> Result<Option<u64>, FlagError> {
    let Some(text) = flag.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(MemorySize(0)) => Ok(None),
        Ok(MemorySize(bytes)) => Ok(Some(bytes)),
        Err(reason) => Err(FlagError::new("--shm-size", text, reason)),
    }
}

/// `--ulimit`: of two with the same name the last counts.
pub(super) fn ulimits(flags: &[String]) -> Result<Vec<Ulimit>, FlagError> {
    let mut limits: Vec<Ulimit> = Vec::new();
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let limit = ulimit(flag).map_err(|reason| FlagError::new("--ulimit", flag, reason))?;
        limits.retain(|known| known.name != limit.name);
        limits.push(limit);
    }
    Ok(limits)
}

fn ulimit(text: &str) -> Result<Ulimit, &'static str> {
    let (name, values) = text.split_once('=').ok_or("expected `NAME=SOFT[:HARD]`")?;
    if !ULIMITS.contains(&name) {
        return Err("there is no such limit");
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    let above = match (soft, hard) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(soft), Some(hard)) => soft > hard,
    };
    if above {
        return Err("the soft limit is above the hard one");
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// A number; `-1` for none.
fn limit(text: &str) -> Result<Option<u64>, &'static str> {
    match text {
        "-1" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| "a limit is a number, or -1 for none"),
    }
}

/// `--resource` and its older forms, which are weaker. Sizes come out in bytes; a limit of 0 is
/// none, as with Docker.
pub(super) fn resources(
    legacy: &LegacyArgs,
    flags: &[String],
) -> Result<BTreeMap<String, String>, FlagError> {
    let old = [
        ("memory", &legacy.memory),
        ("memory-swap", &legacy.memory_swap),
        ("cpu-shares", &legacy.cpu_shares),
        ("cpu-period", &legacy.cpu_period),
        ("cpu-quota", &legacy.cpu_quota),
        ("cpuset-cpus", &legacy.cpuset_cpus),
        ("cpuset-mems", &legacy.cpuset_mems),
    ];
    let old = old
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
    let mut resources = BTreeMap::new();
    for flag in old.chain(flags.iter().filter(|flag| !flag.is_empty()).cloned()) {
        let wrong = |reason| FlagError::new("--resource", &flag, reason);
        let (name, value) = flag
            .split_once('=')
            .ok_or_else(|| wrong("expected `NAME=VALUE`"))?;
        let (name, value) = (name.trim(), value.trim());
        match resource(name, value).map_err(wrong)? {
            Some(value) => _ = resources.insert(name.to_owned(), value),
            None => _ = resources.remove(name),
        }
    }
    Ok(resources)
}

fn resource(name: &str, value: &str) -> Result<Option<String>, &'static str> {
    let text = match name {
        "memory-swap" if value == "-1" => "-1".to_owned(),
        "memory" | "memory-swap" => value.parse::<MemorySize>()?.0.to_string(),
        "cpu-quota" if value == "-1" => "0".to_owned(),
        "cpu-shares" | "cpu-period" | "cpu-quota" => match value.parse::<u64>() {
            Ok(number) => number.to_string(),
            Err(_) => return Err("expected a number"),
        },
        "cpuset-cpus" | "cpuset-mems" if is_cpu_list(value) => value.to_owned(),
        "cpuset-cpus" | "cpuset-mems" => return Err("expected a list as in `0-3,5`"),
        _ => {
            return Err(
                "known are memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus \
                 and cpuset-mems",
            );
        }
    };
    Ok((!text.is_empty() && text != "0" || name.starts_with("cpuset")).then_some(text))
}

fn is_cpu_list(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.split(',').all(|range| match range.split_once('-') {
        Some((from, to)) => is_number(from) && is_number(to),
        None => is_number(range),
    })
}
