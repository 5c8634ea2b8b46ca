//! Archives that want to write elsewhere, or to exhaust something.

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_layer::{MergeOptions, untar_merge};

use crate::craft::{archive, push};
use crate::tree::{Scratch, is_root, list};
use crate::{explain, unpack};

/// Unpacks as a layer and as `ADD`, and shows both errors, once where they are equal. Nothing
/// beside the target may have changed.
#[track_caller]
fn check(blob: &[u8], expected: &Expect) {
    if !is_root("hostile archives") {
        return;
    }
    let scratch = Scratch::new();
    let beside = scratch.tree("beside", "kept file 0644 0:0 @1 x");
    let before = list(&beside);
    let root = scratch.dir("root");
    let layer = match unpack(blob, &scratch.dir("layer")) {
        Ok(report) => format!("no error {:?}", report.foreign_links),
        Err(error) => explain(&error),
    };
    let options = MergeOptions {
        owner: None,
        clamp_mtime: None,
    };
    let merged = untar_merge(blob, &root, "/".as_ref(), &options, &CancelToken::new());
    let merged = merged.map_or_else(|error| explain(&error), |_| "no error".to_owned());
    let text = if layer == merged {
        layer
    } else {
        format!("{layer}\n{merged}")
    };
    expected.assert_eq(&text);
    assert_eq!(list(&beside), before);
}

#[test]
fn names_that_lead_up() {
    check(
        &archive("../beside/new file x"),
        &expect!["bad name `../beside/new` in the archive: it contains `..`"],
    );
    check(
        &archive("d dir\nd/../../beside/new file x"),
        &expect!["bad name `d/../../beside/new` in the archive: it contains `..`"],
    );
    check(
        &archive("x hardlink ../beside/kept"),
        &expect!["bad name `../beside/kept` in the archive: it contains `..`"],
    );
}

#[test]
fn symbolic_links_as_parents() {
    check(
        &archive("out symlink ../beside\nout/new file x"),
        &expect!["`out/new` is inside `out`, which is not a directory"],
    );
    check(
        &archive("out symlink /tmp\nout/d/new file x"),
        &expect!["`out/d/new` is inside `out`, which is not a directory"],
    );
    check(
        &archive("d dir\nd/out symlink ..\nd/out/d/new file x"),
        &expect!["`d/out/d/new` is inside `d/out`, which is not a directory"],
    );
    check(
        &archive("out symlink ../beside\nout/kept hardlink out"),
        &expect!["`out/kept` is inside `out`, which is not a directory"],
    );
    check(
        &archive("out symlink ../beside\nx hardlink out/kept"),
        &expect![[r#"
            no error [ForeignLink { path: "x", target: "out/kept" }]
            `x` is a hard link to `out/kept`, which does not exist"#]],
    );
}

#[test]
fn whiteouts_of_other_places() {
    check(
        &archive("out symlink ../beside\nout/.wh.kept file"),
        &expect![[r#"
            `out/kept` is inside `out`, which is not a directory
            `out/.wh.kept` is inside `out`, which is not a directory"#]],
    );
    check(
        &archive(".wh... file"),
        &expect![[r#"
        bad name `.wh...` in the archive: it is a whiteout of no name
        no error"#]],
    );
    check(
        &archive("out symlink ../beside\nout/.wh..wh..opq file"),
        &expect![[r#"
            `out` is inside `out`, which is not a directory
            `out/.wh..wh..opq` is inside `out`, which is not a directory"#]],
    );
}

#[test]
fn files_as_parents() {
    check(
        &archive("f file x\nf/x file x"),
        &expect!["`f/x` is inside `f`, which is not a directory"],
    );
    check(
        &archive("n char 1,3\nn/x file x"),
        &expect!["`n/x` is inside `n`, which is not a directory"],
    );
}

#[test]
fn devices_that_mean_something_else() {
    check(
        &archive("n char 0,0"),
        &expect![
            "bad name `n` in the archive: a character device 0:0 would hide files of other layers"
        ],
    );
}

#[test]
fn links_to_themselves_and_to_directories() {
    check(
        &archive("a hardlink a"),
        &expect!["`a` is a hard link to `a`, which does not exist"],
    );
    check(
        &archive("d dir\na hardlink d"),
        &expect!["`a` is a hard link to `d`, which does not exist"],
    );
    check(
        &archive("a hardlink /"),
        &expect!["`a` is a hard link to ``, which does not exist"],
    );
}

#[test]
fn owners_that_no_system_has() {
    check(
        &archive("a file x 4294967295:0"),
        &expect!["`a` is owned by 4294967295:0, which is outside of the ids available here"],
    );
}

#[test]
fn entries_of_other_kinds() {
    check(
        &archive("a V"),
        &expect!["`a` is of the archive entry type `V`, which is not supported"],
    );
}

#[test]
fn broken_archives() {
    let good = archive("a file hello\nb file hello");
    check(
        &good[..700],
        &expect![[r#"
        no error []
        no error"#]],
    );
    check(
        &good[..1300],
        &expect!["the archive is cut off at byte 1300"],
    );
    let mut damaged = good.clone();
    damaged[3] = b'!';
    check(
        &damaged,
        &expect!["bad archive header at byte 0: the checksum is wrong"],
    );
    let mut hole = archive("a file x");
    hole.truncate(1024);
    hole.resize(1536, 0);
    hole.extend_from_slice(&archive("b file x"));
    check(
        &hole,
        &expect!["bad archive header at byte 1024: a zero block inside the archive"],
    );
    check(
        b"no archive at all",
        &expect!["the archive is cut off at byte 17"],
    );
}

#[test]
fn extensions_without_end() {
    let mut blob = Vec::new();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(1 << 40);
    push(&mut blob, &mut header, b"");
    check(
        &blob,
        &expect!["bad archive header at byte 512: a header extension of more than 1 MiB"],
    );
    let mut blob = Vec::new();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(8);
    push(&mut blob, &mut header, b"99 a=bc\n");
    check(
        &blob,
        &expect!["bad archive header at byte 0: a bad extended record"],
    );
}

#[test]
fn sizes_in_records_move_the_next_header_for_everybody_alike() {
    // The record makes the file longer than its header says. Readers that disagree here see
    // different entries in one archive.
    let mut blob = Vec::new();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(13);
    push(&mut blob, &mut header, b"13 size=1024\n");
    let inner = archive("smuggled file x");
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.as_old_mut().name[0] = b'a';
    push(&mut blob, &mut header, &inner[..1024]);
    if !is_root("sizes") {
        return;
    }
    let scratch = Scratch::new();
    let into = scratch.dir("into");
    unpack(&blob, &into).expect("a layer");
    let names: Vec<_> = into.entries().expect("entries");
    assert_eq!(names.len(), 1);
}

#[test]
fn names_that_are_too_long() {
    let long = "x/".repeat(3000) + "y";
    let mut blob = Vec::new();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(long.len() as u64);
    push(&mut blob, &mut header, long.as_bytes());
    blob.extend_from_slice(&archive("a file x"));
    if !is_root("long names") {
        return;
    }
    let scratch = Scratch::new();
    let error = unpack(&blob, &scratch.dir("into")).expect_err("too long");
    assert!(explain(&error).ends_with("it is longer than 4096 bytes"));
}
