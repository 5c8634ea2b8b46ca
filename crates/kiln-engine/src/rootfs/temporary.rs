//! A file that has no name until it is complete.
//!
//! Nothing is left of it then, whatever ends the process. Where the file system has no such files it
//! has another name beside its own, and what ends the process at once leaves it behind.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kiln_sys::files;
use kiln_sys::fs::{FsError, copy_file_with_holes};

use super::error::RootfsError;

/// A file that is gone with the value unless it is kept.
pub(super) struct Temporary {
    /// What it will be called.
    target: PathBuf,
    file: File,
    /// What it is called if it has to be called something.
    other: PathBuf,
    /// Where it can be opened by this process and others.
    path: PathBuf,
    is_named: bool,
}

impl Temporary {
    /// A new file for `target`; `what` tells several apart.
    pub(super) fn create(target: &Path, what: &str) -> Result<Self, RootfsError> {
        let failed = |error| failure(target, &error);
        match files::create_unnamed(folder_of(target), 0o644).map_err(failed)? {
            Some(file) => match reachable(&file) {
                Some(path) => Ok(Self {
                    target: target.to_owned(),
                    file,
                    other: other_name(target, what),
                    path,
                    is_named: false,
                }),
                None => Self::create_named(target, what),
            },
            None => Self::create_named(target, what),
        }
    }

    /// The same where there are no files without names.
    fn create_named(target: &Path, what: &str) -> Result<Self, RootfsError> {
        let other = other_name(target, what);
        let file = create_other(&other).map_err(|error| failure(target, &error))?;
        Ok(Self {
            target: target.to_owned(),
            file,
            path: other.clone(),
            other,
            is_named: true,
        })
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Where it can be opened while it does not have its name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, and replaces what has that.
    pub(super) fn keep(mut self) -> Result<(), RootfsError> {
        let named = self.name();
        named.map_err(|error| failure(&self.target, &error))
    }

    fn name(&mut self) -> Result<(), FsError> {
        if !self.is_named {
            match files::link_unnamed(&self.file, &self.target) {
                Ok(()) => return Ok(()),
                // A link takes nobody's place, but a file with a name does.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    files::remove_file(&self.other)?;
                    files::link_unnamed(&self.file, &self.other)?;
                    self.is_named = true;
                }
                // The file system has files without names, and names for none.
                Err(_) => self.copy()?,
            }
        }
        files::rename(&self.other, &self.target)?;
        self.is_named = false;
        Ok(())
    }

    /// Puts a copy in its place that has a name.
    fn copy(&mut self) -> Result<(), FsError> {
        let copy = create_other(&self.other)?;
        self.is_named = true;
        (&self.file)
            .seek(SeekFrom::Start(0))
            .and_then(|_| copy_file_with_holes(&self.file, &copy))
            .map_err(|error| FsError::new("write", &self.other, error))?;
        self.file = copy;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_named {
            // Whatever went wrong before is what has to be told.
            let _ = files::remove_file(&self.other);
        }
    }
}

/// The folder of a file.
pub(super) fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn other_name(target: &Path, what: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!("{what}.kiln-{}", std::process::id()));
    target.with_file_name(name)
}

fn create_other(other: &Path) -> Result<File, FsError> {
    // One of an earlier process with the same number would be in the way.
    files::remove_file(other)?;
    files::create_new(other, 0o644)
}

/// Where a file without a name can be opened, also by a program that this one starts.
fn reachable(file: &File) -> Option<PathBuf> {
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let path = PathBuf::from(path);
    let (there, own) = (path.metadata().ok()?, file.metadata().ok()?);
    // It could be another process's where `/proc` counts them otherwise.
    ((there.dev(), there.ino()) == (own.dev(), own.ino())).then_some(path)
}

/// The user knows the file by its own name only.
fn failure(target: &Path, error: &FsError) -> RootfsError {
    let code = error.raw_os_error();
    let source = code.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
    RootfsError::Write {
        path: target.to_owned(),
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Names and contents of a folder.
    fn listing(folder: &Path) -> String {
        let names = files::names(folder).unwrap();
        let lines = names.iter().map(|name| {
            let text = files::read_to_string(folder.join(name)).unwrap();
            format!("{}={text}", name.display())
        });
        lines.collect::<Vec<_>>().join(" ")
    }

    fn check(create: fn(&Path, &str) -> Result<Temporary, RootfsError>) {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("disk");
        for text in ["first", "second"] {
            let temporary = create(&target, "").unwrap();
            temporary.file().write_all(text.as_bytes()).unwrap();
            assert_eq!(files::read_to_string(temporary.path()).unwrap(), text);
            temporary.keep().unwrap();
            assert_eq!(listing(temp.path()), format!("disk={text}"));
        }
        let dropped = create(&target, "").unwrap();
        dropped.file().write_all(b"third").unwrap();
        drop(dropped);
        assert_eq!(listing(temp.path()), "disk=second");
    }

    #[test]
    fn a_file_replaces_another_or_is_gone() {
        check(Temporary::create);
        check(Temporary::create_named);
    }

    #[test]
    fn what_is_not_kept_has_no_name_whatever_ends_the_process() {
        let temp = tempfile::tempdir().unwrap();
        let temporary = Temporary::create(&temp.path().join("disk"), "").unwrap();
        if temporary.is_named {
            eprintln!(
                "skipped: {} has no files without names",
                temp.path().display()
            );
            return;
        }
        assert_eq!(listing(temp.path()), "");
        // As when the process ends at once.
        std::mem::forget(temporary);
        assert_eq!(listing(temp.path()), "");
    }

    #[test]
    fn a_copy_gets_the_name_where_the_file_can_get_none() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("disk");
        let mut temporary = Temporary::create(&target, "").unwrap();
        temporary.file().write_all(b"text").unwrap();
        temporary.copy().unwrap();
        temporary.keep().unwrap();
        assert_eq!(listing(temp.path()), "disk=text");
    }

    #[test]
    fn errors_name_the_file_that_the_user_named() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("missing/disk");
        let both = [Temporary::create, Temporary::create_named];
        for create in both {
            let error = create(&target, "").map(drop).unwrap_err().to_string();
            assert_eq!(error, format!("could not write `{}`", target.display()));
        }
    }
}
