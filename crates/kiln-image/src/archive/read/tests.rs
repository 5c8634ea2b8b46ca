//! Archives written and read back, and archives that nobody should have written.

use std::io::Write;

use expect_test::{Expect, expect};
use kiln_oci::{History, Platform};

use super::*;
use crate::image::tests::sample;
use crate::{MemoryBlobs, validate, write_docker_archive, write_oci_archive};

fn named(image: &Image, names: &[&str]) -> NamedImage {
    NamedImage {
        descriptor: image.descriptor().clone(),
        names: names
            .iter()
            .map(|name| name.parse().expect("a name"))
            .collect(),
    }
}

/// Reads an archive into memory and tells what it held, or why not.
#[track_caller]
fn check(archive: &[u8], expected: &Expect) {
    let mut sink = MemoryBlobs::new();
    let shown = match read_archive(archive, &mut sink) {
        Ok(archive) => {
            let lines = archive.images.iter().map(|loaded| {
                let names: Vec<String> = loaded.names.iter().map(Reference::familiar).collect();
                let image = Image::load(&sink, &loaded.descriptor).expect("an image");
                assert!(validate(&image).is_empty());
                format!("\n{} {}", names.join(" "), image.layers().len())
            });
            format!("{:?}{}", archive.kind, lines.collect::<String>())
        }
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("error: {error}{cause}")
        }
    };
    expected.assert_eq(&shown);
}

/// An archive of the given files; `name -> target` is a symbolic link.
fn files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some((name, target)) = name.split_once(" -> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder
                .append_link(&mut header, name, target)
                .expect("appended");
        } else {
            header.set_size(content.len() as u64);
            // Not `set_path`, which refuses the names this is about.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).expect("appended");
        }
    }
    builder.into_inner().expect("an archive")
}

#[test]
fn what_was_written_is_read_back() {
    let (image, blobs) = sample(Family::Oci, &["a", "b"]);
    let images = [named(&image, &["x:1", "a.b/c:2"])];
    let mut archive = Vec::new();
    write_oci_archive(&blobs, &images, &mut archive).expect("written");
    check(&archive, &expect![["Oci\nx:1 a.b/c:2 2"]]);

    let mut again = Vec::new();
    write_oci_archive(&blobs, &images, &mut again).expect("written");
    assert_eq!(archive, again);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).expect("written");
    check(
        &gzip.finish().expect("finished"),
        &expect![["Oci\nx:1 a.b/c:2 2"]],
    );
    let zstd = zstd::encode_all(archive.as_slice(), 1).expect("compressed");
    check(&zstd, &expect![["Oci\nx:1 a.b/c:2 2"]]);

    let mut archive = Vec::new();
    write_docker_archive(&blobs, &images, &mut archive).expect("written");
    check(&archive, &expect![["Oci\nx:1 a.b/c:2 2"]]);
}

#[test]
fn old_docker_archives_with_linked_layers_are_read() {
    let diff = Digest::sha256(b"layer");
    let config = ImageConfig::empty(Platform::new("linux", "amd64"))
        .with_layer(diff.clone(), History::default())
        .with_layer(diff, History::default())
        .to_bytes();
    let id = Digest::sha256(&config);
    let name = format!("{}.json", id.hex());
    let manifest = format!(
        r#"[{{"Config":"{name}","RepoTags":["x:1"],"Layers":["1/layer.tar","2/layer.tar"]}}]"#
    );
    let archive = files(&[
        ("1/VERSION", b"1.0"),
        ("1/json", b"{}"),
        ("1/layer.tar", b"layer"),
        ("2/layer.tar -> ../1/layer.tar", b""),
        (&name, &config),
        ("manifest.json", manifest.as_bytes()),
        ("repositories", b"{}"),
    ]);
    check(&archive, &expect![["Docker\nx:1 2"]]);

    let archive = files(&[
        ("1/layer.tar", b"another layer"),
        ("2/layer.tar -> ../1/layer.tar", b""),
        ("manifest.json", manifest.as_bytes()),
        (&name, &config),
    ]);
    let shown = format!("error: the layers of `{name}` are not those its configuration names");
    let mut sink = MemoryBlobs::new();
    let error = read_archive(archive.as_slice(), &mut sink).expect_err("other layers");
    assert_eq!(format!("error: {error}"), shown);
}

#[test]
fn hostile_archives_are_refused() {
    check(
        b"",
        &expect![
            "error: the archive has neither an `index.json` nor a `manifest.json`: it holds no images"
        ],
    );
    check(
        b"not a tar",
        &expect!["error: the archive is cut off at byte 9"],
    );
    check(
        &files(&[("../x", b"")]),
        &expect!["error: the archive has an entry with the name `../x`, which is not allowed"],
    );
    check(
        &files(&[("/etc/passwd", b"")]),
        &expect![
            "error: the archive has an entry with the name `/etc/passwd`, which is not allowed"
        ],
    );
    check(
        &files(&[("a -> ../../etc/passwd", b"")]),
        &expect![
            "error: the archive has an entry with the name `../../etc/passwd`, which is not allowed"
        ],
    );
    check(
        &files(&[("manifest.json", b"[]"), ("./manifest.json", b"[]")]),
        &expect!["error: the archive has two entries with the name `manifest.json`"],
    );
    check(
        &files(&[("manifest.json", b"{}")]),
        &expect![
            "error: `manifest.json` in the archive can't be used: invalid type: map, expected a sequence at line 1 column 0"
        ],
    );
    check(
        &files(&[("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#)]),
        &expect!["error: `c` is missing from the archive"],
    );
    check(
        &files(&[
            ("c -> d", b""),
            ("d -> c", b""),
            ("manifest.json", br#"[{"Config":"c"}]"#),
        ]),
        &expect!["error: `c` is missing from the archive"],
    );
    check(
        &files(&[("manifest.json", &vec![b' '; MAX_DOCUMENT_SIZE + 1])]),
        &expect!["error: `manifest.json` in the archive is larger than the allowed 4194304 bytes"],
    );
}

#[test]
fn a_blob_with_another_digest_than_its_name_is_refused() {
    let wrong = Digest::sha256(b"x");
    let name = layout::blob_path(&wrong);
    let archive = files(&[(&name, b"y")]);
    let mut sink = MemoryBlobs::new();
    let error = read_archive(archive.as_slice(), &mut sink).expect_err("a wrong digest");
    assert_eq!(
        error.to_string(),
        format!("could not take `{name}` from the archive")
    );
    assert!(sink.is_empty());
}

#[test]
fn an_image_that_lacks_a_layer_is_refused() {
    let (image, blobs) = sample(Family::Oci, &["a"]);
    let mut archive = Vec::new();
    write_oci_archive(&blobs, &[named(&image, &[])], &mut archive).expect("written");
    let layer = layout::blob_path(&image.layers()[0].digest);
    let mut without = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(archive.as_slice())
        .entries()
        .expect("entries")
    {
        let entry = entry.expect("an entry");
        if entry.path_bytes().as_ref() != layer.as_bytes() {
            without
                .append(&entry.header().clone(), entry)
                .expect("appended");
        }
    }
    let archive = without.into_inner().expect("an archive");
    let mut sink = MemoryBlobs::new();
    let error = read_archive(archive.as_slice(), &mut sink).expect_err("a missing layer");
    assert_eq!(
        error.to_string(),
        format!("`{layer}` is missing from the archive")
    );
}

#[test]
fn zstd_is_refused_for_docker() {
    let (image, mut blobs) = sample(Family::Oci, &["a"]);
    let layers = vec![Descriptor {
        media_type: MediaType::layer(Family::Oci, Compression::Zstd),
        ..image.layers()[0].clone()
    }];
    let image = Image::new(Family::Oci, image.config().clone(), layers, BTreeMap::new());
    blobs.insert(image.manifest().media_type(), image.manifest_bytes());
    let error = write_docker_archive(&blobs, &[named(&image, &[])], &mut Vec::new());
    assert!(matches!(error, Err(crate::WriteError::Zstd(_))));
}

/// Found by fuzzing: its blobs were not looked for, and a copy of the archive lacked them.
#[test]
fn an_image_that_the_index_announces_as_something_else_is_refused() {
    let (image, blobs) = sample(Family::Oci, &["a"]);
    let other = Descriptor {
        media_type: MediaType::parse("application/vnd.oci.image.manifest.v2+json"),
        ..image.descriptor().clone()
    };
    let index = Index::new(Family::Oci, vec![other]).to_bytes();
    let mut archive = Vec::new();
    write_oci_archive(&blobs, &[named(&image, &[])], &mut archive).expect("written");
    let mut changed = tar::Builder::new(Vec::new());
    let mut entries = tar::Archive::new(archive.as_slice());
    for entry in entries.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("read");
        if entry.path_bytes().as_ref() == INDEX_NAME.as_bytes() {
            content.clone_from(&index);
        }
        let mut header = entry.header().clone();
        header.set_size(content.len() as u64);
        header.set_cksum();
        changed
            .append(&header, content.as_slice())
            .expect("appended");
    }
    check(
        &changed.into_inner().expect("an archive"),
        &expect![
            "error: `blobs/sha256/4ce897232a277121e1f42e653ee2d1899492ab038176c1f06391e039e32b7b1c` in the archive can't be used: the document says it is `application/vnd.oci.image.manifest.v1+json`, but was announced as `application/vnd.oci.image.manifest.v2+json`"
        ],
    );
}
