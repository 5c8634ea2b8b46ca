//! The machine, as a reader would compare it with another.

use std::fs;
use std::path::Path;

use crate::measure::command;
use crate::model::Machine;

/// Logical processors.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What there is to say; `scratch` is where the programs' states are.
pub(crate) fn describe(scratch: &Path) -> Machine {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memory = value(&text("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let memory = memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
    let unknown = || "unknown".to_owned();
    Machine {
        date: said(command("date").args(["-u", "+%Y-%m-%d"])),
        processor: value(&text("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
        cores: cores(),
        memory: memory * 1024,
        kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        system: value(&text("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(unknown),
        file_system: said(
            // `stat` has one name for ext2, ext3 and ext4.
            command("findmnt")
                .args(["--noheadings", "--output=FSTYPE", "--target"])
                .arg(scratch),
        ),
    }
}

fn said(command: &mut std::process::Command) -> String {
    let output = command.output().map(|output| output.stdout);
    let text = String::from_utf8_lossy(&output.unwrap_or_default()).into_owned();
    text.trim().to_owned()
}

/// The value of the first line that begins with the name and `:` or `=`.
fn value(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once([':', '='])?;
        (found.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_the_formats_of_the_kernel_and_of_systemd() {
        let cpu = "processor\t: 0\nmodel name\t: A: B\n";
        assert_eq!(value(cpu, "model name"), Some("A: B".to_owned()));
        let os = "NAME=\"A\"\nPRETTY_NAME=\"A 1\"\n";
        assert_eq!(value(os, "PRETTY_NAME"), Some("A 1".to_owned()));
        assert_eq!(value(os, "VERSION"), None);
    }
}
