//! A process and its descendants, as the kernel counts them in `/proc`: what a daemon did between
//! two moments.
//!
//! Processor time of a daemon has the kernel's resolution here, a tick of usually 10 ms.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::model::Sample;

/// How long the watch sleeps between two looks: they must not be in anybody's time.
const PAUSE: Duration = Duration::from_millis(25);

/// What a family has used since it began: its living members, and those that these have reaped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    ticks: u64,
    read: u64,
    written: u64,
}

/// A family that is being watched.
#[derive(Debug)]
pub(crate) struct Watch {
    root: u32,
    before: Totals,
    ended: Arc<AtomicBool>,
    sampler: JoinHandle<u64>,
}

impl Watch {
    /// Notes what the family has used so far, and lets its high water marks fall to what is there.
    pub(crate) fn start(root: u32) -> Self {
        for pid in members(root) {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        Self {
            root,
            before: totals(root),
            ended,
            sampler: std::thread::spawn(move || sample(root, &flag)),
        }
    }

    /// What the family used meanwhile. The wall time is not its business.
    pub(crate) fn end(self) -> Sample {
        let after = totals(self.root);
        self.ended.store(true, Ordering::Relaxed);
        let peak = self.sampler.join().unwrap_or(0).max(peak(self.root));
        let ticks = after.ticks.saturating_sub(self.before.ticks);
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Sample {
            wall: Duration::ZERO,
            cpu: Duration::from_millis(ticks * 1000 / per_second),
            peak,
            read: after.read.saturating_sub(self.before.read),
            written: after.written.saturating_sub(self.before.written),
        }
    }
}

/// Ends a process and all its descendants at once.
pub(crate) fn kill(root: u32) {
    for pid in members(root) {
        signal(pid, Signal::KILL);
    }
}

/// Asks the children of this process to end, and those that become its children thereby; whoever
/// is still there after the time ends at once. Does not return: the caller waits for the children
/// on another thread, and then ends the process.
pub(crate) fn end_children(patience: Duration) -> ! {
    let began = Instant::now();
    let own = std::process::id();
    let mut told = BTreeSet::new();
    loop {
        let is_over = began.elapsed() > patience;
        let those = if is_over {
            let members = members(own).into_iter();
            members.filter(|pid| *pid != own).collect()
        } else {
            children(own)
        };
        for pid in those {
            // A second request would mean more than the first.
            if is_over {
                signal(pid, Signal::KILL);
            } else if told.insert(pid) {
                signal(pid, Signal::TERM);
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sends a signal to a process, if it is still there.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Looks at the high water marks now and then, for members that come and go.
fn sample(root: u32, ended: &AtomicBool) -> u64 {
    let mut highest = 0;
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
        highest = highest.max(peak(root));
    }
    highest
}

/// The largest high water mark of a member, in bytes.
fn peak(root: u32) -> u64 {
    let marks = members(root).into_iter().filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        field(&status, "VmHWM:")
    });
    marks.max().unwrap_or(0) * 1024
}

fn totals(root: u32) -> Totals {
    let mut totals = Totals::default();
    for pid in members(root) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        totals.ticks += ticks(&stat).unwrap_or(0);
        totals.read += field(&io, "read_bytes:").unwrap_or(0);
        totals.written += field(&io, "write_bytes:").unwrap_or(0);
    }
    totals
}

/// User and system time of a process and of the children it reaped: fields 14 to 17 of
/// `/proc/PID/stat`. The second, its name, may hold anything, and ends with the last parenthesis.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields
        .get(11..15)?
        .iter()
        .try_fold(0, |sum, field| Some(sum + field.parse::<u64>().ok()?))
}

/// The number after a name, in a file with one name in a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn members(root: u32) -> BTreeSet<u32> {
    let mut members = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for child in children(pid) {
            if members.insert(child) {
                open.push(child);
            }
        }
    }
    members
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")));
    let lists: Vec<String> = lists.map(Result::unwrap_or_default).collect();
    let words = lists.iter().flat_map(|list| list.split_whitespace());
    words.filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_process_stand_behind_its_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 9 9 9 9 1 20 300 4000 20 0 5 0 99 1 2";
        assert_eq!(ticks(stat), Some(4321));
        assert_eq!(ticks("7 (a) S 1 2"), None);
    }

    #[test]
    fn numbers_are_found_by_name() {
        let text = "rchar: 1\nread_bytes: 4096\nVmHWM:\t   12 kB\n";
        assert_eq!(field(text, "read_bytes:"), Some(4096));
        assert_eq!(field(text, "VmHWM:"), Some(12));
        assert_eq!(field(text, "write_bytes:"), None);
    }

    #[test]
    fn this_process_is_in_its_own_family() {
        assert!(members(std::process::id()).contains(&std::process::id()));
        assert!(peak(std::process::id()) > 0);
    }
}
