//! Records of the build cache.

use expect_test::{Expect, expect};
use kiln_store::{CacheKey, KeyPart, PruneCache, PruneImages, PrunePolicy, SlotId, SnapshotId};

use crate::script::{key, run};
use crate::support::{TestStore, add_snapshot};

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the macro makes a value")]
fn check(script: &str, expected: Expect) {
    expected.assert_eq(&run(script));
}

#[test]
fn an_alias_leads_to_a_record_until_it_has_its_own() {
    check(
        "step one
         alias fast slow
         record slow one
         get fast
         alias fast slow
         get fast
         step two
         record fast two
         get fast
         get slow",
        expect![[r#"
            fast: nothing
            fast: one
            fast: two
            slow: one
        "#]],
    );
}

#[test]
fn an_alias_survives_a_new_record_and_goes_with_the_last() {
    check(
        "step one
         record slow one
         alias fast slow
         step two
         record slow two
         get fast
         reopen
         prune cache=all
         get fast",
        expect![[r#"
            fast: two
            pruned 1 records, 2 snapshots
            fast: nothing
        "#]],
    );
}

#[test]
fn the_record_tells_its_own_key_and_content() {
    let test = TestStore::new();
    test.store.cache_put(&key("slow"), None, b"extra").unwrap();
    test.store.cache_alias(&key("fast"), &key("slow")).unwrap();
    test.set_time(9);
    let record = test.store.cache_get(&key("fast")).unwrap().unwrap();
    assert_eq!(
        (record.key, record.extra.as_slice()),
        (key("slow"), b"extra".as_slice())
    );
    assert_eq!(record.created.seconds(), 1);
    let again = test.store.cache_get(&key("slow")).unwrap().unwrap();
    assert_eq!(again.last_used.seconds(), 9);
    test.store.cache_remove(&key("slow")).unwrap();
    assert_eq!(test.store.cache_get(&key("fast")).unwrap(), None);
}

#[test]
fn a_record_needs_its_snapshot() {
    let test = TestStore::new();
    let id = SnapshotId::random();
    let error = test.store.cache_put(&key("k"), Some(&id), b"").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("snapshot `{id}` is not in the store")
    );
}

#[test]
fn explanations_are_the_last_ones_given() {
    let test = TestStore::new();
    let slot = SlotId::of(b"Dockerfile build 3");
    let part = |label: &str, byte| KeyPart {
        label: label.to_owned(),
        digest: [byte; 32],
    };
    assert_eq!(test.store.explanation(&slot).unwrap(), None);
    for parts in [
        vec![part("command", 1), part("variable `CC`", 2)],
        vec![part("", 3)],
        vec![],
    ] {
        test.store
            .put_explanations(&[(slot, parts.clone())])
            .unwrap();
        assert_eq!(test.store.explanation(&slot).unwrap(), Some(parts));
    }
}

#[test]
fn keys_print_as_hexadecimal() {
    assert_eq!(
        format!("{:?}", CacheKey([0xab; 32])),
        format!("CacheKey({})", "ab".repeat(32))
    );
}

#[test]
fn what_was_used_together_is_kept_by_the_first_look() {
    let mut test = TestStore::new();
    let ids: Vec<_> = (0..3).map(|_| SnapshotId::random()).collect();
    let names = ["one", "two", "three"];
    for (id, name) in ids.iter().zip(names) {
        add_snapshot(&test.store, id, None, 10);
        test.store.cache_put(&key(name), Some(id), b"").unwrap();
    }
    // Only the first two are used together.
    for name in &names[..2] {
        test.store.cache_get(&key(name)).unwrap();
    }
    test.set_time(7);
    test.reopen();
    test.store.cache_get(&key("one")).unwrap();
    let other = test.open_again();
    let all = PrunePolicy {
        images: PruneImages::Keep,
        cache: PruneCache::All,
        older_than: None,
        keep_bytes: None,
    };
    other.prune(&all).unwrap();
    let there = |id| other.snapshot(id).unwrap().is_some();
    assert_eq!(
        ids.iter().map(there).collect::<Vec<_>>(),
        [true, true, false]
    );
    drop(other);
    // That it was used is written when the handle ends.
    test.set_time(9);
    assert!(test.store.cache_get(&key("two")).unwrap().is_some());
    test.reopen();
    let record = test.store.cache_get(&key("two")).unwrap().unwrap();
    assert_eq!(record.last_used.seconds(), 9);
}
