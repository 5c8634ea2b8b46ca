//! Reports from a machine whose first process is systemd: its unit for the program starts this one
//! when the program runs, and when it has ended.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kiln_init::cmdline;
use kiln_init::report::{Ready, Report, VERSION};
use kiln_sys::process::Ended;

use crate::console::say_on;
use crate::supervise::is_listening;

/// Less than systemd's own patience with what it starts.
const PORT_PATIENCE: Duration = Duration::from_mins(1);

/// `ExecStartPost`: systemd says in `MAINPID` which process the program is.
pub(crate) fn ready() -> ExitCode {
    let pid = variable("MAINPID").parse().unwrap_or(0);
    let owner = std::fs::metadata(format!("/proc/{pid}"));
    let (uid, gid) = owner.map_or((0, 0), |owner| (owner.uid(), owner.gid()));
    let ready = Ready {
        version: VERSION,
        pid,
        uid,
        gid,
    };
    let done = say_on_console(&Report::Ready(ready));
    let line = std::fs::read_to_string(cmdline::PATH).unwrap_or_default();
    if let Some(port) = cmdline::parse(&line).port {
        let deadline = Instant::now() + PORT_PATIENCE;
        while Instant::now() < deadline {
            if is_listening(port) {
                return say_on_console(&Report::Listening { port });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    done
}

/// `ExecStopPost`: systemd says in `EXIT_CODE` and `EXIT_STATUS` how the program ended.
pub(crate) fn exit() -> ExitCode {
    let status = variable("EXIT_STATUS");
    let ended = match variable("EXIT_CODE").as_str() {
        "exited" => Ended::Exited(status.parse().unwrap_or(255)),
        _ => Ended::Signaled(signal_number(&status)),
    };
    say_on_console(&Report::Exit(ended))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn say_on_console(report: &Report) -> ExitCode {
    match File::options().write(true).open("/dev/console") {
        Ok(mut console) => {
            say_on(&mut console, report);
            ExitCode::SUCCESS
        }
        // A machine without a console has nobody to tell; the program is not to blame.
        Err(_) => ExitCode::SUCCESS,
    }
}

/// systemd says the signal's name without `SIG`.
fn signal_number(name: &str) -> i32 {
    let full = format!("SIG{name}");
    (1..32)
        .find(|number| kiln_sys::signal::name(*number) == full)
        .unwrap_or(0)
}
