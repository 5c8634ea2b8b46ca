//! What the control groups say about this process: layout, limits, delegation. Read-only: kiln does
//! not make groups yet.

use std::path::{Path, PathBuf};

/// How the control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Only version 2, at `/sys/fs/cgroup`.
    Unified,
    /// Version 1 hierarchies, perhaps with version 2 at `/sys/fs/cgroup/unified`.
    Legacy,
    /// Not mounted.
    Absent,
}

pub(crate) const ROOT: &str = "/sys/fs/cgroup";

pub(crate) fn layout() -> Layout {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        Layout::Unified
    } else if Path::new("/proc/self/cgroup").exists() && has_hierarchies() {
        Layout::Legacy
    } else {
        Layout::Absent
    }
}

/// This process's group in version 2, if that is what the machine uses.
pub(crate) fn own_group() -> Option<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = unified_path(&text)?;
    Some(Path::new(ROOT).join(path.trim_start_matches('/')))
}

/// Whether this process may make groups below its own.
pub(crate) fn is_delegated() -> bool {
    use rustix::fs::{Access, access};
    layout() == Layout::Unified
        && own_group().is_some_and(|group| {
            access(group.join("cgroup.procs"), Access::WRITE_OK).is_ok()
                && access(&group, Access::WRITE_OK).is_ok()
        })
}

/// The lowest memory limit that applies to this process, in bytes.
pub(crate) fn memory_limit() -> Option<u64> {
    match layout() {
        Layout::Unified => {
            let group = own_group()?;
            let groups = group.ancestors().take_while(|path| path.starts_with(ROOT));
            groups
                .filter_map(|group| read_limit(&group.join("memory.max")))
                .min()
        }
        Layout::Legacy => read_limit(&Path::new(ROOT).join("memory/memory.limit_in_bytes")),
        Layout::Absent => None,
    }
}

fn has_hierarchies() -> bool {
    std::fs::read_dir(ROOT).is_ok_and(|mut entries| entries.next().is_some())
}

fn unified_path(proc_self_cgroup: &str) -> Option<&str> {
    proc_self_cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
}

fn read_limit(file: &Path) -> Option<u64> {
    parse_limit(&std::fs::read_to_string(file).ok()?)
}

fn parse_limit(text: &str) -> Option<u64> {
    // Version 1 writes "no limit" as a huge number rounded to pages.
    let limit: u64 = text.trim().parse().ok()?;
    (limit < u64::MAX / 4).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_limits_and_paths() {
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit("1048576\n"), Some(1_048_576));
        assert_eq!(parse_limit("9223372036854771712\n"), None);
        assert_eq!(unified_path("12:cpu:/a\n0::/b/c\n"), Some("/b/c"));
        assert_eq!(unified_path("12:cpu:/a\n"), None);
    }
}
