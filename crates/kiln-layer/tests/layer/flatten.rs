//! Several layers made one: overlayfs shows the same, whatever is below and above.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_layer::{OverlayXattrs, flatten};
use kiln_sys::fs::Dir;
use kiln_sys::mount::Overlay;
use proptest::prelude::*;

use crate::round_trip::{text, tree};
use crate::tree::{Scratch, is_root, list};
use crate::{changes, diff};

fn flattened(scratch: &Scratch, layers: &[Dir]) -> Dir {
    let (into, spare) = (scratch.dir("flat"), scratch.dir("spare"));
    let cancel = CancelToken::new();
    flatten(layers, (&into, &spare), OverlayXattrs::User, &cancel).expect("a flat layer");
    into
}

#[track_caller]
fn check(layers: &[&str], expected: &Expect) {
    if !is_root("flatten") {
        return;
    }
    let scratch = Scratch::new();
    let plant = |(index, text): (usize, &&str)| scratch.tree(&format!("layer{index}"), text);
    let layers: Vec<Dir> = layers.iter().enumerate().map(plant).collect();
    let flat = flattened(&scratch, &layers);
    let spare = Dir::open(scratch.path("spare")).expect("spare names");
    let spare = spare.entries().expect("spare names").len();
    let mut text = list(&flat);
    if spare > 0 {
        let _ = writeln!(text, "spare names: {spare}");
    }
    expected.assert_eq(&text);
}

#[test]
fn the_topmost_layer_decides() {
    check(
        &[
            "d dir 0711 1:2 @3 user.note=top\nd/f file 4755 0:5 @2.5 new user.b=1",
            "d dir 0755 0:0 @1 user.note=below\nd/f file 0644 0:0 @1 old\nd/g file 0600 3:4 @1 g\nn char 0666 0:5 @4 1,3\nl symlink 0777 7:8 @9 d/g\np fifo 0620 0:0 @6",
        ],
        &expect![[r#"
            d dir 0711 1:2 @3 user.note=top
            d/f file 4755 0:5 @2.500000000 new user.b=1
            d/g file 0600 3:4 @1 g
            l symlink 0777 7:8 @9 d/g
            n char 0666 0:5 @4 1,3
            p fifo 0620 0:0 @6
        "#]],
    );
}

#[test]
fn what_was_taken_away_stays_away() {
    check(
        &[
            "d dir 0755 0:0 @1\nd/f whiteout\ngone whiteout",
            "d dir 0755 0:0 @1\nd/f file 0644 0:0 @1 f\nd/g file 0644 0:0 @1 g",
        ],
        &expect![[r#"
            d dir 0755 0:0 @1
            d/f whiteout
            d/g file 0644 0:0 @1 g
            gone whiteout
        "#]],
    );
}

#[test]
fn a_directory_that_hid_those_below_it_hides_them_still() {
    check(
        &[
            "a dir 0755 0:0 @1\na/new file 0644 0:0 @1 ~\na/no whiteout\nb dir 0755 0:0 @1\nc dir 0755 0:0 @1",
            "a dir 0755 0:0 @1\na opaque\na/mid file 0644 0:0 @1 ~\nb whiteout\nc file 0644 0:0 @1 ~",
            "a dir 0755 0:0 @1\na/old file 0644 0:0 @1 ~\nb dir 0755 0:0 @1\nb/old file 0644 0:0 @1 ~",
        ],
        &expect![[r#"
            a dir 0755 0:0 @1
            a opaque
            a/mid file 0644 0:0 @1 ~
            a/new file 0644 0:0 @1 ~
            b dir 0755 0:0 @1
            b opaque
            c dir 0755 0:0 @1
            c opaque
        "#]],
    );
}

#[test]
fn names_of_one_file_stay_so_and_their_number_too() {
    check(
        &[
            "c whiteout\nd dir 0755 0:0 @1\nd/x file 0644 0:0 @1 x\nd/y hardlink d/x",
            "a file 0644 0:0 @1 a\nb hardlink a\nc hardlink a",
        ],
        &expect![[r#"
            a file 0644 0:0 @1 a
            b hardlink a
            c whiteout
            d dir 0755 0:0 @1
            d/x file 0644 0:0 @1 x
            d/y hardlink d/x
            spare names: 1
        "#]],
    );
}

#[test]
fn marks_stay_behind() {
    check(
        &["f file 0644 0:0 @1 x user.overlay.origin=o user.kiln.owner=1:1"],
        &expect![[r#"
            f file 0644 0:0 @1 x user.kiln.owner=1:1
        "#]],
    );
}

/// What the kernel makes of the directories.
fn stacked(scratch: &Scratch, lowers: &[&str]) -> String {
    let overlay = Overlay {
        lowers: lowers.iter().map(|name| scratch.path(name)).collect(),
        upper: None,
        userxattr: true,
    };
    list(&Dir::from_fd(overlay.mount_detached().expect("an overlay")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Three layers made one, in the middle of a stack: the kernel shows the same, and so does a
    /// comparison with what is on top.
    #[test]
    fn the_kernel_shows_no_difference(
        trees in proptest::collection::vec(tree(), 5..=5),
    ) {
        if !is_root("flatten in a stack") {
            return Ok(());
        }
        let scratch = Scratch::new();
        let plant = |index: usize| scratch.tree(&index.to_string(), &text(&trees[index], index > 0));
        let dirs: Vec<Dir> = (0..trees.len()).map(plant).collect();
        let [bottom, low, middle, high, top] = dirs.try_into().expect("five trees");
        let layers = [high, middle, low];
        let flat = flattened(&scratch, &layers);
        prop_assert_eq!(
            stacked(&scratch, &["4", "flat", "0"]),
            stacked(&scratch, &["4", "3", "2", "1", "0"])
        );
        let [high, middle, low] = layers;
        let below = bottom.try_clone().expect("a handle");
        prop_assert_eq!(
            diff::show(&changes(&top, &[flat, below])),
            diff::show(&changes(&top, &[high, middle, low, bottom]))
        );
    }
}
