//! Where the files of a merged tree are: names below the directories of layers.
//!
//! A file is kept as its layer, its directory and its name, some thirty bytes: images have hundreds
//! of thousands. Opening one follows no symbolic link and leaves no layer's directory, whatever a
//! layer has been made to hold.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_disk::Contents;
use kiln_sys::fs::{Dir, FsError};

/// The kernel takes paths of 4096 bytes; longer ones are walked in pieces.
const PIECE_BYTES: usize = 3000;

/// The regular files of a merged tree, by the keys that the tree has for them.
#[derive(Debug)]
pub(crate) struct LayerFiles {
    /// Top first.
    layers: Vec<Dir>,
    /// All names, each with its length before it.
    names: Vec<u8>,
    dirs: Vec<Row>,
    files: Vec<(u32, Row)>,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// The directory's own row.
    parent: u32,
    /// Where the name is among the names.
    name: u32,
}

/// More names than can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the image has more files than a disk can hold")]
pub(crate) struct TooManyNames;

impl LayerFiles {
    /// The row of the root directory.
    pub(crate) const ROOT: u32 = 0;

    /// No files yet, of these layers, top first.
    pub(crate) fn new(layers: Vec<Dir>) -> Self {
        Self {
            layers,
            names: vec![0],
            dirs: vec![Row { parent: 0, name: 0 }],
            files: Vec::new(),
        }
    }

    pub(crate) fn layers(&self) -> &[Dir] {
        &self.layers
    }

    /// Notes a directory in another one, and returns its row.
    pub(crate) fn add_dir(&mut self, parent: u32, name: &[u8]) -> Result<u32, TooManyNames> {
        let row = u32::try_from(self.dirs.len()).map_err(|_| TooManyNames)?;
        let name = self.add_name(name)?;
        self.dirs.push(Row { parent, name });
        Ok(row)
    }

    /// Notes a file of a layer, and returns its key.
    pub(crate) fn add_file(
        &mut self,
        layer: u32,
        parent: u32,
        name: &[u8],
    ) -> Result<u64, TooManyNames> {
        let key = self.files.len() as u64;
        let name = self.add_name(name)?;
        self.files.push((layer, Row { parent, name }));
        Ok(key)
    }

    /// Where a directory is, from the root.
    pub(crate) fn dir_path(&self, row: u32) -> PathBuf {
        let mut rows = Vec::new();
        let mut at = row;
        while at != Self::ROOT {
            let dir = self.dirs[at as usize];
            rows.push(dir.name);
            at = dir.parent;
        }
        rows.iter().rev().map(|name| self.name(*name)).collect()
    }

    /// Where the file of a key is, from the root.
    #[cfg(test)]
    pub(crate) fn file_path(&self, key: u64) -> Option<PathBuf> {
        let (_, row) = self.files.get(usize::try_from(key).ok()?)?;
        Some(self.dir_path(row.parent).join(self.name(row.name)))
    }

    fn add_name(&mut self, name: &[u8]) -> Result<u32, TooManyNames> {
        let at = u32::try_from(self.names.len()).map_err(|_| TooManyNames)?;
        // Names have at most 255 bytes; the tree has refused others.
        self.names
            .push(u8::try_from(name.len()).map_err(|_| TooManyNames)?);
        self.names.extend_from_slice(name);
        Ok(at)
    }

    fn name(&self, at: u32) -> &OsStr {
        let at = at as usize;
        let length = usize::from(self.names[at]);
        OsStr::from_bytes(&self.names[at + 1..at + 1 + length])
    }
}

impl Contents for LayerFiles {
    fn open(&self, key: u64) -> io::Result<File> {
        let index = usize::try_from(key).ok();
        let found = index.and_then(|index| self.files.get(index));
        let (layer, row) = found.ok_or(io::ErrorKind::NotFound)?;
        let path = self.dir_path(row.parent);
        let root = &self.layers[*layer as usize];
        let opened = if path.as_os_str().len() < PIECE_BYTES {
            root.open_file_beneath(path.join(self.name(row.name)))
        } else {
            open_dir(root, &path).and_then(|dir| dir.open_file(self.name(row.name)))
        };
        opened.map_err(io::Error::other)
    }
}

/// Opens a directory below another one, however long its path is.
pub(crate) fn open_dir(root: &Dir, path: &Path) -> Result<Dir, FsError> {
    if path.as_os_str().len() < PIECE_BYTES {
        return root.open_dir_beneath(path);
    }
    let mut dir = root.try_clone()?;
    let mut piece = PathBuf::new();
    for name in path {
        if piece.as_os_str().len() + name.len() > PIECE_BYTES {
            dir = dir.open_dir_beneath(&piece)?;
            piece.clear();
        }
        piece.push(name);
    }
    dir.open_dir_beneath(&piece)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn files_are_found_by_their_keys_and_links_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let layer = temp.path().join("layer");
        kiln_sys::files::create_dir_all(layer.join("a/b"), 0o755).unwrap();
        kiln_sys::files::write(layer.join("a/b/file"), b"content").unwrap();
        kiln_sys::files::write(temp.path().join("outside"), b"secret").unwrap();
        let dir = Dir::open(&layer).unwrap();
        dir.symlink("../outside", "link").unwrap();
        dir.symlink("a", "way").unwrap();
        let mut files = LayerFiles::new(vec![dir]);
        let a = files.add_dir(LayerFiles::ROOT, b"a").unwrap();
        let b = files.add_dir(a, b"b").unwrap();
        let way = files.add_dir(LayerFiles::ROOT, b"way").unwrap();
        let below_way = files.add_dir(way, b"b").unwrap();
        let file = files.add_file(0, b, b"file").unwrap();
        let link = files.add_file(0, LayerFiles::ROOT, b"link").unwrap();
        let through = files.add_file(0, below_way, b"file").unwrap();
        let mut text = String::new();
        files.open(file).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(files.file_path(file), Some("a/b/file".into()));
        assert!(files.open(link).is_err());
        assert!(files.open(through).is_err());
        assert!(files.open(77).is_err());
    }

    #[test]
    fn very_long_paths_are_walked_in_pieces() {
        let temp = tempfile::tempdir().unwrap();
        let root = Dir::open(temp.path()).unwrap();
        let mut files = LayerFiles::new(vec![Dir::open(temp.path()).unwrap()]);
        let name = "n".repeat(200);
        let (mut at, mut row) = (root, LayerFiles::ROOT);
        for _ in 0..40 {
            at.mkdir(&name, 0o755).unwrap();
            at = at.open_dir(&name).unwrap();
            row = files.add_dir(row, name.as_bytes()).unwrap();
        }
        drop(at.create_file("file", 0o644).unwrap());
        let key = files.add_file(0, row, b"file").unwrap();
        assert!(files.open(key).is_ok());
        assert!(open_dir(&files.layers()[0], &files.dir_path(row)).is_ok());
    }
}
