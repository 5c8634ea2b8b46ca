//! Layers from elsewhere, well made.

use std::io::Write;

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_layer::{
    BlobFormat, ExpectedBlob, LayerCompression, OverlayXattrs, UnpackOptions, resolve_against,
};
use kiln_oci::{Compression, Digest};
use kiln_sys::fs::Ownership;

use crate::craft::{archive, push};
use crate::tree::{Scratch, is_root, list};
use crate::{changes, explain, options, unpack, unpack_options, write};

/// Unpacks an archive over the trees below and shows the layer's directory.
fn shown(lowers: &[&str], blob: &[u8]) -> String {
    let scratch = Scratch::new();
    let lowers: Vec<_> = lowers
        .iter()
        .enumerate()
        .map(|(index, text)| scratch.tree(&format!("lower{index}"), text))
        .collect();
    let into = scratch.dir("into");
    let unpacked = unpack(blob, &into)
        .and_then(|report| resolve_against(&report, &into, &lowers, OverlayXattrs::User));
    match unpacked {
        Ok(()) => list(&into),
        Err(error) => format!("{}\n", explain(&error)),
    }
}

#[track_caller]
fn check_over(lowers: &[&str], blob: &[u8], expected: &Expect) {
    if is_root("unpack") {
        expected.assert_eq(&shown(lowers, blob));
    }
}

#[track_caller]
fn check(lines: &str, expected: &Expect) {
    check_over(&[], &archive(lines), expected);
}

const BELOW: &str = "d dir 0755 0:0 @1
     f file 0644 0:0 @1 x
     gone file 0644 0:0 @1 x";

/// As [`check_over`] [`BELOW`], with the lines in both orders.
#[track_caller]
fn check_both_ways(lines: &[&str], expected: &Expect) {
    if !is_root("unpack") {
        return;
    }
    let backwards: Vec<&str> = lines.iter().copied().rev().collect();
    let text = shown(&[BELOW], &archive(&lines.join("\n")));
    assert_eq!(shown(&[BELOW], &archive(&backwards.join("\n"))), text);
    expected.assert_eq(&text);
}

#[test]
fn whiteouts_do_not_depend_on_the_order() {
    check_both_ways(
        &[
            ".wh.gone file",
            ".wh.never file",
            ".wh.d file",
            ".wh.f file",
            "d dir",
            "d/f file hello",
            "f file hello",
        ],
        &expect![[r#"
            d dir 0755 0:0 @7
            d opaque
            d/f file 0644 0:0 @7 hello
            f file 0644 0:0 @7 hello
            gone whiteout
        "#]],
    );
}

#[test]
fn whiteouts_give_way_to_links_made_late() {
    let expected = expect![[r"
        a file 0644 0:0 @7 hello
        b hardlink a
        c file 0644 0:0 @1 x
    "]];
    let lower = "b file 0644 0:0 @1 y\nc file 0644 0:0 @1 y\nx file 0644 0:0 @1 x";
    for lines in [
        "b hardlink a\nc hardlink x\n.wh.b file\n.wh.c file\na file hello",
        ".wh.c file\n.wh.b file\nc hardlink x\nb hardlink a\na file hello",
    ] {
        check_over(&[lower], &archive(lines), &expected);
    }
}

#[test]
fn a_whiteout_counts_whatever_came_in_between() {
    check(
        ".wh.d file\nd file x\nd dir",
        &expect![[r"
            d dir 0755 0:0 @7
            d opaque
        "]],
    );
}

#[test]
fn the_last_of_equal_foreign_links_wins() {
    check_over(
        &["x file 0644 0:0 @1 x\ny file 0644 0:0 @1 y"],
        &archive("a hardlink x\na hardlink y\nb hardlink a"),
        &expect![[r"
            a file 0644 0:0 @1 y
            b hardlink a
        "]],
    );
}

#[test]
fn opaque_marks_do_not_depend_on_the_order() {
    check_both_ways(
        &["d dir", "d/.wh..wh..opq file", "d/f file hello"],
        &expect![[r#"
            d dir 0755 0:0 @7
            d opaque
            d/f file 0644 0:0 @7 hello
        "#]],
    );
}

#[test]
fn the_last_of_equal_names_wins() {
    check(
        "a file one
         a file two
         b dir
         b/x file x
         b file b
         c symlink a
         c dir
         c/x file x
         d dir
         d/kept file x
         d dir",
        &expect![[r"
            a file 0644 0:0 @7 two
            b file 0644 0:0 @7 b
            c dir 0755 0:0 @7
            c/x file 0644 0:0 @7 x
            d dir 0755 0:0 @7
            d/kept file 0644 0:0 @7 x
        "]],
    );
}

#[test]
fn links_may_come_before_what_they_name() {
    check(
        "a hardlink b
         b file hello
         c hardlink /b",
        &expect![[r"
            a file 0644 0:0 @7 hello
            b hardlink a
            c hardlink a
        "]],
    );
}

#[test]
fn missing_directories_are_taken_from_below() {
    check_over(
        &["a dir 0700 5:6 @3 user.note=x
           a/b dir 0711 7:8 @4
           a/b/old file 0644 0:0 @1 x"],
        &archive("a/b/c/new file x"),
        &expect![[r"
            a dir 0700 5:6 @3 user.note=x
            a/b dir 0711 7:8 @4
            a/b/c dir 0755 0:0 @0
            a/b/c/new file 0644 0:0 @7 x
        "]],
    );
}

#[test]
fn a_missing_directory_that_is_a_link_below_is_found_there() {
    check_over(
        &["usr dir 0755 0:0 @3
           usr/lib dir 0750 1:1 @4
           lib symlink 0777 0:0 @1 usr/lib"],
        &archive("lib/x/new file x\nlib/.wh.old file\nlib/same hardlink lib/x/new"),
        &expect![[r#"
            usr dir 0755 0:0 @3
            usr/lib dir 0750 1:1 @4
            usr/lib/same file 0644 0:0 @7 x
            usr/lib/x dir 0755 0:0 @0
            usr/lib/x/new hardlink usr/lib/same
        "#]],
    );
}

#[test]
fn what_is_moved_becomes_one_with_what_is_there() {
    check_over(
        &["usr dir 0755 0:0 @3
           usr/lib dir 0750 1:1 @4
           usr/lib/gone file 0644 0:0 @1 x
           usr/lib/kept file 0644 0:0 @1 x
           lib symlink 0777 0:0 @1 usr/lib"],
        &archive(
            "usr/lib dir\nusr/lib/d/x file x\nusr/lib/kept file y
             lib/d/y file y\nlib/.wh.gone file\nlib/.wh.kept file\nlib/.wh.idle file",
        ),
        &expect![[r"
            usr dir 0755 0:0 @3
            usr/lib dir 0755 0:0 @7
            usr/lib/d dir 0755 0:0 @0
            usr/lib/d/x file 0644 0:0 @7 x
            usr/lib/d/y file 0644 0:0 @7 y
            usr/lib/gone whiteout
            usr/lib/kept file 0644 0:0 @7 y
        "]],
    );
}

#[test]
fn what_the_layer_hides_gives_nothing() {
    let lower = "lib symlink 0777 0:0 @1 usr
                 usr dir 0750 1:1 @4
                 usr/lib dir 0750 1:1 @4
                 usr/l symlink 0777 0:0 @1 lib";
    check_over(
        &[lower],
        &archive(".wh.lib file\nlib/x file x"),
        &expect![[r"
            lib dir 0755 0:0 @0
            lib opaque
            lib/x file 0644 0:0 @7 x
        "]],
    );
    check_over(
        &[lower],
        &archive("usr/.wh..wh..opq file\nusr/lib/x file x\nusr/l/y file y"),
        &expect![[r"
            usr dir 0750 1:1 @4
            usr opaque
            usr/l dir 0755 0:0 @0
            usr/l/y file 0644 0:0 @7 y
            usr/lib dir 0755 0:0 @0
            usr/lib/x file 0644 0:0 @7 x
        "]],
    );
}

#[test]
fn an_opaque_root_hides_each_name_below() {
    check_over(
        &[
            "a file 0644 0:0 @1 x\nb whiteout",
            "b file 0644 0:0 @1 x\nc dir 0755 0:0 @1\nc/x file 0644 0:0 @1 x\nd dir 0755 0:0 @1",
        ],
        &archive("c/y file y\n.wh..wh..opq file\na dir"),
        &expect![[r"
            a dir 0755 0:0 @7
            a opaque
            c dir 0755 0:0 @0
            c opaque
            c/y file 0644 0:0 @7 y
            d whiteout
        "]],
    );
}

#[test]
fn directories_keep_their_times() {
    check_over(
        &["x file 0644 0:0 @1 x"],
        &archive("d dir\nd/a hardlink x\nd/.wh.idle file"),
        &expect![[r"
            d dir 0755 0:0 @7
            d/a file 0644 0:0 @1 x
        "]],
    );
}

#[test]
fn links_to_files_below_become_copies_of_them() {
    check_over(
        &["d dir 0755 0:0 @1
           d/f file 4711 3:4 @1.5 hello user.note=x"],
        &archive("a hardlink d/f\nb hardlink d/f\nc hardlink a"),
        &expect![[r#"
            a file 4711 3:4 @1.500000000 hello user.note=x
            b hardlink a
            c hardlink a
        "#]],
    );
}

#[test]
fn links_to_nothing_are_errors() {
    check_over(
        &["d whiteout", "d file 0644 0:0 @1 x"],
        &archive("a hardlink d"),
        &expect![[r"
            `a` is a hard link to `d`, which does not exist
        "]],
    );
}

#[test]
fn long_names_of_gnu_are_read() {
    let long = "d/".repeat(60) + "file";
    let mut blob = Vec::new();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(long.len() as u64 + 1);
    push(&mut blob, &mut header, format!("{long}\0").as_bytes());
    blob.extend_from_slice(&archive("short file x"));
    if !is_root("long names") {
        return;
    }
    let scratch = Scratch::new();
    let into = scratch.dir("into");
    unpack(&blob, &into).expect("a layer");
    assert!(into.open_file_beneath(long).is_ok());
}

#[test]
fn old_sparse_files_get_their_holes() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(2);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(7);
    header.as_old_mut().name[0] = b'f';
    let gnu = header.as_gnu_mut().expect("gnu");
    gnu.set_real_size(8);
    for (part, (offset, length)) in gnu.sparse.iter_mut().zip([(2, 1), (5, 1), (8, 0)]) {
        part.set_offset(offset);
        part.set_length(length);
    }
    let mut blob = Vec::new();
    push(&mut blob, &mut header, b"ab");
    if !is_root("sparse files") {
        return;
    }
    let scratch = Scratch::new();
    unpack(&blob, &scratch.dir("into")).expect("a layer");
    let content = std::fs::read(scratch.path("into/f")).expect("the file");
    assert_eq!(content, b"\0\0a\0\0b\0\0");
}

#[test]
fn promises_are_checked() {
    #[track_caller]
    fn check(blob: &[u8], options: &UnpackOptions, expected: &Expect) {
        let scratch = Scratch::new();
        let into = scratch.dir("into");
        let result = kiln_layer::unpack(blob, &into, options, &CancelToken::new());
        let text = result.map_or_else(|error| explain(&error), |report| report.diff_id.to_string());
        expected.assert_eq(&text);
    }
    if !is_root("promises") {
        return;
    }
    let tar = archive("a file hello");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar).expect("gzip");
    let gzip = encoder.finish().expect("gzip");
    let promise = |digest: &[u8], size: usize| UnpackOptions {
        expected: Some(ExpectedBlob {
            digest: Digest::sha256(digest),
            size: size as u64,
        }),
        diff_id: Some(Digest::sha256(&tar)),
        ..unpack_options()
    };
    check(
        &gzip,
        &promise(b"x", gzip.len()),
        &expect![
            "expected the digest sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 but found sha256:97cc75d12844ae8d2c252406aff77556440ffcec342699a0bb58e5e8bc88b92b"
        ],
    );
    check(
        &gzip,
        &promise(&gzip, 7),
        &expect!["expected the size 7 but found 99"],
    );
    check(
        &gzip[..40],
        &promise(&gzip, gzip.len()),
        &expect!["could not read the archive: incomplete deflate stream"],
    );
    let format = |format| UnpackOptions {
        format: BlobFormat::Is(format),
        ..unpack_options()
    };
    check(
        &gzip,
        &format(Compression::Zstd),
        &expect!["expected zstd but found gzip"],
    );
    check(
        &tar,
        &format(Compression::Gzip),
        &expect!["expected gzip but found no compression"],
    );
    let diff_id = UnpackOptions {
        diff_id: Some(Digest::sha256(b"x")),
        ..unpack_options()
    };
    check(
        &tar,
        &diff_id,
        &expect![
            "expected the diff ID sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 but found sha256:920d2f775b00cf39dadd4b995cc2397c2a712ced03381540dd7e6f681a00d585"
        ],
    );
}

#[test]
fn kilns_own_layers_come_back_whole() {
    if !is_root("own layers") {
        return;
    }
    let text = "a dir 0700 1:2 @1 user.note=x
a/b file 6755 3:4 @2 hello user.a=1 user.b=2
a/c hardlink a/b
a/d symlink 0777 5:6 @3 ../nowhere
e fifo 0600 7:8 @4
f char 0660 9:9 @5 1,3
";
    let scratch = Scratch::new();
    let source = scratch.tree("source", text);
    for (index, compression) in [
        LayerCompression::default(),
        LayerCompression::None,
        LayerCompression::Zstd(kiln_layer::ZstdLevel::DEFAULT),
    ]
    .into_iter()
    .enumerate()
    {
        let (blob, summary) = write(&changes(&source, &[]), &options(compression, 2));
        let into = scratch.dir(&index.to_string());
        let options = UnpackOptions {
            format: BlobFormat::Is(compression.media()),
            expected: Some(ExpectedBlob {
                digest: summary.digest,
                size: summary.size,
            }),
            diff_id: Some(summary.diff_id),
            ..unpack_options()
        };
        let report = kiln_layer::unpack(blob.as_slice(), &into, &options, &CancelToken::new());
        assert_eq!(
            report.expect("a layer").uncompressed_size,
            summary.uncompressed_size
        );
        assert_eq!(list(&into), text);
    }
}

#[test]
fn owners_are_recorded_where_one_id_is_all_there_is() {
    let scratch = Scratch::new();
    let into = scratch.dir("into").with_ownership(Ownership::Recorded);
    let blob = archive(
        "d dir x 5:6
         d/f file hello 1000:70000",
    );
    if let Err(error) = unpack(&blob, &into) {
        eprintln!("skipped: recorded owners: {}", explain(&error));
        return;
    }
    expect![[r#"
        d dir 0755 5:6
        d/f file 5 0644 1000:70000
    "#]]
    .assert_eq(&crate::diff::show(&changes(&into, &[])));
    let foreign = archive("l symlink d 5:6");
    let refused = unpack(&foreign, &into).map_err(|error| explain(&error));
    expect!["`l` is owned by 5:6, which is outside of the ids available here"]
        .assert_eq(&refused.expect_err("a foreign symbolic link"));
}
