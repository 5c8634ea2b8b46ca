//! What came on standard input, kept in a file while it is needed.
//!
//! The file loses its name as soon as it is open, so that nothing is left of it however kiln ends;
//! the path that is handed on leads to the open file.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use kiln_sys::files;
use kiln_sys::fs::FsError;

/// Where temporary files that may be large belong.
const FOLDERS: [&str; 2] = ["/var/tmp", "/tmp"];

/// A file without a name.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
}

impl Spool {
    /// Writes `head` and then all of `rest` to a new file in `folder`, or where such files belong.
    pub(crate) fn fill(
        folder: Option<&Path>,
        head: &[u8],
        rest: &mut dyn Read,
    ) -> Result<Self, FsError> {
        let (mut file, path) = match folder {
            Some(folder) => create(folder)?,
            None => create(Path::new(FOLDERS[0])).or_else(|_| create(Path::new(FOLDERS[1])))?,
        };
        files::remove_file(&path)?;
        let mut write = || -> io::Result<()> {
            file.write_all(head)?;
            io::copy(rest, &mut file)?;
            file.rewind()
        };
        write().map_err(|cause| FsError::new("write", &path, cause))?;
        Ok(Self { file })
    }

    /// A path under which this process can open the file for as long as this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

fn create(folder: &Path) -> Result<(File, PathBuf), FsError> {
    let mut attempt = 0_u32;
    loop {
        let name = format!("kiln-context-{}-{attempt}", std::process::id());
        let path = folder.join(name);
        match files::create_new(&path, 0o600) {
            Ok(file) => return Ok((file, path)),
            Err(_) if attempt < 100 && path.exists() => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_and_the_content_can_be_read_twice() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::fill(Some(folder.path()), b"one ", &mut &b"two"[..]).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        for _ in 0..2 {
            assert_eq!(std::fs::read(spool.path()).unwrap(), b"one two");
        }
    }
}
