//! A result's files as a folder or as one tar archive, of several platforms each in a folder of its
//! own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kiln_layer::{ExportOptions, ExportTree, common_file, export_tree, remove_others, tar_trees};
use kiln_oci::Platform;
use kiln_sys::files;
use kiln_sys::fs::Dir;

use crate::deliver::Delivery;
use crate::error::OutputError;
use crate::request::{Dest, FileTimes, LocalMode};

/// One platform's files, and where they go.
struct Part {
    /// The folder; empty for the destination itself.
    folder: PathBuf,
    root: Dir,
}

impl Part {
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
    pub(crate) fn write_tar(&self, dest: &Dest, split: Option<bool>) -> Result<(), OutputError> {
        let parts = self.parts(split == Some(true) || self.results.len() > 1)?;
        let trees: Vec<ExportTree<'_>> = parts.iter().map(|part| self.tree(part)).collect();
        dest.write(|sink| tar_trees(&trees, sink, &self.export(), self.cancel))
    }

    /// Copies all files into a directory.
    pub(crate) fn write_local(
        &self,
        dest: &Path,
        split: Option<bool>,
        mode: LocalMode,
    ) -> Result<(), OutputError> {
        let split = split.unwrap_or(self.results.len() > 1);
        let parts = self.parts(split)?;
        if !split {
            self.check_common(&parts)?;
        }
        files::create_dir_all(dest, 0o755)?;
        let dest = Dir::open(dest)?;
        for part in &parts {
            let folder = part.folder_in(&dest)?;
            export_tree(&part.root, &folder, &self.export(), self.cancel)?;
            if split && mode == LocalMode::Delete {
                remove_others(&folder, &[&part.root], &[], self.cancel)?;
            }
        }
        if mode == LocalMode::Delete {
            let folders: Vec<&OsStr> = parts.iter().map(|part| part.folder.as_os_str()).collect();
            let roots: Vec<&Dir> = parts.iter().map(|part| &part.root).collect();
            let roots = if split { &[][..] } else { &roots };
            remove_others(&dest, roots, &folders, self.cancel)?;
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
            files: &[],
            time: time.unwrap_or(self.engine.now()).seconds(),
        }
    }

    fn parts(&self, split: bool) -> Result<Vec<Part>, OutputError> {
        let mut parts = Vec::new();
        for (result, chain) in self.results.iter().zip(self.chains) {
            let root = Dir::from_fd(self.engine.readable_root(chain)?);
            let folder = if split {
                folder_of(&result.platform)
            } else {
                String::new()
            };
            parts.push(Part {
                folder: folder.into(),
                root: self.engine.machine.tree(root),
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
