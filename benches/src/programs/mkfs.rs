//! The programs that come with file systems: `mkfs.ext4 -d`, `mkfs.erofs`, `mksquashfs`. They start
//! from files that are unpacked already.

use std::collections::HashSet;
use std::fs;
use std::io::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{DiskFormat, DiskJob, need_root, version, which};
use crate::machine::cores;
use crate::measure::Invocation;

/// The level that kiln compresses a squashfs by, and the size of its blocks.
const SQUASHFS_LEVEL: &str = "9";
const SQUASHFS_BLOCK: &str = "131072";

const BLOCK: u64 = 4096;

/// The programs, as far as they are there.
#[derive(Debug)]
pub(crate) struct Mkfs {
    ext4: Result<PathBuf, String>,
    erofs: Result<PathBuf, String>,
    squashfs: Result<PathBuf, String>,
}

impl Mkfs {
    pub(crate) fn find() -> Result<Self, String> {
        // Nobody else can unpack files for them that belong to others.
        need_root()?;
        let mkfs = Self {
            ext4: which("mkfs.ext4"),
            erofs: which("mkfs.erofs"),
            squashfs: which("mksquashfs"),
        };
        match (&mkfs.ext4, &mkfs.erofs, &mkfs.squashfs) {
            (Err(why), Err(_), Err(_)) => Err(why.clone()),
            _ => Ok(mkfs),
        }
    }

    pub(crate) fn describe(&self) -> (Result<String, String>, String) {
        let programs = [
            (&self.ext4, "-V"),
            (&self.erofs, "-V"),
            (&self.squashfs, "-version"),
        ];
        let found = programs.into_iter().filter_map(|(program, word)| {
            let asked = Invocation::new(program.as_ref().ok()?).arg(word);
            Some(version(&asked))
        });
        let versions: Result<Vec<_>, _> = found.collect();
        let settings = format!(
            "on unpacked files, as root: `mkfs.ext4 -m 0 -N FILES -O ^has_journal -E \
             lazy_itable_init=1,nodiscard -d`, its size found before; `mkfs.erofs`, `mkfs.erofs \
             -zlz4`; `mksquashfs -comp zstd -Xcompression-level {SQUASHFS_LEVEL}` with all \
             processors"
        );
        (versions.map(|versions| versions.join("; ")), settings)
    }

    /// The command that makes a disk of the job's tree.
    pub(crate) fn disk(&self, job: &DiskJob<'_>) -> Result<Invocation, String> {
        let tree = job.tree.ok_or("it needs files that are unpacked")?;
        match job.format {
            DiskFormat::Ext4 => {
                let room = Room::of(tree)?;
                let mkfs = Invocation::new(self.ext4.as_ref().map_err(Clone::clone)?)
                    .args(["-q", "-F", "-b", &BLOCK.to_string(), "-m", "0"])
                    .args(["-N", &room.inodes().to_string()])
                    .args(["-O", "^has_journal"])
                    .args(["-E", "lazy_itable_init=1,nodiscard", "-d"]);
                let mkfs = mkfs.arg(tree).arg(job.path());
                Ok(mkfs.arg(room.blocks().to_string()))
            }
            DiskFormat::Erofs | DiskFormat::ErofsLz4 => {
                let mut mkfs = Invocation::new(self.erofs.as_ref().map_err(Clone::clone)?);
                if job.format == DiskFormat::ErofsLz4 {
                    mkfs = mkfs.arg("-zlz4");
                }
                Ok(mkfs.arg(job.path()).arg(tree))
            }
            DiskFormat::Squashfs => {
                let mkfs = Invocation::new(self.squashfs.as_ref().map_err(Clone::clone)?);
                let mkfs = mkfs.arg(tree).arg(job.path());
                let cores = cores().to_string();
                Ok(mkfs
                    .args(["-comp", "zstd", "-Xcompression-level", SQUASHFS_LEVEL])
                    .args(["-b", SQUASHFS_BLOCK, "-processors", &cores])
                    .args(["-noappend", "-no-progress", "-quiet"]))
            }
        }
    }
}

/// What files need on an ext4.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Room {
    files: u64,
    /// Blocks of their contents.
    contents: u64,
}

impl Room {
    /// Looks at every file below a folder, as `du` does.
    fn of(tree: &Path) -> Result<Self, String> {
        let mut room = Self::default();
        let mut linked = HashSet::new();
        let mut folders = vec![tree.to_owned()];
        while let Some(folder) = folders.pop() {
            let failed = |error: Error| format!("`{}`: {error}", folder.display());
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let data = entry.metadata().map_err(failed)?;
                if data.is_dir() {
                    folders.push(entry.path());
                } else if data.nlink() > 1 && !linked.insert((data.dev(), data.ino())) {
                    continue;
                }
                room.files += 1;
                // Short targets of links are in their inodes.
                let is_short = data.is_symlink() && data.len() < 60;
                let blocks = data.len().div_ceil(BLOCK);
                room.contents += if is_short { 0 } else { blocks };
            }
        }
        Ok(room)
    }

    /// Those of files, and those that every ext4 has.
    const fn inodes(self) -> u64 {
        self.files + 16
    }

    /// Contents, inodes of 256 bytes, and a little for what describes the blocks; it is a hole of
    /// the file where it is not needed.
    const fn blocks(self) -> u64 {
        let needed = self.contents + self.inodes() / 16;
        needed + needed / 32 + 2048
    }
}

#[cfg(test)]
mod tests {
    use testkit::Scratch;

    use super::*;

    #[test]
    fn an_ext4_that_was_sized_before_has_room_for_the_files() {
        let folder = Scratch::folder("mkfs");
        let tree = folder.join("tree");
        crate::inputs::files(&tree, 3000, 5000).unwrap();
        fs::hard_link(tree.join("0/0.txt"), tree.join("again")).unwrap();
        std::os::unix::fs::symlink("0/0.txt", tree.join("link")).unwrap();
        let room = Room::of(&tree).unwrap();
        // 30 folders, and a link.
        assert_eq!(room.files, 3031);
        assert!(room.contents >= 6030 && room.contents <= 6060, "{room:?}");
        let mkfs = match Mkfs::find() {
            Ok(mkfs) if mkfs.ext4.is_ok() => mkfs,
            _ => {
                eprintln!("skipped: an ext4 of known size: no root, or no mkfs.ext4");
                return;
            }
        };
        let job = DiskJob {
            format: DiskFormat::Ext4,
            image: "",
            tree: Some(&tree),
            is_files_only: true,
            folder: &folder,
        };
        let succeeds = |command: &Invocation| {
            let output = command.command().output().unwrap();
            assert!(output.status.success(), "{command}: {output:?}");
        };
        succeeds(&mkfs.disk(&job).unwrap());
        match DiskFormat::Ext4.check() {
            Ok(check) => succeeds(&check.arg(job.path())),
            Err(why) => eprintln!("skipped: a check of the ext4: {why}"),
        }
    }
}
