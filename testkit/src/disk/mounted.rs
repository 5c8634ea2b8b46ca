//! A disk in a file, mounted by the kernel.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Absent, Program, is_root};

/// A mounted disk; it is unmounted when this is dropped.
#[derive(Debug)]
pub struct Mounted {
    folder: TempDir,
    path: PathBuf,
}

impl Mounted {
    /// Whether this machine mounts files: the user is root, with loop devices, and may mount, and
    /// the kernel knows the file system, perhaps by a module.
    pub fn possible(file_system: &str) -> Result<(), Absent> {
        if !is_root() {
            return Err(Absent("only root can mount a disk".to_owned()));
        }
        let _ = Program::new("modprobe").arg(file_system).run();
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !known.lines().any(|line| line.trim().ends_with(file_system)) {
            return Err(Absent(format!("the kernel has no {file_system}")));
        }
        let can = |program: &str, arguments: &[&str]| {
            Program::new(program).args(arguments).run().success()
        };
        if !can("losetup", &["-f"]) {
            return Err(Absent("there are no loop devices".to_owned()));
        }
        if !can("unshare", &["-m", "true"]) {
            return Err(Absent("mounting is not allowed here".to_owned()));
        }
        Ok(())
    }

    /// Mounts a disk with `mount -o loop,OPTIONS`, where [`Mounted::possible`] said yes.
    #[track_caller]
    pub fn new(disk: &Path, file_system: &str, options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("mounted");
        std::fs::create_dir(&path).expect("the folder is ours");
        let options = format!("loop,{options}");
        let mount = Program::new("mount").args(["-t", file_system, "-o", &options]);
        let _ = mount.arg(disk).arg(&path).run().ok();
        Self { folder, path }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmount = || Program::new("umount").arg(&self.path).run();
        let mut unmounted = unmount();
        // Programs that other threads start hold files that were open until they run.
        for _ in 0..100 {
            if unmounted.success() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            unmounted = unmount();
        }
        if !unmounted.success() {
            // Nothing may be removed through a mount that is still there.
            self.folder.disable_cleanup(true);
            assert!(std::thread::panicking(), "{unmounted}");
        }
    }
}
