//! Reading a tar stream that nobody vouches for, one entry at a time and in bounded memory.
//!
//! Only what image archives hold: files, directories and links, with the GNU and PAX extensions for
//! long names and large sizes. The headers are read with the `tar` crate; the walk is our own,
//! since that crate reads an extension record of any length into memory.

use std::io::{self, Read};

/// The longest path, link target or PAX record that is read, in bytes.
const MAX_EXTENSION: u64 = 1024 * 1024;
const BLOCK: u64 = 512;

/// Why a stream is not a tar archive that kiln reads.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream failed.
    #[error("could not read the archive")]
    Read(#[from] io::Error),
    /// The archive ends inside an entry.
    #[error("the archive is cut off at byte {0}")]
    Truncated(u64),
    /// A header that makes no sense.
    #[error("bad archive header at byte {offset}: {reason}")]
    Header {
        /// Where the header begins.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    /// A device, a named pipe, a sparse file: nothing that an image archive holds.
    Other(char),
}

/// One entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
}

/// What extension headers said about the entry that follows them.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

pub(crate) struct TarStream<R> {
    reader: R,
    offset: u64,
    /// Content bytes of the current entry that were not read yet.
    content_left: u64,
    padding: u64,
}

impl<R: Read> TarStream<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            offset: 0,
            content_left: 0,
            padding: 0,
        }
    }

    /// The next entry; what is left of the content of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut overrides = Overrides::default();
        loop {
            self.skip_rest()?;
            let start = self.offset;
            let Some(header) = self.read_header()? else {
                return Ok(None);
            };
            let bad = |reason| TarError::Header {
                offset: start,
                reason,
            };
            let size = header
                .entry_size()
                .map_err(|_| bad("the size is not a number"))?;
            let kind = header.entry_type();
            self.set_content(size);
            match kind.as_byte() {
                b'x' => self.read_pax(start, &mut overrides)?,
                b'L' => overrides.path = Some(self.read_long_text(start)?),
                b'K' => overrides.link = Some(self.read_long_text(start)?),
                b'g' => {}
                _ => {
                    if let Some(size) = overrides.size {
                        self.set_content(size);
                    }
                    return Ok(Some(entry(&header, overrides)));
                }
            }
        }
    }

    /// The content of the current entry.
    pub(crate) fn content(&mut self) -> impl Read + '_ {
        Content(self)
    }

    fn set_content(&mut self, size: u64) {
        self.content_left = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        let rest = self.content_left.saturating_add(self.padding);
        (self.content_left, self.padding) = (0, 0);
        let skipped = io::copy(&mut self.reader.by_ref().take(rest), &mut io::sink())?;
        self.offset += skipped;
        if skipped < rest {
            return Err(TarError::Truncated(self.offset));
        }
        Ok(())
    }

    fn read_header(&mut self) -> Result<Option<tar::Header>, TarError> {
        let mut header = tar::Header::new_old();
        let mut block = Vec::with_capacity(512);
        self.reader.by_ref().take(BLOCK).read_to_end(&mut block)?;
        let start = self.offset;
        self.offset += block.len() as u64;
        // Some writers leave the two zero blocks at the end out.
        if block.is_empty() || (block.len() == 512 && block.iter().all(|byte| *byte == 0)) {
            return Ok(None);
        }
        if block.len() < 512 {
            return Err(TarError::Truncated(self.offset));
        }
        header.as_mut_bytes().copy_from_slice(&block);
        let bad = |reason| TarError::Header {
            offset: start,
            reason,
        };
        let said = header
            .cksum()
            .map_err(|_| bad("the checksum is not a number"))?;
        // The checksum is computed with its own field as eight spaces.
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        if said != sum(&block[..148]) + sum(&block[156..]) + 8 * u32::from(b' ') {
            return Err(bad("the checksum is wrong"));
        }
        Ok(Some(header))
    }

    fn read_extension(&mut self, start: u64) -> Result<Vec<u8>, TarError> {
        if self.content_left > MAX_EXTENSION {
            return Err(TarError::Header {
                offset: start,
                reason: "the extension record is too long",
            });
        }
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_long_text(&mut self, start: u64) -> Result<Vec<u8>, TarError> {
        let mut bytes = self.read_extension(start)?;
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    fn read_pax(&mut self, start: u64, overrides: &mut Overrides) -> Result<(), TarError> {
        let bytes = self.read_extension(start)?;
        let bad = |reason| TarError::Header {
            offset: start,
            reason,
        };
        for record in tar::PaxExtensions::new(&bytes) {
            let record = record.map_err(|_| bad("the extension record is not well-formed"))?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => overrides.path = Some(value.to_owned()),
                b"linkpath" => overrides.link = Some(value.to_owned()),
                b"size" => {
                    let text = std::str::from_utf8(value).unwrap_or("");
                    let size = text.parse().map_err(|_| bad("the size is not a number"))?;
                    overrides.size = Some(size);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn entry(header: &tar::Header, overrides: Overrides) -> Entry {
    let path = overrides
        .path
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let link = overrides.link.unwrap_or_else(|| {
        let link = header.link_name_bytes();
        link.map(std::borrow::Cow::into_owned).unwrap_or_default()
    });
    let kind = match header.entry_type().as_byte() {
        // Old archives mark a directory only by the slash at the end of its name.
        0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::HardLink(link),
        b'2' => Kind::Symlink(link),
        b'5' => Kind::Directory,
        other => Kind::Other(char::from(other)),
    };
    Entry { path, kind }
}

struct Content<'a, R>(&'a mut TarStream<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = &mut *self.0;
        let wanted = usize::try_from(stream.content_left)
            .map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let count = stream.reader.read(&mut buffer[..wanted])?;
        if count == 0 {
            let error = TarError::Truncated(stream.offset);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
        }
        stream.offset += count as u64;
        stream.content_left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(bytes: &[u8]) -> Result<Vec<String>, TarError> {
        let mut stream = TarStream::new(bytes);
        let mut lines = Vec::new();
        while let Some(entry) = stream.next()? {
            let mut content = String::new();
            stream.content().read_to_string(&mut content)?;
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            lines.push(format!("{} {:?} {content}", path.len(), entry.kind));
        }
        Ok(lines)
    }

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "short", &b"hello"[..])
            .expect("appended");
        let long = "d/".repeat(150) + "f";
        builder
            .append_data(&mut header, &long, &b"world"[..])
            .expect("appended");
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        builder
            .append_link(&mut header, "link", "../target")
            .expect("appended");
        let pax = [("path", &b"pax/name"[..])];
        builder.append_pax_extensions(pax).expect("appended");
        let mut header = tar::Header::new_ustar();
        header.set_path("other").expect("a path");
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, io::empty()).expect("appended");
        builder.into_inner().expect("an archive")
    }

    #[test]
    fn extensions_are_applied() {
        let lines = list(&archive()).expect("a good archive");
        assert_eq!(
            lines,
            [
                "5 File hello",
                "301 File world",
                "4 Symlink([46, 46, 47, 116, 97, 114, 103, 101, 116]) ",
                "8 File ",
            ]
        );
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let archive = archive();
        assert!(list(&archive[..512]).is_err());
        assert!(list(&archive[..700]).is_err());
        assert!(list(&archive[..1024]).is_ok());
    }

    #[test]
    fn a_changed_header_is_an_error() {
        let mut archive = archive();
        archive[0] ^= 1;
        let error = list(&archive).expect_err("a bad checksum");
        assert_eq!(
            error.to_string(),
            "bad archive header at byte 0: the checksum is wrong"
        );
    }

    proptest! {
        #[test]
        fn never_panics(at in 0_usize..4096, byte in any::<u8>()) {
            let mut archive = archive();
            let at = at % archive.len();
            archive[at] = byte;
            let _ = list(&archive);
        }
    }
}
