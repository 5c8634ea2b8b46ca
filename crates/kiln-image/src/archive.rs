//! Images in one tar file.
//!
//! Two forms, and one reader for both. An *OCI archive* is a tar of an image layout. What `docker
//! load` reads is a tar with a `manifest.json`; kiln writes it as an image layout that has a
//! `manifest.json` (and the older `repositories`) beside its index, as Docker does since version
//! 25: Docker 20.10 follows the paths in `manifest.json`, everything newer may read either.

mod read;
mod write;

use std::collections::BTreeMap;

use kiln_oci::{Descriptor, Reference};
use serde::{Deserialize, Serialize};

pub use read::{Archive, ArchiveError, ArchiveKind, LoadedImage, read_archive};
pub use write::{WriteError, write_docker_archive, write_oci_archive};

pub(crate) const MANIFEST_NAME: &str = "manifest.json";
pub(crate) const REPOSITORIES_NAME: &str = "repositories";

/// The annotation under which containerd, BuildKit and Podman look for an image's full name.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An image or an index, and the names it goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The manifest or the index.
    pub descriptor: Descriptor,
    /// Its names; there may be none.
    pub names: Vec<Reference>,
}

/// One image of a `manifest.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerEntry {
    pub(crate) config: String,
    pub(crate) repo_tags: Option<Vec<String>>,
    pub(crate) layers: Option<Vec<String>>,
}

/// Repository to tag to layer, as Docker before 1.10 read it.
pub(crate) type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// The entries of `index.json`: one for each name, as the specification has one name an entry.
pub(crate) fn descriptors_of(images: &[NamedImage]) -> Vec<Descriptor> {
    let mut entries = Vec::new();
    for image in images {
        let descriptor = &image.descriptor;
        for name in &image.names {
            let named = descriptor
                .clone()
                .with_annotation(CONTAINERD_NAME, &name.to_string());
            entries.push(match name.tag() {
                Some(tag) => named.with_annotation(Descriptor::REF_NAME, tag),
                None => named,
            });
        }
        if image.names.is_empty() {
            entries.push(descriptor.clone());
        }
    }
    entries
}

/// The names of an `index.json` entry. A bare tag is no name: it does not say of what.
pub(crate) fn name_of(entry: &Descriptor) -> Option<Reference> {
    let full = entry.annotations.get(CONTAINERD_NAME);
    let named = entry.annotations.get(Descriptor::REF_NAME);
    let named = named.filter(|name| name.contains(['/', ':']));
    full.or(named).and_then(|name| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use kiln_oci::Family;

    use super::*;
    use crate::image::tests::sample;

    #[test]
    fn each_name_is_an_entry() {
        let (image, _) = sample(Family::Oci, &[]);
        let parse = |name: &str| name.parse::<Reference>().expect("a name");
        let image = NamedImage {
            descriptor: image.descriptor().clone(),
            names: vec![parse("x:1"), parse("a.b/c:2")],
        };
        let entries = descriptors_of(&[image]);
        let names: Vec<_> = entries.iter().filter_map(name_of).collect();
        assert_eq!(names, [parse("x:1"), parse("a.b/c:2")]);
    }

    #[test]
    fn a_bare_tag_names_nothing() {
        let (image, _) = sample(Family::Oci, &[]);
        let named = |name: &str| {
            let entry = image.descriptor().clone();
            name_of(&entry.with_annotation(Descriptor::REF_NAME, name)).map(|name| name.familiar())
        };
        assert_eq!(named("latest"), None);
        assert_eq!(named("debian:12").as_deref(), Some("debian:12"));
    }
}
