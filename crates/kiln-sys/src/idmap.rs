//! User and group id maps: subordinate ids from `/etc/subuid` and `/etc/subgid`, and the map of the
//! namespace this process is in.
//!
//! Formats: subuid(5) (`name-or-uid:start:count`, one a line) and `user_namespaces(7)`
//! (`inside outside count`, one extent a line).

use std::io;

/// A run of ids: `count` ids from `inside` on are `outside` and following in the parent namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First id in the namespace.
    pub inside: u32,
    /// The id in the parent namespace that it stands for.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

/// The ids that exist in a user namespace, as `/proc/<pid>/uid_map` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMap {
    /// The extents, in file order.
    pub extents: Vec<Extent>,
}

/// Ids that `/etc/subuid` or `/etc/subgid` gives to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubordinateRange {
    /// First id.
    pub start: u32,
    /// How many.
    pub count: u32,
}

impl IdMap {
    /// Parses the text of a `uid_map` or `gid_map` file; lines that are not three numbers are skipped.
    pub fn parse(text: &str) -> Self {
        let extents = text.lines().filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            Some(Extent {
                inside: numbers.next()?.ok()?,
                outside: numbers.next()?.ok()?,
                count: numbers.next()?.ok()?,
            })
        });
        Self {
            extents: extents.collect(),
        }
    }

    /// The user ids of this process's namespace.
    pub fn current_users() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/uid_map")?))
    }

    /// The group ids of this process's namespace.
    pub fn current_groups() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/gid_map")?))
    }

    /// Whether `id` exists inside the namespace.
    pub fn is_mapped(&self, id: u32) -> bool {
        self.extents
            .iter()
            .any(|extent| id >= extent.inside && id - extent.inside < extent.count)
    }

    /// How many ids exist inside the namespace.
    pub fn len(&self) -> u64 {
        self.extents
            .iter()
            .map(|extent| u64::from(extent.count))
            .sum()
    }

    /// Whether no id exists at all (a namespace whose map has not been written).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same ids mapped to themselves: what a nested namespace needs to see what this one sees.
    #[must_use]
    pub fn identity(&self) -> Self {
        let extents = self.extents.iter().map(|extent| Extent {
            outside: extent.inside,
            ..*extent
        });
        Self {
            extents: extents.collect(),
        }
    }

    /// The text that the kernel takes.
    pub fn to_text(&self) -> String {
        let line = |extent: &Extent| {
            let Extent {
                inside,
                outside,
                count,
            } = extent;
            format!("{inside} {outside} {count}\n")
        };
        let lines: Vec<String> = self.extents.iter().map(line).collect();
        lines.concat()
    }
}

/// Gives a process that has just entered a new user namespace the ids that exist here, each as itself.
/// Called by a process that stayed outside and has `CAP_SETUID`, `CAP_SETGID` and `CAP_SETFCAP`.
pub fn write_identity(process: i32) -> io::Result<()> {
    let write = |file: &str, map: &IdMap| {
        std::fs::write(format!("/proc/{process}/{file}"), map.identity().to_text())
    };
    write("uid_map", &IdMap::current_users()?)?;
    write("gid_map", &IdMap::current_groups()?)
}

/// The ranges that the text of `/etc/subuid` or `/etc/subgid` gives to the user with this name or
/// id, in file order. Malformed lines and empty ranges are skipped, as `newuidmap` does.
pub fn subordinate_ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<SubordinateRange> {
    let uid = uid.to_string();
    let ranges = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let start = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok()?;
        let mine = owner == uid || Some(owner) == name;
        (mine && count > 0 && fields.next().is_none()).then_some(SubordinateRange { start, count })
    });
    ranges.collect()
}

/// The map of a rootless namespace: 0 is the caller, 1 and up are its subordinate ids.
pub fn rootless_map(own: u32, ranges: &[SubordinateRange]) -> IdMap {
    let mut extents = vec![Extent {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut inside: u32 = 1;
    for range in ranges {
        let count = range.count.min(u32::MAX - inside);
        if count == 0 {
            break;
        }
        extents.push(Extent {
            inside,
            outside: range.start,
            count,
        });
        inside += count;
    }
    IdMap { extents }
}

/// The name of the user with this id in the text of `/etc/passwd`.
pub fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(subuid: &str, expected: &Expect) {
        let ranges = subordinate_ranges(subuid, Some("ann"), 1000);
        expected.assert_eq(&rootless_map(1000, &ranges).to_text());
    }

    #[test]
    fn subordinate_ids_follow_the_own_id() {
        check(
            "bob:500000:65536\nann:100000:65536\n",
            &expect![[r"
                0 1000 1
                1 100000 65536
            "]],
        );
    }

    #[test]
    fn ranges_by_name_and_by_number_add_up() {
        check(
            "ann:100000:10\n1000:200000:5\nann:x:5\nann:1:0\nann:1:2:3\n\n",
            &expect![[r"
                0 1000 1
                1 100000 10
                11 200000 5
            "]],
        );
    }

    #[test]
    fn no_ranges_leave_the_single_id() {
        check(
            "bob:1:2\n",
            &expect![[r"
            0 1000 1
        "]],
        );
    }

    #[test]
    fn too_many_ids_are_cut() {
        check(
            "ann:1:4294967295\nann:5:5\n",
            &expect![[r"
                0 1000 1
                1 1 4294967294
            "]],
        );
    }

    #[test]
    fn a_map_knows_its_ids() {
        let map =
            IdMap::parse("         0       1000          1\n         1     100000      65536\n");
        assert!(map.is_mapped(0) && map.is_mapped(65536) && !map.is_mapped(65537));
        assert_eq!(map.len(), 65537);
        assert_eq!(map.identity().to_text(), "0 0 1\n1 1 65536\n");
        assert!(!IdMap::parse("0 0 4294967295").is_mapped(u32::MAX));
        assert!(IdMap::parse("").is_empty());
    }

    #[test]
    fn finds_a_user_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000), Some("ann"));
        assert_eq!(user_name(passwd, 5), None);
    }
}
