//! What a prune takes and what it leaves.

use expect_test::{Expect, expect};

use crate::script::run;

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the macro makes a value")]
fn check(script: &str, expected: Expect) {
    expected.assert_eq(&run(script));
}

/// A base, two steps on it and a layer made from the second, used at different times.
const BUILT: &str = "
    at 10
    chain base
    at 20
    step compile on base
    record c compile
    at 30
    step install on compile
    record i install
    layer install layer
    image app layer
    record context -
    reopen
    ";

#[test]
fn without_options_only_garbage_goes() {
    check(
        &format!("{BUILT} blob garbage \n step forgotten on base \n reopen \n prune \n show"),
        expect![[r#"
            pruned 1 snapshots, 1 blobs
            image app:latest manifest(layer) @30
            snapshot base
            snapshot compile
            snapshot install
            blobs/sha256: config layer manifest(layer)
            records 3
        "#]],
    );
}

#[test]
fn all_cache_leaves_images() {
    check(
        &format!("{BUILT} partial download \n prune cache=all \n show"),
        expect![[r#"
            pruned 3 records, 3 snapshots, 1 partials
            image app:latest manifest(layer) @30
            blobs/sha256: config layer manifest(layer)
            records 0
        "#]],
    );
}

#[test]
fn all_leaves_nothing() {
    check(
        &format!("{BUILT} prune images=all cache=all \n show"),
        expect![[r#"
            pruned 1 images, 3 records, 3 snapshots, 3 blobs
            records 0
        "#]],
    );
}

#[test]
fn a_layer_without_its_image_stays_with_its_snapshot() {
    check(
        &format!("{BUILT} prune images=all \n show"),
        expect![[r#"
            pruned 1 images, 2 blobs
            snapshot base
            snapshot compile
            snapshot install
            blobs/sha256: layer
            records 3
        "#]],
    );
}

#[test]
fn what_was_used_lately_stays_with_all_below_it() {
    check(
        &format!(
            "{BUILT} at 35 \n step other on base \n record o other \n reopen
                  prune cache=all before=35 \n show"
        ),
        expect![[r#"
            pruned 3 records, 2 snapshots
            image app:latest manifest(layer) @30
            snapshot base
            snapshot other
            blobs/sha256: config layer manifest(layer)
            records 1
        "#]],
    );
}

#[test]
fn looking_up_is_using() {
    check(
        &format!("{BUILT} at 40 \n get c \n reopen \n prune cache=all before=40 \n show"),
        expect![[r#"
            c: compile
            pruned 2 records, 1 snapshots
            image app:latest manifest(layer) @30
            snapshot base
            snapshot compile
            blobs/sha256: config layer manifest(layer)
            records 1
        "#]],
    );
}

#[test]
fn a_limit_takes_the_least_recently_used_first() {
    check(
        &format!(
            "{BUILT} at 50 \n step fresh \n record f fresh \n reopen
                  prune cache=all keep=180 \n show
                  prune cache=all keep=1000 \n prune cache=all keep=0 \n show"
        ),
        expect![[r#"
            pruned 2 records, 2 snapshots
            image app:latest manifest(layer) @30
            snapshot base
            snapshot fresh
            blobs/sha256: config layer manifest(layer)
            records 2
            pruned 
            pruned 1 records, 2 snapshots
            image app:latest manifest(layer) @30
            blobs/sha256: config layer manifest(layer)
            records 1
        "#]],
    );
}

#[test]
fn images_without_a_name_go_alone() {
    check(
        "at 1
         image app one
         at 2
         image app two
         reopen
         prune images=unnamed before=2
         prune images=unnamed before=3
         show",
        expect![[r#"
            pruned 
            pruned 1 images, 2 blobs
            image app:latest manifest(two) @2
            blobs/sha256: config manifest(two) two
            records 0
        "#]],
    );
}

#[test]
fn what_another_process_uses_stays() {
    check(
        &format!(
            "{BUILT} hold i \n prune images=all cache=all \n show
                  release \n prune cache=all \n show"
        ),
        expect![[r#"
            pruned 1 images, 1 records, 2 blobs
            snapshot base
            snapshot compile
            snapshot install
            blobs/sha256: layer
            records 2
            pruned 2 records, 3 snapshots, 1 blobs
            records 0
        "#]],
    );
}

#[test]
fn a_record_that_is_replaced_leaves_garbage() {
    check(
        "step first
         record key first
         step second
         record key second
         reopen
         prune
         get key
         show",
        expect![[r#"
            pruned 1 snapshots
            key: second
            snapshot second
            records 1
        "#]],
    );
}

#[test]
fn a_flattened_snapshot_is_no_reason_to_keep_what_it_was_made_of() {
    check(
        &format!(
            "{BUILT} step forgotten on install \n flatten all base compile install forgotten \n \
             flatten used base compile install \n reopen \n prune \n show"
        ),
        expect![[r#"
            pruned 2 snapshots
            image app:latest manifest(layer) @30
            snapshot base
            snapshot compile
            snapshot install
            snapshot used
            blobs/sha256: config layer manifest(layer)
            records 3
        "#]],
    );
}

#[test]
fn a_flattened_snapshot_goes_before_what_it_was_made_of() {
    check(
        &format!("{BUILT} flatten used base compile \n reopen \n prune cache=all keep=200 \n show"),
        expect![[r#"
            pruned 1 records, 2 snapshots
            image app:latest manifest(layer) @30
            snapshot base
            snapshot compile
            blobs/sha256: config layer manifest(layer)
            records 2
        "#]],
    );
}
