//! Snapshots and the locks on them.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_base::CancelToken;
use kiln_oci::Digest;
use kiln_store::{SnapshotError, SnapshotId};

use crate::support::{TestStore, add_snapshot, names};

#[test]
fn a_committed_snapshot_has_its_files_and_parents() {
    let test = TestStore::new();
    let base = SnapshotId::of_chain(&Digest::sha256(b"base"));
    let step = SnapshotId::random();
    add_snapshot(&test.store, &base, None, 1);
    add_snapshot(&test.store, &step, Some(&base), 2);
    let chain = test.open_again().snapshot_chain(&step).unwrap();
    let found: Vec<_> = chain
        .iter()
        .map(|snapshot| {
            (
                &snapshot.id,
                std::fs::read(snapshot.path.join("file")).unwrap().len(),
            )
        })
        .collect();
    assert_eq!(found, [(&step, 2), (&base, 1)]);
    assert!(
        test.store
            .snapshot_chain(&SnapshotId::random())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_new_snapshot_is_empty_and_readable_by_all() {
    let test = TestStore::new();
    let active = test.store.begin_snapshot().unwrap();
    assert_eq!(
        (names(active.upper()), names(active.work())),
        (String::new(), String::new())
    );
    let mode = std::fs::metadata(active.upper())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn a_dropped_snapshot_leaves_nothing() {
    let test = TestStore::new();
    let active = test.store.begin_snapshot().unwrap();
    std::fs::create_dir(active.upper().join("locked")).unwrap();
    std::fs::write(active.upper().join("locked/file"), "x").unwrap();
    let closed = std::fs::Permissions::from_mode(0o0);
    std::fs::set_permissions(active.upper().join("locked"), closed).unwrap();
    drop(active);
    let lease = names(&test.path("tmp"));
    assert_eq!(names(&test.path("tmp").join(lease)), "");
    assert_eq!(names(&test.path("snapshots")), "");
}

#[test]
fn the_first_of_two_snapshots_with_one_name_stays() {
    let test = TestStore::new();
    let id = SnapshotId::of_chain(&Digest::sha256(b"base"));
    let first = add_snapshot(&test.store, &id, None, 1);
    let second = add_snapshot(&test.open_again(), &id, None, 2);
    assert_eq!(first, second);
    assert_eq!(std::fs::read(second.path.join("file")).unwrap().len(), 1);
}

#[test]
fn a_parent_has_to_be_there() {
    let test = TestStore::new();
    let parent = SnapshotId::random();
    let active = test.store.begin_snapshot().unwrap();
    let error = active
        .commit(&SnapshotId::random(), Some(&parent))
        .unwrap_err();
    assert!(matches!(error, SnapshotError::Unknown(unknown) if unknown == parent));
    assert_eq!(names(&test.path("snapshots")), "");
}

#[test]
fn a_left_over_directory_is_in_nobodys_way() {
    let test = TestStore::new();
    std::fs::create_dir_all(test.path("snapshots/1/fs/left over")).unwrap();
    let snapshot = add_snapshot(&test.store, &SnapshotId::random(), None, 1);
    assert_eq!(names(&snapshot.path), "file");
}

#[test]
fn only_one_of_many_unpacks() {
    let test = TestStore::new();
    let id = SnapshotId::of_chain(&Digest::sha256(b"base"));
    let unpacked = AtomicUsize::new(0);
    let unpack = || {
        let store = test.open_again();
        let _lock = store.lock_snapshot(&id, &CancelToken::new()).unwrap();
        if store.snapshot(&id).unwrap().is_none() {
            unpacked.fetch_add(1, Ordering::Relaxed);
            add_snapshot(&store, &id, None, 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(unpack);
        }
    });
    assert_eq!(unpacked.into_inner(), 1);
    assert_eq!(names(&test.path("locks")), "");
}
