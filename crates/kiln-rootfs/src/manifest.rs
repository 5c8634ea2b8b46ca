//! What is said of a disk: a JSON document of its own beside it.
//!
//! The disk is the same whenever it is made; the document is not, since it tells how long that took.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kiln_oci::{Digest, ImageConfig, Platform};
use kiln_sys::process::Ended;
use serde_json::{Map, Value, json};

use crate::request::{DiskFormat, FileCompression, uuid_text};
use crate::sbom::BillFormat;
use crate::vmm::Accelerator;

/// The version of the document that is written.
pub const VERSION: u64 = 1;

/// All that is said of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the user called the build, and its labels.
    pub name: Option<String>,
    /// Labels that the user gave the build.
    pub labels: BTreeMap<String, String>,
    /// What it was made from.
    pub source: ManifestSource,
    /// The disk.
    pub disk: ManifestDisk,
    /// What is on it.
    pub contents: ManifestContents,
    /// Its bills of materials.
    pub sboms: Vec<ManifestSbom>,
    /// Its signature.
    pub signature: Option<ManifestSignature>,
    /// What a kernel has to be told and to have.
    pub kernel: ManifestKernel,
    /// What was removed or changed, rule by rule.
    pub changes: Vec<ManifestChange>,
    /// What went, path by path.
    pub removed: Vec<ManifestRemoved>,
    /// Packages that went.
    pub packages: Vec<ManifestPackage>,
    /// What somebody should look at.
    pub findings: Vec<ManifestFinding>,
    /// What monitors have to be told to start the disk.
    pub monitors: Option<ManifestMonitors>,
    /// How it was tried, if it was.
    pub boot: Option<ManifestBoot>,
    /// How long it took.
    pub timings: ManifestTimings,
}

/// What the machine did that a disk was tried in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestBoot {
    /// The kernel's file.
    pub kernel: PathBuf,
    /// What ran the machine.
    pub accelerator: Accelerator,
    /// From its start until the program ran.
    pub handshake: Duration,
    /// From its start until what was waited for.
    pub took: Duration,
    /// The program's user and group, where the first process reports.
    pub user: Option<(u32, u32)>,
    /// How the program ended, if it was waited for that.
    pub exit: Option<Ended>,
}

/// The image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSource {
    /// As the user named it.
    pub image: String,
    /// Its manifest.
    pub digest: Digest,
    /// Its layers, base first.
    pub layers: Vec<Digest>,
    /// Its configuration.
    pub config: ImageConfig,
    /// Commands that were run in it before.
    pub commands: Vec<String>,
}

/// The disk and the file that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestDisk {
    /// The file's name, without its folder.
    pub file: String,
    /// The file system.
    pub format: DiskFormat,
    /// How the file is compressed.
    pub compression: FileCompression,
    /// The disk's id, for formats that have one.
    pub uuid: Option<[u8; 16]>,
    /// The disk's name.
    pub label: String,
    /// Bytes of the disk.
    pub size: u64,
    /// Of the disk.
    pub digest: Digest,
    /// Bytes of the file.
    pub file_size: u64,
    /// Of the file; the disk's where that is not compressed.
    pub file_digest: Digest,
    /// The tree that proves each of its blocks.
    pub verity: Option<ManifestVerity>,
}

/// A dm-verity tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestVerity {
    /// The digest that all depends on, in hexadecimal digits.
    pub root_hash: String,
    /// The salt, in hexadecimal digits.
    pub salt: String,
    /// Where in the file the tree begins, in bytes.
    pub offset: u64,
}

/// What is on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ManifestContents {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Links, devices and other nodes.
    pub others: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// The same of the image, before anything was removed or added.
    pub image_bytes: u64,
}

/// A signature in a file of its own, of the disk and of the documents that are made with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSignature {
    /// The file's name, without its folder.
    pub file: String,
    /// The digest of the public key in DER, in hexadecimal digits.
    pub key: String,
}

/// A bill of materials in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSbom {
    /// The file's name, without its folder.
    pub file: String,
    /// Its form.
    pub format: BillFormat,
    /// Bytes of the file.
    pub size: u64,
    /// Of the file.
    pub digest: Digest,
    /// How many packages it lists.
    pub packages: u64,
}

/// What a kernel has to be told and to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestKernel {
    /// Its command line, but for the console and what a monitor adds.
    pub command_line: String,
    /// What it has to be built with: `EXT4_FS`.
    pub features: Vec<String>,
    /// The first process; `None` where the kernel looks for one.
    pub init: Option<String>,
    /// The initial file system that was made for a kernel.
    pub initrd: Option<ManifestInitrd>,
}

/// An initial file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestInitrd {
    /// The file's name, without its folder.
    pub file: String,
    /// Its bytes.
    pub size: u64,
    /// Of the file.
    pub digest: Digest,
    /// The version of the kernel that it is for.
    pub kernel: String,
    /// The kernel modules in it, in the order in which they are loaded.
    pub modules: Vec<String>,
}

/// What a rule did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestChange {
    /// The rule's name.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFinding {
    /// The rule's name.
    pub rule: String,
    /// The file.
    pub path: String,
    /// What was found, or done.
    pub message: String,
}

/// Something that is not there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRemoved {
    /// Where it was: a file, or a directory with all or some of what was in it.
    pub path: String,
    /// The rule's name.
    pub rule: String,
    /// How many names went.
    pub names: u64,
    /// What became free.
    pub bytes: u64,
}

/// A package that is not installed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What monitors have to be told to start the disk, with a kernel that is called `vmlinux`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestMonitors {
    /// Firecracker's configuration, a JSON document.
    pub firecracker: String,
    /// Cloud Hypervisor's command line.
    pub cloud_hypervisor: Vec<String>,
    /// QEMU's command line.
    pub qemu: Vec<String>,
}

/// How long it took, by builderd's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ManifestTimings {
    /// Getting the image.
    pub pull: Duration,
    /// Unpacking and merging its layers.
    pub extract: Duration,
    /// Running commands in it.
    pub build: Duration,
    /// Removing and adding files.
    pub optimize: Duration,
    /// Writing the disk.
    pub write: Duration,
    /// All of it.
    pub total: Duration,
}

impl Manifest {
    /// The document, with a line feed at its end.
    pub fn to_json(&self) -> Vec<u8> {
        let document = json!({
            "version": VERSION,
            "name": self.name,
            "labels": self.labels,
            "source": self.source.to_json(),
            "image_metadata": self.source.metadata(),
            "disk": self.disk.to_json(),
            "contents": {
                "files": self.contents.files,
                "directories": self.contents.directories,
                "others": self.contents.others,
                "bytes": self.contents.bytes,
            },
            "sboms": self.sboms.iter().map(ManifestSbom::to_json).collect::<Vec<_>>(),
            "signature": self.signature.as_ref().map(|signature| json!({
                "file": signature.file,
                "key": signature.key,
            })),
            "kernel": {
                "command_line": self.kernel.command_line,
                "features": self.kernel.features,
                "init": self.kernel.init,
                "initrd": self.kernel.initrd.as_ref().map(ManifestInitrd::to_json),
            },
            "changes": self.changes.iter().map(ManifestChange::to_json).collect::<Vec<_>>(),
            "removed": self.removed.iter().map(ManifestRemoved::to_json).collect::<Vec<_>>(),
            "removed_packages": self.packages.iter().map(ManifestPackage::to_json).collect::<Vec<_>>(),
            "monitors": self.monitors.as_ref().map(ManifestMonitors::to_json),
            "findings": self.findings.iter().map(ManifestFinding::to_json).collect::<Vec<_>>(),
            "boot": self.boot.as_ref().map(ManifestBoot::to_json),
            "metrics": self.metrics(),
        });
        format!("{document:#}\n").into_bytes()
    }

    fn metrics(&self) -> Value {
        let times = &self.timings;
        json!({
            "pull_duration_ms": milliseconds(times.pull),
            "extract_duration_ms": milliseconds(times.extract),
            "build_duration_ms": milliseconds(times.build),
            "optimize_duration_ms": milliseconds(times.optimize),
            "write_duration_ms": milliseconds(times.write),
            "total_duration_ms": milliseconds(times.total),
            "original_size_bytes": self.contents.image_bytes,
            "rootfs_size_bytes": self.disk.size,
        })
    }
}

impl ManifestInitrd {
    fn to_json(&self) -> Value {
        json!({
            "file": self.file,
            "size": self.size,
            "digest": self.digest.as_str(),
            "kernel": self.kernel,
            "modules": self.modules,
        })
    }
}

impl ManifestBoot {
    fn to_json(&self) -> Value {
        let (code, signal) = match self.exit {
            Some(Ended::Exited(code)) => (Some(code), None),
            Some(Ended::Signaled(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        json!({
            "kernel": self.kernel.to_string_lossy(),
            "accelerator": match self.accelerator {
                Accelerator::Kvm => "kvm",
                Accelerator::Tcg => "tcg",
            },
            "handshake_ms": milliseconds(self.handshake),
            "took_ms": milliseconds(self.took),
            "uid": self.user.map(|(uid, _)| uid),
            "gid": self.user.map(|(_, gid)| gid),
            "exit_code": code,
            "exit_signal": signal,
        })
    }
}

impl ManifestSource {
    fn to_json(&self) -> Value {
        json!({
            "image": self.image,
            "digest": self.digest.as_str(),
            "platform": self.config.platform.to_string(),
            "commands": self.commands,
        })
    }

    /// The image's configuration by builderd's names.
    fn metadata(&self) -> Value {
        let runtime = &self.config.runtime;
        let mut env = Map::new();
        for entry in &runtime.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            env.insert(name.to_owned(), value.into());
        }
        json!({
            "original_image": self.image,
            "image_digest": self.digest.as_str(),
            "layers": self.layers.iter().map(Digest::as_str).collect::<Vec<_>>(),
            "labels": runtime.labels,
            "command": runtime.cmd.as_deref().unwrap_or_default(),
            "entrypoint": runtime.entrypoint.as_deref().unwrap_or_default(),
            "working_dir": runtime.working_dir,
            "env": env,
            "exposed_ports": runtime.exposed_ports,
            "user": runtime.user,
            "volumes": runtime.volumes,
        })
    }

    /// What it runs on.
    pub const fn platform(&self) -> &Platform {
        &self.config.platform
    }
}

impl ManifestDisk {
    fn to_json(&self) -> Value {
        json!({
            "file": self.file,
            "format": self.format.name(),
            "compression": self.compression.name(),
            "uuid": self.uuid.as_ref().map(uuid_text),
            "label": self.label,
            "size": self.size,
            "digest": self.digest.as_str(),
            "file_size": self.file_size,
            "file_digest": self.file_digest.as_str(),
            "verity": self.verity.as_ref().map(|verity| json!({
                "root_hash": verity.root_hash,
                "salt": verity.salt,
                "offset": verity.offset,
            })),
        })
    }
}

impl ManifestSbom {
    fn to_json(&self) -> Value {
        json!({
            "file": self.file,
            "format": self.format.name(),
            "size": self.size,
            "digest": self.digest.as_str(),
            "packages": self.packages,
        })
    }
}

impl ManifestChange {
    fn to_json(&self) -> Value {
        json!({
            "rule": self.rule,
            "reason": self.reason,
            "files": self.files,
            "bytes": self.bytes,
        })
    }
}

impl ManifestRemoved {
    fn to_json(&self) -> Value {
        json!({
            "path": self.path,
            "rule": self.rule,
            "names": self.names,
            "bytes": self.bytes,
        })
    }
}

impl ManifestPackage {
    fn to_json(&self) -> Value {
        json!({ "name": self.name, "version": self.version })
    }
}

impl ManifestMonitors {
    fn to_json(&self) -> Value {
        // The text is JSON that kiln wrote; were it not, it would be shown as text.
        let firecracker: Value = serde_json::from_str(&self.firecracker)
            .unwrap_or_else(|_| Value::String(self.firecracker.clone()));
        json!({
            "firecracker": firecracker,
            "cloud_hypervisor": self.cloud_hypervisor,
            "qemu": self.qemu,
        })
    }
}

impl ManifestFinding {
    fn to_json(&self) -> Value {
        json!({ "rule": self.rule, "path": self.path, "message": self.message })
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let mut config = ImageConfig::empty(Platform::new("linux", "amd64"));
        config.runtime.env = vec!["A=b=c".to_owned(), "EMPTY".to_owned()];
        config.runtime.cmd = Some(vec!["serve".to_owned()]);
        let digest = Digest::sha256(b"x");
        Manifest {
            name: None,
            labels: BTreeMap::new(),
            source: ManifestSource {
                image: "app".to_owned(),
                digest: digest.clone(),
                layers: vec![digest.clone()],
                config,
                commands: Vec::new(),
            },
            disk: ManifestDisk {
                file: "disk.ext4".to_owned(),
                format: DiskFormat::Ext4,
                compression: FileCompression::None,
                uuid: Some([0x11; 16]),
                label: "root".to_owned(),
                size: 4096,
                digest: digest.clone(),
                file_size: 4096,
                file_digest: digest,
                verity: None,
            },
            contents: ManifestContents {
                files: 1,
                image_bytes: 7,
                ..ManifestContents::default()
            },
            sboms: Vec::new(),
            signature: None,
            kernel: ManifestKernel {
                command_line: "rw".to_owned(),
                features: vec!["EXT4_FS".to_owned()],
                init: None,
                initrd: None,
            },
            changes: Vec::new(),
            removed: Vec::new(),
            packages: Vec::new(),
            findings: Vec::new(),
            monitors: Some(ManifestMonitors {
                firecracker: "{\"a\": 1}".to_owned(),
                cloud_hypervisor: Vec::new(),
                qemu: vec!["qemu".to_owned()],
            }),
            boot: None,
            timings: ManifestTimings {
                total: Duration::from_millis(1500),
                ..ManifestTimings::default()
            },
        }
    }

    #[test]
    fn the_document_has_builderd_s_names() {
        let document: Value = serde_json::from_slice(&manifest().to_json()).unwrap();
        assert_eq!(document["version"], 1);
        let metadata = &document["image_metadata"];
        assert_eq!(metadata["env"], json!({"A": "b=c", "EMPTY": ""}));
        assert_eq!(metadata["command"], json!(["serve"]));
        assert_eq!(metadata["entrypoint"], json!([]));
        assert_eq!(document["disk"]["format"], "ext4");
        assert_eq!(document["disk"]["verity"], Value::Null);
        assert_eq!(document["monitors"]["firecracker"]["a"], 1);
        assert_eq!(document["metrics"]["total_duration_ms"], 1500);
        assert_eq!(document["metrics"]["original_size_bytes"], 7);
    }
}
