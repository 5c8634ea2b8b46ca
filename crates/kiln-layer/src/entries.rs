//! An archive that is written entry by entry, with contents from anywhere.

use std::io::{self, Read, Write};

use kiln_base::CancelToken;

use crate::changes::{Entry, Node};
use crate::pax;
use crate::write::WriteError;

/// How much is copied at a time.
const BUFFER: usize = 1 << 18;

/// A tar archive while it is written.
#[derive(Debug)]
pub struct TarWriter<W> {
    sink: W,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// An empty archive.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            buffer: vec![0; BUFFER],
        }
    }

    /// Appends an entry. A regular file's content is read from `content`, as many bytes as the entry
    /// says.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn put(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
        cancel: &CancelToken,
    ) -> Result<(), WriteError> {
        let mut headers = Vec::new();
        let path = &entry.path;
        pax::put_entry(&mut headers, entry, None).map_err(|pax::XattrName(name)| {
            WriteError::XattrName {
                path: path.clone(),
                name,
            }
        })?;
        self.sink.write_all(&headers).map_err(WriteError::Sink)?;
        let Node::File(size) = entry.node else {
            return Ok(());
        };
        let mut left = size;
        while left > 0 {
            cancel.check()?;
            let most = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
            match content.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(WriteError::Changed { path: path.clone() }),
                Ok(length) => {
                    let written = self.sink.write_all(&self.buffer[..length]);
                    written.map_err(WriteError::Sink)?;
                    left -= length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => {
                    let path = path.clone();
                    return Err(WriteError::Read { path, cause });
                }
            }
        }
        let padding = [0; pax::BLOCK_BYTES];
        let padding = &padding[..pax::padding(size)];
        self.sink.write_all(padding).map_err(WriteError::Sink)
    }

    /// Ends the archive, and gives back where it went.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn finish(mut self) -> Result<W, WriteError> {
        let end = self.sink.write_all(&[0; 2 * pax::BLOCK_BYTES]);
        end.and_then(|()| self.sink.flush())
            .map_err(WriteError::Sink)?;
        Ok(self.sink)
    }
}
