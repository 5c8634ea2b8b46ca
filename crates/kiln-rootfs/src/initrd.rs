//! The initial file system of a machine whose kernel can't mount a disk by itself.
//!
//! Distributions' kernels have as modules what a disk may need: Debian's cloud kernel has `nvme` and
//! ext4 built in, and not virtio, erofs, squashfs, overlayfs and dm-verity. An initial file system
//! has those of them that the disk needs, in the order in which they can be loaded, and `kiln-init`,
//! which loads them and finds, verifies and mounts the root.
//!
//! Which modules a kernel has is read from its `modules.dep` and `modules.builtin`.
//!
//! Deliberately absent: modules of other machines than virtual ones, and firmware.

mod kernel;
mod modules;

use kiln_disk::{Attributes, File, Inode, Node, NodeId, Tree, TreeError};
use kiln_init::initrd;
use kiln_sys::fs::{Device, FsError};

pub use kernel::KernelFiles;
pub use modules::ModuleIndex;

use crate::init::INIT;
use crate::request::DiskFormat;

/// What a disk needs of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The disk's file system.
    pub format: DiskFormat,
    /// Whether memory is mounted over it.
    pub overlay: bool,
    /// Whether it is verified.
    pub verity: bool,
    /// The drivers that a machine may need for it, by their modules' names.
    pub drivers: &'static [&'static str],
}

/// The drivers of the disks of Firecracker, Cloud Hypervisor and QEMU.
pub const DRIVERS: &[&str] = &["nvme", "virtio_pci", "virtio_mmio", "virtio_blk"];

/// Why there is no initial file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitrdError {
    /// The kernel lacks something.
    #[error(
        "the kernel {release} has neither built in nor as a module what the disk needs: `{module}`"
    )]
    Missing {
        /// The kernel's version.
        release: String,
        /// The module's name.
        module: String,
    },
    /// A module can't be read.
    #[error("the kernel's modules can't be read")]
    Read(#[source] FsError),
    /// A module can't be decompressed.
    #[error("the kernel's module `{module}` can't be decompressed")]
    Decompress {
        /// Its file.
        module: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Two modules have one name.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A module that a machine may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The disk can't be mounted without it.
    Required(&'static str),
    /// Another one may do.
    IfThere(&'static str),
}

impl Needs {
    /// The modules: drivers of the monitors' disks, the file system, and what is above and below it.
    pub fn modules(self) -> Vec<Wish> {
        let drivers = self.drivers.iter().copied();
        let mut wishes: Vec<Wish> = drivers.map(Wish::IfThere).collect();
        match self.format {
            // Sums that kernels find by name, so that no dependency tells of them.
            DiskFormat::Ext4 => {
                wishes.extend([Wish::IfThere("crc32c_generic"), Wish::Required("ext4")]);
            }
            DiskFormat::Erofs => {
                wishes.extend([Wish::IfThere("crc32c_generic"), Wish::Required("erofs")]);
            }
            DiskFormat::Squashfs => wishes.push(Wish::Required("squashfs")),
            DiskFormat::Cpio => {}
        }
        if self.verity {
            wishes.extend([Wish::IfThere("sha256_generic"), Wish::Required("dm_verity")]);
        }
        if self.overlay {
            wishes.push(Wish::Required("overlay"));
        }
        wishes
    }
}

/// The files that have to be loaded, in order; paths below the kernel's folder of modules.
///
/// # Errors
///
/// [`InitrdError::Missing`], where something is required.
pub fn choose(
    needs: Needs,
    kernel: &KernelFiles,
    index: Option<&ModuleIndex>,
) -> Result<Vec<String>, InitrdError> {
    let mut chosen = Vec::new();
    // A kernel without modules has what it has.
    let Some(index) = index else {
        return Ok(chosen);
    };
    for wish in needs.modules() {
        let (Wish::Required(name) | Wish::IfThere(name)) = wish;
        match (index.files_of(name), wish) {
            (Some(files), _) => {
                for file in files {
                    if !chosen.contains(&file) {
                        chosen.push(file);
                    }
                }
            }
            (None, Wish::IfThere(_)) => {}
            (None, Wish::Required(_)) => {
                return Err(InitrdError::Missing {
                    release: kernel.release.clone(),
                    module: name.to_owned(),
                });
            }
        }
    }
    Ok(chosen)
}

/// The files of an initial file system with these modules: their names and their bytes.
///
/// # Errors
///
/// Two modules of one name.
pub fn tree(modules: Vec<(String, Vec<u8>)>) -> Result<Tree, InitrdError> {
    let mut tree = Tree::new(attributes(0o755));
    for name in [
        "proc",
        "sys",
        trimmed(initrd::ROOT),
        trimmed(initrd::MEMORY),
    ] {
        tree.add(Tree::ROOT, name.as_bytes(), directory())?;
    }
    let dev = tree.add(Tree::ROOT, b"dev", directory())?;
    let console = Device { major: 5, minor: 1 };
    let console = Inode {
        attributes: attributes(0o600),
        node: Node::CharDevice(console),
    };
    tree.add(dev, b"console", console)?;
    let lib = tree.add(Tree::ROOT, b"lib", directory())?;
    let mut paths = Vec::new();
    for (name, bytes) in modules {
        paths.push(format!("/lib/{name}"));
        put(&mut tree, lib, &name, (0o644, bytes))?;
    }
    let document = initrd::Initrd::new(paths).to_json();
    let (folder, name) = (["etc", "kiln"], "initrd.json");
    let mut parent = Tree::ROOT;
    for directory_name in folder {
        parent = tree.add(parent, directory_name.as_bytes(), directory())?;
    }
    put(&mut tree, parent, name, (0o644, document))?;
    put(
        &mut tree,
        Tree::ROOT,
        trimmed(initrd::PROGRAM),
        (0o755, INIT.to_vec()),
    )?;
    Ok(tree)
}

fn trimmed(path: &'static str) -> &'static str {
    path.trim_start_matches('/')
}

fn put(
    tree: &mut Tree,
    parent: NodeId,
    name: &str,
    (mode, bytes): (u32, Vec<u8>),
) -> Result<(), TreeError> {
    let inode = Inode {
        attributes: attributes(mode),
        node: Node::File(File::of_bytes(bytes)),
    };
    tree.add(parent, name.as_bytes(), inode).map(drop)
}

fn directory() -> Inode {
    Inode {
        attributes: attributes(0o755),
        node: Node::Directory(Vec::new()),
    }
}

fn attributes(mode: u32) -> Attributes {
    Attributes {
        mode,
        ..Attributes::default()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const DEP: &str = "\
kernel/drivers/virtio/virtio.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz
kernel/drivers/virtio/virtio_ring.ko.xz:
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/drivers/virtio/virtio_ring.ko.xz
kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/lib/libcrc32c.ko.xz:
kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-mod.ko.xz
";
    const BUILT_IN: &str = "kernel/fs/ext4/ext4.ko\nkernel/drivers/nvme/host/nvme.ko\n";

    #[track_caller]
    fn check(needs: Needs, expected: &Expect) {
        let kernel = KernelFiles {
            release: "6.1.0".to_owned(),
            modules: None,
        };
        let index = ModuleIndex::parse(DEP, BUILT_IN);
        let text = match choose(needs, &kernel, Some(&index)) {
            Ok(files) => files.join("\n"),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn what_is_not_built_in_is_loaded_in_order() {
        let plain = Needs {
            format: DiskFormat::Erofs,
            overlay: false,
            verity: true,
            drivers: DRIVERS,
        };
        check(
            plain,
            &expect![[r"
            kernel/drivers/virtio/virtio_ring.ko.xz
            kernel/drivers/virtio/virtio.ko.xz
            kernel/drivers/block/virtio_blk.ko.xz
            kernel/lib/libcrc32c.ko.xz
            kernel/fs/erofs/erofs.ko.xz
            kernel/drivers/md/dm-mod.ko.xz
            kernel/drivers/md/dm-verity.ko.xz"]],
        );
        let missing = Needs {
            format: DiskFormat::Ext4,
            overlay: true,
            verity: false,
            drivers: DRIVERS,
        };
        check(
            missing,
            &expect![
                "the kernel 6.1.0 has neither built in nor as a module what the disk needs: `overlay`"
            ],
        );
    }

    #[test]
    fn the_tree_has_what_the_first_process_needs() {
        let tree = tree(vec![("a.ko".to_owned(), vec![1])]).unwrap();
        let mut names = Vec::new();
        tree.walk(|path, _| names.push(String::from_utf8_lossy(path).into_owned()));
        expect![" dev dev/console etc etc/kiln etc/kiln/initrd.json init lib lib/a.ko memory proc root sys"]
            .assert_eq(&names.join(" "));
    }
}
