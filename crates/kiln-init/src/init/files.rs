//! `/etc/hosts` and `/etc/resolv.conf`.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use kiln_init::config::Config;
use kiln_sys::machine;

use crate::Failure;

/// Where files are that are shown on a root that can't be written to.
const SHOWN: &str = "/run/kiln";

/// Writes what the configuration, or else the network, says.
pub(crate) fn write(config: &Config, nameservers: &[Ipv4Addr]) -> Result<(), Failure> {
    if let Some(text) = &config.hosts {
        write_file(Path::new("/etc/hosts"), text)?;
    }
    let lines: Vec<String> = nameservers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    let found = (!lines.is_empty()).then(|| lines.concat());
    match config.resolv_conf.as_ref().or(found.as_ref()) {
        Some(text) => write_file(Path::new("/etc/resolv.conf"), text),
        None => Ok(()),
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    if fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()) {
        return Ok(());
    }
    let written = match replace(path, text) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => show(path, text),
        result => result,
    };
    written.map_err(|error| Failure::machine(format!("`{}`: {error}", path.display())))
}

/// A link may lead to where another init would have put the file, so it is not followed.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        fs::remove_file(path)?;
    }
    fs::write(path, text)
}

fn show(path: &Path, text: &str) -> io::Result<()> {
    let shown: PathBuf = Path::new(SHOWN).join(path.file_name().unwrap_or_default());
    fs::create_dir_all(SHOWN)?;
    fs::write(&shown, text)?;
    machine::bind_at(&shown, path)
}
