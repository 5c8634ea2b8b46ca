//! Headers in, entries out. What is expected is what Go's `archive/tar` makes of the same bytes.

use std::fmt::Write as _;
use std::io::{self, Read};

use expect_test::{Expect, expect};
use kiln_sys::fs::Device;
use proptest::prelude::*;

use super::{Kind, TarReader};

const USTAR: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";

/// Appends a header whose magic is `magic`, changed by `change`, and its content.
fn push(archive: &mut Vec<u8>, kind: u8, magic: &[u8], content: &[u8], change: impl Fn(&mut [u8])) {
    let mut block = [0; 512];
    let size = format!("{:011o}\0", content.len());
    for (at, field) in [
        (0, &b"name"[..]),
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, size.as_bytes()),
        (136, b"00000000007\0"),
        (157, b"target"),
        (257, magic),
    ] {
        block[at..at + field.len()].copy_from_slice(field);
    }
    block[156] = kind;
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&block);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

fn put(at: usize, text: &'static [u8]) -> impl Fn(&mut [u8]) {
    move |block| block[at..at + text.len()].copy_from_slice(text)
}

fn as_is(_: &mut [u8]) {}

/// A PAX header with these records.
fn pax(archive: &mut Vec<u8>, records: &[(&str, &str)]) {
    let mut text = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let digits = if rest.len() < 9 { 1 } else { 2 };
        let _ = write!(text, "{}{rest}", rest.len() + digits);
    }
    push(archive, b'x', USTAR, text.as_bytes(), as_is);
}

fn describe(archive: &[u8]) -> String {
    let mut reader = TarReader::new(archive);
    let mut text = String::new();
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return text,
            Err(error) => {
                let _ = writeln!(text, "error: {error}");
                return text;
            }
        };
        let kind = match entry.kind {
            Kind::File { size, sparse } => {
                let mut content = String::new();
                if let Err(error) = reader.read_to_string(&mut content) {
                    content = error.to_string();
                }
                let mut kind = format!("file {size} {content:?}");
                for segment in sparse.unwrap_or_default() {
                    let _ = write!(kind, " {}+{}", segment.offset, segment.length);
                }
                kind
            }
            Kind::Dir => "dir".to_owned(),
            Kind::Symlink(target) => format!("symlink {}", target.display()),
            Kind::HardLink(target) => format!("hardlink {}", target.display()),
            Kind::Fifo => "fifo".to_owned(),
            Kind::CharDevice(Device { major, minor }) => format!("char {major},{minor}"),
            Kind::BlockDevice(Device { major, minor }) => format!("block {major},{minor}"),
        };
        let _ = write!(
            text,
            "{} {kind} {:o} {}:{} @{}",
            entry.path.display(),
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime.seconds
        );
        if entry.mtime.nanoseconds > 0 {
            let _ = write!(text, ".{:09}", entry.mtime.nanoseconds);
        }
        for (key, value) in entry.xattrs {
            let _ = write!(text, " {}={}", key.display(), value.escape_ascii());
        }
        text.push('\n');
    }
}

#[track_caller]
fn check(build: impl FnOnce(&mut Vec<u8>), expected: &Expect) {
    let mut archive = Vec::new();
    build(&mut archive);
    expected.assert_eq(&describe(&archive));
}

#[test]
fn the_format_decides_what_a_prefix_is() {
    check(
        |archive| {
            push(archive, b'0', USTAR, b"", put(345, b"dir"));
            // Go does not look at the version.
            push(archive, b'0', b"ustar\0\0\0", b"", put(345, b"dir"));
            push(archive, b'0', GNU, b"", put(345, b"00000000007\0"));
            // What Go before 1.8 wrote.
            push(archive, b'0', GNU, b"", put(345, b"dir"));
            push(archive, b'0', b"", b"", put(345, b"dir"));
            push(archive, b'0', USTAR, b"", |block| {
                put(345, b"dir")(block);
                put(476, b"00000000007\0")(block);
                put(508, b"tar\0")(block);
            });
        },
        &expect![[r#"
            dir/name file 0 "" 644 0:0 @7
            dir/name file 0 "" 644 0:0 @7
            name file 0 "" 644 0:0 @7
            dir/name file 0 "" 644 0:0 @7
            name file 0 "" 644 0:0 @7
            dir/name file 0 "" 644 0:0 @7
        "#]],
    );
}

#[test]
fn version_7_tells_directories_by_their_slash() {
    check(
        |archive| {
            push(archive, 0, b"", b"", put(0, b"name/"));
            push(archive, 0, b"", b"hello", as_is);
            push(archive, b'0', b"", b"", put(0, b"name/"));
        },
        &expect![[r#"
            name/ dir 644 0:0 @7
            name file 5 "hello" 644 0:0 @7
            name/ file 0 "" 644 0:0 @7
        "#]],
    );
}

#[test]
fn only_files_have_content() {
    check(
        |archive| {
            for kind in *b"123456" {
                push(archive, kind, USTAR, b"", put(124, b"00000002000\0"));
            }
            push(archive, b'7', USTAR, b"x", as_is);
        },
        &expect![[r#"
            name hardlink target 644 0:0 @7
            name symlink target 644 0:0 @7
            name char 0,0 644 0:0 @7
            name block 0,0 644 0:0 @7
            name dir 644 0:0 @7
            name fifo 644 0:0 @7
            name file 1 "x" 644 0:0 @7
        "#]],
    );
}

#[test]
fn numbers_are_octal_or_binary() {
    check(
        |archive| {
            push(archive, b'0', GNU, b"", put(108, b"  17 \0\0\0"));
            push(archive, b'0', GNU, b"", put(108, b"\0\0\0\0\0\0\0\0"));
            push(
                archive,
                b'0',
                GNU,
                b"",
                put(108, b"\x80\0\0\0\xff\xff\xff\xfe"),
            );
            push(
                archive,
                b'0',
                GNU,
                b"",
                put(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            );
        },
        &expect![[r#"
            name file 0 "" 644 15:0 @7
            name file 0 "" 644 0:0 @7
            name file 0 "" 644 4294967294:0 @7
            name file 0 "" 644 0:0 @-1
        "#]],
    );
    for field in [
        &b"0000008\0"[..],
        b"1 2\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut archive = Vec::new();
        push(&mut archive, b'0', GNU, b"", |block| {
            block[108..116].copy_from_slice(field);
        });
        expect!["error: bad archive header at byte 0: the user is no number\n"]
            .assert_eq(&describe(&archive));
    }
}

#[test]
fn records_come_before_fields_and_long_names_before_both() {
    check(
        |archive| {
            pax(
                archive,
                &[
                    ("path", "from-pax"),
                    ("uid", "3000000"),
                    ("gid", ""),
                    ("mtime", "-1.25"),
                    ("SCHILY.xattr.user.a", "1"),
                    ("SCHILY.xattr.user.a", "2"),
                    ("comment", "="),
                ],
            );
            push(archive, b'0', USTAR, b"", as_is);
            pax(archive, &[("path", "from-pax"), ("linkpath", "to")]);
            push(archive, b'L', GNU, b"from-gnu\0", as_is);
            push(archive, b'2', USTAR, b"", as_is);
            push(archive, b'K', GNU, b"long", as_is);
            push(archive, b'2', USTAR, b"", as_is);
            push(archive, b'0', USTAR, b"", as_is);
        },
        &expect![[r#"
            from-pax file 0 "" 644 3000000:0 @-2.750000000 user.a=2
            from-gnu symlink to 644 0:0 @7
            name symlink long 644 0:0 @7
            name file 0 "" 644 0:0 @7
        "#]],
    );
}

#[test]
fn global_records_change_nothing() {
    check(
        |archive| {
            push(archive, b'g', USTAR, b"13 size=1024\n", as_is);
            push(archive, b'0', USTAR, b"x", as_is);
        },
        &expect![[r#"
            name file 1 "x" 644 0:0 @7
        "#]],
    );
}

#[test]
fn the_size_of_a_record_is_for_the_entry_alone() {
    check(
        |archive| {
            pax(archive, &[("size", "3")]);
            push(archive, b'L', GNU, b"long", as_is);
            push(archive, b'0', USTAR, b"abcdef", as_is);
            push(archive, b'0', USTAR, b"x", as_is);
        },
        &expect![[r#"
            long file 3 "abc" 644 0:0 @7
            name file 1 "x" 644 0:0 @7
        "#]],
    );
}

#[test]
fn sparse_files_of_all_formats() {
    check(
        |archive| {
            push(archive, b'S', GNU, b"ab", |block| {
                put(386, b"00000000002\x000000000001\0")(block);
                put(410, b"00000000005\x000000000001\0")(block);
                put(483, b"00000000010\0")(block);
            });
            let mut extended = Vec::new();
            push(&mut extended, b'S', GNU, b"ab", |block| {
                put(386, b"00000000002\x000000000001\0")(block);
                put(482, b"\x01")(block);
                put(483, b"00000000010\0")(block);
            });
            let content = extended.split_off(512);
            archive.extend_from_slice(&extended);
            let mut block = [0; 512];
            put(0, b"00000000005\x000000000001\0")(&mut block);
            archive.extend_from_slice(&block);
            archive.extend_from_slice(&content);
            pax(
                archive,
                &[
                    ("GNU.sparse.size", "8"),
                    ("GNU.sparse.numblocks", "2"),
                    ("GNU.sparse.offset", "2"),
                    ("GNU.sparse.numbytes", "1"),
                    ("GNU.sparse.offset", "5"),
                    ("GNU.sparse.numbytes", "1"),
                ],
            );
            push(archive, b'0', USTAR, b"ab", as_is);
            pax(
                archive,
                &[
                    ("GNU.sparse.size", "8"),
                    ("GNU.sparse.map", "2,1,5,1"),
                    ("GNU.sparse.name", "sparse"),
                ],
            );
            push(archive, b'0', USTAR, b"ab", as_is);
            pax(
                archive,
                &[
                    ("GNU.sparse.major", "1"),
                    ("GNU.sparse.minor", "0"),
                    ("GNU.sparse.realsize", "8"),
                    ("GNU.sparse.name", "sparse"),
                ],
            );
            let mut content = b"2\n2\n1\n5\n1\n".to_vec();
            content.resize(512, 0);
            content.extend_from_slice(b"ab");
            push(archive, b'0', USTAR, &content, as_is);
        },
        &expect![[r#"
            name file 8 "ab" 2+1 5+1 644 0:0 @7
            name file 8 "ab" 2+1 5+1 644 0:0 @7
            name file 8 "ab" 2+1 5+1 644 0:0 @7
            sparse file 8 "ab" 2+1 5+1 644 0:0 @7
            sparse file 8 "ab" 2+1 5+1 644 0:0 @7
        "#]],
    );
}

#[test]
fn the_name_of_a_sparse_file_counts_for_nothing_else() {
    check(
        |archive| {
            pax(archive, &[("GNU.sparse.name", "other")]);
            push(archive, b'0', USTAR, b"", as_is);
            pax(archive, &[("GNU.sparse.name", "other")]);
            push(archive, b'5', USTAR, b"", as_is);
        },
        &expect![[r#"
            name file 0 "" 644 0:0 @7
            name dir 644 0:0 @7
        "#]],
    );
}

#[test]
fn maps_that_lie_are_refused() {
    for map in [
        "2,1,1,1",
        "2,9",
        "0,1",
        "2",
        "18446744073709551615,2",
        "a,b",
        "0,2,2,-1",
    ] {
        let mut archive = Vec::new();
        pax(
            &mut archive,
            &[("GNU.sparse.size", "8"), ("GNU.sparse.map", map)],
        );
        push(&mut archive, b'0', USTAR, b"ab", as_is);
        let text = describe(&archive);
        assert!(
            text.starts_with("error: bad archive header at byte "),
            "{map}: {text}"
        );
    }
    for map in [
        "x\n",
        "1\n2\n",
        "9223372036854775807\n",
        "18446744073709551615\n1\n",
    ] {
        let mut archive = Vec::new();
        let version = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")];
        pax(&mut archive, &version);
        let mut content = map.as_bytes().to_vec();
        content.resize(512, 0);
        push(&mut archive, b'0', USTAR, &content, as_is);
        let text = describe(&archive);
        assert!(text.starts_with("error: "), "{map}: {text}");
    }
}

#[test]
fn bad_records_are_refused() {
    for text in [
        "5 a=b",
        "6 a=b",
        "0 a=b\n",
        "6 ab\n\n",
        "5 =b\n",
        "a=b\n",
        "99999999999999999999 a=b\n",
        "10 uid=-1\n",
        "10 uid=1x\n",
        "12 mtime=1x\n",
        "12 path=a\0b\n",
    ] {
        let mut archive = Vec::new();
        push(&mut archive, b'x', USTAR, text.as_bytes(), as_is);
        push(&mut archive, b'0', USTAR, b"", as_is);
        let described = describe(&archive);
        assert!(
            described.starts_with("error: bad archive header"),
            "{text}: {described}"
        );
    }
}

#[test]
fn an_archive_may_end_early_between_entries_only() {
    let mut archive = Vec::new();
    push(&mut archive, b'0', USTAR, b"hello", as_is);
    let whole = "name file 5 \"hello\" 644 0:0 @7\n";
    for length in [517, 518, 1024] {
        assert_eq!(describe(&archive[..length]), whole);
    }
    assert_eq!(describe(&archive[..0]), "");
    expect![[r"
        error: the archive is cut off at byte 511
    "]]
    .assert_eq(&describe(&archive[..511]));
    let mut reader = TarReader::new(&archive[..516]);
    assert!(reader.next_entry().is_ok());
    expect!["the archive is cut off at byte 516"].assert_eq(
        &reader
            .next_entry()
            .expect_err("a part is missing")
            .to_string(),
    );
}

/// Gives what is asked for in pieces of odd sizes.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn pieces_do_not_matter() {
    let mut archive = Vec::new();
    pax(&mut archive, &[("path", "from-pax")]);
    push(&mut archive, b'0', USTAR, b"hello", as_is);
    archive.resize(archive.len() + 1024, 0);
    let mut reader = TarReader::new(Trickle(&archive, 0));
    let entry = reader.next_entry().expect("valid").expect("an entry");
    assert_eq!(entry.path, "from-pax");
    let mut content = String::new();
    reader.read_to_string(&mut content).expect("the content");
    assert_eq!(content, "hello");
    assert!(reader.next_entry().expect("valid").is_none());
}

fn sample() -> Vec<u8> {
    let mut archive = Vec::new();
    pax(
        &mut archive,
        &[
            ("path", "a"),
            ("mtime", "1.5"),
            ("SCHILY.xattr.user.a", "1"),
        ],
    );
    push(&mut archive, b'0', USTAR, b"hello", as_is);
    push(&mut archive, b'L', GNU, b"long", as_is);
    push(&mut archive, b'S', GNU, b"ab", |block| {
        put(386, b"00000000002\x000000000002\0")(block);
        put(483, b"00000000010\0")(block);
    });
    pax(
        &mut archive,
        &[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "8"),
        ],
    );
    let mut content = b"1\n2\n2\n".to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"ab");
    push(&mut archive, b'0', USTAR, &content, as_is);
    archive
}

/// Makes the checksums of all blocks that look like headers right again.
fn repair(archive: &mut [u8]) {
    for block in archive
        .chunks_exact_mut(512)
        .filter(|block| block[257..262] == *b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Found by fuzzing: filling up the last block of such a file went beyond what a number holds.
#[test]
fn a_size_without_a_sign_bit_to_spare_is_refused() {
    for size in ["18446744073709551615", "9223372036854775808"] {
        check(
            |archive| {
                pax(archive, &[("size", size)]);
                push(archive, b'0', USTAR, b"x", as_is);
            },
            &expect![[r"
                error: bad archive header at byte 0: an extended record is no size
            "]],
        );
    }
    check(
        |archive| {
            pax(archive, &[("size", "9223372036854775807")]);
            push(archive, b'0', USTAR, b"x", as_is);
        },
        &expect![[r#"
            name file 9223372036854775807 "unexpected end of file" 644 0:0 @7
            error: the archive is cut off at byte 2048
        "#]],
    );
}

proptest! {
    #[test]
    fn any_bytes_end_in_entries_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        describe(&bytes);
    }

    #[test]
    fn a_damaged_archive_ends_in_entries_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let mut archive = sample();
        for (at, byte) in changes {
            let at = at.index(archive.len());
            archive[at] = byte;
        }
        repair(&mut archive);
        archive.truncate(length.index(archive.len() + 1));
        describe(&archive);
    }
}
