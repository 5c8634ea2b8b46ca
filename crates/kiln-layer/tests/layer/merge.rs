//! `ADD` of an archive.

use std::io::Write;
use std::path::Path;

use expect_test::{Expect, expect};
use kiln_base::{CancelToken, Timestamp};
use kiln_layer::{MergeOptions, is_archive, untar_merge};
use kiln_sys::fs::Owner;

use crate::craft::archive;
use crate::explain;
use crate::tree::{Scratch, is_root, list};

const KEEP: MergeOptions = MergeOptions {
    owner: None,
    clamp_mtime: None,
};

#[track_caller]
fn check(root: &str, target: &str, options: &MergeOptions, lines: &str, expected: &Expect) {
    if !is_root("merge") {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.tree("root", root);
    let blob = archive(lines);
    let merged = untar_merge(
        blob.as_slice(),
        &root,
        Path::new(target),
        options,
        &CancelToken::new(),
    );
    let text = match merged {
        // Times of directories that the archive does not mention are those of the test.
        Ok(_) => list(&root),
        Err(error) => format!("{}\n", explain(&error)),
    };
    expected.assert_eq(&text);
}

#[test]
fn archive_and_directory_become_one() {
    check(
        "d dir 0700 1:1 @1
         d/kept file 0644 0:0 @1 x
         d/old file 0644 0:0 @1 x
         gone symlink 0777 0:0 @1 d
         dir dir 0755 0:0 @1
         dir/x file 0644 0:0 @1 x",
        "/",
        &KEEP,
        "./ dir
         d dir
         d/old file new
         gone dir
         dir file x
         .wh.plain file x",
        &expect![[r#"
            .wh.plain file 0644 0:0 @7 x
            d dir 0755 0:0 @7
            d/kept file 0644 0:0 @1 x
            d/old file 0644 0:0 @7 new
            dir file 0644 0:0 @7 x
            gone dir 0755 0:0 @7
        "#]],
    );
}

#[test]
fn links_that_were_there_are_followed_inside_the_target() {
    check(
        "opt dir 0755 0:0 @1
         opt/usr dir 0755 0:0 @1
         opt/usr/lib dir 0755 0:0 @1
         opt/lib symlink 0777 0:0 @1 /usr/lib
         opt/out symlink 0777 0:0 @1 ../../../..",
        "/opt",
        &KEEP,
        "lib/x file x
         opt dir
         usr/lib dir
         usr dir
         out/y file y
         z hardlink lib/x",
        &expect![[r#"
            opt dir 0755 0:0 @now
            opt/lib symlink 0777 0:0 @1 /usr/lib
            opt/opt dir 0755 0:0 @7
            opt/out symlink 0777 0:0 @1 ../../../..
            opt/usr dir 0755 0:0 @7
            opt/usr/lib dir 0755 0:0 @7
            opt/usr/lib/x file 0644 0:0 @7 x
            opt/y file 0644 0:0 @7 y
            opt/z hardlink opt/usr/lib/x
        "#]],
    );
}

#[test]
fn options_set_owner_and_times() {
    let options = MergeOptions {
        owner: Some(Owner { uid: 5, gid: 6 }),
        clamp_mtime: Some(Timestamp::from_seconds(3)),
    };
    check(
        "",
        "/",
        &options,
        "d dir
         d/f file x 1:1
         d/l symlink x",
        &expect![[r#"
            d dir 0755 5:6 @3
            d/f file 0644 5:6 @3 x
            d/l symlink 0777 5:6 @3 x
        "#]],
    );
}

#[test]
fn all_compressions_are_known_by_their_bytes() {
    let tar = archive("a file hello");
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&tar).expect("gzip");
        encoder.finish().expect("gzip")
    };
    let bzip2 = {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(&tar).expect("bzip2");
        encoder.finish().expect("bzip2")
    };
    let xz = {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(&tar).expect("xz");
        encoder.finish().expect("xz")
    };
    let zstd = zstd::encode_all(tar.as_slice(), 1).expect("zstd");
    for blob in [&tar, &gzip, &bzip2, &xz, &zstd] {
        assert!(is_archive(blob.as_slice()));
        if is_root("compressions") {
            let scratch = Scratch::new();
            let root = scratch.dir("root");
            untar_merge(
                blob.as_slice(),
                &root,
                "/".as_ref(),
                &KEEP,
                &CancelToken::new(),
            )
            .expect("an archive");
            assert_eq!(list(&root), "a file 0644 0:0 @7 hello\n");
        }
    }
    let text = zstd::encode_all(&b"hello"[..], 1).expect("zstd");
    for blob in [
        &b""[..],
        b"hello",
        &[0; 2048],
        &text,
        &tar[1..],
        &gzip[..20],
    ] {
        assert!(!is_archive(blob));
    }
}
