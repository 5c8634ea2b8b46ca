//! Extended attributes, by open file or by directory and name, never through a symbolic link.
//!
//! `listxattrat` came with Linux 6.13. Where it is missing, and for what is seldom called, names go
//! through `/proc/self/fd`, which costs the kernel twice the time.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::raw;

/// One attribute: its full name, as `user.comment`, and its value.
pub type Xattr = (OsString, Vec<u8>);

/// The kernel's limit for one value and for the list of names.
const MAX_BYTES: usize = 64 * 1024;
/// What most values and lists fit into.
const USUAL_BYTES: usize = 256;

/// The attributes of an open file, sorted by name. Those that may not be read are left out.
pub fn all_of_file(file: &File) -> io::Result<Vec<Xattr>> {
    let names = present(filled(|buffer| rustix::fs::flistxattr(file, buffer)))?.unwrap_or_default();
    collect(&names, |name| get_of_file(file, name))
}

/// One attribute of an open file.
pub fn get_of_file(file: &File, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    present(filled(|buffer| rustix::fs::fgetxattr(file, name, buffer)))
}

/// Sets one attribute of an open file.
pub fn set_of_file(file: &File, name: &OsStr, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(
        file,
        name,
        value,
        XattrFlags::empty(),
    )?)
}

pub(crate) fn all(dir: impl AsFd, entry: &OsStr) -> io::Result<Vec<Xattr>> {
    let names = present(names(dir.as_fd(), entry))?.unwrap_or_default();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let path = proc_path(dir, entry);
    collect(&names, |name| {
        present(filled(|buffer| rustix::fs::lgetxattr(&path, name, buffer)))
    })
}

/// The names of all attributes, each with a NUL behind it.
fn names(dir: BorrowedFd<'_>, entry: &OsStr) -> io::Result<Vec<u8>> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if !MISSING.load(Ordering::Relaxed) {
        let path = CString::new(entry.as_bytes())?;
        match filled(|buffer| raw::list_xattrs_at(dir, &path, buffer)) {
            // Container runtimes that do not know the call answer EPERM instead of ENOSYS.
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::NOSYS | Errno::PERM)
                ) =>
            {
                MISSING.store(true, Ordering::Relaxed);
            }
            result => return result,
        }
    }
    let path = proc_path(dir, entry);
    filled(|buffer| rustix::fs::llistxattr(&path, buffer))
}

pub(crate) fn get(dir: impl AsFd, entry: &OsStr, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let path = proc_path(dir, entry);
    present(filled(|buffer| rustix::fs::lgetxattr(&path, name, buffer)))
}

pub(crate) fn set(dir: impl AsFd, entry: &OsStr, name: &OsStr, value: &[u8]) -> io::Result<()> {
    let path = proc_path(dir, entry);
    Ok(rustix::fs::lsetxattr(
        path,
        name,
        value,
        XattrFlags::empty(),
    )?)
}

/// Removes an attribute; that it is not there is no error.
pub(crate) fn remove(dir: impl AsFd, entry: &OsStr, name: &OsStr) -> io::Result<()> {
    match rustix::fs::lremovexattr(proc_path(dir, entry), name) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A path by which the `l*xattr` calls reach `entry` of an open directory. The last component is
/// the entry itself, so a symbolic link there is not followed.
fn proc_path(dir: impl AsFd, entry: &OsStr) -> PathBuf {
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(entry.as_bytes());
    PathBuf::from(OsString::from_vec(path))
}

/// Calls `read` with a buffer that is large enough and returns what it wrote.
fn filled(mut read: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut usual = [0; USUAL_BYTES];
    match read(&mut usual) {
        Ok(length) => Ok(usual[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; MAX_BYTES];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(error) => Err(error.into()),
    }
}

/// `None` where the attribute, or attributes at all, are not there.
fn present(value: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            _ => Err(error),
        },
    }
}

fn collect(
    names: &[u8],
    get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Vec<Xattr>> {
    let mut xattrs = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = OsStr::from_bytes(name);
        match get(name) {
            Ok(Some(value)) => xattrs.push((name.to_os_string(), value)),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Dir;

    #[test]
    fn names_are_those_that_the_path_has() {
        let temp = tempfile::tempdir().unwrap();
        let file = File::create(temp.path().join("file")).unwrap();
        std::os::unix::fs::symlink("file", temp.path().join("link")).unwrap();
        for (name, value) in [("user.two", vec![2; 2000].as_slice()), ("user.one", b"1")] {
            set_of_file(&file, OsStr::new(name), value).unwrap();
        }
        let dir = Dir::open(temp.path()).unwrap();
        for entry in ["file", "link", "."] {
            let path = temp.path().join(entry);
            let expected = filled(|buffer| rustix::fs::llistxattr(&path, buffer)).unwrap();
            assert_eq!(names(dir.as_fd(), OsStr::new(entry)).unwrap(), expected);
        }
        let all = all(dir.as_fd(), OsStr::new("file")).unwrap();
        let lengths: Vec<_> = all
            .iter()
            .map(|(name, value)| (name.to_str(), value.len()))
            .collect();
        assert_eq!(lengths, [(Some("user.one"), 1), (Some("user.two"), 2000)]);
        assert!(names(dir.as_fd(), OsStr::new("missing")).is_err());
    }
}
