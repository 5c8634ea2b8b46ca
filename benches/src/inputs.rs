//! What is built: Dockerfiles, files in large numbers, and trees of real programs. The same inputs
//! in each run, as far as the machine's own programs allow.

use std::fs;
use std::io::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A base that has nothing but busybox.
pub(crate) const BUSYBOX: &str = "FROM scratch\nCOPY busybox /busybox\n";

/// The step that does nothing, and is like no other of its number.
pub(crate) fn nothing(number: usize) -> String {
    format!("RUN [\"/busybox\", \"true\", \"{number}\"]\n")
}

/// Writes a Dockerfile and, beside it, busybox.
pub(crate) fn context(dir: &Path, dockerfile: &str) -> Result<(), String> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("`busybox` is missing: apt-get install busybox-static")?;
    write(&dir.join("Dockerfile"), dockerfile)?;
    let target = dir.join("busybox");
    fs::copy(busybox, &target).map_err(|error| failed(&target, &error))?;
    readable(dir)
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, content: &str) -> Result<(), String> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
    }
    fs::write(path, content).map_err(|error| failed(path, &error))
}

/// Writes so many files of so many bytes, a hundred in a folder, no two alike.
pub(crate) fn files(dir: &Path, count: usize, size: usize) -> Result<(), String> {
    for index in 0..count {
        let folder = dir.join(format!("{}", index / 100));
        if index % 100 == 0 {
            fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        }
        let line = format!("{index} some text that differs from file to file\n");
        let mut content = line.repeat(size / line.len() + 1);
        content.truncate(size);
        let path = folder.join(format!("{index}.txt"));
        fs::write(&path, content).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// Copies programs and libraries of this machine until so many bytes are there, in as many rounds
/// as that takes, so that it compresses as real layers do.
pub(crate) fn programs(dir: &Path, bytes: u64) -> Result<(), String> {
    let mut left = bytes;
    let mut round = 0;
    while left > 0 {
        let before = left;
        for source in ["/usr/lib", "/usr/bin", "/usr/share"] {
            let target = dir.join(round.to_string()).join(source.trim_matches('/'));
            copy_some(Path::new(source), &target, &mut left)?;
        }
        if left == before {
            return Err("this machine has no programs to copy".to_owned());
        }
        round += 1;
    }
    Ok(())
}

fn copy_some(from: &Path, to: &Path, left: &mut u64) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| failed(to, &error))?;
    let entries = fs::read_dir(from).map_err(|error| failed(from, &error))?;
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let target = to.join(entry.file_name());
        if *left == 0 {
            return Ok(());
        } else if kind.is_dir() {
            copy_some(&entry.path(), &target, left)?;
        } else if kind.is_file() {
            let copied =
                fs::copy(entry.path(), &target).map_err(|error| failed(&target, &error))?;
            // What only its owner may read, the ordinary user could not build with.
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&target, mode).map_err(|error| failed(&target, &error))?;
            *left = left.saturating_sub(copied);
        }
    }
    Ok(())
}

/// Lets every user read a folder.
fn readable(dir: &Path) -> Result<(), String> {
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir, mode).map_err(|error| failed(dir, &error))
}

fn failed(path: &Path, error: &Error) -> String {
    format!("`{}`: {error}", path.display())
}
