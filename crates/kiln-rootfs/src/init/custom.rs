//! A program of the user's own as the first process.

use super::place::Disk;
use super::{InitError, check};

/// Adds the script, if there is one, and checks that the kernel can start what is there.
pub(super) fn install(
    disk: &mut Disk<'_>,
    path: &str,
    script: Option<&[u8]>,
) -> Result<(), InitError> {
    if !path.starts_with('/') {
        return Err(InitError::Relative(path.to_owned()));
    }
    if let Some(script) = script {
        disk.put_file(path, 0o755, script)?;
    }
    check::executable(disk, path)
}
