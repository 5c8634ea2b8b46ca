//! Documents from a registry: what can be read can be written, and means the same when read again.
#![no_main]

use kiln_oci::{Document, ImageConfig, Platform, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Document::parse(bytes, None) {
        Ok(Document::Manifest(manifest)) => {
            assert!(Document::parse(&manifest.to_bytes(), None).is_ok());
        }
        Ok(Document::Index(index)) => assert!(Document::parse(&index.to_bytes(), None).is_ok()),
        Err(_) => {}
    }
    if let Ok(config) = ImageConfig::from_bytes(bytes) {
        let again = ImageConfig::from_bytes(&config.to_bytes()).expect("we wrote it");
        assert_eq!(again.to_bytes(), config.to_bytes());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }
    let _ = text.parse::<Platform>();
});
