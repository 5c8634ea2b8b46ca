//! One build's events: a zstd stream of lines.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::FLUSH_BYTES;
use crate::StoreError;

/// Fast, and with small tables: most builds have little to tell, and making the tables of a higher
/// level would take longer than that.
const LEVEL: i32 = 1;

/// Writes lines.
pub(super) struct LogWriter {
    path: PathBuf,
    encoder: zstd::Encoder<'static, File>,
    unflushed: usize,
}

impl LogWriter {
    pub(super) fn new(file: &File, path: &Path) -> Result<Self, StoreError> {
        let encoder = file
            .try_clone()
            .and_then(|file| zstd::Encoder::new(file, LEVEL));
        Ok(Self {
            encoder: encoder.map_err(StoreError::io("write", path))?,
            path: path.to_owned(),
            unflushed: 0,
        })
    }

    pub(super) fn append(&mut self, line: &str) -> Result<(), StoreError> {
        let written = self
            .encoder
            .write_all(line.as_bytes())
            .and_then(|()| self.encoder.write_all(b"\n"));
        self.unflushed += line.len() + 1;
        let written = written.and_then(|()| {
            if self.unflushed < FLUSH_BYTES {
                return Ok(());
            }
            self.unflushed = 0;
            self.encoder.flush()
        });
        written.map_err(StoreError::io("write", &self.path))
    }

    pub(super) fn finish(self) -> Result<(), StoreError> {
        let written = self.encoder.finish().map(drop);
        written.map_err(StoreError::io("write", &self.path))
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// All whole lines of a log. One that was cut off by a crash ends where it was cut.
pub(super) fn read_lines(path: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |cause| StoreError::io("read", path)(cause);
    let file = File::open(path).map_err(failed)?;
    let mut decoder = zstd::Decoder::new(file).map_err(failed)?;
    let mut text = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Written by a process that was killed, or is writing still.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(failed(error)),
        }
    }
    let text = String::from_utf8_lossy(&text);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    Ok(whole.lines().map(str::to_owned).collect())
}
