//! What is said of a disk that was made.

use std::path::Path;

use kiln_disk::{Node, Tree};
use kiln_image::Image;
use kiln_rootfs::init::Installed;
use kiln_rootfs::manifest::{
    Manifest, ManifestBoot, ManifestContents, ManifestDisk, ManifestInitrd, ManifestKernel,
    ManifestMonitors, ManifestSource, ManifestTimings, ManifestVerity,
};
use kiln_rootfs::request::DiskFormat;
use kiln_rootfs::vmm::{self, Accelerator, DiskAccess, Machine};

use super::RootfsRequest;
use super::disk::{self, Identity};
use super::edit::{self, Edited};
use super::output::WrittenDisk;

/// All that is known.
pub(super) struct Facts<'a> {
    pub(super) request: &'a RootfsRequest,
    pub(super) image: &'a Image,
    pub(super) identity: Identity,
    pub(super) written: WrittenDisk,
    pub(super) verity: Option<ManifestVerity>,
    pub(super) edited: Edited,
    /// The disk's part of the kernel command line.
    pub(super) arguments: Vec<String>,
    pub(super) contents: ManifestContents,
    /// The initial file system that comes with it.
    pub(super) initrd: Option<ManifestInitrd>,
    /// How the disk was tried.
    pub(super) booted: Option<ManifestBoot>,
    pub(super) timings: ManifestTimings,
}

impl Facts<'_> {
    pub(super) fn into_manifest(self) -> Manifest {
        let (request, written) = (self.request, self.written);
        let initrd = self.initrd.as_ref().map(|initrd| initrd.file.clone());
        let monitors = monitors(request, &self.arguments, initrd);
        let features = disk::kernel_features(&request.disk).into_iter();
        let features = features.chain(edit::kernel_features(&request.edits));
        let layers = self.image.layers().iter();
        Manifest {
            name: request.name.clone(),
            labels: request.labels.clone(),
            source: ManifestSource {
                image: request.image.clone(),
                digest: self.image.descriptor().digest.clone(),
                layers: layers.map(|layer| layer.digest.clone()).collect(),
                config: self.image.config().clone(),
                commands: request.commands.clone(),
            },
            disk: ManifestDisk {
                file: file_name(&request.output),
                format: request.disk.format,
                compression: request.disk.compression,
                uuid: self.identity.uuid_of(request.disk.format),
                label: request.disk.label.clone(),
                size: written.size,
                digest: written.digest,
                file_size: written.file_size,
                file_digest: written.file_digest,
                verity: self.verity,
            },
            contents: self.contents,
            sboms: Vec::new(),
            signature: None,
            kernel: ManifestKernel {
                command_line: self.arguments.join(" "),
                features: features.map(ToOwned::to_owned).collect(),
                init: self.edited.installed.map(|installed| installed.init),
                initrd: self.initrd,
            },
            changes: self.edited.changes,
            removed: self.edited.removed,
            packages: self.edited.packages,
            findings: self.edited.findings,
            monitors,
            boot: self.booted,
            timings: self.timings,
        }
    }
}

/// What a disk has to say on the kernel's command line.
pub(super) fn kernel_arguments(
    request: &RootfsRequest,
    installed: Option<&Installed>,
    verity: Option<&ManifestVerity>,
) -> Vec<String> {
    let mut arguments = own_arguments(request, installed);
    if let Some(tree) = verity {
        // What is verified can't be changed.
        if let Some(mode) = arguments.iter_mut().find(|word| *word == "rw") {
            "ro".clone_into(mode);
        }
        arguments.push(format!("kiln.verity={}:{}", tree.root_hash, tree.offset));
    }
    arguments
}

fn own_arguments(request: &RootfsRequest, installed: Option<&Installed>) -> Vec<String> {
    let format = request.disk.format;
    let Some(installed) = installed else {
        let mode = if format.is_writable() { "rw" } else { "ro" };
        return match format {
            DiskFormat::Cpio => Vec::new(),
            _ => vec![mode.to_owned()],
        };
    };
    match format {
        // There is no root to be found and mounted: the archive is it.
        DiskFormat::Cpio => vec![format!("rdinit={}", installed.init)],
        _ => installed.kernel_arguments.clone(),
    }
}

/// What monitors have to be told; an initial file system is no disk.
fn monitors(
    request: &RootfsRequest,
    arguments: &[String],
    initrd: Option<String>,
) -> Option<ManifestMonitors> {
    if request.disk.format == DiskFormat::Cpio {
        return None;
    }
    let name = file_name(&request.output);
    let unpacked = name.strip_suffix(".gz").or(name.strip_suffix(".zst"));
    let machine = Machine {
        kernel: "vmlinux".to_owned(),
        initrd,
        disk: unpacked.unwrap_or(&name).to_owned(),
        disk_access: if request.disk.format.is_writable() && !request.disk.verity {
            DiskAccess::Write
        } else {
            DiskAccess::Read
        },
        kernel_arguments: arguments.to_vec(),
        memory_mib: 256,
        cpus: 1,
    };
    Some(ManifestMonitors {
        firecracker: vmm::firecracker(&machine),
        cloud_hypervisor: vmm::cloud_hypervisor(&machine),
        qemu: vmm::qemu(
            &machine,
            kiln_rootfs::boot::default_machine(),
            Accelerator::Kvm,
        ),
    })
}

pub(super) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Counts what is in a tree.
pub(super) fn contents(tree: &Tree) -> ManifestContents {
    let mut found = ManifestContents::default();
    let mut seen = vec![false; tree.len()];
    tree.walk(|_, id| {
        if std::mem::replace(&mut seen[id.as_usize()], true) {
            return;
        }
        match &tree.inode(id).node {
            Node::Directory(_) => found.directories += 1,
            Node::File(file) => {
                found.files += 1;
                found.bytes = found.bytes.saturating_add(file.size);
            }
            _ => found.others += 1,
        }
    });
    found
}
