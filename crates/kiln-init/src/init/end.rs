//! The machine's end.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kiln_init::config::End;
use kiln_sys::machine::{self, MachineEnd, MountFlags, Reaped};
use kiln_sys::process::Ended;
use kiln_sys::signal;

use crate::mounts::is_machine;

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// How long processes that the program left behind have, to end by themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends what is left, writes the disks, and ends the machine. Returns where the end is this process's
/// own.
pub(crate) fn finish(end: Option<End>, ended: Ended) -> ExitCode {
    end_others(SIGTERM, PATIENCE);
    end_others(SIGKILL, PATIENCE);
    let command = match end.unwrap_or_else(default_end) {
        End::Exit => None,
        End::PowerOff => Some(MachineEnd::PowerOff),
        End::Restart => Some(MachineEnd::Restart),
    };
    if let Some(command) = command {
        if is_machine() {
            machine::sync();
            // A disk that is not written to any more is clean. One that was never writable says no.
            let _ = machine::remount(Path::new("/"), MountFlags::RDONLY);
        }
        let error = machine::end_machine(command);
        crate::warn(format!("the machine can't be ended: {error}"));
    }
    let code = match ended {
        Ended::Exited(code) => code,
        Ended::Signaled(number) => signal::exit_code(number),
    };
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(125))
}

/// A machine without a way to switch its power off would stand still for ever.
fn default_end() -> End {
    if !is_machine() {
        return End::Exit;
    }
    let ways = ["/sys/firmware/acpi/tables", "/proc/device-tree/psci"];
    if ways.iter().any(|way| Path::new(way).exists()) {
        End::PowerOff
    } else {
        End::Restart
    }
}

fn end_others(signal: i32, patience: Duration) {
    let _ = machine::signal_all(signal);
    let deadline = Instant::now() + patience;
    loop {
        match machine::reap() {
            Ok(Reaped::Child(..)) => {}
            Ok(Reaped::NoChildren) | Err(_) => return,
            Ok(Reaped::NoneEnded) if Instant::now() >= deadline => return,
            Ok(Reaped::NoneEnded) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
