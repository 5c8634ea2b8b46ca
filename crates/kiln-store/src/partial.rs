//! Downloads that can go on where they stopped, in this process or a later one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use kiln_base::CancelToken;
use kiln_oci::{Digest, Digester};
use kiln_sys::lock::FileLock;

use crate::blob::{Naming, Writeback};
use crate::growth::{ArrivingBlob, End, Growth};
use crate::lock::{try_lock_file, wait_for};
use crate::{BlobError, Store, StoreError};

/// How much is read at a time while the hash is rebuilt.
const CHUNK: usize = 128 * 1024;

/// The beginning of a blob; nobody else writes it meanwhile.
///
/// Bytes are appended by [`io::Write`]. Dropping it keeps them for the next attempt.
#[derive(Debug)]
pub struct PartialBlob {
    store: Store,
    digest: Digest,
    digester: Digester,
    writeback: Writeback,
    growth: Arc<Growth>,
    /// `None` once the file was moved or removed.
    lock: Option<FileLock>,
}

/// What is there of a blob that somebody wants to download.
#[derive(Debug)]
pub enum Download {
    /// All of it: the blob is in the store, perhaps because another process just finished it.
    Done,
    /// None or some of it.
    Partial(PartialBlob),
}

impl Store {
    /// Begins or goes on with the download of a blob. Waits while another process or thread
    /// downloads the same blob; ends early with [`StoreError::Cancelled`] when `cancel` is set.
    pub fn partial(&self, digest: &Digest, cancel: &CancelToken) -> Result<Download, StoreError> {
        let path = self.layout().partial(digest);
        wait_for(cancel, || {
            if self.has_blob(digest)? {
                return Ok(Some(Download::Done));
            }
            let Some(lock) = try_lock_file(&path)? else {
                return Ok(None);
            };
            let mut partial = PartialBlob {
                store: self.clone(),
                digest: digest.clone(),
                digester: Digester::new(digest.algorithm()),
                writeback: Writeback::default(),
                growth: Arc::default(),
                lock: Some(lock),
            };
            // The previous holder may have finished between the look and the lock; its partial
            // file is ours now and empty, so that dropping it removes it.
            if self.has_blob(digest)? {
                return Ok(Some(Download::Done));
            }
            partial.rebuild_hash()?;
            Ok(Some(Download::Partial(partial)))
        })
    }
}

impl PartialBlob {
    /// The digest that the blob will have to have.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many bytes are there: the offset to go on from.
    pub fn len(&self) -> u64 {
        self.digester.length()
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A reader that follows this download, attempt after attempt, until it is committed or dropped.
    pub fn follow(&self) -> Result<ArrivingBlob, StoreError> {
        let path = self.store.layout().partial(&self.digest);
        // Not a copy of the descriptor, which would share the offset and keep the lock.
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        Ok(ArrivingBlob::new(file, &self.growth))
    }

    /// Drops what is there, for a server that only sends from the beginning. Readers that followed
    /// end in an error.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        std::mem::take(&mut self.growth).end(End::Broken);
        self.digester = Digester::new(self.digest.algorithm());
        self.writeback = Writeback::default();
        let emptied = self.file().and_then(|mut file| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))
        });
        emptied.map_err(StoreError::io(
            "empty",
            &self.store.layout().partial(&self.digest),
        ))?;
        Ok(())
    }

    /// Puts the finished blob into the store; it survives a loss of power after the next
    /// [`Store::sync`]. `size` is what it has to have in bytes, where known.
    ///
    /// Bytes that turn out wrong are removed, since appending to them could never help.
    pub fn commit(mut self, size: Option<u64>) -> Result<(), BlobError> {
        let found_size = self.digester.length();
        let found = self.digester.clone().finish();
        let path = self.store.layout().partial(&self.digest);
        if let Err(error) = crate::blob::check(&self.digest, size, &found, found_size) {
            // Too few bytes are a download that broke off: those are worth keeping.
            let is_short = size.is_some_and(|size| found_size < size);
            if !is_short && let Some(lock) = self.lock.take() {
                lock.remove()
                    .map_err(|error| StoreError::io("remove", &path)(error.cause))?;
            }
            return Err(error);
        }
        self.growth.end(End::Verified);
        let file = self.file().map_err(StoreError::io("use", &path))?;
        let is_moved = self
            .store
            .place_blob(&path, file, &self.digest, Naming::Rename)?;
        match self.lock.take() {
            Some(lock) if !is_moved => {
                lock.remove()
                    .map_err(|error| StoreError::io("remove", &path)(error.cause))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn rebuild_hash(&mut self) -> Result<(), StoreError> {
        let path = self.store.layout().partial(&self.digest);
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = self.file().and_then(|mut file| file.read(&mut chunk));
            match count.map_err(StoreError::io("read", &path))? {
                0 => break,
                count => self.digester.update(&chunk[..count]),
            }
        }
        self.growth.reach(self.digester.length());
        Ok(())
    }

    fn file(&self) -> io::Result<&File> {
        let lock = self.lock.as_ref();
        lock.map(FileLock::file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Write for PartialBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file()?.write(bytes)?;
        self.digester.update(&bytes[..count]);
        if let Some(lock) = &self.lock {
            self.writeback.reach(lock.file(), self.digester.length());
        }
        self.growth.reach(self.digester.length());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PartialBlob {
    fn drop(&mut self) {
        self.growth.end(End::Broken);
        // Holding the lock, so nobody else can have begun to write the file.
        if self.is_empty()
            && let Some(lock) = self.lock.take()
        {
            let _ = lock.remove();
        }
    }
}
