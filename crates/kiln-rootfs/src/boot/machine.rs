//! QEMU as a process, and waiting for what its console says.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use kiln_base::{CancelGuard, CancelToken};
use kiln_sys::process::{self, Ended};

use super::console::Console;
use super::{BootProblem, BootRequest, WaitFor};

/// Where QEMU may be.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long a kernel that has started a first process may take to find out that it can't.
const PANIC_PATIENCE: Duration = Duration::from_millis(300);

/// A machine that runs; dropping it ends it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    news: Receiver<News>,
    said: Vec<u8>,
    _on_cancel: CancelGuard,
}

#[derive(Debug)]
enum News {
    Console(Vec<u8>),
    /// What QEMU says itself.
    Said(Vec<u8>),
    ConsoleEnded,
    Cancelled,
}

impl Running {
    pub(super) fn start(words: &[String], cancel: &CancelToken) -> Result<Self, BootProblem> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| BootProblem::Start(io::Error::from(io::ErrorKind::InvalidInput)))?;
        let mut command = process::command(program, Path::new("/"));
        command
            .args(arguments)
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BootProblem::NoQemu {
                program: program.clone(),
                package: if program.ends_with("aarch64") {
                    "qemu-system-arm"
                } else {
                    "qemu-system-x86"
                },
            },
            _ => BootProblem::Start(error),
        })?;
        let (sender, news) = channel();
        let (console, said) = (child.stdout.take(), child.stderr.take());
        let on_cancel = {
            let sender = sender.clone();
            cancel.on_cancel(move || drop(sender.send(News::Cancelled)))
        };
        // From here on, whatever happens, the process is ended with the value.
        let running = Self {
            child,
            news,
            said: Vec::new(),
            _on_cancel: on_cancel,
        };
        if let (Some(console), Some(said)) = (console, said) {
            let end = sender.clone();
            read_on_thread(said, sender.clone(), News::Said, None)?;
            read_on_thread(console, sender, News::Console, Some(end))?;
        }
        Ok(running)
    }

    /// What QEMU said itself, in one line.
    fn last_words(&mut self) -> String {
        let status = self.child.wait();
        while let Ok(news) = self.news.try_recv() {
            if let News::Said(bytes) = news {
                self.said.extend(bytes);
            }
        }
        let said = String::from_utf8_lossy(&self.said).trim().to_owned();
        match (said.is_empty(), status) {
            (false, _) => said,
            (true, Ok(status)) => format!("QEMU, {status}"),
            (true, Err(error)) => error.to_string(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_on_thread(
    mut source: impl Read + Send + 'static,
    sender: Sender<News>,
    news: fn(Vec<u8>) -> News,
    end: Option<Sender<News>>,
) -> Result<(), BootProblem> {
    let read = move || {
        let mut buffer = [0_u8; 4096];
        // The process that writes is ended by whoever receives, which ends this, too.
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            if sender.send(news(buffer[..count].to_vec())).is_err() {
                return;
            }
        }
        if let Some(end) = end {
            let _ = end.send(News::ConsoleEnded);
        }
    };
    thread::Builder::new()
        .name("console".to_owned())
        .spawn(read)
        .map(drop)
        .map_err(BootProblem::Start)
}

/// Waits for what was asked for.
pub(super) fn watch(
    machine: &mut Running,
    console: &mut Console,
    request: &BootRequest,
    start: Instant,
) -> Result<(), BootProblem> {
    let deadline = start + request.deadline;
    let mut has_ended = false;
    loop {
        if let Some(result) = judge(console, request, has_ended) {
            return result;
        }
        if has_ended {
            return Err(BootProblem::Ended(machine.last_words()));
        }
        let now = Instant::now();
        let mut patience = deadline.saturating_duration_since(now);
        // Without reports, it is time that says that there was no panic.
        let is_time = !request.has_reports && request.wait_for == WaitFor::Ready;
        if let (true, Some(at)) = (is_time, console.handshake()) {
            patience = patience.min((at + PANIC_PATIENCE).saturating_duration_since(now));
        }
        match machine.news.recv_timeout(patience) {
            Ok(News::Console(bytes)) => console.write(&bytes, Instant::now()),
            Ok(News::Said(bytes)) => machine.said.extend(bytes),
            Ok(News::ConsoleEnded) | Err(RecvTimeoutError::Disconnected) => has_ended = true,
            Ok(News::Cancelled) => return Err(BootProblem::Cancelled),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {
                if is_time && console.handshake().is_some() {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(BootProblem::Deadline {
                    what: waited_for(console, request),
                    deadline: request.deadline,
                });
            }
        }
    }
}

/// Whether the console so far is an answer.
fn judge(
    console: &Console,
    request: &BootRequest,
    has_ended: bool,
) -> Option<Result<(), BootProblem>> {
    if let Some((code, message)) = console.failed() {
        return Some(Err(BootProblem::NotStarted {
            code: *code,
            message: message.clone(),
        }));
    }
    let is_good = match &request.wait_for {
        WaitFor::Ready => request.has_reports && console.handshake().is_some(),
        WaitFor::Output(text) => console.contains(text),
        WaitFor::Port(port) => console.is_listening(*port),
        WaitFor::Exit(code) => {
            let is_over = has_ended || !request.ends_with_program;
            match (console.exit(), code) {
                (Some(ended), Some(code)) if is_over && ended != Ended::Exited(*code) => {
                    let expected = *code;
                    return Some(Err(BootProblem::WrongExit { ended, expected }));
                }
                (Some(_), _) => is_over,
                (None, _) => has_ended && !request.has_reports,
            }
        }
    };
    if is_good {
        return Some(Ok(()));
    }
    if let Some(panic) = console.panic() {
        return Some(Err(BootProblem::Panic(panic.to_owned())));
    }
    match console.exit() {
        Some(ended) if !matches!(request.wait_for, WaitFor::Exit(_)) => {
            Some(Err(BootProblem::ProgramEnded {
                ended,
                what: waited_for(console, request),
            }))
        }
        _ => None,
    }
}

/// What is missing, for messages.
fn waited_for(console: &Console, request: &BootRequest) -> String {
    if console.handshake().is_none() {
        return "handshake of the first process".to_owned();
    }
    match &request.wait_for {
        WaitFor::Ready => "handshake of the first process".to_owned(),
        WaitFor::Output(text) => format!("`{}` on the console", text.escape_debug()),
        WaitFor::Port(port) => format!("listener on port {port}"),
        WaitFor::Exit(_) if !request.ends_with_program => "end of the program".to_owned(),
        WaitFor::Exit(_) => "end of the program and the machine".to_owned(),
    }
}
