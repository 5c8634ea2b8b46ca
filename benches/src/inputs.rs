//! What is built: Dockerfiles, files in large numbers, and trees of real programs. The same inputs
//! in each run, as far as the machine's own programs allow.

use std::fs;
use std::io::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::interrupt;

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
        interrupt::check()?;
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

/// Copies programs and libraries of this machine, so that it compresses as real layers do: so many
/// bytes, after so many others were passed over. Begins again where the machine has no more.
pub(crate) fn programs(dir: &Path, skip: u64, bytes: u64) -> Result<(), String> {
    let mut want = Want { skip, bytes };
    let mut round = 0;
    while want.bytes > 0 {
        let before = want;
        for source in ["/usr/lib", "/usr/bin", "/usr/share"] {
            let target = dir.join(round.to_string()).join(source.trim_matches('/'));
            copy_some(Path::new(source), &target, &mut want)?;
        }
        if want == before {
            return Err("this machine has no programs to copy".to_owned());
        }
        round += 1;
    }
    Ok(())
}

/// How many bytes are to be passed over, and copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Want {
    skip: u64,
    bytes: u64,
}

fn copy_some(from: &Path, to: &Path, want: &mut Want) -> Result<(), String> {
    let entries = fs::read_dir(from).map_err(|error| failed(from, &error))?;
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        interrupt::check()?;
        let Ok(data) = entry.metadata() else {
            continue;
        };
        let target = to.join(entry.file_name());
        if want.bytes == 0 {
            return Ok(());
        } else if data.is_dir() {
            copy_some(&entry.path(), &target, want)?;
        } else if data.is_file() && want.skip > 0 {
            want.skip = want.skip.saturating_sub(data.len());
        } else if data.is_file() {
            fs::create_dir_all(to).map_err(|error| failed(to, &error))?;
            let copied =
                fs::copy(entry.path(), &target).map_err(|error| failed(&target, &error))?;
            // What only its owner may read, the ordinary user could not build with.
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&target, mode).map_err(|error| failed(&target, &error))?;
            want.bytes = want.bytes.saturating_sub(copied);
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
