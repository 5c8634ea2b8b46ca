//! Cache mounts: who gets which directory, and what stays.

use std::os::unix::fs::PermissionsExt;

use kiln_base::{CancelToken, Timestamp};
use kiln_store::{
    CacheMountGuard, CacheMountKey, CacheMountOwner, PruneCacheMounts, Sharing, Store, StoreError,
};

use crate::support::{TestStore, names};

fn key(id: &str) -> CacheMountKey {
    CacheMountKey {
        namespace: String::new(),
        id: id.to_owned(),
        scope: Vec::new(),
    }
}

const OWNER: CacheMountOwner = CacheMountOwner {
    uid: 0,
    gid: 0,
    mode: 0o1775,
};

fn owner() -> CacheMountOwner {
    CacheMountOwner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        ..OWNER
    }
}

fn open(store: &Store, id: &str, sharing: Sharing) -> CacheMountGuard {
    let cancel = CancelToken::new();
    let mut guard = store
        .open_cache_mount(&key(id), owner(), sharing, &cancel)
        .unwrap();
    guard.mark_filled().unwrap();
    guard
}

/// Whether opening does not have to wait.
fn opens_at_once(store: &Store, id: &str, sharing: Sharing) -> bool {
    let cancel = CancelToken::new();
    cancel.cancel();
    match store.open_cache_mount(&key(id), owner(), sharing, &cancel) {
        Ok(_) => true,
        Err(StoreError::Cancelled(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_a_step_leaves_is_there_for_the_next() {
    let test = TestStore::new();
    let cancel = CancelToken::new();
    let mut guard = test
        .store
        .open_cache_mount(&key("a"), owner(), Sharing::Shared, &cancel)
        .unwrap();
    assert!(guard.is_new());
    let mode = std::fs::metadata(guard.dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o1775);
    guard.mark_filled().unwrap();
    std::fs::write(guard.dir().join("file"), "x").unwrap();
    drop(guard);
    let guard = open(&test.open_again(), "a", Sharing::Locked);
    assert!(!guard.is_new());
    assert_eq!(names(guard.dir()), "file");
    let other = open(&test.store, "b", Sharing::Shared);
    assert!(other.is_new());
}

#[test]
fn shared_is_together_and_private_is_apart() {
    let test = TestStore::new();
    let (store, another) = (&test.store, test.open_again());
    let first = open(store, "a", Sharing::Shared);
    let second = open(&another, "a", Sharing::Shared);
    assert_eq!(first.number(), second.number());
    let private = open(&another, "a", Sharing::Private);
    assert_ne!(private.number(), first.number());
    drop((first, second));
    // The first one is free now, and is taken before a new one is made.
    let again = open(store, "a", Sharing::Private);
    assert!(!again.is_new());
    assert_eq!(store.cache_mounts().unwrap().len(), 2);
}

#[test]
fn locked_waits_and_can_be_cancelled() {
    let test = TestStore::new();
    let held = open(&test.store, "a", Sharing::Locked);
    assert!(!opens_at_once(&test.open_again(), "a", Sharing::Locked));
    // Who shares does not wait for one who has it alone.
    assert!(opens_at_once(&test.open_again(), "a", Sharing::Shared));
    assert!(opens_at_once(&test.open_again(), "b", Sharing::Locked));
    let waiter = std::thread::spawn({
        let store = test.open_again();
        let number = held.number();
        move || open(&store, "a", Sharing::Locked).number() <= number + 1
    });
    drop(held);
    assert!(waiter.join().unwrap());
}

#[test]
fn who_shares_waits_for_the_one_who_fills() {
    let test = TestStore::new();
    let cancel = CancelToken::new();
    let mut filling = test
        .store
        .open_cache_mount(&key("a"), owner(), Sharing::Shared, &cancel)
        .unwrap();
    assert!(!opens_at_once(&test.open_again(), "a", Sharing::Shared));
    filling.mark_filled().unwrap();
    assert!(opens_at_once(&test.open_again(), "a", Sharing::Shared));
}

#[test]
fn many_who_come_at_once_share_one() {
    let test = TestStore::new();
    let numbers: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let store = test.open_again();
                scope.spawn(move || open(&store, "a", Sharing::Shared).number())
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        numbers.iter().all(|number| *number == numbers[0]),
        "{numbers:?}"
    );
}

#[test]
fn what_was_not_filled_to_the_end_is_new_again() {
    let test = TestStore::new();
    let cancel = CancelToken::new();
    let guard = test
        .store
        .open_cache_mount(&key("a"), owner(), Sharing::Shared, &cancel)
        .unwrap();
    std::fs::write(guard.dir().join("half"), "x").unwrap();
    let number = guard.number();
    // As a killed process leaves it.
    let half = guard.dir().join("half");
    drop(guard);
    std::fs::create_dir_all(half.parent().unwrap()).unwrap();
    std::fs::write(&half, "x").unwrap();
    let again = open(&test.store, "a", Sharing::Shared);
    assert!(again.is_new());
    assert_eq!((again.number(), &*names(again.dir())), (number, ""));
}

#[test]
fn scopes_and_namespaces_do_not_meet() {
    let test = TestStore::new();
    let keys = [("", vec![]), ("tenant", vec![]), ("", vec![1])];
    let numbers = keys.map(|(namespace, scope)| {
        let key = CacheMountKey {
            namespace: namespace.to_owned(),
            id: "a".to_owned(),
            scope,
        };
        let cancel = CancelToken::new();
        let mut guard = test
            .store
            .open_cache_mount(&key, owner(), Sharing::Shared, &cancel)
            .unwrap();
        guard.mark_filled().unwrap();
        guard.number()
    });
    assert!(numbers[0] != numbers[1] && numbers[1] != numbers[2] && numbers[0] != numbers[2]);
}

#[test]
fn a_prune_takes_what_it_is_told_and_nobody_uses() {
    let test = TestStore::new();
    let store = &test.store;
    for (time, id) in [(10, "old"), (20, "new"), (30, "used")] {
        test.set_time(time);
        let guard = open(store, id, Sharing::Shared);
        std::fs::write(guard.dir().join("file"), vec![b'x'; 10_000]).unwrap();
    }
    let used = open(store, "used", Sharing::Shared);
    let prune = |ids: &[&str], older_than: Option<i64>| {
        let filter = PruneCacheMounts {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            older_than: older_than.map(Timestamp::from_seconds),
        };
        let report = store.prune_cache_mounts(&filter).unwrap();
        let ids = |mounts: Vec<kiln_store::CacheMount>| {
            mounts
                .into_iter()
                .map(|mount| mount.key.id)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let freed = report.freed.apparent > 10_000;
        (ids(report.removed), ids(report.in_use), freed)
    };
    let expected = |a: &str, b: &str, freed| (a.to_owned(), b.to_owned(), freed);
    assert_eq!(prune(&["none"], None), expected("", "", false));
    assert_eq!(prune(&[], Some(15)), expected("old", "", true));
    assert_eq!(prune(&[], None), expected("new", "used", true));
    assert_eq!(names(&test.path("mounts")), used.number().to_string());
    assert!(store.take_cache_mount(used.number()).unwrap().is_none());
    drop(used);
    assert_eq!(prune(&["used"], None), expected("used", "", true));
    assert_eq!(names(&test.path("mounts")), "");
    assert!(open(store, "used", Sharing::Shared).is_new());
}

#[test]
fn directories_without_a_row_are_swept() {
    let test = TestStore::new();
    std::fs::create_dir_all(test.path("mounts/77/fs")).unwrap();
    let guard = open(&test.store, "a", Sharing::Shared);
    test.store.sweep().unwrap();
    assert_eq!(names(&test.path("mounts")), guard.number().to_string());
}

#[test]
fn content_is_replaced_as_a_whole_or_not_at_all() {
    let test = TestStore::new();
    let mut guard = open(&test.store, "a", Sharing::Locked);
    std::fs::write(guard.dir().join("old"), "x").unwrap();
    let number = guard.number();
    assert!(test.store.is_cache_mount_in_use(number).unwrap());
    let failed = guard.replace(|path| {
        std::fs::write(path.join("half"), "x").unwrap();
        Err(StoreError::Cancelled(kiln_base::Cancelled))
    });
    assert!(failed.is_err());
    assert_eq!(names(guard.dir()), "old");
    let filled = guard.replace(|path| {
        std::fs::write(path.join("new"), "x").unwrap();
        Ok::<_, StoreError>(())
    });
    filled.unwrap();
    assert_eq!(names(guard.dir()), "new");
    drop(guard);
    assert!(!test.store.is_cache_mount_in_use(number).unwrap());
    let taken = test.store.take_cache_mount(number).unwrap().unwrap();
    assert_eq!(names(taken.dir()), "new");
}
