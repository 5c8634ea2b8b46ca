//! While the program runs: signals, zombies, the port that somebody waits for.

use std::io;
use std::time::{Duration, Instant};

use kiln_init::config::Program;
use kiln_init::report::Report;
use kiln_sys::machine::{self, Reaped, Received, SignalQueue};
use kiln_sys::process::Ended;

use crate::console::say;

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGPWR: i32 = 30;

/// How often a port is looked for.
const PORT_INTERVAL: Duration = Duration::from_millis(50);

/// Waits for the end of the program with this process id.
pub(crate) fn supervise(
    signals: &mut SignalQueue,
    pid: i32,
    program: &Program,
    mut port: Option<u16>,
) -> io::Result<Ended> {
    let mut deadline = None;
    loop {
        if let Some(ended) = reap_until(pid)? {
            say(&Report::Exit(ended));
            return Ok(ended);
        }
        if let Some(found) = port.filter(|port| is_listening(*port)) {
            say(&Report::Listening { port: found });
            port = None;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            machine::signal_process(pid, SIGKILL)?;
            deadline = None;
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let patience = [left, port.map(|_| PORT_INTERVAL)].into_iter().flatten();
        let Some(received) = signals.receive(patience.min())? else {
            continue;
        };
        match what_to_do(received) {
            Deed::Nothing => {}
            Deed::Forward => machine::signal_process(pid, received.signal)?,
            Deed::Stop => {
                machine::signal_process(pid, program.stop_signal)?;
                let patience = Duration::from_secs(program.stop_seconds.into());
                deadline = deadline.or(Some(Instant::now() + patience));
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    Forward,
    Stop,
}

const fn what_to_do(received: Received) -> Deed {
    match (received.signal, received.from_kernel) {
        // Ctrl-Alt-Del is an interrupt from the kernel.
        (SIGTERM | SIGPWR, _) | (SIGINT, true) => Deed::Stop,
        // What else the kernel sends is about this process (a console that is gone).
        (SIGCHLD, _) | (_, true) => Deed::Nothing,
        (_, false) => Deed::Forward,
    }
}

/// Reaps all that has ended; says how the one process did, if it is among them.
fn reap_until(pid: i32) -> io::Result<Option<Ended>> {
    loop {
        match machine::reap()? {
            Reaped::Child(id, ended) if id == pid => return Ok(Some(ended)),
            Reaped::Child(..) => {}
            Reaped::NoneEnded | Reaped::NoChildren => return Ok(None),
        }
    }
}

/// Whether a socket of this machine listens on the TCP port. Nothing is sent to it.
pub(crate) fn is_listening(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        table.lines().any(|line| listens(line, port))
    })
}

/// `0: 0100007F:1F90 00000000:0000 0A …`: number, local address, remote address, state.
fn listens(line: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, state) = (fields.next(), fields.nth(1));
    let local = local.and_then(|local| local.rsplit_once(':'));
    let local = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    local == Some(port) && state == Some(LISTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(signal: i32, from_kernel: bool, expected: Deed) {
        let received = Received {
            signal,
            from_kernel,
        };
        assert_eq!(what_to_do(received), expected);
    }

    #[test]
    fn signals_are_told_apart() {
        check(SIGCHLD, true, Deed::Nothing);
        check(SIGTERM, false, Deed::Stop);
        check(SIGPWR, true, Deed::Stop);
        check(SIGINT, true, Deed::Stop);
        check(SIGINT, false, Deed::Forward);
        check(1, false, Deed::Forward);
        check(13, true, Deed::Nothing);
        check(40, false, Deed::Forward);
    }

    #[test]
    fn listeners_are_found_in_the_kernels_table() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
        assert!(listens(line, 8080));
        assert!(!listens(line, 80));
        assert!(!listens(&line.replace(" 0A ", " 01 "), 8080));
        assert!(listens(
            "1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A",
            80
        ));
        assert!(!listens("  sl  local_address rem_address   st", 80));
    }
}
