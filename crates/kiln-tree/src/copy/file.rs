//! Writing one file: anything but a directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};

use kiln_base::CancelToken;
use kiln_sys::files::read_up_to;
use kiln_sys::fs::{
    Dir, FileTime, FileType, FsError, Metadata, NodeKind as SpecialKind, Owner, copy_file_contents,
    file_metadata, set_file_owner_and_mode, set_file_times,
};
use kiln_sys::xattr::{self, Xattr};

use super::{Contents, CopyOptions};
use crate::error::CopyError;
use crate::nodes::{Node, NodeKind};
use crate::select::InlineFile;
use crate::stat_cache::FileStamp;
use crate::xattrs::is_kept;

/// Up to this size one read and one write cost less than asking for anything cleverer.
const SMALL_BYTES: usize = 64 * 1024;

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
                create(to, name, PRIVATE_MODE)?;
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
        let check = |metadata: Result<Metadata, FsError>| match metadata {
            Ok(metadata) if FileStamp::of(&metadata) == FileStamp::of(&node.metadata) => Ok(()),
            Ok(_) => Err(CopyError::Changed((&node.name).into())),
            Err(error) => Err(content(error.into())),
        };
        let attributes = &self.options.attributes;
        let mode = attributes.mode_of(node.metadata.mode, false);
        let size = node.metadata.size;
        let (target, xattrs) = if self.options.contents == Contents::Left && size > 0 {
            // Whoever reads the content opens the file then, and refuses it if it changed.
            let target = create(to, name, first_mode(mode))?;
            target.set_len(size).map_err(content)?;
            let xattrs = from.xattrs(&node.name);
            (target, xattrs.map_err(|error| content(error.into()))?)
        } else {
            let opened = from.open_known_file(&node.name);
            let (source, metadata) = opened.map_err(|error| content(error.into()))?;
            check(Ok(metadata))?;
            let target = create(to, name, first_mode(mode))?;
            copy_content(&source, &target, size).map_err(content)?;
            let xattrs = xattr::all_of_file(&source).map_err(content)?;
            check(file_metadata(&source, from.ownership()))?;
            (target, xattrs)
        };
        let attributes = FileAttributes {
            owner: attributes.owner_of(&node.metadata),
            mode,
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
        let mut target = create(to, name, PRIVATE_MODE)?;
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

    /// The same for an open directory, which is left alone where it has them already.
    pub(super) fn set_dir_attributes(&self, dir: &Dir, node: &Node) -> Result<(), CopyError> {
        let attributes = &self.options.attributes;
        let there = dir.metadata(Dir::ITSELF)?;
        let owner = attributes.owner_of(&node.metadata);
        if there.owner() != owner || owner != Owner::ROOT {
            dir.set_owner(Dir::ITSELF, owner)?;
        }
        let mode = attributes.mode_of(node.metadata.mode, true);
        if there.mode != mode {
            dir.set_mode(Dir::ITSELF, mode)?;
        }
        for (key, value) in &node.xattrs {
            dir.set_xattr(Dir::ITSELF, key, value)?;
        }
        Ok(())
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
            set_file_owner_and_mode(file, to.ownership(), self.owner, self.mode)?;
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

/// The mode of files whose own mode is set when they are complete.
const PRIVATE_MODE: u32 = 0o600;

/// The mode that a file is made with: its own, which then need not be set, unless it has bits that
/// writing clears or that keep its owner out.
fn first_mode(mode: u32) -> u32 {
    if mode & (0o7000 | PRIVATE_MODE) == PRIVATE_MODE {
        mode
    } else {
        PRIVATE_MODE
    }
}

/// Makes an empty file, in the place of what is there.
fn create(to: &Dir, name: &OsStr, mode: u32) -> Result<File, CopyError> {
    match to.create_file(name, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            make_room(to, name)?;
            Ok(to.create_file(name, mode)?)
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

fn copy_content(mut source: &File, mut target: &File, size: u64) -> io::Result<()> {
    let Some(size) = usize::try_from(size)
        .ok()
        .filter(|size| *size <= SMALL_BYTES)
    else {
        return copy_file_contents(source, target).map(drop);
    };
    let mut content = vec![0; size];
    // A file that is shorter now has changed, and whoever asked for the copy looks for that.
    let filled = read_up_to(&mut source, &mut content)?;
    target.write_all(&content[..filled])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_bits_that_writing_clears_are_private_at_first() {
        for mode in [0o644, 0o600, 0o755, 0o777] {
            assert_eq!(first_mode(mode), mode, "{mode:o}");
        }
        for mode in [0o4755, 0o2755, 0o1644, 0o444, 0o200, 0o000] {
            assert_eq!(first_mode(mode), PRIVATE_MODE, "{mode:o}");
        }
    }
}
