//! A result's files as a folder or as one tar archive, of several platforms each in a folder of its
//! own.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use kiln_layer::{ExportOptions, ExportTree, common_file, export_tree, remove_others, tar_trees};
use kiln_oci::Platform;
use kiln_sys::files;
use kiln_sys::fs::Dir;

use crate::deliver::Delivery;
use crate::error::{BuildError, OutputError};
use crate::request::{Dest, FileTimes, LocalMode};

/// One platform's files, and where they go.
struct Part {
    /// The folder; empty for the destination itself.
    folder: PathBuf,
    root: Dir,
    /// Attestations beside them: name and content.
    files: Vec<(String, Vec<u8>)>,
}

impl Part {
    fn names(&self) -> Vec<&OsStr> {
        self.files.iter().map(|(name, _)| name.as_ref()).collect()
    }

    /// The directory for a platform's files, made where it is missing.
    fn folder_in(&self, dest: &Dir) -> Result<Dir, OutputError> {
        if self.folder.as_os_str().is_empty() {
            return Ok(dest.open_dir_beneath("")?);
        }
        let there = dest.try_metadata(&self.folder)?;
        if !there.is_some_and(|there| there.is_dir()) {
            dest.remove_tree(&self.folder)?;
            dest.mkdir(&self.folder, 0o755)?;
        }
        Ok(dest.open_dir(&self.folder)?)
    }
}

impl Delivery<'_> {
    /// Writes all files as one tar stream. Several platforms have a folder each, whatever `split`
    /// says: an archive can't have a name twice.
    pub(crate) fn write_tar(&self, dest: &Dest, split: Option<bool>) -> Result<(), BuildError> {
        let parts = self.parts(split == Some(true) || self.results.len() > 1)?;
        let trees: Vec<ExportTree<'_>> = parts.iter().map(|part| self.tree(part)).collect();
        Ok(dest.write(|sink| tar_trees(&trees, sink, &self.export(), self.cancel))?)
    }

    /// Copies all files into a directory.
    pub(crate) fn write_local(
        &self,
        dest: &Path,
        split: Option<bool>,
        mode: LocalMode,
    ) -> Result<(), BuildError> {
        let split = split.unwrap_or(self.results.len() > 1);
        let parts = self.parts(split)?;
        if !split {
            self.check_common(&parts)?;
        }
        Ok(self.write_parts(&parts, dest, (split, mode))?)
    }

    fn write_parts(
        &self,
        parts: &[Part],
        dest: &Path,
        (split, mode): (bool, LocalMode),
    ) -> Result<(), OutputError> {
        files::create_dir_all(dest, 0o755)?;
        let dest = Dir::open(dest)?;
        for part in parts {
            let folder = part.folder_in(&dest)?;
            export_tree(&part.root, &folder, &self.export(), self.cancel)?;
            for (name, content) in &part.files {
                folder.remove_tree(name)?;
                let mut file = folder.create_file(name, 0o644)?;
                file.write_all(content)
                    .map_err(|cause| OutputError::Write {
                        path: name.into(),
                        cause,
                    })?;
            }
            if split && mode == LocalMode::Delete {
                remove_others(&folder, &[&part.root], &part.names(), self.cancel)?;
            }
        }
        if mode == LocalMode::Delete {
            let (mut kept, mut roots) = (Vec::new(), Vec::new());
            for part in parts {
                if split {
                    kept.push(part.folder.as_os_str());
                } else {
                    kept.extend(part.names());
                    roots.push(&part.root);
                }
            }
            remove_others(&dest, &roots, &kept, self.cancel)?;
        }
        Ok(())
    }

    /// Refuses results of which one's files would be overwritten by another's.
    fn check_common(&self, parts: &[Part]) -> Result<(), OutputError> {
        for (number, part) in parts.iter().enumerate() {
            for other in &parts[..number] {
                if let Some(path) = common_file(&other.root, &part.root, self.cancel)? {
                    return Err(OutputError::SamePath { path });
                }
            }
        }
        Ok(())
    }

    fn tree<'p>(&self, part: &'p Part) -> ExportTree<'p> {
        let time = self.request.source_date_epoch;
        ExportTree {
            folder: &part.folder,
            root: &part.root,
            files: &part.files,
            time: time.unwrap_or(self.engine.now()).seconds(),
        }
    }

    fn parts(&self, split: bool) -> Result<Vec<Part>, BuildError> {
        let mut parts = Vec::new();
        for (number, (result, chain)) in self.results.iter().zip(self.chains).enumerate() {
            let root = Dir::from_fd(self.engine.readable_root(chain)?);
            let root = self.engine.machine.tree(root);
            let mut files = match self.attester {
                Some(attester) => attester.files(number, &root)?,
                None => Vec::new(),
            };
            let platform = folder_of(&result.platform);
            let folder = if split {
                platform.clone()
            } else {
                String::new()
            };
            if !split && self.results.len() > 1 {
                for (name, _) in &mut files {
                    *name = with_platform(name, &platform);
                }
            }
            parts.push(Part {
                folder: folder.into(),
                root,
                files,
            });
        }
        Ok(parts)
    }

    fn export(&self) -> ExportOptions {
        ExportOptions {
            clamp_mtime: match self.request.file_times {
                FileTimes::Clamp => self.request.source_date_epoch,
                FileTimes::Keep => None,
            },
        }
    }
}

/// The name of a platform's folder: `linux_arm64`, `linux_arm_v7`.
pub(crate) fn folder_of(platform: &Platform) -> String {
    platform.normalized().to_string().replace('/', "_")
}

/// A file's name with a platform before its extension: `provenance.linux_arm64.json`.
fn with_platform(name: &str, platform: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{platform}.{extension}"),
        None => format!("{name}.{platform}"),
    }
}
