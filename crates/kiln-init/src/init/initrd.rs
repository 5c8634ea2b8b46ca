//! The first process of an initial file system: on to the root.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln_init::cmdline::{RootLine, Verity};
use kiln_init::config::End;
use kiln_init::initrd::{self, Initrd};
use kiln_sys::machine::{self, MountFlags};
use kiln_sys::sandbox;

use crate::{Failure, command_line, mounts, verity};

/// How long a disk may take to appear after its driver.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the kernel looks for where nothing is named.
const PROGRAMS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// Whether this is an initial file system, and no disk that was made from an image with such a file.
pub(crate) fn is_here(name: &str) -> bool {
    name == initrd::PROGRAM && Path::new(initrd::PATH).exists()
}

/// Mounts the root and becomes its first process.
pub(crate) fn start(end: &mut Option<End>) -> Result<Infallible, Failure> {
    mounts::mount_for_initrd()?;
    let line = command_line();
    *end = line.end.or(*end);
    load_modules()?;
    let device = wait_for(line.root.device.as_deref())?;
    let device = match &line.verity {
        Some(wanted) => verity::open(&device, wanted)?,
        None => device,
    };
    let root = mount(&device, &line.root, line.verity.as_ref())?;
    go_on(&root).map_err(|error| Failure::machine(format!("entering the root: {error}")))?;
    become_init(&line.root)
}

fn load_modules() -> Result<(), Failure> {
    let path = initrd::PATH;
    let bytes = fs::read(path).map_err(|error| Failure::machine(format!("`{path}`: {error}")))?;
    let document =
        Initrd::from_json(&bytes).map_err(|why| Failure::machine(format!("`{path}`: {why}")))?;
    for module in &document.modules {
        let loaded = File::open(module).and_then(|file| machine::load_module(&file));
        loaded.map_err(|error| Failure::machine(format!("loading `{module}`: {error}")))?;
    }
    Ok(())
}

fn wait_for(device: Option<&str>) -> Result<PathBuf, Failure> {
    let device = device.unwrap_or("nothing");
    if !device.starts_with("/dev/") {
        return Err(Failure::machine(format!(
            "the kernel command line names `{device}` as root, and not a device in `/dev`"
        )));
    }
    let path = PathBuf::from(device);
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        if Instant::now() >= deadline {
            let seconds = PATIENCE.as_secs();
            return Err(Failure::machine(format!(
                "the root's device `{device}` is not there after {seconds} seconds"
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(path)
}

/// Returns where the root is.
fn mount(device: &Path, line: &RootLine, verity: Option<&Verity>) -> Result<PathBuf, Failure> {
    let failed =
        |error: io::Error| Failure::machine(format!("the root `{}`: {error}", device.display()));
    let kind = match &line.kind {
        Some(kind) => kind.clone(),
        None => find_kind(device).map_err(failed)?.to_owned(),
    };
    let flags = if line.is_writable && verity.is_none() && !line.is_overlay {
        MountFlags::empty()
    } else {
        MountFlags::RDONLY
    };
    let root = Path::new(initrd::ROOT);
    let source = device.to_string_lossy();
    machine::mount_at(&source, root, &kind, flags, "").map_err(failed)?;
    if line.is_overlay {
        mounts::overlay(root, Path::new(initrd::MEMORY))
    } else {
        Ok(root.to_owned())
    }
}

/// The file system on a disk.
fn find_kind(device: &Path) -> io::Result<&'static str> {
    let mut head = Vec::new();
    File::open(device)?.take(4096).read_to_end(&mut head)?;
    kind_of(&head).ok_or_else(|| io::Error::other("there is no ext4, erofs or squashfs on it"))
}

fn kind_of(head: &[u8]) -> Option<&'static str> {
    let has = |at: usize, mark: &[u8]| head.get(at..at + mark.len()) == Some(mark);
    if has(0, b"hsqs") {
        Some("squashfs")
    } else if has(1024, &0xE0F5_E1E2_u32.to_le_bytes()) {
        Some("erofs")
    } else if has(1080, &0xEF53_u16.to_le_bytes()) {
        Some("ext4")
    } else {
        None
    }
}

/// Frees what is in memory, and enters the root, with `/dev` as a kernel has it mounted.
fn go_on(root: &Path) -> io::Result<()> {
    for directory in ["/lib", "/etc"] {
        fs::remove_dir_all(directory)?;
    }
    fs::remove_file(initrd::PROGRAM)?;
    machine::unmount(Path::new("/proc"))?;
    let dev = root.join("dev");
    if dev.is_dir() {
        machine::move_mount(Path::new("/dev"), &dev)?;
    }
    machine::switch_root(root)
}

fn become_init(line: &RootLine) -> Result<Infallible, Failure> {
    let programs = match &line.init {
        Some(program) => vec![program.as_str()],
        None => PROGRAMS.to_vec(),
    };
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(name, value)| c_string(&[name, OsString::from("="), value]))
        .collect();
    let mut failure = None;
    for program in programs {
        let arguments = std::iter::once(program).chain(line.arguments.iter().map(String::as_str));
        let arguments: Vec<CString> = arguments
            .filter_map(|word| CString::new(word).ok())
            .collect();
        let Some(path) = arguments.first() else {
            continue;
        };
        let error = sandbox::exec(path, &arguments, &env);
        let code = match error.kind() {
            io::ErrorKind::NotFound => 127,
            _ => 126,
        };
        let message = format!("the first process `{program}` of the root: {error}");
        failure = failure.or(Some(Failure { code, message }));
    }
    Err(failure.unwrap_or_else(|| Failure::machine("the root has no first process")))
}

fn c_string(parts: &[OsString]) -> Option<CString> {
    let bytes = parts.iter().cloned().flat_map(OsStringExt::into_vec);
    CString::new(bytes.collect::<Vec<u8>>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(at: usize, mark: &[u8], expected: Option<&str>) {
        let mut head = vec![0; 4096];
        head[at..at + mark.len()].copy_from_slice(mark);
        assert_eq!(kind_of(&head), expected);
        assert_eq!(kind_of(&head[..at]), None);
    }

    #[test]
    fn file_systems_are_told_by_their_marks() {
        check(0, b"hsqs", Some("squashfs"));
        check(1024, &[0xe2, 0xe1, 0xf5, 0xe0], Some("erofs"));
        check(1080, &[0x53, 0xef], Some("ext4"));
        check(512, b"hsqs", None);
    }
}
