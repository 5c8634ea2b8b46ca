//! What `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` does, one name at a time.
//!
//! For where the system call does not exist: kernels before 5.6, gVisor, and Valgrind before 3.25.
//! Each name is opened in the directory before it and never followed, so no link leads anywhere.
//! Stricter than the system call in one thing: `..` is refused also where it would stay inside.
//! Deliberately absent: `RESOLVE_IN_ROOT`, whose links would have to be resolved here.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// How the directories on the way are opened: for nothing but looking further.
const ON_THE_WAY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens `path` below `dir`.
pub(super) fn open_beneath(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.starts_with(b"/") {
        return Err(Errno::XDEV);
    }
    // A slash at the end asks for a directory, and would follow a link.
    let slash = bytes.ends_with(b"/");
    let flags = if slash {
        flags | OFlags::DIRECTORY
    } else {
        flags
    };
    let mut names = bytes
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(OsStr::from_bytes)
        .peekable();
    let mut above: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        if name == ".." {
            return Err(Errno::XDEV);
        }
        let at = above.as_ref().map_or(dir, std::os::fd::AsFd::as_fd);
        if names.peek().is_none() {
            return open_name(at, name, flags, slash);
        }
        above = Some(open_name(at, name, ON_THE_WAY, true)?);
    }
    rustix::fs::openat(dir, ".", flags, Mode::empty())
}

/// Opens a name that must not be a symbolic link. Of a link that was to be a directory the kernel
/// says that it is none, and that it is a link where it would be followed.
fn open_name(
    at: BorrowedFd<'_>,
    name: &OsStr,
    flags: OFlags,
    is_followed: bool,
) -> Result<OwnedFd, Errno> {
    let opened = rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty());
    if is_followed
        && opened.as_ref().err() == Some(&Errno::NOTDIR)
        && rustix::fs::readlinkat(at, name, Vec::new()).is_ok()
    {
        return Err(Errno::LOOP);
    }
    opened
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use rustix::fs::ResolveFlags;

    use super::*;
    use crate::fs::Dir;

    const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

    #[test]
    fn it_answers_as_the_system_call_does() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path();
        std::fs::create_dir_all(top.join("a/b/c")).unwrap();
        std::fs::write(top.join("a/b/file"), "x").unwrap();
        symlink("b", top.join("a/link")).unwrap();
        symlink("b/file", top.join("a/to-file")).unwrap();
        symlink("/etc", top.join("out")).unwrap();
        let dir = Dir::open(top).unwrap();
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let paths = [
            ".",
            "a",
            "a/",
            "./a/./b//c",
            "a/b/c",
            "a/b/file",
            "a/b/file/",
            "a/b/file/x",
            "a/none",
            "none/x",
            "a/link",
            "a/link/",
            "a/link/c",
            "a/to-file",
            "out",
            "out/passwd",
            "..",
            "../x",
            "a/../../x",
            "/etc",
            "/",
        ];
        for path in paths {
            for flags in [READ, READ | OFlags::DIRECTORY] {
                let flags = flags | OFlags::NOFOLLOW;
                let same = |fd: OwnedFd| rustix::fs::fstat(&fd).unwrap().st_ino;
                let stepwise = open_beneath(dir.as_fd(), Path::new(path), flags).map(same);
                let whole = rustix::fs::openat2(&dir, path, flags, Mode::empty(), resolve);
                assert_eq!(stepwise, whole.map(same), "{path} {flags:?}");
            }
        }
    }
}
