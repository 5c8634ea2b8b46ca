//! The document of an initial file system: what is to be loaded before the root can be mounted.
//!
//! ```json
//! {"version": 1, "modules": ["/lib/modules/6.1.0/virtio_ring.ko", "/lib/modules/6.1.0/virtio.ko"]}
//! ```
//!
//! Everything else is on the kernel command line ([`crate::cmdline`]), so that one initial file
//! system is right for every disk of a format.

use serde::{Deserialize, Serialize};

/// Where `kiln-init` is in an initial file system, which is what the kernel starts.
pub const PROGRAM: &str = "/init";

/// Where the document is.
pub const PATH: &str = "/etc/kiln/initrd.json";

/// Where the root is mounted.
pub const ROOT: &str = "/root";

/// Where memory is mounted that is over a root.
pub const MEMORY: &str = "/memory";

/// The version of the document that this code writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// What an initial file system has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initrd {
    version: u32,
    /// The files of kernel modules, in the order in which they can be loaded.
    pub modules: Vec<String>,
}

impl Initrd {
    /// One that loads these modules.
    pub fn new(modules: Vec<String>) -> Self {
        Self {
            version: VERSION,
            modules,
        }
    }

    /// Reads a document; the error says why not.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match read.version {
            VERSION => Ok(read),
            other => Err(format!("version {other} is not {VERSION}")),
        }
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and a number: nothing in it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_and_others_refused() {
        let document = Initrd::new(vec!["/a.ko".to_owned()]);
        assert_eq!(Initrd::from_json(&document.to_json()), Ok(document));
        let refused = Initrd::from_json(br#"{"version":2,"modules":[]}"#);
        assert_eq!(refused, Err("version 2 is not 1".to_owned()));
        assert!(Initrd::from_json(b"{\"version\":1}").is_err());
    }
}
