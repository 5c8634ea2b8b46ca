//! Names of images.

use expect_test::{Expect, expect};
use kiln_store::ImageError;

use crate::script::{put_image, reference, run};
use crate::support::TestStore;

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the macro makes a value")]
fn check(script: &str, expected: Expect) {
    expected.assert_eq(&run(script));
}

#[test]
fn a_name_that_moves_leaves_an_image_without_one() {
    check(
        "at 1
         image app one
         at 2
         image app two
         show",
        expect![[r#"
            image app:latest manifest(two) @2
            image - manifest(one) @2
            blobs/sha256: config manifest(one) manifest(two) one two
            records 0
        "#]],
    );
}

#[test]
fn an_image_with_another_name_is_not_left_without_one() {
    check(
        "image app one
         image app:v1 one
         image app two
         show",
        expect![[r#"
            image app:latest manifest(two) @1
            image app:v1 manifest(one) @1
            blobs/sha256: config manifest(one) manifest(two) one two
            records 0
        "#]],
    );
}

#[test]
fn naming_an_image_again_changes_nothing() {
    check(
        "at 1
         image app one
         at 2
         image app one
         image - one
         show",
        expect![[r#"
            image app:latest manifest(one) @1
            blobs/sha256: config manifest(one) one
            records 0
        "#]],
    );
}

#[test]
fn a_name_takes_the_place_of_no_name() {
    check(
        "image - one
         image - one
         image app one
         show",
        expect![[r#"
            image app:latest manifest(one) @1
            blobs/sha256: config manifest(one) one
            records 0
        "#]],
    );
}

#[test]
fn blobs_go_with_the_last_name_and_shared_ones_stay() {
    check(
        "image a base one
         image b base two
         reopen
         untag a
         sweep
         show",
        expect![[r#"
            swept 2 blobs
            image b:latest manifest(base,two) @1
            blobs/sha256: base config manifest(base,two) two
            records 0
        "#]],
    );
}

#[test]
fn an_image_needs_its_manifest() {
    let test = TestStore::new();
    let other = TestStore::new();
    let target = put_image(&other.store, &["layer"]);
    let created = kiln_base::Timestamp::EPOCH;
    let error = test
        .store
        .tag(&reference("app"), &target, created)
        .unwrap_err();
    let expected = format!("blob `{}` is not in the store", target.digest);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_id_may_be_shortened_while_it_is_unique() {
    let test = TestStore::new();
    let created = kiln_base::Timestamp::EPOCH;
    for number in 0..20 {
        let target = put_image(&test.store, &[&format!("layer {number}")]);
        let name = reference(&format!("app:{number}"));
        test.store.tag(&name, &target, created).unwrap();
        test.store
            .tag(&reference(&format!("again:{number}")), &target, created)
            .unwrap();
    }
    let image = test.store.image(&reference("app:7")).unwrap().unwrap();
    let hex = image.target.digest.hex();
    for prefix in [
        hex.to_owned(),
        hex[..12].to_owned(),
        format!("sha256:{}", &hex[..12]),
    ] {
        let found = test.store.images_by_id(&prefix).unwrap();
        let names = found
            .iter()
            .map(|image| image.name.as_ref().unwrap().familiar());
        assert_eq!(names.collect::<Vec<_>>(), ["again:7", "app:7"], "{prefix}");
    }
    assert_eq!(test.store.images_by_id("sha256:").unwrap(), []);
    assert_eq!(test.store.images_by_id("app").unwrap(), []);
    // Twenty digests can't all begin with different digits of sixteen.
    let is_ambiguous = |digit: u32| {
        let prefix = char::from_digit(digit, 16).unwrap().to_string();
        matches!(
            test.store.images_by_id(&prefix),
            Err(ImageError::Ambiguous { count: 2.., .. })
        )
    };
    assert!((0..16).any(is_ambiguous));
}
