//! One command, timed as a whole process, with the memory of what it started.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What one run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) wall: Duration,
    /// Peak resident memory of the largest process, in kilobytes.
    pub(crate) peak_kb: u64,
}

/// Runs the command to its end. An exit code other than 0 is an error that shows its output.
pub(crate) fn cost(command: &mut Command) -> Result<Cost, String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let stderr = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = std::io::Read::read_to_end(&mut pipe, &mut text);
            text
        })
    });
    let pid = child.id();
    let ended = Arc::new(AtomicBool::new(false));
    let sampler = {
        let ended = Arc::clone(&ended);
        std::thread::spawn(move || watch(pid, &ended))
    };
    // Waited for by a thread that does nothing else: the samples must not be in the time.
    let status = child.wait().map_err(|error| error.to_string())?;
    let wall = began.elapsed();
    ended.store(true, Ordering::Relaxed);
    let peak_kb = sampler.join().unwrap_or(0);
    let stderr = stderr
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    if status.success() {
        Ok(Cost { wall, peak_kb })
    } else {
        Err(format!(
            "{command:?} ended with {status}:\n{}",
            String::from_utf8_lossy(&stderr)
        ))
    }
}

/// Samples the process and its descendants until it ends. The kernel keeps each process's high
/// water mark, so a sample misses only what grew since the one before.
fn watch(root: u32, ended: &AtomicBool) -> u64 {
    let mut peaks: BTreeMap<u32, u64> = BTreeMap::new();
    let mut pause = Duration::from_millis(1);
    while !ended.load(Ordering::Relaxed) {
        for pid in family(root) {
            if let Some(kb) = high_water_mark(pid) {
                let peak = peaks.entry(pid).or_default();
                *peak = kb.max(*peak);
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    peaks.into_values().max().unwrap_or(0)
}

fn family(root: u32) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            for child in children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
            {
                if family.insert(child) {
                    open.push(child);
                }
            }
        }
    }
    family
}

fn high_water_mark(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

/// The middle of several costs: median wall time, largest memory.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    let mut walls: Vec<Duration> = costs.iter().map(|cost| cost.wall).collect();
    walls.sort();
    Cost {
        wall: walls.get(walls.len() / 2).copied().unwrap_or_default(),
        peak_kb: costs.iter().map(|cost| cost.peak_kb).max().unwrap_or(0),
    }
}
