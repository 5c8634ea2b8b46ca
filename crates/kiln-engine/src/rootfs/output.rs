//! A disk's file: written without a name, which it gets when it is complete.

use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;

use kiln_base::CancelToken;
use kiln_disk::{Contents, Tree, Watermark, verity};
use kiln_layer::{GzipLevel, LayerCompression, LayerOptions, ZstdLevel, recompress};
use kiln_oci::{Digest, Digester};
use kiln_rootfs::manifest::ManifestVerity;
use kiln_rootfs::request::FileCompression;
use kiln_sys::files;

use super::disk::{Plan, WriteFailure};
use super::error::RootfsError;
use super::initrd::Initrd;
use super::temporary::Temporary;
use crate::output::is_special;

/// How much is read or written at a time.
const BUFFER: usize = 1 << 20;

/// The disk's file, and what it will be called.
pub(super) struct Output {
    path: PathBuf,
    temporary: Temporary,
    /// What was hashed while it was written.
    beginning: Digester,
}

/// What was written.
pub(super) struct WrittenDisk {
    pub(super) size: u64,
    pub(super) digest: Digest,
    pub(super) file_size: u64,
    pub(super) file_digest: Digest,
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self, RootfsError> {
        if is_special(path) {
            return Err(RootfsError::NotAFile(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            temporary: Temporary::create(path, "")?,
            beginning: Digester::sha256(),
        })
    }

    /// Where the disk is while it has no name.
    pub(super) fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Writes the disk, and returns its size. A thread hashes what is written already.
    pub(super) fn write(
        &mut self,
        plan: &Plan,
        from: (&Tree, &dyn Contents),
        threads: NonZeroUsize,
        cancel: &CancelToken,
    ) -> Result<u64, RootfsError> {
        let mark = Watermark::default();
        let (size, beginning) = std::thread::scope(|scope| {
            let follow = || self.hash_behind(&mark, cancel);
            let follower = (threads.get() > 1).then(|| scope.spawn(follow));
            let closing = mark.close_on_drop();
            let written = plan.write(from, (self.temporary.file(), &mark), threads, cancel);
            drop(closing);
            let beginning = match follower.map(ScopedJoinHandle::join) {
                None => Ok(Digester::sha256()),
                Some(Ok(beginning)) => beginning,
                Some(Err(panic)) => std::panic::resume_unwind(panic),
            };
            let size = written.map_err(|source| self.write_failure(source, cancel))?;
            Ok::<_, RootfsError>((size, beginning?))
        })?;
        self.beginning = beginning;
        Ok(size)
    }

    /// Hashes the file as far as it is final, until nothing more is told of that.
    fn hash_behind(&self, mark: &Watermark, cancel: &CancelToken) -> Result<Digester, RootfsError> {
        let mut digester = Digester::sha256();
        let mut buffer = vec![0; BUFFER];
        while let Some(level) = mark.above(digester.length()) {
            self.hash(&mut digester, level, (&mut buffer, cancel))?;
        }
        Ok(digester)
    }

    /// Hashes the file up to this byte, or its end.
    fn hash(
        &self,
        digester: &mut Digester,
        until: u64,
        (buffer, cancel): (&mut [u8], &CancelToken),
    ) -> Result<(), RootfsError> {
        while digester.length() < until {
            cancel.check()?;
            let left = usize::try_from(until - digester.length()).unwrap_or(usize::MAX);
            let room = left.min(buffer.len());
            let read = self
                .temporary
                .file()
                .read_at(&mut buffer[..room], digester.length());
            let filled = read.map_err(|source| RootfsError::Read {
                path: self.path.clone(),
                source,
            })?;
            if filled == 0 {
                break;
            }
            digester.update(&buffer[..filled]);
        }
        Ok(())
    }

    /// Appends the hashes of the disk's blocks.
    pub(super) fn append_verity(
        &self,
        size: u64,
        (uuid, salt): ([u8; 16], [u8; 32]),
        threads: NonZeroUsize,
        cancel: &CancelToken,
    ) -> Result<ManifestVerity, RootfsError> {
        let options = verity::Options {
            uuid,
            salt: salt.to_vec(),
        };
        let plan = verity::plan(size, &options)
            .map_err(|error| self.write_failure(error.into(), cancel))?;
        let file = self.temporary.file();
        let written = plan
            .write(file, file, size, threads, cancel)
            .map_err(|error| self.write_failure(error.into(), cancel))?;
        Ok(ManifestVerity {
            root_hash: hex(&written.root),
            salt: hex(&salt),
            offset: size,
        })
    }

    /// Hashes the file, and compresses it.
    pub(super) fn pack(
        &mut self,
        (compression, threads): (FileCompression, NonZeroUsize),
        cancel: &CancelToken,
    ) -> Result<WrittenDisk, RootfsError> {
        let (digest, size) = self.digest(cancel)?;
        let compression = match compression {
            FileCompression::None => {
                return Ok(WrittenDisk {
                    size,
                    file_size: size,
                    file_digest: digest.clone(),
                    digest,
                });
            }
            FileCompression::Gzip => LayerCompression::Gzip(GzipLevel::DEFAULT),
            FileCompression::Zstd => LayerCompression::Zstd(ZstdLevel::DEFAULT),
        };
        self.compress((digest, size), (compression, threads), cancel)
    }

    fn write_failure(&self, source: WriteFailure, cancel: &CancelToken) -> RootfsError {
        // What fails after it was told to stop did not fail by itself.
        if let Err(cancelled) = cancel.check() {
            return cancelled.into();
        }
        let path = self.path.clone();
        RootfsError::Write { path, source }
    }

    fn digest(&self, cancel: &CancelToken) -> Result<(Digest, u64), RootfsError> {
        let mut digester = self.beginning.clone();
        let mut buffer = vec![0; BUFFER];
        self.hash(&mut digester, u64::MAX, (&mut buffer, cancel))?;
        let size = digester.length();
        Ok((digester.finish(), size))
    }

    fn compress(
        &mut self,
        (digest, size): (Digest, u64),
        (compression, threads): (LayerCompression, NonZeroUsize),
        cancel: &CancelToken,
    ) -> Result<WrittenDisk, RootfsError> {
        let temporary = Temporary::create(&self.path, ".packed")?;
        let mut plain = files::open(self.temporary.path())?;
        plain
            .seek(SeekFrom::Start(0))
            .map_err(|source| RootfsError::Read {
                path: self.path.clone(),
                source,
            })?;
        let options = LayerOptions {
            compression,
            clamp_mtime: None,
            threads,
        };
        let mut sink = BufWriter::with_capacity(BUFFER, temporary.file());
        let packed = recompress(plain, &digest, &mut sink, &options, cancel)
            .map_err(RootfsError::Compress)?;
        let failed = |source: std::io::Error| RootfsError::Write {
            path: self.path.clone(),
            source: source.into(),
        };
        sink.flush().map_err(failed)?;
        drop(sink);
        self.temporary = temporary;
        Ok(WrittenDisk {
            size,
            digest,
            file_size: packed.size,
            file_digest: packed.digest,
        })
    }

    /// Gives the disk its name, the initial file system, and then the documents that tell of both.
    pub(super) fn keep(
        self,
        initrd: Option<Initrd>,
        documents: &[(PathBuf, Vec<u8>)],
    ) -> Result<(), RootfsError> {
        let mut beside = Vec::new();
        for (path, bytes) in documents {
            let temporary = Temporary::create(path, "")?;
            let written = temporary.file().write_all(bytes);
            written.map_err(|source| RootfsError::Write {
                path: path.clone(),
                source: source.into(),
            })?;
            beside.push(temporary);
        }
        self.temporary.keep()?;
        initrd.map_or(Ok(()), Initrd::keep)?;
        beside.into_iter().try_for_each(Temporary::keep)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
