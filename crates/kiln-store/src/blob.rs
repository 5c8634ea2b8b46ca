//! Blobs: bytes named by their digest, hashed on their way in.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_oci::{Algorithm, Digest, Digester};

use crate::growth::{ArrivingBlob, End, Growth};
use crate::index::to_column;
use crate::lease::Protected;
use crate::lock::is_missing;
use crate::mark::Mark;
use crate::{BlobError, Store, StoreError};

/// How much is read at a time.
const CHUNK: usize = 128 * 1024;

/// Takes the bytes of a new blob. Nothing is in the store until [`BlobWriter::commit`]; dropping
/// the writer removes what was written.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    temporary: Temporary,
    file: File,
    digester: Digester,
    writeback: Writeback,
    /// Told once somebody reads along.
    growth: Option<Arc<Growth>>,
}

/// How much of a file the kernel was asked to write to the disk.
///
/// Of a large blob most has reached the disk when somebody syncs the store, if the kernel begins while
/// it is still being written; left to itself it waits for some seconds.
#[derive(Debug, Default)]
pub(crate) struct Writeback(u64);

/// A stored blob, open for reading. Its bytes stay readable whatever is pruned.
#[derive(Debug)]
pub struct BlobFile {
    file: File,
    size: u64,
}

/// How a file gets the name of a blob.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Naming {
    /// It gets a second one, where the file system can, and the caller removes the first: of all
    /// renames from one directory to another a file system lets only one happen at a time.
    Link,
    /// It loses the one it had, at the same moment: for files that somebody may find by that name
    /// and write to.
    Rename,
}

/// A file whose name is removed, if it still has it.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Store {
    /// Begins a blob that will be named by its SHA-256 digest.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        self.blob_writer_with(Algorithm::Sha256)
    }

    /// Begins a blob that will be named by a digest of `algorithm`.
    pub fn blob_writer_with(&self, algorithm: Algorithm) -> Result<BlobWriter, StoreError> {
        let path = self.lease()?.fresh_path();
        let options = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        Ok(BlobWriter {
            store: self.clone(),
            file: options.map_err(StoreError::io("make", &path))?,
            temporary: Temporary(path),
            digester: Digester::new(algorithm),
            writeback: Writeback::default(),
            growth: None,
        })
    }

    /// Stores a small blob, for example a document.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::sha256(bytes);
        if !self.has_blob(&digest)? {
            let mut writer = self.blob_writer()?;
            writer.take(bytes)?;
            writer.commit(Some((&digest, bytes.len() as u64)))?;
        }
        Ok(digest)
    }

    /// Stores what `source` gives. With `expected`, reads no further than its size and one byte.
    pub fn import_blob(
        &self,
        source: &mut dyn Read,
        expected: Option<(&Digest, u64)>,
    ) -> Result<(Digest, u64), BlobError> {
        let algorithm = expected.map_or(Algorithm::Sha256, |(digest, _)| digest.algorithm());
        let mut writer = self.blob_writer_with(algorithm)?;
        let limit = expected.map_or(u64::MAX, |(_, size)| size.saturating_add(1));
        let mut source = source.take(limit);
        let mut chunk = vec![0; CHUNK];
        loop {
            match source.read(&mut chunk) {
                Ok(0) => return writer.commit(expected),
                Ok(count) => writer.take(&chunk[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BlobError::Source(error)),
            }
        }
    }

    /// Whether the blob is in the store. If it is, it stays as long as this handle lives.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.layout().blob(digest);
        let object = Protected::Blob(digest.clone());
        if !exists(&path)? {
            return Ok(false);
        }
        if self.protects(&object) {
            return Ok(true);
        }
        let found = self.protect(&object, |_| Ok(exists(&path)?.then_some(())))?;
        Ok(found.is_some())
    }

    /// Opens a blob; `None` if it is not in the store.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<BlobFile>, StoreError> {
        let path = self.layout().blob(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        let size = file
            .metadata()
            .map_err(StoreError::io("examine", &path))?
            .len();
        Ok(Some(BlobFile { file, size }))
    }

    /// Reads a blob of at most `limit` bytes and checks its digest; `None` if it is not there.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, BlobError> {
        let Some(mut blob) = self.open_blob(digest)? else {
            return Ok(None);
        };
        let size = blob.size;
        if size > limit {
            return Err(BlobError::TooLarge {
                digest: digest.clone(),
                size,
                limit,
            });
        }
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes)
            .map_err(StoreError::io("read", &self.layout().blob(digest)))?;
        if digest.verifies(&bytes) {
            Ok(Some(bytes))
        } else {
            Err(BlobError::Damaged {
                digest: digest.clone(),
            })
        }
    }

    /// Names the file at `from`, whose bytes are known to have `digest`, as the blobs are. Returns
    /// `false` where the blob was in the store already.
    ///
    /// It is protected first and named afterwards, outside of the write: whoever sweeps in between
    /// finds it needed, and no other process waits while the file system looks for its directories.
    pub(crate) fn place_blob(
        &self,
        from: &Path,
        file: &File,
        digest: &Digest,
        way: Naming,
    ) -> Result<bool, StoreError> {
        let to = self.layout().blob(digest);
        let size = file
            .metadata()
            .map_err(StoreError::io("examine", from))?
            .len();
        let is_there = || fs::symlink_metadata(&to).is_ok_and(|there| there.len() == size);
        let object = Protected::Blob(digest.clone());
        if !self.protects(&object) {
            self.protect(&object, |_| Ok(Some(())))?;
        }
        if is_there() {
            return Ok(false);
        }
        let maker = self.lease()?.fresh_name();
        Mark::make(self.layout(), digest, to_column(self.now()), &maker)?;
        let named = match way {
            // What is there meanwhile is another process's, and as good; or it has another size.
            Naming::Link => fs::hard_link(from, &to).or_else(|_| {
                if is_there() {
                    Ok(())
                } else {
                    fs::rename(from, &to)
                }
            }),
            Naming::Rename => fs::rename(from, &to),
        };
        // Not before: a sync that began then need not have seen the name.
        self.note_unsynced();
        named.map_err(StoreError::io("rename", from))?;
        Ok(true)
    }
}

impl Writeback {
    /// Bytes between two requests.
    const STRIDE: u64 = 8 << 20;

    /// The file has this length by now.
    pub(crate) fn reach(&mut self, file: &File, length: u64) {
        let ready = length.saturating_sub(self.0) / Self::STRIDE * Self::STRIDE;
        if ready > 0 {
            kiln_sys::files::start_writeback(file, self.0, ready);
            self.0 += ready;
        }
    }
}

impl BlobWriter {
    /// How many bytes were written.
    pub fn len(&self) -> u64 {
        self.digester.length()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A reader that follows this blob until all of it is written, which is when it is committed. If
    /// it is dropped instead the reader ends in an error.
    pub fn follow(&mut self) -> Result<ArrivingBlob, StoreError> {
        let file = self.file.try_clone();
        let file = file.map_err(StoreError::io("open", &self.temporary.0))?;
        let growth = self.growth.get_or_insert_default();
        growth.reach(self.digester.length());
        Ok(ArrivingBlob::new(file, growth))
    }

    /// Puts the blob into the store; it survives a loss of power after the next [`Store::sync`].
    /// `expected` is the digest and the size in bytes that it has to have. Returns what it has. A blob
    /// that was there already is kept.
    pub fn commit(self, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), BlobError> {
        let size = self.digester.length();
        let digest = self.digester.clone().finish();
        if let Some((expected, expected_size)) = expected {
            check(expected, Some(expected_size), &digest, size)?;
        }
        if let Some(growth) = &self.growth {
            growth.end(End::Verified);
        }
        self.store
            .place_blob(&self.temporary.0, &self.file, &digest, Naming::Link)?;
        Ok((digest, size))
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.write_all(bytes);
        written.map_err(StoreError::io("write", &self.temporary.0))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digester.update(&bytes[..count]);
        self.writeback.reach(&self.file, self.digester.length());
        if let Some(growth) = &self.growth {
            growth.reach(self.digester.length());
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some(growth) = &self.growth {
            growth.end(End::Broken);
        }
    }
}

impl BlobFile {
    /// The blob's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file itself, for copying inside the kernel.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Read for BlobFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl io::Seek for BlobFile {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Compares what was asked for with what came. The size first: a truncated download is the
/// commoner fault and the clearer message.
pub(crate) fn check(
    expected: &Digest,
    expected_size: Option<u64>,
    found: &Digest,
    found_size: u64,
) -> Result<(), BlobError> {
    if let Some(expected) = expected_size.filter(|size| *size != found_size) {
        return Err(BlobError::WrongSize {
            expected,
            found: found_size,
        });
    }
    if expected != found {
        return Err(BlobError::WrongDigest {
            expected: expected.clone(),
            found: found.clone(),
        });
    }
    Ok(())
}

pub(crate) fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(StoreError::io("examine", path))
}
