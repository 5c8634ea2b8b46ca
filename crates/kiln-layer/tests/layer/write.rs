//! The bytes of layers.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use expect_test::{Expect, expect};
use kiln_base::{CancelToken, Timestamp};
use kiln_layer::{GzipLevel, LayerCompression, LayerOptions, WriteError, ZstdLevel, write_layer};
use kiln_oci::Digest;
use kiln_sys::fs::Dir;

use crate::tree::{Scratch, is_root};
use crate::{changes, options, write};

const ALL: [LayerCompression; 4] = [
    LayerCompression::Gzip(GzipLevel::DEFAULT),
    LayerCompression::GzipSingle(GzipLevel::DEFAULT_SINGLE),
    LayerCompression::Zstd(ZstdLevel::DEFAULT),
    LayerCompression::None,
];

/// Text that compresses, but not to nothing.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        b'a' + u8::try_from(state >> 60).expect("four bits")
    };
    (0..length).map(|_| next()).collect()
}

fn large_tree(scratch: &Scratch) -> Dir {
    let dir = scratch.dir("large");
    dir.mkdir("d", 0o755).expect("a directory");
    for (name, length) in [("a", 3_000_000), ("b", 1_048_576), ("c", 511), ("d/e", 1)] {
        std::fs::write(scratch.path("large").join(name), noise(length)).expect("a file");
    }
    dir
}

fn decoded(blob: &[u8], compression: LayerCompression) -> Vec<u8> {
    let mut tar = Vec::new();
    match compression {
        LayerCompression::Gzip(_) => flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut tar),
        LayerCompression::GzipSingle(_) => flate2::read::GzDecoder::new(blob).read_to_end(&mut tar),
        LayerCompression::Zstd(_) => {
            zstd::Decoder::new(blob).and_then(|mut decoder| decoder.read_to_end(&mut tar))
        }
        LayerCompression::None => {
            tar.extend_from_slice(blob);
            Ok(tar.len())
        }
    }
    .expect("a whole stream");
    tar
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let scratch = Scratch::new();
    let changes = changes(&large_tree(&scratch), &[]);
    for compression in ALL {
        let (one, summary) = write(&changes, &options(compression, 1));
        for threads in [2, 3, 8] {
            assert_eq!(write(&changes, &options(compression, threads)).0, one);
        }
        let tar = decoded(&one, compression);
        assert_eq!(summary.digest, Digest::sha256(&one));
        assert_eq!(summary.diff_id, Digest::sha256(&tar));
        assert_eq!(summary.size, one.len() as u64);
        assert_eq!(summary.uncompressed_size, tar.len() as u64);
    }
}

#[test]
fn gzip_members_hold_a_mebibyte_each_and_tell_nothing() {
    let scratch = Scratch::new();
    let changes = changes(&large_tree(&scratch), &[]);
    let (blob, summary) = write(&changes, &options(ALL[0], 2));
    let mut rest = blob.as_slice();
    let mut sizes = Vec::new();
    while !rest.is_empty() {
        assert_eq!(rest[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
        assert_eq!(rest[9], 255);
        let mut member = flate2::bufread::GzDecoder::new(rest);
        sizes.push(io::copy(&mut member, &mut io::sink()).expect("a member"));
        rest = member.into_inner();
    }
    let (last, full) = sizes.split_last().expect("members");
    assert!(full.iter().all(|size| *size == 1 << 20), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<u64>(), summary.uncompressed_size);
    assert!(*last <= 1 << 20);
    let (single, _) = write(&changes, &options(ALL[1], 2));
    assert_eq!(single[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    assert_eq!(single[9], 255);
}

/// Lists an archive as the `tar` crate, which is not what wrote it, reads it.
#[track_caller]
fn check(upper: &str, clamp: Option<i64>, expected: &Expect) {
    if !is_root("write") {
        return;
    }
    let scratch = Scratch::new();
    let lower = scratch.tree("lower", "gone file 0644 0:0 @1 x");
    let upper = scratch.tree("upper", upper);
    let options = LayerOptions {
        clamp_mtime: clamp.map(Timestamp::from_seconds),
        ..options(LayerCompression::None, 1)
    };
    let (blob, _) = write(&changes(&upper, &[lower]), &options);
    let mut text = String::new();
    for entry in tar::Archive::new(blob.as_slice())
        .entries()
        .expect("entries")
    {
        let mut entry = entry.expect("an entry");
        let header = entry.header().clone();
        let mut line = format!(
            "{} {:?} {:04o} {}:{} @{} {}",
            String::from_utf8_lossy(&entry.path_bytes()),
            header.entry_type(),
            header.mode().expect("mode"),
            header.uid().expect("uid"),
            header.gid().expect("gid"),
            header.mtime().expect("mtime"),
            entry.size(),
        );
        if let Some(link) = entry.link_name_bytes() {
            let _ = write!(line, " -> {}", String::from_utf8_lossy(&link));
        }
        for extension in entry.pax_extensions().ok().flatten().into_iter().flatten() {
            let extension = extension.expect("a record");
            let value = extension.value_bytes().escape_ascii().to_string();
            let _ = write!(line, " [{}={value:.20}]", extension.key().expect("key"));
        }
        text.push_str(&line);
        text.push('\n');
    }
    expected.assert_eq(&text);
}

#[test]
fn headers_are_plain_where_that_suffices() {
    check(
        "d dir 1777 0:0 @7.9
         d/f file 4755 1000:100 @7.9 hello
         d/g hardlink d/f
         d/l symlink 0777 0:0 @7 ../f
         gone whiteout",
        None,
        &expect![[r"
            .wh.gone Regular 0000 0:0 @0 0
            d/ Directory 1777 0:0 @7 0
            d/f Regular 4755 1000:100 @7 5
            d/g Link 4755 1000:100 @7 0 -> d/f
            d/l Symlink 0777 0:0 @7 0 -> ../f
        "]],
    );
}

#[test]
fn times_after_the_limit_become_the_limit() {
    check(
        "a file 0644 0:0 @9.5 x
         b file 0644 0:0 @5 x",
        Some(6),
        &expect![[r"
            a Regular 0644 0:0 @6 1
            b Regular 0644 0:0 @5 1
        "]],
    );
}

#[test]
fn what_is_too_large_for_a_header_goes_into_records() {
    check(
        "f file 0644 3000000:4000000 @-5 x user.note=v
         z symlink 0777 0:0 @1 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789x",
        None,
        &expect![[r"
            f Regular 0644 3000000:4000000 @0 1 [SCHILY.xattr.user.note=v] [gid=4000000] [mtime=-5] [uid=3000000]
            z Symlink 0777 0:0 @1 0 -> 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789x [linkpath=01234567890123456789]
        "]],
    );
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_writing_with_its_reason() {
    let scratch = Scratch::new();
    let changes = changes(&large_tree(&scratch), &[]);
    for compression in ALL {
        let written = write_layer(
            &changes,
            Full,
            &options(compression, 2),
            &CancelToken::new(),
        );
        let Err(WriteError::Sink(cause)) = written else {
            panic!("{written:?}");
        };
        assert_eq!(cause.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_cancelled_writing_ends() {
    let scratch = Scratch::new();
    let changes = changes(&large_tree(&scratch), &[]);
    let cancel = CancelToken::new();
    cancel.cancel();
    let written = write_layer(&changes, io::sink(), &options(ALL[0], 2), &cancel);
    assert!(matches!(written, Err(WriteError::Cancelled(_))));
}

#[test]
fn a_file_that_got_shorter_is_an_error() {
    let scratch = Scratch::new();
    let changes = changes(&large_tree(&scratch), &[]);
    std::fs::write(scratch.path("large/a"), "short").expect("a file");
    let written = write_layer(
        &changes,
        io::sink(),
        &options(ALL[0], 2),
        &CancelToken::new(),
    );
    assert!(matches!(written, Err(WriteError::Changed { .. })));
}
