//! Layers from a stranger: listing one ends, and every name in it is inside.
#![no_main]

use std::path::{Component, Path};

use kiln_fuzz::{archive, watchdog};
use kiln_layer::{BlobFormat, MemberKind, is_archive, list_layer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let blob = archive::assemble(text);
    let _ = is_archive(&blob[..]);
    let _ = watchdog::with_limit(|cancel| {
        list_layer(&blob[..], BlobFormat::Detect, cancel, |member| {
            check(&member.path);
            if let MemberKind::HardLink(target) = &member.kind {
                check(target);
            }
            assert!(member.mode <= 0o7777);
        })
    });
});

fn check(path: &Path) {
    let is_name = |part| matches!(part, Component::Normal(_));
    assert!(path.components().all(is_name), "`{}`", path.display());
}
