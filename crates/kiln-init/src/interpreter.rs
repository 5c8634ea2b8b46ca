//! What the kernel starts for a file that is not a program by itself: the interpreter of a script's
//! first line, or the loader that an ELF file names.

/// The interpreter that the first bytes of a file name; `None` where they name none. 4096 bytes are
/// enough for what linkers write.
pub fn of(head: &[u8]) -> Option<String> {
    let name = script(head).or_else(|| elf(head))?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// `#!`, blanks, the interpreter, and perhaps an argument.
fn script(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let name = line.split(u8::is_ascii_whitespace).next()?;
    (!name.is_empty()).then_some(name)
}

/// The `PT_INTERP` segment of a 64-bit little-endian file, as x86-64 and arm64 have them.
fn elf(head: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u64 = 3;
    const IS_64_BIT_LITTLE_ENDIAN: &[u8] = &[2, 1];
    if head.get(..4)? != b"\x7fELF" || head.get(4..6)? != IS_64_BIT_LITTLE_ENDIAN {
        return None;
    }
    let (table, size, count) = (
        number(head, 0x20, 8)?,
        number(head, 0x36, 2)?,
        number(head, 0x38, 2)?,
    );
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index * size)?).ok()?;
        if number(head, at, 4)? != PT_INTERP {
            continue;
        }
        let start = usize::try_from(number(head, at.checked_add(8)?, 8)?).ok()?;
        let length = usize::try_from(number(head, at.checked_add(32)?, 8)?).ok()?;
        let name = head.get(start..start.checked_add(length)?)?;
        return name.split(|byte| *byte == 0).next();
    }
    None
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    let value = field
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &[u8], expected: Option<&str>) {
        assert_eq!(of(head).as_deref(), expected);
    }

    #[test]
    fn scripts() {
        check(b"#!/bin/sh\necho", Some("/bin/sh"));
        check(b"#! /usr/bin/env python3 -u\n", Some("/usr/bin/env"));
        check(b"#!/bin/sh\r\n", Some("/bin/sh"));
        check(b"#!\n", None);
        check(b"echo", None);
        check(b"", None);
    }

    #[test]
    fn elf_files() {
        let mut file = vec![0_u8; 0x100];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x20] = 0x40; // the table of segments
        file[0x36] = 56;
        file[0x38] = 2;
        let segment = 0x40 + 56;
        file[segment] = 3;
        file[segment + 8] = 0xc0;
        file[segment + 32] = 8;
        file[0xc0..0xc8].copy_from_slice(b"/lib/ld\0");
        check(&file, Some("/lib/ld"));
        for length in 0..0xc8 {
            check(&file[..length], None);
        }
        file[segment] = 1;
        check(&file, None);
        file[segment] = 3;
        file[segment + 32..segment + 40].fill(0xff);
        check(&file, None);
    }
}
