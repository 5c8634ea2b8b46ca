//! A disk's bill of materials: what is on it when all that goes is gone.
//!
//! Packages are found where `kiln-attest` finds them in images, but in the tree that the disk is
//! made of. Beside them there is kiln's own init, which no package manager knows.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use kiln_attest::{
    BillInfo, BillSubject, Bytes, Ecosystem, Inventory, Package, PackageUrl, ScanError, Source,
    SourceEntry,
};
use kiln_base::{CancelToken, Timestamp};
use kiln_disk::{Content, Contents, File, Node, NodeId, Tree};
use kiln_oci::Digest;
use kiln_sys::fs::FileType;

use crate::init::{INIT, INIT_PATH};
use crate::paths::{self, ReadAt, Reader};

/// The form of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BillFormat {
    /// SPDX 2.3, as JSON.
    Spdx,
    /// `CycloneDX` 1.6, as JSON.
    CycloneDx,
}

/// What a bill of materials says of its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Billed<'a> {
    /// What the disk is called.
    pub name: &'a str,
    /// The name of its file.
    pub file: &'a str,
    /// The file's digest.
    pub digest: &'a Digest,
    /// The digest of the image's manifest.
    pub image: &'a Digest,
    /// The time that the disk is of.
    pub epoch: Timestamp,
}

impl BillFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Spdx, Self::CycloneDx];

    /// Its name in options and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spdx => "spdx",
            Self::CycloneDx => "cyclonedx",
        }
    }

    /// The format of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// What the names of its files end in.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Spdx => "spdx.json",
            Self::CycloneDx => "cdx.json",
        }
    }
}

/// Finds what is in a tree.
///
/// # Errors
///
/// Only if it is told to stop: what can't be read is one of the inventory's warnings.
pub fn inventory(
    tree: &Tree,
    contents: &dyn Contents,
    cancel: &CancelToken,
) -> Result<Inventory, ScanError> {
    let mut inventory = kiln_attest::scan(&Merged { tree, contents }, cancel)?;
    let path = INIT_PATH.trim_start_matches('/');
    let is_ours = |id: NodeId| match &tree.inode(id).node {
        Node::File(File {
            content: Content::Bytes(bytes),
            ..
        }) => **bytes == *INIT,
        _ => false,
    };
    if paths::lookup(tree, path.as_bytes()).is_some_and(is_ours) {
        let init = own_init(path);
        inventory.packages.insert(init.purl.clone(), init);
    }
    Ok(inventory)
}

/// The inventory as a document, with a line feed at its end: equal disks give equal bytes.
pub fn document(inventory: &Inventory, format: BillFormat, billed: &Billed<'_>) -> Vec<u8> {
    let info = BillInfo {
        name: billed.name.to_owned(),
        subject: BillSubject::Disk {
            file: billed.file.to_owned(),
            digest: billed.digest.clone(),
            image: billed.image.clone(),
        },
        created: billed.epoch,
        namespace: format!(
            "https://spdx.org/spdxdocs/kiln-disk-{}",
            billed.digest.hex()
        ),
        tool: format!("kiln-{}", env!("CARGO_PKG_VERSION")),
    };
    let mut bytes = match format {
        BillFormat::Spdx => inventory.spdx(&info),
        BillFormat::CycloneDx => inventory.cyclonedx(&info),
    };
    bytes.push(b'\n');
    bytes
}

fn own_init(path: &str) -> Package {
    let version = env!("CARGO_PKG_VERSION");
    let purl = PackageUrl::new("generic", "", "kiln-init", version);
    Package {
        licence: Some(env!("CARGO_PKG_LICENSE").to_owned()),
        found_in: [path.to_owned()].into(),
        ..Package::new(Ecosystem::Cargo, purl)
    }
}

/// A tree as a scan reads it.
struct Merged<'a> {
    tree: &'a Tree,
    contents: &'a dyn Contents,
}

impl<'a> Merged<'a> {
    fn child(&self, dir: NodeId, name: &OsStr) -> io::Result<NodeId> {
        let found = self.tree.child(dir, name.as_bytes());
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, id: NodeId) -> io::Result<Reader<'a>> {
        Reader::open(self.tree, self.contents, id).map_err(|error| match error {
            paths::ReadError::Io(error) => error,
            error => io::Error::other(error),
        })
    }
}

impl<'a> Source for Merged<'a> {
    type Dir = NodeId;
    type File = Reader<'a>;

    fn root(&self) -> io::Result<NodeId> {
        Ok(Tree::ROOT)
    }

    fn entries(&self, dir: &NodeId) -> io::Result<Vec<SourceEntry>> {
        let entries = self.tree.entries(*dir).iter().map(|entry| SourceEntry {
            name: OsString::from_vec(entry.name.to_vec()),
            file_type: match self.tree.inode(entry.id).node {
                Node::Directory(_) => FileType::Dir,
                Node::File(_) => FileType::File,
                // The rest is not told apart: a scan looks at none of it.
                _ => FileType::Symlink,
            },
        });
        Ok(entries.collect())
    }

    fn open_dir(&self, dir: &NodeId, name: &OsStr) -> io::Result<NodeId> {
        self.child(*dir, name)
    }

    fn open_file(&self, dir: &NodeId, name: &OsStr) -> io::Result<Reader<'a>> {
        self.open(self.child(*dir, name)?)
    }

    fn mode_and_size(&self, dir: &NodeId, name: &OsStr) -> Option<(u32, u64)> {
        let inode = self.tree.inode(self.tree.child(*dir, name.as_bytes())?);
        match &inode.node {
            Node::File(file) => Some((inode.attributes.mode, file.size)),
            _ => None,
        }
    }

    fn find(&self, path: &str) -> Option<Reader<'a>> {
        self.open(paths::lookup(self.tree, path.as_bytes())?).ok()
    }
}

impl Bytes for Reader<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(ReadAt::size(self))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kiln_disk::{Attributes, Inode};

    use super::*;

    /// No file of these trees is stored elsewhere.
    struct Nowhere;

    impl Contents for Nowhere {
        fn open(&self, _: u64) -> io::Result<fs::File> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn put(tree: &mut Tree, path: &str, node: Node) {
        let mut parent = Tree::ROOT;
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let inode = |node| Inode {
            attributes: Attributes::default(),
            node,
        };
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            let known = tree.child(parent, folder.as_bytes());
            let made = |tree: &mut Tree| {
                tree.add(
                    parent,
                    folder.as_bytes(),
                    inode(Node::Directory(Vec::new())),
                )
            };
            parent = known.unwrap_or_else(|| made(tree).unwrap());
        }
        tree.add(parent, name.as_bytes(), inode(node)).unwrap();
    }

    #[test]
    fn a_tree_is_scanned_as_a_directory_is() {
        let mut tree = Tree::new(Attributes::default());
        let file = |bytes: &[u8]| Node::File(File::of_bytes(bytes));
        let link = |target: &str| Node::Symlink(target.as_bytes().into());
        put(
            &mut tree,
            "usr/lib/os-release",
            file(b"ID=debian\nVERSION_ID=12\n"),
        );
        put(&mut tree, "etc/os-release", link("../usr/lib/os-release"));
        let status = b"Package: a\nStatus: install ok installed\nVersion: 1\n";
        put(&mut tree, "var/lib/dpkg/status", file(status));
        put(&mut tree, "usr/share/doc/a", link("b"));
        let copyright = b"Format: x\nLicense: MIT\n";
        put(&mut tree, "usr/share/doc/b/copyright", file(copyright));
        put(&mut tree, "usr/lib/kiln/init", file(INIT));
        let lost = Node::File(File {
            size: 10,
            content: Content::Stored(7),
        });
        put(&mut tree, "node_modules/x/package.json", lost);
        let found = inventory(&tree, &Nowhere, &CancelToken::new()).unwrap();
        let names: Vec<String> = found.packages.keys().map(ToString::to_string).collect();
        let own = concat!("pkg:generic/kiln-init@", env!("CARGO_PKG_VERSION"));
        assert_eq!(names, ["pkg:deb/debian/a@1?distro=debian-12", own]);
        let deb = found.packages.values().next().unwrap();
        assert_eq!(deb.licence.as_deref(), Some("MIT"));
        let warnings: Vec<&str> = found.warnings.iter().map(|w| w.path.as_str()).collect();
        assert_eq!(warnings, ["node_modules/x/package.json"]);
    }
}
