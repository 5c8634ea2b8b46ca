//! The process below which commands are measured: what it does when it is asked to end, and when
//! whoever started it is gone.

#![expect(clippy::unwrap_used, reason = "a test says enough by failing")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use kiln_sys::signal::Signal;
use rustix::process::{Pid, kill_process};

/// Starts something, notes that it was asked to end and obeys, while something else does not.
const COMMAND: &str = r#"
trap 'echo asked; exit 3' TERM
sh -c 'trap "" TERM; echo "deaf $$"; while :; do sleep 100; done' &
sleep 100 &
echo "ready $$"
wait
"#;

/// The command below the helper, below whatever is put before it.
fn start(before: &[&str]) -> (Child, BufReader<impl Read>) {
    let helper = env!("CARGO_BIN_EXE_kiln-benches");
    let words = [
        helper,
        "__measure",
        "/nowhere/report",
        "-",
        "sh",
        "-c",
        COMMAND,
    ];
    let words: Vec<&str> = before.iter().copied().chain(words).collect();
    let mut command = kiln_sys::process::command(words[0], Path::new("/"));
    command.env("PATH", "/usr/bin:/bin").args(&words[1..]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Reads until both of the command's processes have said who they are.
fn processes(output: &mut impl BufRead) -> Vec<u32> {
    let mut found = Vec::new();
    while found.len() < 2 {
        let mut line = String::new();
        assert!(
            output.read_line(&mut line).unwrap() > 0,
            "it ended: {found:?}"
        );
        let (_, pid) = line.trim().split_once(' ').unwrap();
        found.push(pid.parse().unwrap());
    }
    found
}

fn kill(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Nobody has the pipe any more when this returns, and those who said something are gone.
#[track_caller]
fn check_all_ended(output: &mut impl BufRead, processes: &[u32]) {
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "asked\n");
    for pid in processes {
        // Dead, and perhaps not yet waited for by whoever inherits orphans here.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("X", |(_, rest)| &rest[..1]);
        assert!(["X", "Z"].contains(&state), "{pid}: {stat}");
    }
}

#[test]
fn everything_below_ends_when_the_helper_is_asked_to() {
    let (mut helper, mut output) = start(&[]);
    let processes = processes(&mut output);
    kill(&helper, Signal::TERM);
    check_all_ended(&mut output, &processes);
    assert!(!helper.wait().unwrap().success());
}

#[test]
fn everything_below_ends_when_the_benchmarks_are_killed() {
    // A shell that waits for the helper, in the place of the benchmarks.
    let (mut shell, mut output) = start(&["sh", "-c", "\"$@\"; exit 0", "sh"]);
    let processes = processes(&mut output);
    kill(&shell, Signal::KILL);
    shell.wait().unwrap();
    check_all_ended(&mut output, &processes);
}
