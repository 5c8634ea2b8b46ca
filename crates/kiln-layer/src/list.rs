//! What a layer's blob holds, without unpacking it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_oci::{Digest, Digester};
use kiln_sys::fs::{Device, FileTime};
use kiln_sys::xattr::Xattr;

use crate::names::{LayerName, clean, layer_name};
use crate::reader::{ArchiveError, Kind, Segment, TarReader};
use crate::times::UnpackTimes;
use crate::unpack::{BlobFormat, Decoding, UnpackError, with_decoded};

/// A sparse file that claims to be longer than this is not hashed: its holes would be hashed for
/// years.
const MAX_SPARSE: u64 = 64 << 30;

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is: relative, without `.`, `..` and trailing `/`; empty for the root itself. For a
    /// whiteout, what it hides.
    pub path: PathBuf,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// The time of the last change.
    pub mtime: FileTime,
    /// Extended attributes, as the archive has them.
    pub xattrs: Vec<Xattr>,
}

/// What a [`Member`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The digest of its content.
        digest: Digest,
    },
    /// A directory.
    Dir,
    /// A symbolic link to this target.
    Symlink(OsString),
    /// Another name of the file at this path.
    HardLink(PathBuf),
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// What the layers below have at this path is gone.
    Whiteout,
    /// What the layers below have in this directory is gone.
    Opaque,
}

/// Calls `visit` for each entry of a layer in the order of the archive.
pub fn list_layer(
    blob: impl Read + Send,
    format: BlobFormat,
    cancel: &CancelToken,
    mut visit: impl FnMut(Member),
) -> Result<(), UnpackError> {
    let decoding = Decoding {
        format,
        expected: None,
        times: &UnpackTimes::off(),
        digester: None,
    };
    with_decoded(blob, decoding, |tar| {
        let mut archive = TarReader::new(tar);
        while let Some(entry) = archive.next_entry()? {
            cancel.check()?;
            let (path, kind) = match layer_name(&entry.path)? {
                LayerName::Ignored => continue,
                LayerName::Whiteout(path) => (path, MemberKind::Whiteout),
                LayerName::Opaque(path) => (path, MemberKind::Opaque),
                LayerName::Real(path) => {
                    let kind = kind(entry.kind, &mut archive, &path, cancel)?;
                    (path, kind)
                }
            };
            visit(Member {
                path,
                kind,
                mode: entry.mode & 0o7777,
                uid: entry.uid,
                gid: entry.gid,
                mtime: entry.mtime,
                xattrs: entry.xattrs,
            });
        }
        Ok(())
    })?;
    Ok(())
}

fn kind<R: Read>(
    kind: Kind,
    archive: &mut TarReader<R>,
    path: &Path,
    cancel: &CancelToken,
) -> Result<MemberKind, UnpackError> {
    Ok(match kind {
        Kind::File { size, sparse } => MemberKind::File {
            size,
            digest: digest(archive, size, sparse.as_deref(), path, cancel)?,
        },
        Kind::Dir => MemberKind::Dir,
        Kind::Symlink(target) => MemberKind::Symlink(target),
        Kind::HardLink(target) => MemberKind::HardLink(clean(&target)?),
        Kind::Fifo => MemberKind::Fifo,
        Kind::CharDevice(device) => MemberKind::CharDevice(device),
        Kind::BlockDevice(device) => MemberKind::BlockDevice(device),
    })
}

/// The digest of a file as it is once unpacked: holes are zeros.
fn digest<R: Read>(
    archive: &mut TarReader<R>,
    size: u64,
    sparse: Option<&[Segment]>,
    path: &Path,
    cancel: &CancelToken,
) -> Result<Digest, UnpackError> {
    let mut digester = Digester::sha256();
    let Some(segments) = sparse else {
        hash(archive, u64::MAX, &mut digester, cancel)?;
        return Ok(digester.finish());
    };
    if size > MAX_SPARSE {
        return Err(crate::names::bad(
            path.as_os_str(),
            "a sparse file that is too long to be hashed",
        ));
    }
    let mut at = 0;
    for segment in segments {
        let hole = segment.offset.saturating_sub(at);
        hash_zeros(hole, &mut digester, cancel)?;
        hash(archive, segment.length, &mut digester, cancel)?;
        at = segment.offset.saturating_add(segment.length);
    }
    hash_zeros(size.saturating_sub(at), &mut digester, cancel)?;
    Ok(digester.finish())
}

fn hash_zeros(
    count: u64,
    digester: &mut Digester,
    cancel: &CancelToken,
) -> Result<(), UnpackError> {
    let mut zeros = io::repeat(0).take(count);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        cancel.check()?;
        match zeros.read(&mut buffer).map_err(ArchiveError::Read)? {
            0 => return Ok(()),
            read => digester.update(&buffer[..read]),
        }
    }
}

fn hash<R: Read>(
    archive: &mut TarReader<R>,
    count: u64,
    digester: &mut Digester,
    cancel: &CancelToken,
) -> Result<(), UnpackError> {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = count;
    loop {
        cancel.check()?;
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        match archive.read(&mut buffer[..length]) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                digester.update(&buffer[..read]);
                left -= read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(archive.read_error(error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    fn put(archive: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, text: &str) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(1000);
        header.set_gid(7);
        header.set_size(0);
        if kind.is_file() {
            header.set_size(text.len() as u64);
            archive
                .append_data(&mut header, path, text.as_bytes())
                .unwrap();
        } else if kind.is_symlink() || kind.is_hard_link() {
            archive.append_link(&mut header, path, text).unwrap();
        } else {
            archive.append_data(&mut header, path, io::empty()).unwrap();
        }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(entries: &[(tar::EntryType, &str, &str)], expected: Expect) {
        let mut archive = tar::Builder::new(Vec::new());
        for (kind, path, text) in entries {
            put(&mut archive, *kind, path, text);
        }
        let archive = archive.into_inner().unwrap();
        let mut seen = String::new();
        let cancel = CancelToken::new();
        let listed = list_layer(archive.as_slice(), BlobFormat::Detect, &cancel, |member| {
            let (path, kind) = (member.path.display(), &member.kind);
            let kind = match kind {
                MemberKind::File { size, digest } => format!("{size} {}", &digest.hex()[..8]),
                other => format!("{other:?}"),
            };
            _ = writeln!(
                seen,
                "{path} {:o} {}:{} {kind}",
                member.mode, member.uid, member.gid
            );
        });
        if let Err(error) = listed {
            _ = writeln!(seen, "{error}");
        }
        expected.assert_eq(&seen);
    }

    #[test]
    fn entries_and_marks_are_told() {
        use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};
        check(
            &[
                (Directory, "./a/", ""),
                (Regular, "a/b", "text"),
                (Link, "a/c", "a/b"),
                (Symlink, "d", "../../etc"),
                (Fifo, "p", ""),
                (Regular, "a/.wh.old", ""),
                (Regular, "a/.wh..wh..opq", ""),
                (Regular, ".wh..wh.plnk/1", ""),
            ],
            expect![[r#"
                a 644 1000:7 Dir
                a/b 644 1000:7 4 982d9e3e
                a/c 644 1000:7 HardLink("a/b")
                d 644 1000:7 Symlink("../../etc")
                p 644 1000:7 Fifo
                a/old 644 1000:7 Whiteout
                a 644 1000:7 Opaque
            "#]],
        );
    }
}
