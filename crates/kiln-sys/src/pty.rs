//! Terminals: making one for a program, and lending ours to it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// A pseudo terminal: what is written to one end is read at the other.
#[derive(Debug)]
pub struct Pty {
    /// The end of whoever shows the terminal.
    pub controller: OwnedFd,
    /// The end of the program.
    pub terminal: OwnedFd,
}

/// Makes a pseudo terminal from the `ptmx` device at `ptmx`.
pub fn open_pty(ptmx: &Path) -> io::Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let controller = open(ptmx, flags, Mode::empty())?;
    unlockpt(&controller)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = ioctl_tiocgptpeer(&controller, flags)?;
    Ok(Pty {
        controller,
        terminal,
    })
}

/// Makes `terminal` the controlling terminal of this process, which has to lead a session.
pub fn make_controlling(terminal: &impl AsFd) -> io::Result<()> {
    Ok(rustix::process::ioctl_tiocsctty(terminal)?)
}

/// Gives `to` the window size of `from`. Nothing happens if `from` is no terminal.
pub fn copy_window_size(from: &impl AsFd, to: &impl AsFd) -> io::Result<()> {
    if isatty(from) {
        tcsetwinsize(to, tcgetwinsize(from)?)?;
    }
    Ok(())
}

/// A terminal in raw mode; dropping it restores the mode it was in.
#[derive(Debug)]
#[must_use = "the terminal's mode is restored when this value is dropped"]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Puts `terminal` into raw mode; `None` if it is no terminal.
    pub fn enter(terminal: &impl AsFd) -> io::Result<Option<Self>> {
        if !isatty(terminal) {
            return Ok(None);
        }
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Some(Self {
            terminal: terminal.as_fd().try_clone_to_owned()?,
            before,
        }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody to tell.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_mode_ends_with_the_value() {
        let Ok(pty) = open_pty(Path::new("/dev/ptmx")) else {
            eprintln!("skipped: raw_mode_ends_with_the_value: `/dev/ptmx` can't be opened");
            return;
        };
        let before = tcgetattr(&pty.terminal).unwrap();
        let raw = RawMode::enter(&pty.terminal).unwrap().unwrap();
        assert_ne!(
            tcgetattr(&pty.terminal).unwrap().local_modes,
            before.local_modes
        );
        drop(raw);
        assert_eq!(
            tcgetattr(&pty.terminal).unwrap().local_modes,
            before.local_modes
        );
        let null = open("/dev/null", OFlags::RDWR, Mode::empty()).unwrap();
        assert!(RawMode::enter(&null).unwrap().is_none());
    }
}
