//! Finding a kernel.

use std::path::{Path, PathBuf};

use kiln_sys::files;

use super::BootProblem;
use crate::init::ARCHITECTURE;

const BOOT: &str = "/boot";

/// The kernel that was asked for, or else the newest of Debian's cloud kernels on this machine.
///
/// # Errors
///
/// [`BootProblem::NoKernel`] where there is none that can be read, [`BootProblem::Kernel`] where it
/// is the one that was asked for.
pub fn find_kernel(wanted: Option<&Path>) -> Result<PathBuf, BootProblem> {
    if let Some(path) = wanted {
        return files::open(path)
            .map(|_| path.to_owned())
            .map_err(BootProblem::Kernel);
    }
    let names = files::names(BOOT).unwrap_or_default();
    let mut names: Vec<String> = names
        .iter()
        .map(|name| name.display().to_string())
        .filter(|name| name.starts_with("vmlinuz-") && name.contains("cloud"))
        .collect();
    names.sort_by_key(|name| version(name));
    let paths = names.iter().rev().map(|name| Path::new(BOOT).join(name));
    // Some systems let only root read kernels.
    paths
        .into_iter()
        .find(|path| files::open(path).is_ok())
        .ok_or(BootProblem::NoKernel(ARCHITECTURE))
}

/// The numbers of a name, so that `6.1.0-9` comes before `6.1.0-10`.
fn version(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert!(version("vmlinuz-6.1.0-9-cloud-amd64") < version("vmlinuz-6.1.0-10-cloud-amd64"));
        assert!(version("vmlinuz-6.1.0-56-cloud-amd64") < version("vmlinuz-6.12.1-cloud-amd64"));
    }
}
