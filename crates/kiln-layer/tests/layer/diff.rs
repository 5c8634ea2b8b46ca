//! What counts as a change.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_layer::{Change, Changes, Node};
use kiln_sys::fs::Dir;

use crate::tree::{Scratch, is_root};
use crate::{DIFF, changes, explain};

pub(crate) fn show(changes: &Changes) -> String {
    let mut text = String::new();
    for change in changes.iter() {
        let line = match &change {
            Change::Whiteout(path) => format!("{} gone", path.display()),
            Change::Entry(entry) => {
                let node = match &entry.node {
                    Node::Dir => "dir".to_owned(),
                    Node::File(size) => format!("file {size}"),
                    Node::Symlink(target) => format!("symlink {}", target.display()),
                    Node::HardLink(first) => format!("hardlink {}", first.display()),
                    Node::Fifo => "fifo".to_owned(),
                    Node::CharDevice(device) => format!("char {},{}", device.major, device.minor),
                    Node::BlockDevice(device) => format!("block {},{}", device.major, device.minor),
                };
                let mut line = format!(
                    "{} {node} {:04o} {}:{}",
                    entry.path.display(),
                    entry.mode,
                    entry.uid,
                    entry.gid
                );
                for (name, value) in &entry.xattrs {
                    let _ = write!(line, " {}={}", name.display(), value.escape_ascii());
                }
                line
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The sizes of all files, each counted once.
fn sizes(changes: &Changes) -> u64 {
    let sizes = changes.iter().filter_map(|change| match change {
        Change::Entry(entry) => match entry.node {
            Node::File(size) => Some(size),
            _ => None,
        },
        Change::Whiteout(_) => None,
    });
    sizes.sum()
}

#[track_caller]
fn check(lowers: &[&str], upper: &str, expected: &Expect) {
    if !is_root("diff") {
        return;
    }
    let scratch = Scratch::new();
    let lowers: Vec<Dir> = lowers
        .iter()
        .enumerate()
        .map(|(index, text)| scratch.tree(&format!("lower{index}"), text))
        .collect();
    let upper = scratch.tree("upper", upper);
    let text = match kiln_layer::diff(&upper, &lowers, &DIFF, &CancelToken::new()) {
        Ok(changes) => {
            assert_eq!(changes.content_size(), sizes(&changes), "content size");
            show(&changes)
        }
        Err(error) => explain(&error),
    };
    expected.assert_eq(&text);
}

#[test]
fn everything_is_new_on_nothing() {
    check(
        &[],
        "b dir 0755 1:2 @1
         b/x file 0644 0:0 @1 hello user.note=x
         a symlink 0777 0:0 @1 b/x
         c fifo 0600 0:0 @1
         d char 0666 0:0 @1 1,3",
        &expect![[r"
            a symlink b/x 0777 0:0
            b dir 0755 1:2
            b/x file 5 0644 0:0 user.note=x
            c fifo 0600 0:0
            d char 1,3 0666 0:0
        "]],
    );
}

#[test]
fn whiteouts_stand_first_and_only_where_the_lower_has_the_name() {
    check(
        &["d dir 0755 0:0 @1
           d/z file 0644 0:0 @1 x
           y file 0644 0:0 @1 x"],
        "d dir 0755 0:0 @1
         d/a file 0644 0:0 @1 new
         d/z whiteout
         d/nothing whiteout
         y whiteout",
        &expect![[r"
            y gone
            d dir 0755 0:0
            d/z gone
            d/a file 3 0644 0:0
        "]],
    );
}

#[test]
fn a_whiteout_between_two_lowers_hides_the_name() {
    check(
        &["a whiteout", "a file 0644 0:0 @1 x"],
        "a whiteout",
        &expect![[""]],
    );
}

#[test]
fn an_opaque_directory_becomes_whiteouts_of_all_below() {
    check(
        &[
            "d dir 0755 0:0 @1
             d/one file 0644 0:0 @1.5 x
             d/sub dir 0755 0:0 @1
             d/sub/deep file 0644 0:0 @1 x",
            "d dir 0755 0:0 @1
             d/two file 0644 0:0 @1 x",
        ],
        "d dir 0755 0:0 @1
         d opaque
         d/one file 0644 0:0 @1.5 x
         d/sub dir 0755 0:0 @1
         d/sub/new file 0644 0:0 @1 x",
        &expect![[r"
            d dir 0755 0:0
            d/two gone
            d/sub dir 0755 0:0
            d/sub/deep gone
            d/sub/new file 1 0644 0:0
        "]],
    );
}

#[test]
fn an_opaque_lower_hides_what_is_below_it() {
    check(
        &[
            "d dir 0755 0:0 @1
             d opaque",
            "d dir 0755 0:0 @1
             d/x file 0644 0:0 @1.5 x",
        ],
        "d dir 0755 0:0 @1
         d/x file 0644 0:0 @1.5 x",
        &expect![[r"
            d dir 0755 0:0
            d/x file 1 0644 0:0
        "]],
    );
}

#[test]
fn copies_that_overlayfs_made_are_dropped() {
    check(
        &["d dir 0755 0:0 @1
           d/same file 0644 0:0 @1.5 hello user.note=x
           d/link symlink 0777 0:0 @1.5 x
           d/pipe fifo 0644 0:0 @2.5"],
        "d dir 0755 0:0 @2
         d/same file 0644 0:0 @1.5 hello user.note=x
         d/link symlink 0777 0:0 @1.5 x
         d/pipe fifo 0644 0:0 @2.5",
        &expect![[""]],
    );
}

#[test]
fn each_attribute_is_a_change() {
    check(
        &["content file 0644 0:0 @1 hello
           group file 0644 0:0 @1.5 x
           mode file 0644 0:0 @1.5 x
           nanos file 0644 0:0 @1.5 x
           size file 0644 0:0 @1.5 x
           symlink symlink 0777 0:0 @1 x
           time file 0644 0:0 @1 x
           type file 0644 0:0 @1 x
           user file 0644 0:0 @1.5 x
           xattr file 0644 0:0 @1.5 x user.note=a
           dir dir 0755 0:0 @1"],
        "content file 0644 0:0 @1 jello
         group file 0644 0:1 @1.5 x
         mode file 0600 0:0 @1.5 x
         nanos file 0644 0:0 @1.6 x
         size file 0644 0:0 @1.5 xx
         symlink symlink 0777 0:0 @1 y
         time file 0644 0:0 @2 x
         type dir 0755 0:0 @1
         user file 0644 1:0 @1.5 x
         xattr file 0644 0:0 @1.5 x user.note=b
         dir dir 0755 0:0 @1 user.note=b",
        &expect![[r"
            content file 5 0644 0:0
            dir dir 0755 0:0 user.note=b
            group file 1 0644 0:1
            mode file 1 0600 0:0
            nanos file 1 0644 0:0
            size file 2 0644 0:0
            symlink symlink y 0777 0:0
            time file 1 0644 0:0
            type dir 0755 0:0
            user file 1 0644 1:0
            xattr file 1 0644 0:0 user.note=b
        "]],
    );
}

#[test]
fn equal_whole_seconds_and_equal_content_are_no_change() {
    check(
        &["x file 0644 0:0 @1 hello"],
        "x file 0644 0:0 @1 hello",
        &expect![[""]],
    );
}

#[test]
fn names_of_one_inode_belong_together() {
    check(
        &["z file 0644 0:0 @1.5 x"],
        "a dir 0755 0:0 @1
         b file 0644 0:0 @1.5 x
         a/c hardlink b
         z hardlink b",
        &expect![[r"
            a dir 0755 0:0
            a/c file 1 0644 0:0
            b hardlink a/c 0644 0:0
            z hardlink a/c 0644 0:0
        "]],
    );
}

#[test]
fn an_inode_that_did_not_change_is_left_out_with_all_its_names() {
    check(
        &["b file 0644 0:0 @1 old
           c hardlink b"],
        "a file 0644 0:0 @1 new
         b file 0644 0:0 @1 old
         c hardlink b
         d file 0644 0:0 @1 longer
         e hardlink d",
        &expect![[r"
            a file 3 0644 0:0
            d file 6 0644 0:0
            e hardlink d 0644 0:0
        "]],
    );
}

#[test]
fn what_overlayfs_and_kiln_wrote_is_left_out() {
    check(
        &[],
        "x file 0644 0:0 @1 x user.overlay.origin=o user.kiln.owner=1:1 user.z=1 user.a=2",
        &expect![[r"
            x file 1 0644 0:0 user.a=2 user.z=1
        "]],
    );
}

#[test]
fn names_that_read_as_whiteouts_are_refused() {
    check(
        &[],
        "d dir 0755 0:0 @1
         d/.wh.x file 0644 0:0 @1 x",
        &expect!["`d/.wh.x` can't be stored in a layer: the name begins with `.wh.`"],
    );
}

#[test]
fn incomplete_files_are_refused() {
    check(
        &[],
        "x file 0644 0:0 @1 x user.overlay.metacopy=1",
        &expect!["`x` was left incomplete by overlayfs' `metacopy`"],
    );
}

#[test]
fn sockets_are_left_out() {
    let scratch = Scratch::new();
    let upper = scratch.dir("upper");
    let path = scratch.path("upper/socket");
    let _listener = std::os::unix::net::UnixListener::bind(path).expect("a socket");
    expect![[""]].assert_eq(&show(&changes(&upper, &[])));
}

#[test]
fn a_file_of_the_same_size_and_time_but_other_content_is_new() {
    check(
        &["a file 0644 0:0 @1.5 one
           b file 0644 0:0 @1.5 one
           c symlink 0777 0:0 @1.5 one"],
        "a file 0644 0:0 @1.5 two
         b file 0644 0:0 @1.5 one
         c symlink 0777 0:0 @1.5 two",
        &expect![[r"
            a file 3 0644 0:0
            c symlink two 0777 0:0
        "]],
    );
}

#[test]
fn times_that_the_layer_clamps_are_the_same() {
    if !is_root("diff") {
        return;
    }
    let scratch = Scratch::new();
    let lower = "a file 0644 0:0 @20 x\nb file 0644 0:0 @5 x\nc file 0644 0:0 @20 x";
    let lower = scratch.tree("lower", lower);
    let upper = "a file 0644 0:0 @30 x\nb file 0644 0:0 @30 x\nc file 0644 0:0 @30 y";
    let upper = scratch.tree("upper", upper);
    let options = kiln_layer::DiffOptions {
        clamp_mtime: Some(kiln_base::Timestamp::new(10, 0)),
        ..DIFF
    };
    let changes = kiln_layer::diff(&upper, &[lower], &options, &CancelToken::new()).unwrap();
    expect![[r"
        b file 1 0644 0:0
        c file 1 0644 0:0
    "]]
    .assert_eq(&show(&changes));
}
