//! A Dockerfile from a stranger: parsing ends, and every diagnostic can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (_, diagnostics) = kiln_dockerfile::parse(text);
    for diagnostic in &diagnostics {
        let _ = kiln_dockerfile::render(diagnostic, "Dockerfile", text);
    }
    let _ = kiln_dockerfile::ignore::Ignore::parse(text);
});
