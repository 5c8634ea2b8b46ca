//! Where things are below the store's root. The drawing is in the crate's header.

use std::path::{Path, PathBuf};

use kiln_oci::{Algorithm, Digest};

/// The paths of one store.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    /// The directories that exist in every store, parents first.
    pub(crate) const DIRECTORIES: [&str; 12] = [
        "blobs",
        "blobs/sha256",
        "blobs/sha512",
        "builds",
        "leases",
        "locks",
        "mounts",
        "partial",
        "snapshots",
        "stat",
        "tmp",
        "unsynced",
    ];

    pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("kiln.db")
    }

    /// The index's write-ahead log.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("kiln.db-wal")
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    pub(crate) fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        self.partials().join(name)
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn snapshot(&self, number: i64) -> PathBuf {
        self.snapshots().join(number.to_string())
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }

    pub(crate) fn mount(&self, number: i64) -> PathBuf {
        self.mounts().join(number.to_string())
    }

    /// The program's own logs, which this crate only measures.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// The events of one build.
    pub(crate) fn build_log(&self, id: &str) -> PathBuf {
        self.builds().join(format!("{id}.jsonl.zst"))
    }

    pub(crate) fn stats(&self) -> PathBuf {
        self.root.join("stat")
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    pub(crate) fn lease(&self, id: &str) -> PathBuf {
        self.leases().join(id)
    }

    pub(crate) fn all_tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn tmp(&self, lease: &str) -> PathBuf {
        self.all_tmp().join(lease)
    }

    /// Where marks are; see the module `mark`.
    pub(crate) fn unsynced(&self) -> PathBuf {
        self.root.join("unsynced")
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// The file of a named lock. Names are free text, so the file's name is their hash.
    pub(crate) fn lock(&self, name: &str) -> PathBuf {
        let hash = blake3::hash(name.as_bytes()).to_hex();
        self.locks().join(&hash.as_str()[..32])
    }
}
