//! Docker's limits in the words of both versions of control groups.

use crate::Resources;

/// One line to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: &'static str,
    pub(super) file: &'static str,
    pub(super) value: String,
}

const PERIOD: u64 = 100_000;

/// What a controller limits, for people.
pub(super) fn what(controller: &str) -> &'static str {
    match controller {
        "memory" => "memory",
        "cpu" => "processor time",
        "cpuset" => "processors",
        _ => "resources",
    }
}

fn setting(controller: &'static str, file: &'static str, value: &impl ToString) -> Setting {
    Setting {
        controller,
        file,
        value: value.to_string(),
    }
}

/// Version 2.
pub(super) fn unified(limits: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(memory) = limits.memory {
        settings.push(setting("memory", "memory.max", &memory));
    }
    if let Some(swap) = limits.memory_swap {
        // Docker's limit is of both together, the kernel's of swap alone.
        let value = match u64::try_from(swap) {
            Ok(both) => both.saturating_sub(limits.memory.unwrap_or(0)).to_string(),
            Err(_) => "max".to_owned(),
        };
        settings.push(setting("memory", "memory.swap.max", &value));
    }
    if let Some(shares) = limits.cpu_shares {
        settings.push(setting("cpu", "cpu.weight", &weight(shares)));
    }
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let quota = match limits.cpu_quota.map(u64::try_from) {
            Some(Ok(quota)) => quota.to_string(),
            Some(Err(_)) | None => "max".to_owned(),
        };
        let period = limits.cpu_period.unwrap_or(PERIOD);
        settings.push(setting("cpu", "cpu.max", &format!("{quota} {period}")));
    }
    settings.extend(cpusets(limits));
    settings
}

/// Version 1.
pub(super) fn legacy(limits: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(memory) = limits.memory {
        settings.push(setting("memory", "memory.limit_in_bytes", &memory));
    }
    if let Some(swap) = limits.memory_swap {
        settings.push(setting("memory", "memory.memsw.limit_in_bytes", &swap));
    }
    if let Some(shares) = limits.cpu_shares {
        settings.push(setting("cpu", "cpu.shares", &shares));
    }
    if let Some(period) = limits.cpu_period {
        settings.push(setting("cpu", "cpu.cfs_period_us", &period));
    }
    if let Some(quota) = limits.cpu_quota {
        settings.push(setting("cpu", "cpu.cfs_quota_us", &quota));
    }
    settings.extend(cpusets(limits));
    settings
}

fn cpusets(limits: &Resources) -> impl Iterator<Item = Setting> {
    let cpus = limits.cpuset_cpus.as_ref();
    let mems = limits.cpuset_mems.as_ref();
    let cpus = cpus.map(|list| setting("cpuset", "cpuset.cpus", &list));
    let mems = mems.map(|list| setting("cpuset", "cpuset.mems", &list));
    cpus.into_iter().chain(mems)
}

/// Shares from 2 to 262144 as weights from 1 to 10000, as every runtime converts them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(limits: &Resources, expected: &Expect) {
        let show = |settings: Vec<Setting>| {
            let lines = settings
                .into_iter()
                .map(|one| format!("{}={}\n", one.file, one.value));
            lines.collect::<String>()
        };
        expected.assert_eq(&(show(unified(limits)) + "--\n" + &show(legacy(limits))));
    }

    #[test]
    fn limits_in_both_versions() {
        check(
            &Resources {
                memory: Some(1 << 20),
                memory_swap: Some(3 << 20),
                cpu_shares: Some(1024),
                cpu_period: None,
                cpu_quota: Some(50_000),
                cpuset_cpus: Some("0-1".to_owned()),
                cpuset_mems: None,
            },
            &expect![[r"
                memory.max=1048576
                memory.swap.max=2097152
                cpu.weight=39
                cpu.max=50000 100000
                cpuset.cpus=0-1
                --
                memory.limit_in_bytes=1048576
                memory.memsw.limit_in_bytes=3145728
                cpu.shares=1024
                cpu.cfs_quota_us=50000
                cpuset.cpus=0-1
            "]],
        );
        check(
            &Resources {
                memory_swap: Some(-1),
                cpu_quota: Some(-1),
                ..Resources::default()
            },
            &expect![[r"
                memory.swap.max=max
                cpu.max=max 100000
                --
                memory.memsw.limit_in_bytes=-1
                cpu.cfs_quota_us=-1
            "]],
        );
        assert_eq!(
            [0, 2, 262_144, u64::MAX].map(weight),
            [1, 1, 10_000, 10_000]
        );
    }
}
