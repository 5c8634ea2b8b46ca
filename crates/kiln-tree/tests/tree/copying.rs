//! What a copy leaves behind.

use std::fmt::Write as _;

use expect_test::expect;
use kiln_base::CancelToken;
use kiln_sys::fs::{Device, FileType, NodeKind, Owner};
use kiln_tree::{CopyError, copy, copy_item, make_dest_dir};

use crate::text_tree::{CopyLine, Tree, check, may_read_anything};

#[test]
fn a_file_goes_into_a_directory_or_becomes_the_destination() {
    check(
        "file 640 text",
        "dir/\nthere old",
        "
        COPY file /new
        COPY file /dir
        COPY file /made/
        COPY file /one/two/three
        COPY file /there
        ",
        &expect![[r#"
            dir/ 755 0:0 @9000
            dir/file 640 0:0 @10 text
            made/ 755 0:0 @9000
            made/file 640 0:0 @10 text
            new 640 0:0 @10 text
            one/ 755 0:0 @9000
            one/two/ 755 0:0 @9000
            one/two/three 640 0:0 @10 text
            there 640 0:0 @10 text
        "#]],
    );
}

#[test]
fn a_directory_merges_into_what_is_there() {
    check(
        "
        src/ 700
        src/both/ 711
        src/both/new 600 7:8 new
        src/file 4755 new
        ",
        "
        dst/ 750 5:6
        dst/both/ 777 3:3
        dst/both/old old
        dst/file old
        ",
        "COPY --from=0 src /dst",
        &expect![[r#"
            dst/ 750 5:6 @10
            dst/both/ 711 0:0 @20
            dst/both/new 600 7:8 @30 new
            dst/both/old 644 0:0 @5030 old
            dst/file 4755 0:0 @40 new
        "#]],
    );
}

#[test]
fn a_link_replaces_a_file_and_a_file_a_link() {
    check(
        "src/\nsrc/a -> b\nsrc/b new",
        "dst/\ndst/a old\ndst/b -> a",
        "COPY src /dst",
        &expect![[r#"
            dst/ 755 0:0 @10
            dst/a 0:0 @20 -> b
            dst/b 644 0:0 @30 new
        "#]],
    );
}

#[test]
fn owners_are_kept_from_a_stage_and_are_root_from_a_context() {
    let source = "d/ 755 1:2\nd/sub/ 755 3:4\nd/sub/f 644 5:6 x\nf 600 7:8 y";
    check(
        source,
        "",
        "COPY --from=0 d f /new/",
        &expect![[r#"
        new/ 755 0:0 @9000
        new/f 600 7:8 @40 y
        new/sub/ 755 3:4 @20
        new/sub/f 644 5:6 @30 x
    "#]],
    );
    check(
        source,
        "",
        "COPY d f /new/",
        &expect![[r#"
        new/ 755 0:0 @9000
        new/f 600 0:0 @40 y
        new/sub/ 755 0:0 @20
        new/sub/f 644 0:0 @30 x
    "#]],
    );
    check(
        source,
        "",
        "COPY --chown=9:10 d f /new/dir/",
        &expect![[r#"
        new/ 755 9:10 @9000
        new/dir/ 755 9:10 @9000
        new/dir/f 600 9:10 @40 y
        new/dir/sub/ 755 9:10 @20
        new/dir/sub/f 644 9:10 @30 x
    "#]],
    );
}

const TOOLS: &str = "d/\nd/sub/ 700\nd/sub/tool 700 x\nd/sub/text 600 y";

#[test]
fn octal_modes_hold_for_directories_too() {
    if !may_read_anything("octal_modes_hold_for_directories_too") {
        return;
    }
    check(
        TOOLS,
        "",
        "COPY --chmod=644 d /octal/dir",
        &expect![[r#"
        octal/ 644 0:0 @9000
        octal/dir/ 644 0:0 @10
        octal/dir/sub/ 644 0:0 @20
        octal/dir/sub/text 644 0:0 @40 y
        octal/dir/sub/tool 644 0:0 @30 x
    "#]],
    );
}

#[test]
fn symbolic_modes_change_what_was_there() {
    check(
        TOOLS,
        "",
        "COPY --chmod=u=rwX,go=rX d /symbolic/dir",
        &expect![[r#"
            symbolic/ 755 0:0 @9000
            symbolic/dir/ 755 0:0 @10
            symbolic/dir/sub/ 755 0:0 @20
            symbolic/dir/sub/text 644 0:0 @40 y
            symbolic/dir/sub/tool 755 0:0 @30 x
        "#]],
    );
    check(
        TOOLS,
        "",
        "COPY --chmod=g=u,o+t d /copied/dir",
        &expect![[r#"
            copied/ 755 0:0 @9000
            copied/dir/ 755 0:0 @10
            copied/dir/sub/ 770 0:0 @20
            copied/dir/sub/text 660 0:0 @40 y
            copied/dir/sub/tool 770 0:0 @30 x
        "#]],
    );
}

#[test]
fn conflicts_are_errors() {
    check(
        "d/\nd/x/\nd/x/y text\nf text\ne/\ne/z text",
        "dir/\nfile old\nin/\nin/x old\nlinked/\nlinked/x -> ../dir\nover/\nover/f/\nz/\nz/z/",
        "
        COPY d /file
        COPY d /file/below
        COPY f /file/
        COPY d /in
        COPY d /linked
        COPY f /over
        COPY e /z
        ",
        &expect![[r#"
            COPY d /file: can't copy a directory to `/file`, which is not a directory
            COPY d /file/below: can't copy a directory to `/file/below`, which is not a directory
            COPY f /file/: can't copy a directory to `/file`, which is not a directory
            COPY d /in: can't copy a directory to `/in/x`, which is not a directory
            COPY d /linked: can't copy a directory to `/linked/x`, which is not a directory
            COPY f /over: can't copy a file to `/over/f`, which is a directory
            COPY e /z: can't copy a file to `/z/z`, which is a directory
            dir/ 755 0:0 @5010
            file 644 0:0 @5020 old
            in/ 755 0:0 @5030
            in/x 644 0:0 @5040 old
            linked/ 755 0:0 @5050
            linked/x 0:0 @5060 -> ../dir
            over/ 755 0:0 @5070
            over/f/ 755 0:0 @5080
            z/ 755 0:0 @5090
            z/z/ 755 0:0 @5100
        "#]],
    );
}

#[test]
fn links_in_the_destination_lead_inside_the_root() {
    check(
        "f text\nd/\nd/g text",
        "
        usr/
        usr/lib/
        lib -> usr/lib
        abs -> /usr
        out -> ../../../..
        file -> usr/target
        dangling -> made
        ",
        "
        COPY f /lib/one
        COPY d /abs
        COPY f /out/two
        COPY f /file
        COPY f /dangling/three
        ",
        &expect![[r#"
            abs 0:0 @5040 -> /usr
            dangling 0:0 @5070 -> made
            file 0:0 @5060 -> usr/target
            lib 0:0 @5030 -> usr/lib
            made/ 755 0:0 @9000
            made/three 644 0:0 @10 text
            out 0:0 @5050 -> ../../../..
            two 644 0:0 @10 text
            usr/ 755 0:0 @9000
            usr/g 644 0:0 @30 text
            usr/lib/ 755 0:0 @9000
            usr/lib/one 644 0:0 @10 text
            usr/target 644 0:0 @10 text
        "#]],
    );
}

#[test]
fn special_files_and_hard_links() {
    check(
        "
        d/
        d/a text
        d/b = d/a
        d/pipe |
        d/socket %
        d/sub/
        d/sub/c = d/a
        ",
        "",
        "
        COPY d /all
        COPY d/b /alone
        ",
        &expect![[r#"
            all/ 755 0:0 @10
            all/a 644 0:0 @20 =3 text
            all/b 644 0:0 @20 =3 text
            all/pipe 644 0:0 @40 Fifo
            all/socket 755 0:0 @50
            all/sub/ 755 0:0 @60
            all/sub/c 644 0:0 @20 =3 text
            alone 644 0:0 @20 text
        "#]],
    );
}

#[test]
fn inline_files_have_the_time_of_the_build() {
    check(
        "f text",
        "dir/",
        "
        COPY <<one f <<two /dir/
        COPY --chmod=755 <<three /made/four
        ",
        &expect![[r#"
            dir/ 755 0:0 @9000
            dir/f 644 0:0 @10 text
            dir/one 644 0:0 @9000 inline
            dir/two 644 0:0 @9000 inline
            made/ 755 0:0 @9000
            made/four 755 0:0 @9000 inline
        "#]],
    );
}

#[test]
fn times_are_clamped() {
    check(
        "a 1\nb 2\nd/\nd/e/\nd/e/f 3",
        "",
        "COPY --clamp=25 . /new/",
        &expect![[r#"
            new/ 755 0:0 @0
            new/a 644 0:0 @10 1
            new/b 644 0:0 @20 2
            new/d/ 755 0:0 @25
            new/d/e/ 755 0:0 @25
            new/d/e/f 644 0:0 @25 3
        "#]],
    );
}

#[test]
fn implied_directories_are_made_but_not_changed() {
    let source = "a/ 700 1:1\na/b/ 711 2:2\na/b/c 3\na/skip 4";
    check(
        source,
        "",
        "COPY --from=0 --parents a/b/c /new/",
        &expect![[r#"
            new/ 755 0:0 @0
            new/a/ 700 1:1 @10
            new/a/b/ 711 2:2 @20
            new/a/b/c 644 0:0 @30 3
        "#]],
    );
    check(
        source,
        "new/\nnew/a/ 755 9:9",
        "COPY --from=0 --parents a/b/c /new/",
        &expect![[r#"
            new/ 755 0:0 @0
            new/a/ 700 9:9 @10
            new/a/b/ 711 2:2 @20
            new/a/b/c 644 0:0 @30 3
        "#]],
    );
}

#[test]
fn extended_attributes_go_along() {
    let source = Tree::source("d/\nd/sub/\nd/sub/f text");
    let sub = source.dir.open_dir_beneath("d/sub").unwrap();
    let set = |name, key| sub.set_xattr(name, key, b"value");
    if set("f", "user.note").is_err() {
        eprintln!("skipped: extended_attributes_go_along: no user attributes on this file system");
        return;
    }
    set("f", "user.overlay.metacopy").unwrap();
    set(".", "user.dir").unwrap();
    let dest = Tree::dest("");
    CopyLine::parse("COPY d /").run(&source, &dest).unwrap();
    let sub = dest.dir.open_dir("sub").unwrap();
    let names = |name| {
        let all = sub.xattrs(name).unwrap().into_iter();
        let names = all.map(|(name, _)| name.into_string().unwrap());
        names
            .filter(|name| name.starts_with("user."))
            .collect::<Vec<_>>()
    };
    assert_eq!(names("f"), ["user.note"]);
    assert_eq!(names("."), ["user.dir"]);
}

#[test]
fn a_file_that_changed_since_is_refused() {
    let source = Tree::source("d/\nd/f text");
    let dest = Tree::dest("");
    let line = CopyLine::parse("COPY d /new");
    let selection = line.select(&source).unwrap();
    std::fs::write(source.temp.path().join("d/f"), "other").unwrap();
    let error = copy(&selection, &dest.dir, &line.options, &CancelToken::new()).unwrap_err();
    assert_eq!(error.to_string(), "`d/f` changed while it was copied");
}

#[test]
fn a_cancelled_copy_stops() {
    let (source, dest) = (Tree::source("f text"), Tree::dest(""));
    let line = CopyLine::parse("COPY f /new");
    let cancel = CancelToken::new();
    cancel.cancel();
    let error = copy(
        &line.select(&source).unwrap(),
        &dest.dir,
        &line.options,
        &cancel,
    );
    assert!(matches!(error, Err(CopyError::Cancelled(_))));
    assert_eq!(dest.list(), "");
}

#[test]
fn archives_are_the_callers_business() {
    let source = Tree::source("a.tar archive\nd/\nd/b.tar archive");
    let dest = Tree::dest("");
    let line = CopyLine::parse("ADD --chmod=600 --chown=1:2 a.tar d /x/y");
    let selection = line.select(&source).unwrap();
    let files: Vec<_> = selection
        .items()
        .iter()
        .map(|item| item.open_file().unwrap())
        .collect();
    assert!(files[0].is_some() && files[1].is_none());
    let made = make_dest_dir(&dest.dir, &line.options).unwrap();
    assert_eq!(made.metadata(".").unwrap().file_type, FileType::Dir);
    copy_item(
        &selection.items()[1],
        &dest.dir,
        &line.options,
        &CancelToken::new(),
    )
    .unwrap();
    expect![[r#"
        x/ 755 1:2 @9000
        x/y/ 755 1:2 @20
        x/y/b.tar 600 1:2 @30 archive
    "#]]
    .assert_eq(&dest.list());
}

/// A directory of so many names is read in parts; of one of them nothing is left.
#[test]
fn a_part_of_a_directory_may_be_ignored_whole() {
    let mut source = "
        .dockerignore .dockerignore log-*
        app/
        app/x x"
        .to_owned();
    for number in 0..600 {
        write!(source, "\nlog-{number:03}").unwrap();
    }
    check(
        &source,
        "",
        "COPY . /",
        &expect![[r#"
            app/ 755 0:0 @20
            app/x 644 0:0 @30 x
        "#]],
    );
}

#[test]
fn a_directory_is_found_among_many() {
    let mut source = String::new();
    for number in 0..600 {
        write!(source, "\nmany/{number:03}/").unwrap();
    }
    let source = format!("many/{source}\nmany/599/x x");
    let source = Tree::source(&source);
    let dest = Tree::dest("");
    CopyLine::parse("COPY many /all")
        .run(&source, &dest)
        .unwrap();
    let all = dest.dir.open_dir("all").unwrap();
    assert_eq!(all.entries().unwrap().len(), 600);
    let deepest = all.open_dir("599").unwrap();
    assert_eq!(deepest.metadata("x").unwrap().size, 1);
}

#[test]
fn an_empty_directory_beside_one_with_files() {
    check(
        "
        a/
        a/f text
        a/x/
        a/x/g text
        b/
        b/x/
        c/
        ",
        "",
        "COPY a b c /dst/",
        &expect![[r#"
            dst/ 755 0:0 @70
            dst/f 644 0:0 @20 text
            dst/x/ 755 0:0 @60
            dst/x/g 644 0:0 @40 text
        "#]],
    );
}

/// What only root may do: real owners, also of links, and device nodes.
#[test]
fn native_owners_and_devices() {
    let source = Tree::source("d/\nd/f text\nd/l -> f").native();
    let dest = Tree::dest("").native();
    let sub = source.dir.open_dir("d").unwrap();
    let owner = |uid| Owner { uid, gid: uid + 1 };
    let null = NodeKind::CharDevice(Device { major: 1, minor: 3 });
    let privileged = sub
        .set_owner("l", owner(7))
        .and_then(|()| sub.mknod("null", null, 0o666));
    if let Err(error) = privileged {
        eprintln!("skipped: native_owners_and_devices: {error}");
        return;
    }
    sub.set_owner("f", owner(5)).unwrap();
    sub.set_mode("f", 0o6755).unwrap();
    CopyLine::parse("COPY --from=0 d /kept")
        .run(&source, &dest)
        .unwrap();
    CopyLine::parse("COPY --chown=3:4 d /set")
        .run(&source, &dest)
        .unwrap();
    let found = |path: &str| {
        let (dir, name) = path.split_once('/').unwrap();
        let found = dest.dir.open_dir(dir).unwrap().metadata(name).unwrap();
        (found.uid, found.gid, found.mode)
    };
    assert_eq!(found("kept/f"), (5, 6, 0o6755));
    assert_eq!(found("kept/l"), (7, 8, 0o777));
    assert_eq!(found("set/f"), (3, 4, 0o6755));
    assert_eq!(found("set/l"), (3, 4, 0o777));
    let device = dest.dir.open_dir("kept").unwrap().metadata("null").unwrap();
    assert_eq!((device.rdev.major, device.rdev.minor), (1, 3));
}
