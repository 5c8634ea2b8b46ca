//! Names in archives: what they mean, and which are refused.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::pax::WHITEOUT_PREFIX;
use crate::unpack::UnpackError;

/// The system's limit for a path.
const MAX_PATH_BYTES: usize = 4096;

/// What the name of a layer's entry says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LayerName {
    /// Something is at this path; the empty path is the root.
    Real(PathBuf),
    /// Nothing of the layers below is at this path.
    Whiteout(PathBuf),
    /// Nothing of the layers below shows in this directory.
    Opaque(PathBuf),
    /// Book-keeping of aufs, which other tools skip as well.
    Ignored,
}

/// The name as a relative path without `.` and doubled or trailing slashes. A leading slash means
/// the target, as in all tools that read layers; `..` is refused, even where it leads nowhere bad.
pub(crate) fn clean(name: &OsStr) -> Result<PathBuf, UnpackError> {
    let bytes = name.as_bytes();
    if bytes.len() > MAX_PATH_BYTES {
        return Err(bad(name, "it is longer than 4096 bytes"));
    }
    if bytes.contains(&0) {
        return Err(bad(name, "it contains a zero byte"));
    }
    let mut path = PathBuf::new();
    for part in bytes.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(bad(name, "it contains `..`")),
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

/// Cleans the name and reads the marks that image layers put into names.
pub(crate) fn layer_name(name: &OsStr) -> Result<LayerName, UnpackError> {
    let path = clean(name)?;
    let is_aufs = |part: &OsStr| part.as_bytes().starts_with(b".wh..wh.");
    if path.ends_with(".wh..wh..opq") {
        return Ok(LayerName::Opaque(parent(&path).to_path_buf()));
    }
    if path.iter().any(is_aufs) {
        return Ok(LayerName::Ignored);
    }
    let mut marked = path.iter().filter_map(|part| {
        part.as_bytes()
            .strip_prefix(WHITEOUT_PREFIX.as_bytes())
            .map(OsStr::from_bytes)
    });
    let Some(hidden) = marked.next() else {
        return Ok(LayerName::Real(path));
    };
    let last: OsString = path.file_name().unwrap_or_default().to_os_string();
    if !last.as_bytes().starts_with(WHITEOUT_PREFIX.as_bytes()) || marked.next().is_some() {
        return Err(bad(name, "it is inside a whiteout"));
    }
    if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
        return Err(bad(name, "it is a whiteout of no name"));
    }
    Ok(LayerName::Whiteout(parent(&path).join(hidden)))
}

/// The directory that `path` is in; empty for the root's entries.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

pub(crate) fn bad(name: &OsStr, reason: &'static str) -> UnpackError {
    UnpackError::BadName {
        name: name.to_string_lossy().into_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        let actual = match layer_name(OsStr::new(name)) {
            Ok(LayerName::Real(path)) => format!("real {}", path.display()),
            Ok(LayerName::Whiteout(path)) => format!("whiteout {}", path.display()),
            Ok(LayerName::Opaque(path)) => format!("opaque {}", path.display()),
            Ok(LayerName::Ignored) => "ignored".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(actual, expected);
    }

    #[test]
    fn names_are_cleaned() {
        check("./a//b/", "real a/b");
        check("/a", "real a");
        check("./", "real ");
        check("a/./b", "real a/b");
        check("..a/b..", "real ..a/b..");
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        check("../a", "bad name `../a` in the archive: it contains `..`");
        check(
            "a/../b",
            "bad name `a/../b` in the archive: it contains `..`",
        );
        check("/..", "bad name `/..` in the archive: it contains `..`");
    }

    #[test]
    fn whiteouts_are_read() {
        check("a/.wh.b", "whiteout a/b");
        check(".wh.b/", "whiteout b");
        check("a/.wh..wh..opq", "opaque a");
        check(".wh..wh..opq", "opaque ");
        check(".wh..wh.plnk/1.2", "ignored");
        check(
            "a/.wh.",
            "bad name `a/.wh.` in the archive: it is a whiteout of no name",
        );
        check(
            "a/.wh...",
            "bad name `a/.wh...` in the archive: it is a whiteout of no name",
        );
        check(
            ".wh.a/b",
            "bad name `.wh.a/b` in the archive: it is inside a whiteout",
        );
    }
}
