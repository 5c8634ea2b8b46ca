//! A cache's document from a stranger: reading ends, and what was read means the same when printed
//! and read again.
#![no_main]

use kiln_cache::format::CacheConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = CacheConfig::from_bytes(bytes) {
        let again = CacheConfig::from_bytes(&config.to_bytes()).expect("we wrote it");
        assert_eq!(again, config);
        for layer in 0..config.layers().len() {
            assert!(!config.chain(layer).is_empty());
        }
    }
    let _ = CacheConfig::from_inline(bytes, &[]);
});
