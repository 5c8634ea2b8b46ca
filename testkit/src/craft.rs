//! Images and archives that no honest tool would make.

use kiln_oci::Digest;
use serde_json::json;

/// One member of a crafted tar archive.
#[derive(Debug, Clone, Copy)]
pub enum Member<'a> {
    /// A regular file with this content.
    File(&'a str, &'a [u8]),
    /// A folder.
    Folder(&'a str),
    /// A symbolic link and its target.
    Link(&'a str, &'a str),
    /// A hard link and its target.
    HardLink(&'a str, &'a str),
    /// A character device.
    Device(&'a str, u32, u32),
}

/// A tar archive with exactly these names, however harmful.
pub fn craft_tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        let (kind, name, target, content): (_, _, _, &[u8]) = match *member {
            Member::File(name, content) => (tar::EntryType::Regular, name, "", content),
            Member::Folder(name) => (tar::EntryType::Directory, name, "", b""),
            Member::Link(name, target) => (tar::EntryType::Symlink, name, target, b""),
            Member::HardLink(name, target) => (tar::EntryType::Link, name, target, b""),
            Member::Device(name, major, minor) => {
                header.set_device_major(major).expect("a GNU header has it");
                header.set_device_minor(minor).expect("a GNU header has it");
                (tar::EntryType::Char, name, "", b"")
            }
        };
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        // The crate's own setters refuse what these archives are made for.
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, content).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// An archive of `docker save` with an image of one layer.
pub fn craft_image(name: &str, layer: &[u8]) -> Vec<u8> {
    let (config, _) = craft_config(layer);
    let config_name = format!("{}.json", Digest::sha256(&config).hex());
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [format!("{name}:latest")],
        "Layers": ["layer.tar"],
    }]);
    craft_tar(&[
        Member::File(&config_name, &config),
        Member::File("layer.tar", layer),
        Member::File("manifest.json", manifest.to_string().as_bytes()),
    ])
}

/// The configuration of an image with this one layer, and the layer's digest.
pub fn craft_config(layer: &[u8]) -> (Vec<u8>, Digest) {
    let diff_id = Digest::sha256(layer);
    let config = json!({
        "architecture": kiln_oci::Platform::host().architecture,
        "os": "linux",
        "config": { "Cmd": ["/true"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id.as_str()] },
        "history": [{ "created_by": "crafted" }],
    });
    (config.to_string().into_bytes(), diff_id)
}
