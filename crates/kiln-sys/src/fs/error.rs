//! The error of one file operation.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A file operation that failed: what was attempted, on which name, and the system's reason.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} `{}`", path.display())]
pub struct FsError {
    action: &'static str,
    path: PathBuf,
    #[source]
    cause: io::Error,
}

impl FsError {
    /// An error for `path`; `action` completes "could not …".
    pub fn new(
        action: &'static str,
        path: impl Into<PathBuf>,
        cause: impl Into<io::Error>,
    ) -> Self {
        Self {
            action,
            path: path.into(),
            cause: cause.into(),
        }
    }

    /// The name or path the operation was for. Operations of a directory know only the name; see
    /// [`FsError::within`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The system's reason.
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// The kind of the system's reason.
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// The error number, where the system gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }

    /// Whether the name was not there.
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// Whether a symbolic link, or something else that is not a directory, was in the way.
    pub fn is_symlink_or_not_dir(&self) -> bool {
        [Errno::LOOP, Errno::NOTDIR]
            .iter()
            .any(|errno| self.raw_os_error() == Some(errno.raw_os_error()))
    }

    /// The same error with `parent` put in front of its path.
    #[must_use]
    pub fn within(self, parent: impl AsRef<Path>) -> Self {
        Self {
            path: if self.path == Path::new(".") {
                parent.as_ref().to_path_buf()
            } else {
                parent.as_ref().join(&self.path)
            },
            ..self
        }
    }

    /// Puts `action` and a name to a system error.
    pub(super) fn on<E: Into<io::Error>>(
        action: &'static str,
        name: &OsStr,
    ) -> impl FnOnce(E) -> Self {
        move |cause| Self::new(action, name, cause)
    }
}

impl From<FsError> for io::Error {
    fn from(error: FsError) -> Self {
        Self::new(error.cause.kind(), error)
    }
}

/// `Ok(None)` where the name is not there.
pub(super) fn optional<T>(result: Result<T, FsError>) -> Result<Option<T>, FsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
