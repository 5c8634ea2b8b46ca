//! The program's standard streams on kiln's side, and the loop that serves them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kiln_base::events::Stream;
use kiln_base::trace::Tracer;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::helper_error;
use crate::terminal::Joined;
use crate::wire::{Report, receive_report};
use crate::{Control, ExecError, Stdio};

/// As much as a pipe holds by default.
const BUFFER_BYTES: usize = 64 << 10;

/// The ends that kiln reads.
pub(super) struct Streams {
    pipes: Vec<(Stream, OwnedFd)>,
    terminal: Option<Joined>,
    buffer: Vec<u8>,
}

/// The ends that the program gets.
pub(super) struct ProgramStreams {
    stdio: Stdio,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
}

impl ProgramStreams {
    /// Standard input, output and error; `None` is `/dev/null`.
    pub(super) fn given(&self) -> [Option<BorrowedFd<'_>>; 3] {
        let inherited = |stream| (self.stdio == Stdio::Inherited).then_some(stream);
        [
            inherited(rustix::stdio::stdin()),
            (self.output.as_ref().map(AsFd::as_fd)).or_else(|| inherited(rustix::stdio::stdout())),
            (self.error.as_ref().map(AsFd::as_fd)).or_else(|| inherited(rustix::stdio::stderr())),
        ]
    }
}

impl Streams {
    pub(super) fn open(stdio: Stdio) -> io::Result<(Self, ProgramStreams)> {
        let mut streams = Self {
            pipes: Vec::new(),
            terminal: None,
            buffer: vec![0; BUFFER_BYTES],
        };
        let mut program = ProgramStreams {
            stdio,
            output: None,
            error: None,
        };
        if stdio == Stdio::Captured {
            let (output, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            program.output = Some(theirs);
            let (error, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            program.error = Some(theirs);
            streams.pipes = vec![(Stream::Stdout, output), (Stream::Stderr, error)];
        }
        Ok((streams, program))
    }

    /// Serves the streams until the helper is gone. Returns its last report, if it made one.
    pub(super) fn pump(
        &mut self,
        helper: &OwnedFd,
        output: &mut dyn FnMut(Stream, &[u8]),
        control: &Control,
        tracer: &Tracer,
    ) -> Result<Option<Report>, ExecError> {
        let mut phase = Some(tracer.span("set up"));
        let mut last = None;
        loop {
            let ready = self
                .wait(helper.as_fd())
                .map_err(helper_error("wait for"))?;
            for (stream, pipe) in std::mem::take(&mut self.pipes) {
                let is_ready = ready.pipes.contains(&stream);
                if !is_ready || self.forward(stream, pipe.as_fd(), output) {
                    self.pipes.push((stream, pipe));
                }
            }
            self.serve_terminal(&ready, output)
                .map_err(helper_error("read the terminal for"))?;
            if !ready.helper {
                continue;
            }
            match receive_report(helper.as_fd()).map_err(helper_error("talk to"))? {
                Some((Report::Terminal, Some(controller))) => {
                    let joined = Joined::new(controller, control);
                    self.terminal = Some(joined.map_err(helper_error("join the terminal to"))?);
                }
                Some((Report::Ready, _)) => {
                    drop(phase.take());
                    phase = Some(tracer.span("run"));
                }
                // The first failure is the one that counts: the exit after it only follows from it.
                Some((report, _)) => {
                    if !matches!(last, Some(Report::Failed(_))) {
                        last = Some(report);
                    }
                }
                None => {
                    self.drain(output);
                    return Ok(last);
                }
            }
        }
    }

    fn wait(&self, helper: BorrowedFd<'_>) -> io::Result<Ready> {
        let mut polled = vec![PollFd::from_borrowed_fd(helper, PollFlags::IN)];
        polled.extend(
            self.pipes
                .iter()
                .map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)),
        );
        let stdin = rustix::stdio::stdin();
        if let Some(joined) = &self.terminal {
            polled.push(PollFd::new(
                &joined.controller,
                joined.controller_interest(),
            ));
            let interest = joined.input_interest();
            if !interest.is_empty() {
                polled.push(PollFd::from_borrowed_fd(stdin, interest));
            }
        }
        rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
        let mut events = polled.iter().map(PollFd::revents);
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let helper = !next().is_empty();
        let pipes = self.pipes.iter().map(|(stream, _)| *stream);
        let pipes = pipes.filter(|_| !next().is_empty()).collect();
        Ok(Ready {
            helper,
            pipes,
            terminal: next(),
            input: !next().is_empty(),
        })
    }

    /// Passes on one buffer full. `false` at the end of the stream.
    fn forward(
        &mut self,
        stream: Stream,
        from: BorrowedFd<'_>,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> bool {
        match rustix::io::read(from, &mut self.buffer) {
            Ok(0) => false,
            Ok(count) => {
                output(stream, &self.buffer[..count]);
                true
            }
            Err(errno) => errno == Errno::INTR,
        }
    }

    fn serve_terminal(
        &mut self,
        ready: &Ready,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> io::Result<()> {
        let Some(joined) = &mut self.terminal else {
            return Ok(());
        };
        if ready.input {
            joined.read_input()?;
        }
        if ready.terminal.contains(PollFlags::OUT) {
            joined.write_typed();
        }
        if ready.terminal.intersects(PollFlags::IN | PollFlags::HUP) {
            match rustix::io::read(&joined.controller, &mut self.buffer) {
                Ok(count) if count > 0 => output(Stream::Stdout, &self.buffer[..count]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // A terminal that nobody has open any more reads as an error.
                Ok(_) | Err(_) => self.terminal = None,
            }
        }
        Ok(())
    }

    /// Reads what is left. All writers are dead, so the ends of the pipes are near; a descriptor that
    /// the program has passed to a process outside must not keep us waiting, though.
    fn drain(&mut self, output: &mut dyn FnMut(Stream, &[u8])) {
        let mut rest = std::mem::take(&mut self.pipes);
        if let Some(joined) = self.terminal.take() {
            rest.push((Stream::Stdout, joined.controller));
        }
        for (stream, pipe) in rest {
            if rustix::io::ioctl_fionbio(&pipe, true).is_ok() {
                while self.forward(stream, pipe.as_fd(), output) {}
            }
        }
    }
}

/// What there is to do.
struct Ready {
    helper: bool,
    pipes: Vec<Stream>,
    terminal: PollFlags,
    input: bool,
}
