//! The host's package sources: what was read can be printed, and means the same when read again.
#![no_main]

use kiln_bootstrap::{parse_deb822, parse_list, print_deb822};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = print_deb822(&parse_list(text));
    let _ = print_deb822(&parse_deb822(text));
});
