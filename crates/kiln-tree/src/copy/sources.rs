//! Where the contents of files are that were copied without them: [`super::Contents::Left`].

use std::fs::File;
use std::path::{Path, PathBuf};

use kiln_sys::fs::{Dir, Metadata, Ownership, file_metadata};

use crate::error::CopyError;
use crate::nodes::{Node, NodeKind};
use crate::select::{Content, CopyItem, Selection};
use crate::stat_cache::FileStamp;

/// Leads from a copy back to the files that it was made of. Paths are from the root that was copied
/// into, with no link in them.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// For each item that was copied, in order: its number in the selection, and where it went.
    copied: Vec<(usize, PathBuf)>,
}

/// A file of the source that stands for its copy's content.
struct Source<'a> {
    /// The directory that was named, or that has what was named.
    dir: &'a Dir,
    /// The file in it.
    path: PathBuf,
    /// The file from the source's root, for messages.
    named: PathBuf,
    node: Node,
}

impl Sources {
    /// Notes that the item with this number went where [`super::copy_item`] says.
    pub fn push(&mut self, item: usize, place: PathBuf) {
        self.copied.push((item, place));
    }

    /// Opens the file whose content the copy at `path` stands for; `None` if the copy has its
    /// content itself.
    ///
    /// # Errors
    ///
    /// If the file can't be opened, or is not the one that was selected any more.
    pub fn open(&self, selection: &Selection, path: &Path) -> Result<Option<File>, CopyError> {
        let Some(source) = self.find(selection, path) else {
            return Ok(None);
        };
        let opened = source.dir.open_known_file_beneath(&source.path);
        let (file, metadata) = opened.map_err(|error| CopyError::Content {
            path: source.named.clone(),
            cause: error.into(),
        })?;
        source.check(&metadata)?;
        Ok(Some(file))
    }

    /// Refuses what [`Sources::open`] gave if it changed meanwhile. Called when it has been read.
    ///
    /// # Errors
    ///
    /// If it is not the one that was selected any more.
    pub fn check(&self, selection: &Selection, path: &Path, file: &File) -> Result<(), CopyError> {
        let Some(source) = self.find(selection, path) else {
            return Ok(());
        };
        let metadata = file_metadata(file, Ownership::Native);
        source.check(&metadata.map_err(|error| CopyError::Content {
            path: source.named.clone(),
            cause: error.into(),
        })?)
    }

    fn find<'a>(&self, selection: &'a Selection, path: &Path) -> Option<Source<'a>> {
        // What was copied later lies above what was copied before.
        self.copied.iter().rev().find_map(|(item, place)| {
            let below = path.strip_prefix(place).ok()?;
            selection.items.get(*item)?.source(below)
        })
    }
}

impl Source<'_> {
    fn check(&self, metadata: &Metadata) -> Result<(), CopyError> {
        if FileStamp::of(metadata) == FileStamp::of(&self.node.metadata) {
            Ok(())
        } else {
            Err(CopyError::Changed(self.named.clone()))
        }
    }
}

impl CopyItem {
    /// The regular file `below` this item, which itself is the empty path.
    fn source(&self, below: &Path) -> Option<Source<'_>> {
        let Content::Tree {
            dir,
            path,
            node,
            below: tree,
        } = &self.content
        else {
            return None;
        };
        let found = if below.as_os_str().is_empty() {
            node.clone()
        } else {
            tree.find(below)?
        };
        if !matches!(found.kind, NodeKind::File) {
            return None;
        }
        // Joining an empty path would add a slash.
        let join = |parent: &Path| {
            if below.as_os_str().is_empty() {
                parent.to_path_buf()
            } else {
                parent.join(below)
            }
        };
        Some(Source {
            dir,
            path: if node.name == Dir::ITSELF {
                below.to_path_buf()
            } else {
                join(Path::new(&node.name))
            },
            named: join(path),
            node: found,
        })
    }
}
