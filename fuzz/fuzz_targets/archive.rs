//! Archives of images: reading one ends, and what was read can be written, and read again as the
//! same images.
#![no_main]

use kiln_fuzz::archive;
use kiln_image::{
    Archive, Image, MemoryBlobs, convert, read_archive, validate, verify_blobs,
    write_docker_archive, write_oci_archive,
};
use kiln_oci::Family;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let bytes = archive::assemble(text);
    let mut blobs = MemoryBlobs::new();
    let Ok(found) = read_archive(&bytes[..], &mut blobs) else {
        return;
    };
    for named in &found.images {
        let Ok(image) = Image::load(&blobs, &named.descriptor) else {
            continue;
        };
        let _ = validate(&image);
        let _ = verify_blobs(&image, &blobs);
        for family in [Family::Oci, Family::Docker] {
            let _ = convert(&image, family);
        }
    }
    check_written(&found, &blobs);
});

fn check_written(found: &Archive, blobs: &MemoryBlobs) {
    let mut written = Vec::new();
    if write_oci_archive(blobs, &found.images, &mut written).is_ok() {
        let again = read_archive(&written[..], &mut MemoryBlobs::new()).expect("we wrote it");
        let images = |archive: &Archive| {
            let images = archive.images.iter();
            images
                .map(|image| image.descriptor.digest.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(images(&again), images(found));
    }
    let mut written = Vec::new();
    if write_docker_archive(blobs, &found.images, &mut written).is_ok() {
        read_archive(&written[..], &mut MemoryBlobs::new()).expect("we wrote it");
    }
}
