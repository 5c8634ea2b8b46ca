//! Reading and stripping: the test program itself, and small files made by hand.

use proptest::prelude::*;

use super::*;

#[test]
fn the_test_itself_is_read_and_stripped() {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let elf = read(&bytes[..]).unwrap().unwrap();
    assert_eq!(elf.target.architecture(), Some(host()));
    assert!(elf.interpreter.unwrap().starts_with(b"/lib"));
    assert!(elf.needed.iter().any(|name| name.starts_with(b"libc.so")));
    let plan = strip(&bytes[..]).unwrap().unwrap();
    let stripped = plan.apply(&bytes[..]).unwrap();
    assert_eq!(stripped.len() as u64, plan.size());
    assert!(stripped.len() < bytes.len() / 2);
    check_same_segments(&bytes, &stripped);
    // There is nothing left to do.
    assert_eq!(strip(&stripped[..]).unwrap(), Err(Skipped::Nothing));
}

fn host() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// All that is loaded is the same, but for the header's words about sections.
fn check_same_segments(before: &[u8], after: &[u8]) {
    let header = Header::read(before).unwrap().unwrap();
    let segments = header.segments(before).unwrap();
    for segment in &segments {
        let start = usize::try_from(segment.offset).unwrap().max(64);
        let end = usize::try_from(segment.offset + segment.size).unwrap();
        if start < end {
            assert_eq!(before[start..end], after[start..end]);
        }
    }
    assert_eq!(before[..40], after[..40]);
}

#[test]
fn what_follows_the_last_section_is_a_payload() {
    let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.extend_from_slice(&[b'x'; 64]);
    assert_eq!(strip(&bytes[..]).unwrap(), Err(Skipped::Payload));
}

/// A header of 64 bits with these segments, whose bytes follow at 0x200.
fn program(segments: &[(u32, u64, u64)], rest: &[u8]) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    let mut put = |number: u64, length: usize| out.extend(&number.to_le_bytes()[..length]);
    for (number, length) in [
        (3, 2),
        (62, 2),
        (1, 4),
        (0, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (segments.len() as u64, 2),
        (64, 2),
        (0, 2),
        (0, 2),
    ] {
        put(number, length);
    }
    for (kind, offset, size) in segments {
        for (number, length) in [(u64::from(*kind), 4), (0, 4), (*offset, 8), (*offset, 8)] {
            put(number, length);
        }
        for (number, length) in [(*offset, 8), (*size, 8), (*size, 8), (1, 8)] {
            put(number, length);
        }
    }
    out.resize(0x200, 0);
    out.extend_from_slice(rest);
    out
}

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let answer = match read(bytes) {
        Ok(None) => "no ELF file".to_owned(),
        Ok(Some(elf)) => {
            let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
            let needed: Vec<String> = elf.needed.iter().map(|name| text(name)).collect();
            let interpreter = elf.interpreter.as_deref().map_or("-".to_owned(), text);
            format!("{} {interpreter} [{}]", elf.target, needed.join(" "))
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(answer, expected);
}

#[test]
fn broken_programs_say_what_is_wrong() {
    check(b"#!/bin/sh", "no ELF file");
    check(b"", "no ELF file");
    check(
        b"\x7fELF",
        "the ELF file is cut: its header lies behind its end",
    );
    check(&program(&[], b""), "amd64 - []");
    let interp = |size| program(&[(PT_INTERP, 0x200, size)], b"/lib/ld.so\0");
    check(&interp(11), "amd64 /lib/ld.so []");
    check(
        &interp(10),
        "the ELF file is broken: the interpreter's name has no end",
    );
    check(
        &interp(12),
        "the ELF file is cut: the interpreter's name lies behind its end",
    );
    check(
        &interp(u64::MAX),
        "the ELF file is broken: the interpreter's name has no usable length",
    );
    let mut many = program(&[], b"");
    many[56..58].copy_from_slice(&[0xff, 0xff]);
    check(
        &many,
        "the ELF file is broken: it has more than 4096 segments",
    );
}

#[test]
fn libraries_are_found_by_the_dynamic_section() {
    let mut rest = Vec::new();
    for (tag, value) in [(DT_NEEDED, 1), (DT_STRTAB, 0x260), (DT_STRSZ, 9), (0, 0)] {
        rest.extend(u64::to_le_bytes(tag));
        rest.extend(u64::to_le_bytes(value));
    }
    rest.resize(0x60, 0);
    rest.extend(b"\0libc.so\0");
    let of = |rest: &[u8]| {
        let segments = [(PT_LOAD, 0, 0x300), (PT_DYNAMIC, 0x200, 0x40)];
        program(&segments, rest)
    };
    check(&of(&rest), "amd64 - [libc.so]");
    let mut outside = rest.clone();
    outside[8] = 200;
    check(
        &of(&outside),
        "the ELF file is broken: a library's name is outside of the names",
    );
    let mut unloaded = rest.clone();
    unloaded[0x1a] = 0xff;
    check(
        &of(&unloaded),
        "the ELF file is broken: the names of libraries are not loaded",
    );
}

proptest! {
    #[test]
    fn damaged_programs_are_read_to_an_end(
        damage in proptest::collection::vec((0_usize..0x280, any::<u8>()), 0..8),
        length in 0_usize..0x280,
    ) {
        let segments = [(PT_LOAD, 0, 0x280), (PT_DYNAMIC, 0x200, 0x40), (PT_INTERP, 0x240, 8)];
        let mut bytes = program(&segments, &[0; 0x80]);
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        bytes.truncate(length);
        let _ = read(&bytes[..]);
        if let Ok(Ok(plan)) = strip(&bytes[..]) {
            let stripped = plan.apply(&bytes[..]).unwrap();
            prop_assert_eq!(stripped.len() as u64, plan.size());
        }
    }
}
