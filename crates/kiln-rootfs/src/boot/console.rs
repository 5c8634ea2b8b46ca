//! What a console says: its text, and the reports in it.

use std::time::Instant;

use kiln_init::report::{Ready, Report};
use kiln_sys::process::Ended;

/// More than this is cut at the beginning.
const MAX_TEXT: usize = 1 << 20;

/// Longer lines are looked at in parts.
const MAX_LINE: usize = 64 << 10;

/// A console so far.
#[derive(Debug)]
pub(super) struct Console {
    text: Vec<u8>,
    /// The line that has no end yet.
    line: Vec<u8>,
    has_reports: bool,
    handshake: Option<Instant>,
    ready: Option<Ready>,
    listening: Vec<u16>,
    exit: Option<Ended>,
    failed: Option<(i32, String)>,
    panic: Option<String>,
    warnings: Vec<String>,
}

impl Console {
    pub(super) fn new(has_reports: bool) -> Self {
        Self {
            text: Vec::new(),
            line: Vec::new(),
            has_reports,
            handshake: None,
            ready: None,
            listening: Vec::new(),
            exit: None,
            failed: None,
            panic: None,
            warnings: Vec::new(),
        }
    }

    /// Takes what was written at this time.
    pub(super) fn write(&mut self, bytes: &[u8], now: Instant) {
        // A terminal ends lines with both.
        let bytes: Vec<u8> = bytes
            .iter()
            .copied()
            .filter(|byte| *byte != b'\r')
            .collect();
        self.text.extend_from_slice(&bytes);
        if self.text.len() > 2 * MAX_TEXT {
            self.text.drain(..self.text.len() - MAX_TEXT);
        }
        for byte in bytes {
            if byte != b'\n' && self.line.len() < MAX_LINE {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.read_line(&String::from_utf8_lossy(&line), now);
        }
    }

    fn read_line(&mut self, line: &str, now: Instant) {
        match Report::parse(line) {
            Some(Report::Ready(ready)) => {
                self.handshake = self.handshake.or(Some(now));
                self.ready = Some(ready);
            }
            Some(Report::Listening { port }) => self.listening.push(port),
            Some(Report::Exit(ended)) => self.exit = Some(ended),
            Some(Report::Failed { code, message }) => self.failed = Some((code, message)),
            Some(Report::Warning { message }) => self.warnings.push(message),
            None if line.contains("Kernel panic - ") => {
                let start = line.find("Kernel panic - ").unwrap_or(0);
                self.panic = self.panic.take().or(Some(line[start..].to_owned()));
            }
            None if !self.has_reports && line.ends_with(" as init process") => {
                self.handshake = self.handshake.or(Some(now));
            }
            None => {}
        }
    }

    pub(super) fn handshake(&self) -> Option<Instant> {
        self.handshake
    }

    pub(super) fn exit(&self) -> Option<Ended> {
        self.exit
    }

    pub(super) fn failed(&self) -> Option<&(i32, String)> {
        self.failed.as_ref()
    }

    pub(super) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    pub(super) fn is_listening(&self, port: u16) -> bool {
        self.listening.contains(&port)
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        let text = text.as_bytes();
        text.is_empty() || self.text.windows(text.len()).any(|part| part == text)
    }

    pub(super) fn take_ready(&mut self) -> Option<Ready> {
        self.ready.take()
    }

    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    pub(super) fn into_text(self) -> String {
        let start = self.text.len().saturating_sub(MAX_TEXT);
        String::from_utf8_lossy(&self.text[start..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(parts: &[&str]) -> Console {
        let mut console = Console::new(true);
        for part in parts {
            console.write(part.as_bytes(), Instant::now());
        }
        console
    }

    #[test]
    fn reports_are_found_in_pieces() {
        let console = console(&[
            "hello",
            "kiln-init: ready {\"version\":1,\"pid\":2,\"uid\":3,",
            "\"gid\":4}\r",
            "\nmore\r\n\nkiln-init: exit {\"code\":7}\r\n",
        ]);
        assert_eq!(console.exit(), Some(Ended::Exited(7)));
        assert_eq!(console.ready.as_ref().map(|ready| ready.uid), Some(3));
        assert!(console.contains("more\n\nkiln"));
        assert!(!console.contains("nothing"));
    }

    #[test]
    fn a_panic_is_found() {
        let panic = "Kernel panic - not syncing: VFS: Unable to mount root fs";
        let console = console(&["[    1.3] ", panic, " on x\r\n"]);
        assert_eq!(
            console.panic(),
            Some("Kernel panic - not syncing: VFS: Unable to mount root fs on x")
        );
    }

    #[test]
    fn much_text_is_cut() {
        let line = "x".repeat(1000) + "\n";
        let console = console(&vec![line.as_str(); 5000]);
        assert!(console.text.len() <= 2 * MAX_TEXT);
        assert!(console.into_text().len() <= MAX_TEXT);
    }
}
