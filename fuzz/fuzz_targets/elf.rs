//! ELF files: reading and stripping one ends, and a stripped file is the same program.
#![no_main]

use kiln_rootfs::elf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let before = elf::read(bytes);
    let Ok(Ok(plan)) = elf::strip(bytes) else {
        return;
    };
    assert!(plan.size() < bytes.len() as u64, "stripping makes files smaller");
    let Ok(stripped) = plan.apply(bytes) else {
        return;
    };
    assert_eq!(stripped.len() as u64, plan.size());
    if let Ok(before) = before {
        let after = elf::read(&stripped[..]).expect("all that is loaded is still there");
        assert_eq!(before, after);
    }
    let _ = elf::strip(&stripped[..]).map(|plan| plan.map(|plan| plan.apply(&stripped[..])));
});
