//! Writing one file: anything but a directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};

use kiln_base::CancelToken;
use kiln_sys::fs::{
    Dir, FileTime, FileType, NodeKind as SpecialKind, Owner, copy_file_contents, file_metadata,
    set_file_mode, set_file_owner, set_file_times,
};
use kiln_sys::xattr::{self, Xattr};

use super::CopyOptions;
use crate::error::CopyError;
use crate::scan::{Node, NodeKind};
use crate::select::InlineFile;
use crate::stat_cache::FileStamp;
use crate::xattrs::is_kept;

/// Up to this size one read and one write cost less than asking for anything cleverer.
const SMALL_BYTES: u64 = 64 * 1024;

/// Writes files as the options say. Errors tell names, not paths.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) options: &'a CopyOptions,
    pub(super) cancel: &'a CancelToken,
}

impl Writer<'_> {
    /// Copies anything but a directory.
    pub(super) fn put_file(
        &self,
        from: &Dir,
        node: &Node,
        to: &Dir,
        name: &OsStr,
    ) -> Result<(), CopyError> {
        self.cancel.check()?;
        match &node.kind {
            NodeKind::File => return self.put_regular(from, node, to, name),
            NodeKind::Dir(_) => return Ok(()),
            NodeKind::Symlink(target) => {
                make_room(to, name)?;
                to.symlink(target, name)?;
                to.set_owner(name, self.options.attributes.owner_of(&node.metadata))?;
            }
            NodeKind::Fifo | NodeKind::Device => {
                let kind = match node.metadata.file_type {
                    FileType::CharDevice => SpecialKind::CharDevice(node.metadata.rdev),
                    FileType::BlockDevice => SpecialKind::BlockDevice(node.metadata.rdev),
                    _ => SpecialKind::Fifo,
                };
                make_room(to, name)?;
                to.mknod(name, kind, 0o600)?;
                self.set_attributes(to, name, node)?;
            }
            NodeKind::Socket => {
                // Nobody listens in an image. BuildKit leaves an empty file, too.
                create(to, name)?;
                self.set_attributes(to, name, node)?;
            }
        }
        Ok(to.set_times(name, self.options.clamped(node.metadata.mtime))?)
    }

    fn put_regular(
        &self,
        from: &Dir,
        node: &Node,
        to: &Dir,
        name: &OsStr,
    ) -> Result<(), CopyError> {
        let content = |cause| CopyError::Content {
            path: (&node.name).into(),
            cause,
        };
        let source = from.open_file(&node.name);
        let source = source.map_err(|error| content(error.into()))?;
        let check = || match file_metadata(&source, from.ownership()) {
            Ok(metadata) if FileStamp::of(&metadata) == FileStamp::of(&node.metadata) => Ok(()),
            Ok(_) => Err(CopyError::Changed((&node.name).into())),
            Err(error) => Err(content(error.into())),
        };
        check()?;
        let target = create(to, name)?;
        copy_content(&source, &target, node.metadata.size).map_err(content)?;
        let xattrs = xattr::all_of_file(&source).map_err(content)?;
        check()?;
        let attributes = &self.options.attributes;
        let attributes = FileAttributes {
            owner: attributes.owner_of(&node.metadata),
            mode: attributes.mode_of(node.metadata.mode, false),
            mtime: self.options.clamped(node.metadata.mtime),
            xattrs: &xattrs,
        };
        attributes.set(to, &target, name)
    }

    pub(super) fn put_inline(
        &self,
        file: &InlineFile,
        to: &Dir,
        name: &OsStr,
    ) -> Result<(), CopyError> {
        let mut target = create(to, name)?;
        let written = target.write_all(&file.content);
        written.map_err(|cause| CopyError::Content {
            path: name.into(),
            cause,
        })?;
        let attributes = &self.options.attributes;
        let attributes = FileAttributes {
            owner: attributes.owner_of_new(),
            mode: attributes.mode_of(file.mode, false),
            mtime: self.options.clamped(self.options.now),
            xattrs: &[],
        };
        attributes.set(to, &target, name)
    }

    /// Owner, mode and extended attributes by name: of anything but a symbolic link.
    pub(super) fn set_attributes(
        &self,
        dir: &Dir,
        name: &OsStr,
        node: &Node,
    ) -> Result<(), CopyError> {
        let attributes = &self.options.attributes;
        dir.set_owner(name, attributes.owner_of(&node.metadata))?;
        let is_dir = node.metadata.is_dir();
        dir.set_mode(name, attributes.mode_of(node.metadata.mode, is_dir))?;
        for (key, value) in &node.xattrs {
            dir.set_xattr(name, key, value)?;
        }
        Ok(())
    }
}

/// The attributes of a new regular file.
struct FileAttributes<'a> {
    owner: Owner,
    mode: u32,
    mtime: FileTime,
    xattrs: &'a [Xattr],
}

impl FileAttributes<'_> {
    /// Sets them in the order in which they survive each other.
    fn set(&self, to: &Dir, file: &File, name: &OsStr) -> Result<(), CopyError> {
        let set = || -> io::Result<()> {
            set_file_owner(file, to.ownership(), self.owner)?;
            set_file_mode(file, self.mode)?;
            for (key, value) in self.xattrs.iter().filter(|(key, _)| is_kept(key)) {
                xattr::set_of_file(file, key, value)?;
            }
            Ok(set_file_times(file, self.mtime)?)
        };
        set().map_err(|cause| CopyError::Attributes {
            path: name.into(),
            cause,
        })
    }
}

/// Makes an empty file, in the place of what is there.
fn create(to: &Dir, name: &OsStr) -> Result<File, CopyError> {
    match to.create_file(name, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            make_room(to, name)?;
            Ok(to.create_file(name, 0o600)?)
        }
        result => Ok(result?),
    }
}

/// Removes what is in the way of something that is not a directory.
pub(super) fn make_room(to: &Dir, name: &OsStr) -> Result<(), CopyError> {
    match to.try_metadata(name)? {
        None => Ok(()),
        Some(there) if there.is_dir() => Err(CopyError::IsADirectory(name.into())),
        Some(_) => Ok(to.unlink(name)?),
    }
}

fn copy_content(source: &File, mut target: &File, size: u64) -> io::Result<()> {
    if size > SMALL_BYTES {
        return copy_file_contents(source, target).map(drop);
    }
    let mut content = Vec::new();
    source.take(size).read_to_end(&mut content)?;
    target.write_all(&content)
}
