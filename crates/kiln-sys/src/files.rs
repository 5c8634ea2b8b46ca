//! Files at paths that kiln or its user chose: the store, configuration, outputs.
//!
//! These are `std::fs` with errors that name the path. Nothing here is safe for paths inside a file
//! tree that somebody else filled; that is what [`crate::fs::Dir`] is for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::fs::{FsError, Result};

/// Opens a file for reading.
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    File::open(path).map_err(|error| FsError::new("open", path, error))
}

/// Reads a whole file.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    fs::read(path).map_err(|error| FsError::new("read", path, error))
}

/// Reads a whole file, or nothing where it is not there.
pub fn try_read(path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a whole file of at most `limit` bytes; a longer one is [`io::ErrorKind::FileTooLarge`].
pub fn read_limited(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let file = open(path)?;
    let read = |error: io::Error| FsError::new("read", path, error);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > limit {
        return Err(read(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// Reads a whole file that must be UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|error| FsError::new("read", path, error))
}

/// Makes a file that must not exist yet and opens it for writing and reading.
pub fn create_new(path: impl AsRef<Path>, mode: u32) -> Result<File> {
    let path = path.as_ref();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| FsError::new("create", path, error))
}

/// Makes a file without a name in a directory, and opens it for writing and reading: it is gone with
/// its last descriptor, whatever ends the process, unless [`link_unnamed`] gives it a name. `None`
/// where the file system has no such files (FAT, NFS, overlayfs of older kernels).
pub fn create_unnamed(directory: impl AsRef<Path>, mode: u32) -> Result<Option<File>> {
    let directory = or_here(directory.as_ref());
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::from_raw_mode(mode)) {
        Ok(fd) => Ok(Some(fd.into())),
        // The last two are what kernels say that do not know the flag.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(FsError::new("create a file in", directory, error)),
    }
}

/// Gives a file of [`create_unnamed`] a name in the file system that it is on. One that is taken is
/// [`io::ErrorKind::AlreadyExists`].
pub fn link_unnamed(file: &File, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    // By the descriptor itself (`AT_EMPTY_PATH`) it would need a capability.
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)
        .map_err(|error| FsError::new("create", path, error))
}

/// Makes a file, or empties the one that is there, and opens it for writing.
pub fn create(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    File::create(path).map_err(|error| FsError::new("create", path, error))
}

/// Writes a file that must not exist yet.
pub fn write_new(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    let path = path.as_ref();
    create_new(path, mode)?
        .write_all(bytes)
        .map_err(|error| FsError::new("write", path, error))
}

/// Writes a file, or replaces what is in the one that is there.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, bytes).map_err(|error| FsError::new("write", path, error))
}

/// Replaces a file so that a reader, or the disk after a crash, has the old or the new content and
/// nothing in between. `temporary` is a free path in the same directory.
pub fn replace(path: impl AsRef<Path>, temporary: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let (path, temporary) = (path.as_ref(), temporary.as_ref());
    let written = create_new(temporary, 0o644).and_then(|mut file| {
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|error| FsError::new("write", temporary, error))
    });
    let renamed = written.and_then(|()| rename(temporary, path));
    if renamed.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(temporary);
    }
    renamed?;
    match path.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Makes a directory and all its parents; those that exist are no error. New ones get `mode`.
pub fn create_dir_all(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| FsError::new("make the directory", path, error))
}

/// Makes a directory that must not exist yet.
pub fn create_dir(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    fs::DirBuilder::new()
        .mode(mode)
        .create(path)
        .map_err(|error| FsError::new("make the directory", path, error))
}

/// Gives a file or directory another path, replacing a file that is there.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let from = from.as_ref();
    fs::rename(from, to).map_err(|error| FsError::new("rename", from, error))
}

/// Removes a file; that it is not there is no error.
pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FsError::new("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Removes an empty directory.
pub fn remove_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    fs::remove_dir(path).map_err(|error| FsError::new("remove", path, error))
}

/// The names in a directory, sorted.
pub fn names(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let path = path.as_ref();
    let list = |error| FsError::new("list", path, error);
    let mut names = fs::read_dir(path)
        .map_err(list)?
        .map(|entry| Ok(PathBuf::from(entry?.file_name())))
        .collect::<io::Result<Vec<_>>>()
        .map_err(list)?;
    names.sort_unstable();
    Ok(names)
}

/// Whether something is at the path; symbolic links are followed.
pub fn exists(path: impl AsRef<Path>) -> bool {
    fs::metadata(path).is_ok()
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    open(or_here(path))?
        .sync_all()
        .map_err(|error| FsError::new("write", path, error))
}

/// The parent of a bare file name is the empty path.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

/// Has the kernel begin to write `bytes` of a file to the disk, so that a later `fsync` finds little
/// to do. A hint: where it is not taken, that `fsync` takes longer.
pub fn start_writeback(file: &File, from: u64, bytes: u64) {
    let _ = crate::raw::start_writeback(std::os::fd::AsFd::as_fd(file), from, bytes);
}

/// Fills the buffer, or as much of it as the source has. Returns the bytes read. Unlike reading to
/// the end this does not ask once more where the buffer is full.
pub fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, room: usize, expected: &str) {
        let mut buffer = vec![b'?'; room];
        let mut source = source.as_bytes();
        let filled = read_up_to(&mut source, &mut buffer).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..filled]), Ok(expected));
    }

    #[test]
    fn the_buffer_or_the_source_is_the_limit() {
        check("", 3, "");
        check("abc", 0, "");
        check("abc", 2, "ab");
        check("abc", 3, "abc");
        check("abc", 9, "abc");
    }

    #[test]
    fn files_without_a_name_get_one_that_is_free() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path();
        let Some(mut file) = create_unnamed(folder, 0o644).unwrap() else {
            eprintln!("skipped: {} has no files without names", folder.display());
            return;
        };
        file.write_all(b"text").unwrap();
        assert_eq!(names(folder).unwrap(), Vec::<PathBuf>::new());
        link_unnamed(&file, folder.join("a")).unwrap();
        assert_eq!(read(folder.join("a")).unwrap(), b"text");
        let other = create_unnamed(folder, 0o644).unwrap().unwrap();
        let taken = link_unnamed(&other, folder.join("a")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        let missing = create_unnamed(folder.join("b"), 0o644).unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
    }
}
