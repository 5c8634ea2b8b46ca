//! A control group for one step, with its limits.
//!
//! Version 2: below `cgroup_parent`, or below kiln's own group or the nearest group above it in which
//! kiln may make groups and that hands down the controllers; a group with processes in it hands down
//! none, so on most machines that is the one above. Version 1: below kiln's own group of each hierarchy.
//! What can't be limited is an error: a limit that is not kept is worse than none.
//!
//! Formats: the kernel's `admin-guide/cgroup-v2.rst` and `cgroup-v1/`. Deliberately absent: limits on
//! devices and I/O, and talking to systemd.

mod limits;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use kiln_sys::files;

use crate::{ExecError, Resources};
use limits::{Setting, legacy, unified};

const ROOT: &str = "/sys/fs/cgroup";
const PROCESSES: &str = "cgroup.procs";

/// The groups of one step, one in each hierarchy that has a limit. Dropping them removes them; the
/// step's processes are dead by then.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    made: Vec<PathBuf>,
}

impl Groups {
    /// Makes the groups that `resources` need; none if nothing is asked for.
    pub(crate) fn make(resources: &Resources, parent: Option<&str>) -> Result<Self, ExecError> {
        if resources.is_empty() && parent.is_none() {
            return Ok(Self::default());
        }
        let own = files::read_to_string("/proc/self/cgroup").map_err(|error| {
            ExecError::NoControlGroup {
                what: "resources",
                reason: error.to_string(),
            }
        })?;
        let parent = parent.map(beneath_root).transpose()?;
        let mut groups = Self::default();
        if files::exists(Path::new(ROOT).join("cgroup.controllers")) {
            groups.make_unified(&unified(resources), &own, parent.as_deref())?;
        } else {
            groups.make_legacy(&legacy(resources), &own, parent.as_deref())?;
        }
        Ok(groups)
    }

    /// The files by which a process gets into the groups.
    pub(crate) fn to_join(&self) -> Vec<PathBuf> {
        self.made
            .iter()
            .map(|group| group.join(PROCESSES))
            .collect()
    }

    fn make_unified(
        &mut self,
        settings: &[Setting],
        own: &str,
        parent: Option<&Path>,
    ) -> Result<(), ExecError> {
        let own = own_path(own, "").unwrap_or_default();
        let above = match parent {
            Some(parent) => {
                let path = Path::new(ROOT).join(parent);
                files::create_dir_all(&path, 0o755)
                    .map_err(|error| failed("make", &path, &error))?;
                hand_down(&path, settings)?;
                path
            }
            None => nearest(&Path::new(ROOT).join(own), settings)?,
        };
        let group = self.make_one(&above)?;
        write_all(&group, settings)
    }

    fn make_legacy(
        &mut self,
        settings: &[Setting],
        own: &str,
        parent: Option<&Path>,
    ) -> Result<(), ExecError> {
        let mut hierarchies: Vec<&str> = settings.iter().map(|one| one.controller).collect();
        if hierarchies.is_empty() {
            // A place was asked for and no limit: by memory is how version 1 groups are told apart.
            hierarchies.push("memory");
        }
        hierarchies.dedup();
        for controller in hierarchies {
            let missing = || ExecError::NoControlGroup {
                what: limits::what(controller),
                reason: format!("the controller `{controller}` is not mounted below `{ROOT}`"),
            };
            let hierarchy = legacy_hierarchy(own, controller).ok_or_else(missing)?;
            let top = Path::new(ROOT).join(&hierarchy);
            if !files::exists(top.join(PROCESSES)) {
                return Err(missing());
            }
            let own = own_path(own, controller).unwrap_or_default();
            let above = top.join(parent.unwrap_or(Path::new(own)));
            // Inside a container the hierarchy may show only what is below the own group.
            let above = if parent.is_none() && !files::exists(&above) {
                top
            } else {
                above
            };
            files::create_dir_all(&above, 0o755).map_err(|error| failed("make", &above, &error))?;
            let group = self.make_one(&above)?;
            if controller == "cpuset" {
                inherit_cpuset(&above, &group)?;
            }
            let settings: Vec<Setting> = settings
                .iter()
                .filter(|one| one.controller == controller)
                .cloned()
                .collect();
            write_all(&group, &settings)?;
        }
        Ok(())
    }

    fn make_one(&mut self, above: &Path) -> Result<PathBuf, ExecError> {
        let mut number = 0_u32;
        loop {
            let group = above.join(format!("kiln-{}-{number}", std::process::id()));
            match files::create_dir(&group, 0o755) {
                Ok(()) => {
                    self.made.push(group.clone());
                    return Ok(group);
                }
                // Another step of this process, or what a killed one with the same number left.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed("make", &group, &error)),
            }
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in self.made.iter().rev() {
            // The kernel takes a moment to forget processes that have just been killed.
            for _ in 0..REMOVALS {
                match std::fs::remove_dir(group) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    // An empty group that stays is only untidy.
                    _ => break,
                }
            }
        }
    }
}

/// How often a busy group is tried to be removed.
const REMOVALS: u32 = 250;

fn failed(action: &'static str, path: &Path, error: &kiln_sys::fs::FsError) -> ExecError {
    let cause = match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    };
    ExecError::ControlGroup {
        action,
        path: path.to_owned(),
        cause,
    }
}

/// `cgroup_parent` as a path below the root.
fn beneath_root(parent: &str) -> Result<PathBuf, ExecError> {
    let path = Path::new(parent.trim_start_matches('/'));
    let is_plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if is_plain && path.components().next().is_some() {
        return Ok(path.to_owned());
    }
    Err(ExecError::NoControlGroup {
        what: "place",
        reason: format!("`{parent}` is no path of a control group"),
    })
}

/// The own group in the hierarchy with this controller (the empty one for version 2), from the text of
/// `/proc/self/cgroup`.
fn own_path<'t>(text: &'t str, controller: &str) -> Option<&'t str> {
    lines(text)
        .find(|(controllers, _)| controllers.split(',').any(|one| one == controller))
        .map(|(_, path)| path.trim_start_matches('/'))
}

/// The directory below the root of a version 1 hierarchy.
fn legacy_hierarchy(text: &str, controller: &str) -> Option<String> {
    let found =
        lines(text).find(|(controllers, _)| controllers.split(',').any(|one| one == controller));
    found.map(|(controllers, _)| controllers.to_owned())
}

fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    })
}

/// The nearest group, from `own` upwards, that takes a new one with the controllers.
fn nearest(own: &Path, settings: &[Setting]) -> Result<PathBuf, ExecError> {
    let mut last = None;
    for group in own.ancestors().take_while(|path| path.starts_with(ROOT)) {
        match hand_down(group, settings) {
            Ok(()) => return Ok(group.to_owned()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| ExecError::NoControlGroup {
        what: "resources",
        reason: "kiln's own control group is not visible here".to_owned(),
    }))
}

/// Has a group of version 2 hand the controllers down to those below it.
fn hand_down(group: &Path, settings: &[Setting]) -> Result<(), ExecError> {
    let read = |name: &str| {
        let path = group.join(name);
        files::read_to_string(&path).map_err(|error| failed("read", &path, &error))
    };
    let has = |list: &str, name: &str| list.split_whitespace().any(|one| one == name);
    let (available, active) = (read("cgroup.controllers")?, read("cgroup.subtree_control")?);
    for setting in settings {
        let controller = setting.controller;
        if has(&active, controller) {
            continue;
        }
        if !has(&available, controller) {
            return Err(ExecError::NoControlGroup {
                what: limits::what(controller),
                reason: format!(
                    "the controller `{controller}` is not delegated to `{}`",
                    group.display()
                ),
            });
        }
        let file = group.join("cgroup.subtree_control");
        files::write(&file, format!("+{controller}").as_bytes())
            .map_err(|error| failed("write to", &file, &error))?;
    }
    Ok(())
}

fn write_all(group: &Path, settings: &[Setting]) -> Result<(), ExecError> {
    for setting in settings {
        let file = group.join(setting.file);
        if !files::exists(&file) {
            return Err(ExecError::NoControlGroup {
                what: limits::what(setting.controller),
                reason: format!("the kernel has no `{}`", setting.file),
            });
        }
        files::write(&file, setting.value.as_bytes())
            .map_err(|error| failed("write to", &file, &error))?;
    }
    Ok(())
}

/// A new group of version 1 has no processors and no memory nodes, and takes no process so.
fn inherit_cpuset(above: &Path, group: &Path) -> Result<(), ExecError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (above.join(name), group.join(name));
        let value = files::read(&from).map_err(|error| failed("read", &from, &error))?;
        files::write(&to, &value).map_err(|error| failed("write to", &to, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found() {
        let text = "4:memory:/a/b\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/own\n";
        assert_eq!(own_path(text, "memory"), Some("a/b"));
        assert_eq!(own_path(text, "cpu"), Some(""));
        assert_eq!(own_path(text, ""), Some("own"));
        assert_eq!(
            legacy_hierarchy(text, "cpu").as_deref(),
            Some("cpu,cpuacct")
        );
        assert_eq!(legacy_hierarchy(text, "cpuset"), None);
    }

    #[test]
    fn parents_stay_below_the_root() {
        assert_eq!(beneath_root("/builds/a").unwrap(), Path::new("builds/a"));
        for wrong in ["../x", "/", "", "a/../../b"] {
            assert!(beneath_root(wrong).is_err(), "{wrong}");
        }
    }
}
