//! Talking to a running program: signals from outside, and a terminal joined to ours.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_sys::pty::{RawMode, copy_window_size};
use kiln_sys::signal::Signal;
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::wire::send_signal;

/// Sends signals to a running program; clones speak to the same one.
///
/// Made before the program is started ([`crate::run_controlled`]) and kept where signals arrive.
/// Signals sent while no program runs are dropped.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    helper: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

impl Control {
    /// Speaks to no program yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `signal` to the program. `SIGWINCH` for a program with a terminal of its own tells it
    /// the size of ours instead.
    pub fn signal(&self, signal: Signal) {
        let running = self.lock();
        match &running.terminal {
            Some(terminal) if signal == Signal::WINCH => {
                // A terminal that is gone has no size.
                let _ = copy_window_size(&rustix::stdio::stdin(), terminal);
            }
            _ => {
                if let (Some(helper), Ok(number)) = (&running.helper, signal.as_raw().try_into()) {
                    send_signal(helper.as_fd(), number);
                }
            }
        }
    }

    pub(crate) fn started(&self, helper: OwnedFd) {
        self.lock().helper = Some(helper);
    }

    pub(crate) fn ended(&self) {
        *self.lock() = Running::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The program's terminal, joined to this process's: input is passed on as it comes.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) controller: OwnedFd,
    typed: Vec<u8>,
    input_open: bool,
    _raw: Option<RawMode>,
}

impl Joined {
    /// Puts our terminal into raw mode and gives its size to the program's.
    pub(crate) fn new(controller: OwnedFd, control: &Control) -> io::Result<Self> {
        let stdin = rustix::stdio::stdin();
        copy_window_size(&stdin, &controller)?;
        rustix::io::ioctl_fionbio(&controller, true)?;
        control.lock().terminal = Some(controller.try_clone()?);
        Ok(Self {
            controller,
            typed: Vec::new(),
            input_open: true,
            _raw: RawMode::enter(&stdin)?,
        })
    }

    /// What to wait for on our input.
    pub(crate) fn input_interest(&self) -> PollFlags {
        if self.input_open && self.typed.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::empty()
        }
    }

    /// What to wait for on the program's terminal.
    pub(crate) fn controller_interest(&self) -> PollFlags {
        if self.typed.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        }
    }

    /// Reads what was typed. The end of the input is passed on as the terminal's end-of-file
    /// character, since a terminal itself has no end.
    pub(crate) fn read_input(&mut self) -> io::Result<()> {
        const END_OF_FILE: u8 = 4;
        let mut buffer = [0; 4096];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) | Err(Errno::IO) => {
                self.input_open = false;
                self.typed.push(END_OF_FILE);
            }
            Ok(count) => self.typed.extend_from_slice(&buffer[..count]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Writes what was typed, as far as the program's terminal takes it.
    pub(crate) fn write_typed(&mut self) {
        match rustix::io::write(&self.controller, &self.typed) {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody reads it any more.
            Err(_) => self.typed.clear(),
        }
    }
}
