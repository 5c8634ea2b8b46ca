//! A kernel's version, and where its modules are.

use std::io::Read;
use std::path::{Path, PathBuf};

use kiln_sys::files;
use kiln_sys::fs::FsError;

use super::ModuleIndex;

/// Where modules are, below the folder that `boot` is in, or the root.
const MODULES: &str = "lib/modules";

/// A kernel, and its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFiles {
    /// Its version: `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// The folder of its modules; `None` where there is none.
    pub modules: Option<PathBuf>,
}

impl KernelFiles {
    /// Looks at a kernel's file, and for its modules: beside the folder that it is in, as in an
    /// unpacked package, and where those of this machine's kernels are.
    ///
    /// # Errors
    ///
    /// Where the kernel can't be read.
    pub fn find(kernel: &Path) -> Result<Self, FsError> {
        let mut head = Vec::new();
        // What can't be read has no header; whoever starts it is told why.
        let _ = files::open(kernel)?.take(1 << 16).read_to_end(&mut head);
        let file_name = kernel.file_name().unwrap_or_default().to_string_lossy();
        let release = of_header(&head).or_else(|| of_name(&file_name));
        let release = release.unwrap_or_else(|| file_name.into_owned());
        let near = kernel.parent().and_then(Path::parent);
        let places = near.into_iter().chain([Path::new("/")]);
        let modules = places
            .map(|place| place.join(MODULES).join(&release))
            .find(|folder| files::exists(folder.join("modules.dep")));
        Ok(Self { release, modules })
    }

    /// What it has.
    ///
    /// # Errors
    ///
    /// Where the lists can't be read.
    pub fn index(&self) -> Result<Option<ModuleIndex>, FsError> {
        let Some(folder) = &self.modules else {
            return Ok(None);
        };
        let dependencies = files::read_to_string(folder.join("modules.dep"))?;
        // Old ones lack this list, and then nothing is known to be built in.
        let built_in = files::try_read(folder.join("modules.builtin"))?.unwrap_or_default();
        let built_in = String::from_utf8_lossy(&built_in);
        Ok(Some(ModuleIndex::parse(&dependencies, &built_in)))
    }
}

/// The version in a kernel for x86, of its boot protocol (the kernel's `x86/boot.rst`).
fn of_header(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let at = u16::from_le_bytes([*head.get(0x20e)?, *head.get(0x20f)?]);
    let text = head.get(0x200 + usize::from(at)..)?;
    let end = text.iter().position(|byte| *byte == b' ' || *byte == 0)?;
    let release = String::from_utf8(text[..end].to_vec()).ok()?;
    // It becomes a part of a path.
    let is_plain = !release.is_empty() && !release.contains('/') && release != "..";
    is_plain.then_some(release)
}

/// The version in the name that distributions give a kernel: `vmlinuz-6.1.0-56-cloud-amd64`.
fn of_name(name: &str) -> Option<String> {
    let (kind, release) = name.split_once('-')?;
    ["vmlinuz", "vmlinux", "Image"]
        .contains(&kind)
        .then(|| release.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_headers_and_names() {
        let mut head = vec![0; 0x400];
        assert_eq!(of_header(&head), None);
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x20e] = 0x80;
        let text = b"6.1.0-9-cloud-amd64 (somebody) #1\0";
        head[0x280..0x280 + text.len()].copy_from_slice(text);
        assert_eq!(of_header(&head).as_deref(), Some("6.1.0-9-cloud-amd64"));
        head[0x280] = b'/';
        assert_eq!(of_header(&head), None);
        assert_eq!(of_header(&head[..0x210]), None);
        assert_eq!(of_name("vmlinuz-6.1.0").as_deref(), Some("6.1.0"));
        assert_eq!(of_name("bzImage"), None);
    }
}
