//! Making one entry of an archive in an open directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Seek, SeekFrom, Write};
use std::path::Path;

use kiln_base::CancelToken;
use kiln_sys::fs::{self, Device, Dir, FileTime, FsError, NodeKind, Owner};
use kiln_sys::xattr;

use crate::names;
use crate::overlay::belongs_into_layer;
use crate::reader::{Kind, Segment, TarEntry, TarReader};
use crate::unpack::UnpackError;

/// A place in the target: the open directory, the name in it, and the path to name in errors.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) name: &'a OsStr,
    pub(crate) path: &'a Path,
}

/// The attributes to give an entry: the archive's, or what the options make of them.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) entry: &'a TarEntry,
    pub(crate) owner: Owner,
    pub(crate) mtime: FileTime,
}

/// Copies content, unless told to stop.
pub(crate) struct Copier<'a> {
    cancel: &'a CancelToken,
}

/// The owner that the archive tells.
pub(crate) fn archive_owner(entry: &TarEntry, path: &Path) -> Result<Owner, UnpackError> {
    match (u32::try_from(entry.uid), u32::try_from(entry.gid)) {
        (Ok(uid), Ok(gid)) => Ok(Owner { uid, gid }),
        _ => Err(UnpackError::Owner {
            path: path.to_path_buf(),
            uid: entry.uid,
            gid: entry.gid,
        }),
    }
}

impl Place<'_> {
    fn at(&self, error: FsError) -> UnpackError {
        UnpackError::Fs(error.within(names::parent(self.path)))
    }

    fn failed(&self, action: &'static str, error: io::Error) -> UnpackError {
        UnpackError::Fs(FsError::new(action, self.path, error))
    }

    /// Makes what is neither a directory nor a hard link. The name must be free.
    pub(crate) fn make<R: BufRead>(
        &self,
        attributes: &Attributes<'_>,
        content: &mut TarReader<R>,
        copier: &Copier<'_>,
    ) -> Result<(), UnpackError> {
        match &attributes.entry.kind {
            Kind::File { size, sparse } => {
                let file = self
                    .dir
                    .create_file(self.name, 0o600)
                    .map_err(|error| self.at(error))?;
                match sparse {
                    None => copier.copy(self, *size, content, &file)?,
                    Some(map) => copier.copy_sparse(self, map, *size, content, &file)?,
                }
                self.finish_file(attributes, &file)
            }
            Kind::Symlink(target) => {
                self.dir
                    .symlink(target, self.name)
                    .map_err(|error| self.at(error))?;
                self.set_owner(attributes.owner)?;
                self.dir
                    .set_times(self.name, attributes.mtime)
                    .map_err(|error| self.at(error))
            }
            Kind::Fifo => self.make_node(NodeKind::Fifo, attributes),
            Kind::CharDevice(device) if *device == Device::default() => Err(names::bad(
                self.path.as_os_str(),
                "a character device 0:0 would hide files of other layers",
            )),
            Kind::CharDevice(device) => self.make_node(NodeKind::CharDevice(*device), attributes),
            Kind::BlockDevice(device) => self.make_node(NodeKind::BlockDevice(*device), attributes),
            Kind::Dir | Kind::HardLink(_) => Ok(()),
        }
    }

    fn make_node(&self, kind: NodeKind, attributes: &Attributes<'_>) -> Result<(), UnpackError> {
        self.dir
            .mknod(self.name, kind, 0o600)
            .map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied if kind != NodeKind::Fifo => UnpackError::Device {
                    path: self.path.to_path_buf(),
                },
                _ => self.at(error),
            })?;
        self.set_owner(attributes.owner)?;
        self.dir
            .set_mode(self.name, attributes.entry.mode)
            .and_then(|()| self.dir.set_times(self.name, attributes.mtime))
            .map_err(|error| self.at(error))
    }

    /// Sets all attributes of a directory but its times, which come when it is complete.
    pub(crate) fn finish_dir(&self, attributes: &Attributes<'_>) -> Result<(), UnpackError> {
        self.set_owner(attributes.owner)?;
        self.dir
            .set_mode(self.name, attributes.entry.mode)
            .map_err(|error| self.at(error))?;
        for (key, value) in &attributes.entry.xattrs {
            if belongs_into_layer(key) {
                self.dir
                    .set_xattr(self.name, key, value)
                    .map_err(|error| self.at(error))?;
            }
        }
        Ok(())
    }

    /// The owner comes first, as setting it clears set-id bits and capabilities.
    fn finish_file(&self, attributes: &Attributes<'_>, file: &File) -> Result<(), UnpackError> {
        let named = |error: FsError| self.failed("set the attributes of", error.into());
        fs::set_file_owner(file, self.dir.ownership(), attributes.owner)
            .map_err(|error| self.owner_error(attributes.owner, error))?;
        fs::set_file_mode(file, attributes.entry.mode).map_err(named)?;
        for (key, value) in &attributes.entry.xattrs {
            if belongs_into_layer(key) {
                xattr::set_of_file(file, key, value)
                    .map_err(|error| self.failed("set an extended attribute of", error))?;
            }
        }
        fs::set_file_times(file, attributes.mtime).map_err(named)
    }

    fn set_owner(&self, owner: Owner) -> Result<(), UnpackError> {
        self.dir
            .set_owner(self.name, owner)
            .map_err(|error| self.owner_error(owner, error))
    }

    fn owner_error(&self, owner: Owner, error: FsError) -> UnpackError {
        match error.kind() {
            io::ErrorKind::InvalidInput
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported => UnpackError::Owner {
                path: self.path.to_path_buf(),
                uid: owner.uid.into(),
                gid: owner.gid.into(),
            },
            _ => self.at(error),
        }
    }
}

impl<'a> Copier<'a> {
    pub(crate) const fn new(cancel: &'a CancelToken) -> Self {
        Self { cancel }
    }

    fn copy<R: BufRead>(
        &self,
        place: &Place<'_>,
        size: u64,
        content: &mut TarReader<R>,
        mut file: &File,
    ) -> Result<(), UnpackError> {
        let mut left = size;
        while left > 0 {
            self.cancel.check()?;
            let written = match content.read_in_place(left, |bytes| file.write_all(bytes)) {
                Ok(written) => written.map_err(|error| place.failed("write", error))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(content.read_error(error).into()),
            };
            left -= written as u64;
        }
        Ok(())
    }

    fn copy_sparse<R: BufRead>(
        &self,
        place: &Place<'_>,
        map: &[Segment],
        size: u64,
        content: &mut TarReader<R>,
        mut file: &File,
    ) -> Result<(), UnpackError> {
        for segment in map {
            file.seek(SeekFrom::Start(segment.offset))
                .map_err(|error| place.failed("write", error))?;
            self.copy(place, segment.length, content, file)?;
        }
        file.set_len(size)
            .map_err(|error| place.failed("write", error))
    }
}
