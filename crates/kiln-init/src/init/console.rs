//! The console: one line at a time.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use kiln_init::report::Report;

/// Writes a report in one piece, so that what a program writes at the same moment is not inside it.
pub(crate) fn say(report: &Report) {
    say_on(&mut std::io::stdout(), report);
}

/// [`say`] on something else than standard output.
pub(crate) fn say_on(output: &mut impl Write, report: &Report) {
    // A program's last line may have no end.
    let start = match report {
        Report::Exit(_) => "\n",
        _ => "",
    };
    let line = format!("{start}{}\n", report.line());
    // There is nobody to tell that the console is gone.
    let _ = output.write_all(line.as_bytes());
    let _ = output.flush();
}

/// The number of `/dev/null`.
const NULL: u64 = 0x103;

/// Makes `/dev/console` the standard input and output where the kernel gave none.
pub(crate) fn open_if_none() {
    // Rust's runtime puts `/dev/null` where nothing was.
    let is_null = std::fs::metadata("/proc/self/fd/1").is_ok_and(|file| file.rdev() == NULL);
    let opened = File::options().read(true).write(true).open("/dev/console");
    if let (true, Ok(console)) = (is_null, opened) {
        let _ = kiln_sys::machine::use_as_stdio(&console);
    }
}
