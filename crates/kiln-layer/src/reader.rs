//! Reading a tar stream that nobody vouches for.
//!
//! Where archive readers disagree this one does as Go's `archive/tar`, which Docker, containerd
//! and Podman read layers with: an archive must not mean one thing here and another there. No
//! allocation follows a length field without a bound.

mod fields;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStringExt;

use kiln_sys::fs::{Device, FileTime};
use kiln_sys::xattr::Xattr;

use self::fields::RawHeader;
use self::pax::PaxRecords;
pub(crate) use self::sparse::Segment;
use crate::pax::{BLOCK_BYTES, padding};

/// As Go: no header extension is larger.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;

/// A stream that is no valid tar archive, or one that goes beyond what kiln reads.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The source failed, or the compressed data is damaged.
    #[error("could not read the archive")]
    Read(#[source] io::Error),
    /// The archive ends inside an entry.
    #[error("the archive is cut off at byte {offset}")]
    Truncated {
        /// How many bytes of tar there were.
        offset: u64,
    },
    /// A header that can't be understood.
    #[error("bad archive header at byte {offset}: {reason}")]
    Header {
        /// Where the header begins in the uncompressed archive.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A kind of entry that kiln does not unpack.
    #[error("`{path}` is of the archive entry type `{kind}`, which is not supported")]
    UnsupportedKind {
        /// The entry.
        path: String,
        /// Its type flag.
        kind: char,
    },
}

/// One entry, as the archive tells it: nothing in it has been checked.
#[derive(Debug)]
pub(crate) struct TarEntry {
    pub(crate) path: OsString,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: FileTime,
    pub(crate) xattrs: Vec<Xattr>,
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A file of `size` bytes; where it is sparse, the data of the segments follows one another.
    File {
        size: u64,
        sparse: Option<Vec<Segment>>,
    },
    Dir,
    Symlink(OsString),
    HardLink(OsString),
    Fifo,
    CharDevice(Device),
    BlockDevice(Device),
}

/// Reads entries one after the other. The content of the entry that was read last comes from its
/// own [`Read`] implementation.
pub(crate) struct TarReader<R> {
    source: R,
    offset: u64,
    /// Content of the current entry that was not read yet.
    remaining: u64,
    padding: u64,
}

type Block = [u8; BLOCK_BYTES];

impl<R: Read> TarReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            offset: 0,
            remaining: 0,
            padding: 0,
        }
    }

    /// The next entry, or `None` at the end of the archive. What is left of the one before is
    /// skipped.
    pub(crate) fn next_entry(&mut self) -> Result<Option<TarEntry>, ArchiveError> {
        let mut pax = PaxRecords::default();
        let mut long_name = None;
        let mut long_link = None;
        loop {
            self.skip_rest()?;
            let start = self.offset;
            let Some(block) = self.read_header()? else {
                return Ok(None);
            };
            let bad = |reason| ArchiveError::Header {
                offset: start,
                reason,
            };
            let header = RawHeader::parse(&block).map_err(bad)?;
            match header.type_flag {
                b'x' => {
                    pax = PaxRecords::parse(&self.read_extension(header.size)?).map_err(bad)?;
                }
                // Go leaves global records to its caller, and no reader of layers heeds them.
                b'g' => drop(self.read_extension(header.size)?),
                b'L' => long_name = Some(until_zero(self.read_extension(header.size)?)),
                b'K' => long_link = Some(until_zero(self.read_extension(header.size)?)),
                _ => {
                    let mut names = Names {
                        path: header.path.clone(),
                        link: header.link.clone(),
                    };
                    names.replace(pax.path.take(), pax.link.take());
                    names.replace(long_name, long_link);
                    return self.entry(start, &block, &header, pax, names).map(Some);
                }
            }
        }
    }

    /// The entry with all that came before its header put in, ready to read its content.
    fn entry(
        &mut self,
        start: u64,
        block: &Block,
        header: &RawHeader,
        pax: PaxRecords,
        names: Names,
    ) -> Result<TarEntry, ArchiveError> {
        let bad = |reason| ArchiveError::Header {
            offset: start,
            reason,
        };
        let path = names.path;
        let size = pax.size.unwrap_or(header.size);
        let link = OsString::from_vec(names.link);
        let mut stored = 0;
        let kind = match header.type_flag {
            // Version 7 of Unix had no type for directories.
            0 if path.ends_with(b"/") => Kind::Dir,
            b'0' | 0 | b'7' | b'S' => {
                stored = size;
                Kind::File { size, sparse: None }
            }
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => Kind::CharDevice(header.device),
            b'4' => Kind::BlockDevice(header.device),
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            other => {
                return Err(ArchiveError::UnsupportedKind {
                    path: String::from_utf8_lossy(&path).into_owned(),
                    kind: char::from(other),
                });
            }
        };
        self.remaining = stored;
        self.padding = padding(stored) as u64;
        let kind = match kind {
            Kind::File { size, .. } => self.sparse_or_plain(start, block, &pax, size)?,
            other => other,
        };
        let path = match kind {
            Kind::File {
                sparse: Some(_), ..
            } => pax.sparse.name.unwrap_or(path),
            _ => path,
        };
        if path.contains(&0) {
            return Err(bad("a name contains a zero byte"));
        }
        Ok(TarEntry {
            path: OsString::from_vec(path),
            kind,
            mode: header.mode,
            uid: pax.uid.unwrap_or(header.uid),
            gid: pax.gid.unwrap_or(header.gid),
            mtime: pax.mtime.unwrap_or(header.mtime),
            xattrs: pax.xattrs.into_iter().collect(),
        })
    }

    /// The next header block; `None` at the end of the archive. As in Go, the end may be two zero
    /// blocks, one, or none at all.
    fn read_header(&mut self) -> Result<Option<Block>, ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        let start = self.offset;
        if !self.read_block(&mut block)? {
            return Ok(None);
        }
        if block.iter().any(|byte| *byte != 0) {
            return Ok(Some(block));
        }
        if self.read_block(&mut block)? && block.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Header {
                offset: start,
                reason: "a zero block inside the archive",
            });
        }
        Ok(None)
    }

    /// Reads a block; `false` if there is nothing more.
    fn read_block(&mut self, block: &mut Block) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < block.len() {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => {
                    let offset = self.offset + filled as u64;
                    return Err(ArchiveError::Truncated { offset });
                }
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
        self.offset += filled as u64;
        Ok(true)
    }

    /// The content of a header that extends the next one.
    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > MAX_EXTENSION_BYTES {
            return Err(ArchiveError::Header {
                offset: self.offset,
                reason: "a header extension of more than 1 MiB",
            });
        }
        self.remaining = size;
        self.padding = padding(size) as u64;
        let mut content = Vec::new();
        self.read_to_end(&mut content)
            .map_err(|error| self.read_error(error))?;
        Ok(content)
    }

    fn skip_rest(&mut self) -> Result<(), ArchiveError> {
        io::copy(self, &mut io::sink()).map_err(|error| self.read_error(error))?;
        let padding = std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut (&mut self.source).take(padding), &mut io::sink())
            .map_err(ArchiveError::Read)?;
        // As in Go, an archive may end without the padding of its last entry.
        self.offset += skipped;
        Ok(())
    }

    /// What an error of this reader's [`Read`] implementation means.
    pub(crate) fn read_error(&self, error: io::Error) -> ArchiveError {
        if self.remaining > 0 && error.kind() == io::ErrorKind::UnexpectedEof {
            ArchiveError::Truncated {
                offset: self.offset,
            }
        } else {
            ArchiveError::Read(error)
        }
    }
}

impl<R: BufRead> TarReader<R> {
    /// Hands `take` the content that is at hand, at most `limit` bytes, without copying it; how
    /// many there were. As [`Read::read`] otherwise.
    pub(crate) fn read_in_place(
        &mut self,
        limit: u64,
        take: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> io::Result<io::Result<usize>> {
        let there = self.source.fill_buf()?;
        let limit = usize::try_from(self.remaining.min(limit)).unwrap_or(usize::MAX);
        let there = &there[..there.len().min(limit)];
        if there.is_empty() && limit > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = there.len();
        let taken = take(there);
        self.source.consume(count);
        self.offset += count as u64;
        self.remaining -= count as u64;
        Ok(taken.map(|()| count))
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length =
            usize::try_from(self.remaining).map_or(buffer.len(), |left| left.min(buffer.len()));
        if length == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..length])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        self.remaining -= read as u64;
        Ok(read)
    }
}

struct Names {
    path: Vec<u8>,
    link: Vec<u8>,
}

impl Names {
    fn replace(&mut self, path: Option<Vec<u8>>, link: Option<Vec<u8>>) {
        if let Some(path) = path {
            self.path = path;
        }
        if let Some(link) = link {
            self.link = link;
        }
    }
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
