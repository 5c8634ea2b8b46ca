//! A disk's files as a tar archive.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_disk::{Node, NodeId};
use kiln_layer::{Entry, Node as EntryNode, TarWriter};

use super::extract::{Extracted, Lost, walk};
use super::{DiskError, DiskImage, Place};

impl DiskImage {
    /// Writes what is in a directory, or a single file under its name, as a tar archive. Sockets
    /// have no place there.
    ///
    /// # Errors
    ///
    /// See [`DiskError`].
    pub fn write_tar(
        &self,
        from: &Place,
        sink: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Result<Extracted, DiskError> {
        let mut tar = TarWriter::new(sink);
        let mut report = Extracted::default();
        let mut first: HashMap<NodeId, PathBuf> = HashMap::new();
        let name = from.path.rsplit(|byte| *byte == b'/').next();
        let is_directory = matches!(self.tree.inode(from.id).node, Node::Directory(_));
        let alone = [(name.unwrap_or_default().to_vec(), from.id)];
        let mut put = |path: &[u8], id: NodeId| -> Result<(), DiskError> {
            let inode = self.tree.inode(id);
            let path = Path::new(OsStr::from_bytes(path)).to_owned();
            let node = match &inode.node {
                Node::Directory(_) => EntryNode::Dir,
                _ if first.contains_key(&id) => EntryNode::HardLink(first[&id].clone()),
                Node::File(file) => EntryNode::File(file.size),
                Node::Symlink(target) => EntryNode::Symlink(OsStr::from_bytes(target).to_owned()),
                Node::CharDevice(device) => EntryNode::CharDevice(*device),
                Node::BlockDevice(device) => EntryNode::BlockDevice(*device),
                Node::Fifo => EntryNode::Fifo,
                Node::Socket => {
                    report.lost(Lost::Node);
                    return Ok(());
                }
            };
            let attributes = &inode.attributes;
            // A header has no word for a name with an equals sign.
            let fits = |name: &OsStr| !name.as_bytes().contains(&b'=');
            let kept = attributes.xattrs.iter().filter(|(name, _)| fits(name));
            let xattrs: Vec<_> = kept.cloned().collect();
            for _ in xattrs.len()..attributes.xattrs.len() {
                report.lost(Lost::Xattr);
            }
            let entry = Entry {
                path: path.clone(),
                node,
                mode: attributes.mode,
                uid: attributes.uid,
                gid: attributes.gid,
                mtime: attributes.mtime,
                xattrs,
            };
            report.count(inode, !matches!(entry.node, EntryNode::HardLink(_)));
            match (&inode.node, &entry.node) {
                (Node::File(file), EntryNode::File(_)) => {
                    let mut content = self.open_file(file, path.as_os_str().as_bytes())?;
                    tar.put(&entry, &mut content, cancel)?;
                }
                _ => tar.put(&entry, &mut io::empty(), cancel)?,
            }
            if !matches!(inode.node, Node::Directory(_)) {
                first.entry(id).or_insert(path);
            }
            Ok(())
        };
        if is_directory {
            walk(&self.tree, from.id, |path, id| {
                cancel.check()?;
                put(path, id)
            })?;
        } else {
            for (path, id) in &alone {
                put(path, *id)?;
            }
        }
        tar.finish()?;
        Ok(report)
    }
}
